//! `size` and functions of lists.

use super::super::error::EvalError;
use super::super::eval::values_equal;
use super::super::fuel::Fuel;
use super::super::number;
use super::super::value::CelValue;
use super::{Any, BYTES, Definition, INT, ListOf, ListT, Map, STR, Style, define, sig, unsuited};
use crate::cel::types::Kind;

pub(super) const TABLE: &[Definition] = &[
    define(
        "size",
        Style::Both,
        &[sig(&[STR], INT), sig(&[BYTES], INT), sig(&[ListT], INT), sig(&[Map], INT)],
        size,
    ),
    define(
        "join",
        Style::Method,
        &[sig(&[ListOf(Kind::Str)], STR), sig(&[ListOf(Kind::Str), STR], STR)],
        join,
    ),
    define("distinct", Style::Method, &[sig(&[ListT], ListT)], distinct),
    define("slice", Style::Method, &[sig(&[ListT, INT, INT], ListT)], slice),
    define("sum", Style::Method, &[sig(&[ListT], Any)], sum),
    define("flatten", Style::Method, &[sig(&[ListT], Any)], flatten),
];

fn count<'a>(number: usize) -> CelValue<'a> {
    CelValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn size<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            Ok(count(text.chars().count()))
        }
        [CelValue::Bytes(octets)] => Ok(count(octets.len())),
        [CelValue::List(list)] => Ok(count(list.len())),
        [CelValue::Map(map)] => Ok(count(map.len())),
        _ => Err(unsuited("size", args)),
    }
}

fn join<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (list, between) = match args {
        [CelValue::List(list)] => (list, ""),
        [CelValue::List(list), CelValue::Str(between)] => (list, &**between),
        _ => return Err(unsuited("join", args)),
    };
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        let CelValue::Str(text) = &item else {
            return Err(EvalError::WrongOperand { operation: "join", found: item.kind() });
        };
        fuel.burn_bytes(text.len().saturating_add(between.len()))?;
        if at > 0 {
            out.push_str(between);
        }
        out.push_str(text);
    }
    Ok(CelValue::string(out))
}

fn distinct<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list)] = args else { return Err(unsuited("distinct", args)) };
    let mut kept: Vec<CelValue<'a>> = Vec::new();
    for item in list.iter() {
        fuel.burn(1)?;
        let mut known = false;
        for other in &kept {
            known = known || values_equal(other, &item, fuel)?;
        }
        if !known {
            kept.push(item);
        }
    }
    Ok(CelValue::list(kept))
}

fn slice<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list), CelValue::Int(from), CelValue::Int(to)] = args else {
        return Err(unsuited("slice", args));
    };
    let place = |index: i64| {
        usize::try_from(index).ok().filter(|at| *at <= list.len()).ok_or(EvalError::IndexOutOfRange(index))
    };
    let (from, to) = (place(*from)?, place(*to)?);
    if from > to {
        return Err(EvalError::IndexOutOfRange(i64::try_from(from).unwrap_or(i64::MAX)));
    }
    fuel.burn_elements(to.saturating_sub(from))?;
    Ok(CelValue::list((from..to).filter_map(|at| list.get(at)).collect()))
}

/// Adds the numbers or durations of a list; the sum of none is the `int` 0.
fn sum<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list)] = args else { return Err(unsuited("sum", args)) };
    let mut total = None;
    for item in list.iter() {
        fuel.burn(1)?;
        total = Some(match total {
            None if item.kind().is_number() => item,
            Some(total) => number::calculate(number::Arithmetic::Add, &total, &item)?,
            None => return Err(EvalError::WrongOperand { operation: "sum", found: item.kind() }),
        });
    }
    Ok(total.unwrap_or(CelValue::Int(0)))
}

/// Takes one level of nesting out of a list.
fn flatten<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list)] = args else { return Err(unsuited("flatten", args)) };
    let mut out = Vec::new();
    for item in list.iter() {
        fuel.burn(1)?;
        match item {
            CelValue::List(inner) => {
                fuel.burn_elements(inner.len())?;
                out.extend(inner.iter());
            }
            other => out.push(other),
        }
    }
    Ok(CelValue::list(out))
}
