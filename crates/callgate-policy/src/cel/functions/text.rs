//! Making strings from strings.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::types::Kind;
use super::super::value::CelValue;
use super::{Definition, INT, ListOf, STR, Signature, Style, define, sig, unsuited};

const CHANGE: &[Signature] = &[sig(&[STR], STR)];

pub(super) const TABLE: &[Definition] = &[
    define("lowerAscii", Style::Method, CHANGE, |args, fuel| {
        change("lowerAscii", args, fuel, str::to_ascii_lowercase)
    }),
    define("upperAscii", Style::Method, CHANGE, |args, fuel| {
        change("upperAscii", args, fuel, str::to_ascii_uppercase)
    }),
    define("reverse", Style::Method, CHANGE, |args, fuel| {
        change("reverse", args, fuel, |text| text.chars().rev().collect())
    }),
    define("trim", Style::Method, CHANGE, trim),
    define("replace", Style::Method, &[sig(&[STR, STR, STR], STR), sig(&[STR, STR, STR, INT], STR)], replace),
    define(
        "split",
        Style::Method,
        &[sig(&[STR, STR], ListOf(Kind::Str)), sig(&[STR, STR, INT], ListOf(Kind::Str))],
        split,
    ),
    define("strings.quote", Style::Function, CHANGE, |args, fuel| change("strings.quote", args, fuel, quote)),
];

fn change<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    fuel: &mut Fuel,
    make: fn(&str) -> String,
) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited(name, args)) };
    fuel.burn_bytes(text.len().saturating_mul(2))?;
    Ok(CelValue::string(make(text)))
}

fn trim<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited("trim", args)) };
    fuel.burn_bytes(text.len())?;
    Ok(CelValue::Str(text.part(str::trim)))
}

/// How many replacements or parts are asked for; a negative number means all.
fn limit(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn replace<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (text, from, to, most) = match args {
        [CelValue::Str(text), CelValue::Str(from), CelValue::Str(to)] => (text, from, to, usize::MAX),
        [CelValue::Str(text), CelValue::Str(from), CelValue::Str(to), CelValue::Int(most)] => {
            (text, from, to, limit(*most))
        }
        _ => return Err(unsuited("replace", args)),
    };
    fuel.burn_bytes(text.len().saturating_add(from.len()))?;
    // Counted before anything is built: every place adds the new text.
    let places = text.matches(&**from).take(most).count();
    fuel.burn_elements(places)?;
    fuel.burn_bytes(text.len().saturating_add(places.saturating_mul(to.len())))?;
    Ok(CelValue::string(text.replacen(&**from, to, places)))
}

fn split<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let (text, between, most) = match args {
        [CelValue::Str(text), CelValue::Str(between)] => (text, between, usize::MAX),
        [CelValue::Str(text), CelValue::Str(between), CelValue::Int(most)] => (text, between, limit(*most)),
        _ => return Err(unsuited("split", args)),
    };
    fuel.burn_bytes(text.len().saturating_add(between.len()))?;
    let mut parts = Vec::new();
    let mut start = 0;
    // An empty separator parts all characters.
    let step = |start: usize| -> Option<(usize, usize)> {
        let rest = text.get(start..)?;
        if between.is_empty() {
            let first = rest.chars().next()?.len_utf8();
            let end = start.saturating_add(first);
            return (end < text.len()).then_some((end, end));
        }
        let end = start.saturating_add(rest.find(&**between)?);
        Some((end, end.saturating_add(between.len())))
    };
    if most == 0 || (between.is_empty() && text.is_empty()) {
        return Ok(CelValue::list(parts));
    }
    while parts.len().saturating_add(1) < most {
        let Some((end, next)) = step(start) else { break };
        fuel.burn(1)?;
        parts.push(CelValue::Str(text.part(|text| text.get(start..end).unwrap_or(""))));
        start = next;
    }
    fuel.burn(1)?;
    parts.push(CelValue::Str(text.part(|text| text.get(start..).unwrap_or(""))));
    Ok(CelValue::list(parts))
}

/// The text as a literal.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
