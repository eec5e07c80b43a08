//! Looking into strings. Positions count characters (Unicode scalar values), not bytes.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::{CelValue, Text};
use super::{BOOL, Definition, INT, STR, Signature, Style, define, sig, unsuited};

const TEST: &[Signature] = &[sig(&[STR, STR], BOOL)];
const FIND: &[Signature] = &[sig(&[STR, STR], INT), sig(&[STR, STR, INT], INT)];

pub(super) const TABLE: &[Definition] = &[
    define("contains", Style::Method, TEST, |args, fuel| {
        test("contains", args, fuel, |text, part| text.contains(part))
    }),
    define("startsWith", Style::Method, TEST, |args, fuel| {
        test("startsWith", args, fuel, |text, part| text.starts_with(part))
    }),
    define("endsWith", Style::Method, TEST, |args, fuel| {
        test("endsWith", args, fuel, |text, part| text.ends_with(part))
    }),
    // Lowered to a compiled pattern; never called.
    define("matches", Style::Both, TEST, |args, _| Err(unsuited("matches", args))),
    define("charAt", Style::Method, &[sig(&[STR, INT], STR)], char_at),
    define("indexOf", Style::Method, FIND, index_of),
    define("lastIndexOf", Style::Method, FIND, last_index_of),
    define("substring", Style::Method, &[sig(&[STR, INT], STR), sig(&[STR, INT, INT], STR)], substring),
];

fn test<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    fuel: &mut Fuel,
    holds: fn(&str, &str) -> bool,
) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text), CelValue::Str(part)] = args else { return Err(unsuited(name, args)) };
    // Only a search walks the whole text; a prefix or suffix costs its own length.
    let touched = if name == "contains" { text.len().saturating_add(part.len()) } else { part.len() };
    fuel.burn_bytes(touched)?;
    Ok(CelValue::Bool(holds(text, part)))
}

/// The byte offset of character `index`; one past the last character is the end.
fn offset(text: &str, index: i64) -> Result<usize, EvalError> {
    let outside = || EvalError::IndexOutOfRange(index);
    let wanted = usize::try_from(index).map_err(|_| outside())?;
    let mut offsets = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    offsets.nth(wanted).ok_or_else(outside)
}

/// How many characters lie before the byte offset `at`.
fn position<'a>(text: &str, at: usize) -> CelValue<'a> {
    let before = text.get(..at).map_or(0, |part| part.chars().count());
    CelValue::Int(i64::try_from(before).unwrap_or(i64::MAX))
}

fn char_at<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text), CelValue::Int(index)] = args else { return Err(unsuited("charAt", args)) };
    fuel.burn_bytes(text.len())?;
    let at = offset(text, *index)?;
    Ok(CelValue::Str(text.part(|text| {
        let rest = text.get(at..).unwrap_or("");
        rest.chars().next().and_then(|c| rest.get(..c.len_utf8())).unwrap_or("")
    })))
}

fn index_of<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (text, part, from) = search("indexOf", args)?;
    fuel.burn_bytes(text.len().saturating_add(part.len()))?;
    let start = offset(text, from.unwrap_or(0))?;
    let found = text.get(start..).and_then(|rest| rest.find(part));
    Ok(found.map_or(CelValue::Int(-1), |at| position(text, start.saturating_add(at))))
}

fn last_index_of<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (text, part, from) = search("lastIndexOf", args)?;
    fuel.burn_bytes(text.len().saturating_add(part.len()))?;
    let start = match from {
        Some(index) => offset(text, index)?,
        None => text.len(),
    };
    // The part must begin at `start` or before, so it ends within its own length after that.
    let end = text.floor_char_boundary(start.saturating_add(part.len()));
    let found = text.get(..end).and_then(|text| text.rfind(part));
    let found = found.filter(|at| *at <= start);
    Ok(found.map_or(CelValue::Int(-1), |at| position(text, at)))
}

fn search<'v>(
    name: &'static str,
    args: &'v [CelValue<'_>],
) -> Result<(&'v str, &'v str, Option<i64>), EvalError> {
    match args {
        [CelValue::Str(text), CelValue::Str(part)] => Ok((text, part, None)),
        [CelValue::Str(text), CelValue::Str(part), CelValue::Int(from)] => Ok((text, part, Some(*from))),
        _ => Err(unsuited(name, args)),
    }
}

fn substring<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (text, from, to): (&Text<'a>, i64, Option<i64>) = match args {
        [CelValue::Str(text), CelValue::Int(from)] => (text, *from, None),
        [CelValue::Str(text), CelValue::Int(from), CelValue::Int(to)] => (text, *from, Some(*to)),
        _ => return Err(unsuited("substring", args)),
    };
    fuel.burn_bytes(text.len())?;
    let start = offset(text, from)?;
    let end = to.map_or(Ok(text.len()), |to| offset(text, to))?;
    if start > end {
        return Err(EvalError::IndexOutOfRange(from));
    }
    Ok(CelValue::Str(text.part(|text| text.get(start..end).unwrap_or(""))))
}
