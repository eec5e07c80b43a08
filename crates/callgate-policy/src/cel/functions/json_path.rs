//! `json.path(value, "$.items[*].price")`: JSONPath (RFC 9535) without filters. What a path does not
//! find is not in the list; it is no error.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::{CelValue, List};
use super::{Any, Definition, ListT, STR, Style, define, sig, unsuited};

/// The most segments of a path, and selectors of a segment.
const MOST: usize = 32;
/// How deep `..` looks; requests are never deeper.
const DEEPEST: u32 = 200;

pub(super) const TABLE: &[Definition] = &[define(
    "json.path",
    Style::Function,
    &[sig(&[super::Map, STR], ListT), sig(&[ListT, STR], ListT), sig(&[Any, STR], ListT)],
    path,
)];

/// One step of a path.
struct Segment {
    /// `..`: applies to the value and everything below it.
    below: bool,
    selectors: Vec<Selector>,
}

enum Selector {
    Name(String),
    Index(i64),
    All,
    Slice { from: Option<i64>, to: Option<i64>, step: i64 },
}

fn path<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [value, CelValue::Str(path)] = args else { return Err(unsuited("json.path", args)) };
    fuel.burn_bytes(path.len().saturating_mul(2))?;
    let mut found = vec![value.clone()];
    for segment in read(path)? {
        let mut next = Vec::new();
        for value in found {
            if segment.below {
                descend(&value, &segment.selectors, &mut next, fuel, 0)?;
            } else {
                select(&value, &segment.selectors, &mut next, fuel)?;
            }
        }
        found = next;
    }
    Ok(CelValue::list(found))
}

/// Applies the selectors to `value` and to everything in it.
fn descend<'a>(
    value: &CelValue<'a>,
    selectors: &[Selector],
    out: &mut Vec<CelValue<'a>>,
    fuel: &mut Fuel,
    depth: u32,
) -> Result<(), EvalError> {
    if depth > DEEPEST {
        return Err(EvalError::TooDeep);
    }
    select(value, selectors, out, fuel)?;
    for child in children(value, fuel)? {
        descend(&child, selectors, out, fuel, depth.saturating_add(1))?;
    }
    Ok(())
}

fn children<'a>(value: &CelValue<'a>, fuel: &mut Fuel) -> Result<Vec<CelValue<'a>>, EvalError> {
    fuel.burn(1)?;
    match value {
        CelValue::List(list) => {
            fuel.burn_elements(list.len())?;
            Ok(list.iter().collect())
        }
        CelValue::Map(map) => {
            fuel.burn_elements(map.len())?;
            Ok(map.entries().into_iter().map(|(_, value)| value).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn select<'a>(
    value: &CelValue<'a>,
    selectors: &[Selector],
    out: &mut Vec<CelValue<'a>>,
    fuel: &mut Fuel,
) -> Result<(), EvalError> {
    for selector in selectors {
        fuel.burn(1)?;
        match (selector, value) {
            (Selector::Name(name), CelValue::Map(map)) => {
                fuel.burn_bytes(name.len())?;
                out.extend(map.field(name));
            }
            (Selector::Index(index), CelValue::List(list)) => {
                out.extend(place(*index, list).and_then(|at| list.get(at)));
            }
            (Selector::All, value) => out.extend(children(value, fuel)?),
            (Selector::Slice { from, to, step }, CelValue::List(list)) => {
                slice(list, (*from, *to, *step), out, fuel)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a possibly negative index points.
fn place(index: i64, list: &List<'_>) -> Option<usize> {
    let length = i64::try_from(list.len()).ok()?;
    let at = if index < 0 { length.checked_add(index)? } else { index };
    usize::try_from(at).ok()
}

/// RFC 9535 section 2.3.4.2.2.
fn slice<'a>(
    list: &List<'a>,
    (from, to, step): (Option<i64>, Option<i64>, i64),
    out: &mut Vec<CelValue<'a>>,
    fuel: &mut Fuel,
) -> Result<(), EvalError> {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let last = length.saturating_sub(1);
    let real = |index: i64| if index < 0 { length.saturating_add(index) } else { index };
    let (mut at, end) = if step >= 0 {
        let from = real(from.unwrap_or(0)).clamp(0, length);
        (from, real(to.unwrap_or(length)).clamp(0, length))
    } else {
        let from = from.map_or(last, real).clamp(-1, last);
        (from, to.map_or(-1, real).clamp(-1, last))
    };
    while step != 0 && ((step > 0 && at < end) || (step < 0 && at > end)) {
        fuel.burn(1)?;
        out.extend(usize::try_from(at).ok().and_then(|at| list.get(at)));
        at = at.saturating_add(step);
    }
    Ok(())
}

fn read(path: &str) -> Result<Vec<Segment>, EvalError> {
    let reason = "write a path as `$.items[*].price`, `$['a b'][0]`, `$.list[1:3]` or `$..name`";
    segments(path).ok_or_else(|| EvalError::argument("json.path", path, reason))
}

/// Checks a path that a rule writes out.
pub(super) fn check_path(path: &str) -> Result<(), EvalError> {
    read(path).map(|_| ())
}

fn segments(path: &str) -> Option<Vec<Segment>> {
    let mut rest = path.strip_prefix('$')?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let below = rest.starts_with("..");
        let (selectors, after) = match rest.strip_prefix("..").or_else(|| rest.strip_prefix('.')) {
            Some(named) if !named.starts_with('[') => dotted(named)?,
            Some(bracket) if below => bracketed(bracket)?,
            None => bracketed(rest)?,
            Some(_) => return None,
        };
        found.push(Segment { below, selectors });
        if found.len() > MOST {
            return None;
        }
        rest = after;
    }
    Some(found)
}

/// A name or `*` after a dot.
fn dotted(text: &str) -> Option<(Vec<Selector>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((vec![Selector::All], rest));
    }
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    let end = text.find(|c: char| !named(c)).unwrap_or(text.len());
    let name =
        text.get(..end).filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))?;
    Some((vec![Selector::Name(name.to_owned())], text.get(end..)?))
}

/// Selectors between brackets.
fn bracketed(text: &str) -> Option<(Vec<Selector>, &str)> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut selectors = Vec::new();
    loop {
        let (selector, after) = selector(rest)?;
        selectors.push(selector);
        if selectors.len() > MOST {
            return None;
        }
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            return Some((selectors, after));
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

fn selector(text: &str) -> Option<(Selector, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((Selector::All, rest));
    }
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        return quoted(text.get(1..)?, quote);
    }
    let end = text.find([',', ']'])?;
    let (body, rest) = (text.get(..end)?.trim(), text.get(end..)?);
    if !body.contains(':') {
        return Some((Selector::Index(body.parse().ok()?), rest));
    }
    let mut parts = body.split(':').map(str::trim);
    let mut number = || match parts.next() {
        None | Some("") => Some(None),
        Some(digits) => digits.parse::<i64>().ok().map(Some),
    };
    let (from, to, step) = (number()?, number()?, number()?);
    let step = step.unwrap_or(1);
    parts.next().is_none().then_some((Selector::Slice { from, to, step }, rest))
}

/// A name in quotes; a backslash stands before a quote or a backslash.
fn quoted(text: &str, quote: char) -> Option<(Selector, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next().map(|(_, c)| c).filter(|c| matches!(c, '\\' | '\'' | '"'))?),
            c if c == quote => {
                let rest = text.get(at.checked_add(1)?..)?;
                return Some((Selector::Name(name), rest));
            }
            c => name.push(c),
        }
    }
    None
}
