//! Numbers: extremes, signs and rounding. Decimals round exactly.

use callgate_core::decimal::Decimal;

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::number::{compare, mismatch, negate, truncate};
use super::super::value::CelValue;
use super::{Any, BOOL, DOUBLE, Definition, ListT, Number, Signature, Style, define, sig, unsuited};

const SOME: &[Signature] = &[
    sig(&[ListT], Any),
    sig(&[Number], Number),
    sig(&[Number, Number], Number),
    sig(&[Number, Number, Number], Number),
    sig(&[Number, Number, Number, Number], Number),
    sig(&[Number, Number, Number, Number, Number], Number),
];
const ONE: &[Signature] = &[sig(&[Number], Number)];

pub(super) const TABLE: &[Definition] = &[
    define("math.greatest", Style::Function, SOME, |args, fuel| extreme("math.greatest", args, fuel, true)),
    define("math.least", Style::Function, SOME, |args, fuel| extreme("math.least", args, fuel, false)),
    define("math.abs", Style::Function, ONE, |args, _| match args {
        [CelValue::Uint(_)] => args.first().cloned().ok_or_else(|| unsuited("math.abs", args)),
        [value] if is_negative(value) => negate(value),
        [value] if value.kind().is_number() => Ok(value.clone()),
        _ => Err(unsuited("math.abs", args)),
    }),
    define("math.sign", Style::Function, ONE, sign),
    define("math.ceil", Style::Function, ONE, |args, _| round("math.ceil", args, f64::ceil, 1)),
    define("math.floor", Style::Function, ONE, |args, _| round("math.floor", args, f64::floor, -1)),
    define("math.trunc", Style::Function, ONE, |args, _| round("math.trunc", args, f64::trunc, 0)),
    define("math.round", Style::Function, &[sig(&[DOUBLE], DOUBLE)], |args, _| match args {
        [CelValue::Double(number)] => Ok(CelValue::Double(number.round())),
        _ => Err(unsuited("math.round", args)),
    }),
    define("math.isNaN", Style::Function, &[sig(&[DOUBLE], BOOL)], |args, _| match args {
        [CelValue::Double(number)] => Ok(CelValue::Bool(number.is_nan())),
        _ => Err(unsuited("math.isNaN", args)),
    }),
    define("math.isInf", Style::Function, &[sig(&[DOUBLE], BOOL)], |args, _| match args {
        [CelValue::Double(number)] => Ok(CelValue::Bool(number.is_infinite())),
        _ => Err(unsuited("math.isInf", args)),
    }),
    define("math.isFinite", Style::Function, &[sig(&[DOUBLE], BOOL)], |args, _| match args {
        [CelValue::Double(number)] => Ok(CelValue::Bool(number.is_finite())),
        _ => Err(unsuited("math.isFinite", args)),
    }),
];

fn is_negative(value: &CelValue<'_>) -> bool {
    compare(value, &CelValue::Int(0)).is_some_and(std::cmp::Ordering::is_lt)
}

/// The greatest or least of the arguments, or of the one list given; the first among equals.
fn extreme<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    fuel: &mut Fuel,
    greatest: bool,
) -> Result<CelValue<'a>, EvalError> {
    let list: Vec<CelValue<'a>> = match args {
        [CelValue::List(list)] => {
            fuel.burn_elements(list.len())?;
            list.iter().collect()
        }
        args => args.to_vec(),
    };
    let mut items = list.into_iter();
    let empty = || EvalError::argument(name, "[]", "it needs at least one number");
    let mut best = items.next().ok_or_else(empty)?;
    if !best.kind().is_number() {
        return Err(EvalError::WrongOperand { operation: name, found: best.kind() });
    }
    for item in items {
        let order = compare(&item, &best).ok_or_else(|| mismatch(name, &best, &item))?;
        if (greatest && order.is_gt()) || (!greatest && order.is_lt()) {
            best = item;
        }
    }
    Ok(best)
}

fn sign<'a>(args: &[CelValue<'a>], _: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Int(number)] => Ok(CelValue::Int(number.signum())),
        [CelValue::Uint(number)] => Ok(CelValue::Uint((*number).min(1))),
        [CelValue::Double(number)] if *number == 0.0 || number.is_nan() => Ok(CelValue::Double(*number)),
        [CelValue::Double(number)] => Ok(CelValue::Double(number.signum())),
        [CelValue::Decimal(number)] => {
            let sign = i64::try_from(number.coefficient().signum()).unwrap_or(0);
            Ok(CelValue::Decimal(Decimal::from(sign)))
        }
        _ => Err(unsuited("math.sign", args)),
    }
}

/// Rounds a double by `double`, a decimal toward zero (0), up (1) or down (-1).
fn round<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    double: fn(f64) -> f64,
    direction: i128,
) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Double(number)] => Ok(CelValue::Double(double(*number))),
        [CelValue::Decimal(number)] if number.exponent() >= 0 => Ok(CelValue::Decimal(*number)),
        [CelValue::Decimal(number)] => {
            let whole = truncate(*number).ok_or(EvalError::Overflow(name))?;
            let away = i128::from(number.coefficient().signum() == direction && direction != 0);
            let whole = whole.checked_add(away.saturating_mul(direction)).ok_or(EvalError::Overflow(name))?;
            Decimal::new(whole, 0).map(CelValue::Decimal).map_err(|_| EvalError::Overflow(name))
        }
        _ => Err(unsuited(name, args)),
    }
}
