//! Lists taken as sets: order and repetition do not matter.

use super::super::error::EvalError;
use super::super::eval::values_equal;
use super::super::fuel::Fuel;
use super::super::value::{CelValue, List};
use super::{BOOL, Definition, ListT, Signature, Style, define, sig, unsuited};

const TWO: &[Signature] = &[sig(&[ListT, ListT], BOOL)];

pub(super) const TABLE: &[Definition] = &[
    define("sets.contains", Style::Function, TWO, |args, fuel| {
        let (outer, inner) = lists("sets.contains", args)?;
        covers(outer, inner, fuel).map(CelValue::Bool)
    }),
    define("sets.equivalent", Style::Function, TWO, |args, fuel| {
        let (a, b) = lists("sets.equivalent", args)?;
        Ok(CelValue::Bool(covers(a, b, fuel)? && covers(b, a, fuel)?))
    }),
    define("sets.intersects", Style::Function, TWO, |args, fuel| {
        let (a, b) = lists("sets.intersects", args)?;
        for item in a.iter() {
            if holds(b, &item, fuel)? {
                return Ok(CelValue::Bool(true));
            }
        }
        Ok(CelValue::Bool(false))
    }),
];

fn lists<'v, 'a>(
    name: &'static str,
    args: &'v [CelValue<'a>],
) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [CelValue::List(a), CelValue::List(b)] => Ok((a, b)),
        _ => Err(unsuited(name, args)),
    }
}

/// Whether `outer` has every element of `inner`.
fn covers(outer: &List<'_>, inner: &List<'_>, fuel: &mut Fuel) -> Result<bool, EvalError> {
    for item in inner.iter() {
        if !holds(outer, &item, fuel)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(list: &List<'_>, wanted: &CelValue<'_>, fuel: &mut Fuel) -> Result<bool, EvalError> {
    fuel.burn(1)?;
    for item in list.iter() {
        if values_equal(&item, wanted, fuel)? {
            return Ok(true);
        }
    }
    Ok(false)
}
