//! Bits of integers. Shifts by 64 or more leave nothing; right shifts bring in zeros.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::CelValue;
use super::{Definition, INT, Signature, Style, UINT, define, sig, unsuited};

const TWO: &[Signature] = &[sig(&[INT, INT], INT), sig(&[UINT, UINT], UINT)];
const SHIFT: &[Signature] = &[sig(&[INT, INT], INT), sig(&[UINT, INT], UINT)];

pub(super) const TABLE: &[Definition] = &[
    define("math.bitAnd", Style::Function, TWO, |args, _| two("math.bitAnd", args, |a, b| a & b)),
    define("math.bitOr", Style::Function, TWO, |args, _| two("math.bitOr", args, |a, b| a | b)),
    define("math.bitXor", Style::Function, TWO, |args, _| two("math.bitXor", args, |a, b| a ^ b)),
    define("math.bitNot", Style::Function, &[sig(&[INT], INT), sig(&[UINT], UINT)], not),
    define("math.bitShiftLeft", Style::Function, SHIFT, |args, _| {
        shift("math.bitShiftLeft", args, u64::checked_shl)
    }),
    define("math.bitShiftRight", Style::Function, SHIFT, |args, _| {
        shift("math.bitShiftRight", args, u64::checked_shr)
    }),
];

fn two<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    make: fn(u64, u64) -> u64,
) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Int(a), CelValue::Int(b)] => {
            Ok(CelValue::Int(make(a.cast_unsigned(), b.cast_unsigned()).cast_signed()))
        }
        [CelValue::Uint(a), CelValue::Uint(b)] => Ok(CelValue::Uint(make(*a, *b))),
        _ => Err(unsuited(name, args)),
    }
}

fn not<'a>(args: &[CelValue<'a>], _: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Int(number)] => Ok(CelValue::Int(!number)),
        [CelValue::Uint(number)] => Ok(CelValue::Uint(!number)),
        _ => Err(unsuited("math.bitNot", args)),
    }
}

fn shift<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    make: fn(u64, u32) -> Option<u64>,
) -> Result<CelValue<'a>, EvalError> {
    let places = |by: i64| {
        let reason = "the number of places is zero or more";
        let by = u64::try_from(by).map_err(|_| EvalError::argument(name, &by.to_string(), reason))?;
        Ok(u32::try_from(by).unwrap_or(u32::MAX))
    };
    match args {
        [CelValue::Int(number), CelValue::Int(by)] => {
            let shifted = make(number.cast_unsigned(), places(*by)?).unwrap_or(0);
            Ok(CelValue::Int(shifted.cast_signed()))
        }
        [CelValue::Uint(number), CelValue::Int(by)] => {
            Ok(CelValue::Uint(make(*number, places(*by)?).unwrap_or(0)))
        }
        _ => Err(unsuited(name, args)),
    }
}
