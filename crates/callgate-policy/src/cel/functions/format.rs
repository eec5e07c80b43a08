//! `text.format(list)`: the specification's `string.format`.

use callgate_core::decimal::Decimal;

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::time;
use super::super::value::CelValue;
use super::conversion::double_text;
use super::{Definition, ListT, STR, Style, define, sig, unsuited};

/// Digits after the point where a clause names none, and the most it may name.
const PLACES: usize = 6;
const MOST_PLACES: usize = 100;
/// How deep lists and maps are written out.
const DEEPEST: u32 = 64;

pub(super) const TABLE: &[Definition] =
    &[define("format", Style::Method, &[sig(&[STR, ListT], STR)], format)];

/// One clause: `%.3f` has the verb `f` and 3 places.
struct Clause {
    verb: char,
    places: Option<usize>,
}

fn format<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text), CelValue::List(list)] = args else { return Err(unsuited("format", args)) };
    fuel.burn_bytes(text.len().saturating_mul(2))?;
    let mut values = list.iter();
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = match after.strip_prefix('%') {
            Some(after) => {
                out.push('%');
                after
            }
            None => {
                let (clause, after) = clause(after).ok_or_else(|| unknown(after))?;
                let missing =
                    || EvalError::argument("format", text, "it has more clauses than the list has values");
                let value = values.next().ok_or_else(missing)?;
                let start = out.len();
                write(&mut out, &clause, &value, fuel)?;
                fuel.burn_bytes(out.len().saturating_sub(start))?;
                after
            }
        };
    }
    out.push_str(rest);
    Ok(CelValue::string(out))
}

fn unknown(clause: &str) -> EvalError {
    EvalError::argument("format", clause, "after % stand s, d, f, e, b, o, x, X or %, as in `%.2f`")
}

/// Reads `.digits` and a verb.
fn clause(text: &str) -> Option<(Clause, &str)> {
    let (places, rest) = match text.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let places = rest.get(..end)?.parse().ok().filter(|places| *places <= MOST_PLACES)?;
            (Some(places), rest.get(end..)?)
        }
        None => (None, text),
    };
    let verb = rest.chars().next().filter(|verb| "sdfeboxX".contains(*verb))?;
    Some((Clause { verb, places }, rest.get(1..)?))
}

fn write(out: &mut String, clause: &Clause, value: &CelValue<'_>, fuel: &mut Fuel) -> Result<(), EvalError> {
    let places = clause.places.unwrap_or(PLACES);
    let text = match (clause.verb, value) {
        ('s', value) => return plain(out, value, fuel, 0),
        ('d', CelValue::Int(number)) => number.to_string(),
        ('d', CelValue::Uint(number)) => number.to_string(),
        ('d', CelValue::Decimal(number)) => number.to_string(),
        ('d' | 'f' | 'e', CelValue::Double(number)) if !number.is_finite() => named(*number).to_owned(),
        ('d', CelValue::Double(number)) => double_text(*number),
        ('f', CelValue::Double(number)) => format!("{number:.places$}"),
        ('f', CelValue::Int(number)) => fixed(Decimal::from(*number), places)?,
        ('f', CelValue::Uint(number)) => fixed(super::super::number::from_uint(*number), places)?,
        ('f', CelValue::Decimal(number)) => fixed(*number, places)?,
        ('e', CelValue::Double(number)) => scientific(*number, places),
        ('e', CelValue::Int(number)) => scientific(super::super::number::int_to_double(*number), places),
        ('e', CelValue::Uint(number)) => scientific(super::super::number::uint_to_double(*number), places),
        ('e', CelValue::Decimal(number)) => scientific(number.to_f64(), places),
        ('b', CelValue::Bool(flag)) => u8::from(*flag).to_string(),
        ('b' | 'o' | 'x' | 'X', CelValue::Int(number)) => {
            if *number < 0 {
                out.push('-');
            }
            radix(clause.verb, number.unsigned_abs())
        }
        ('b' | 'o' | 'x' | 'X', CelValue::Uint(number)) => radix(clause.verb, *number),
        ('x' | 'X', CelValue::Str(text)) => return hex(out, clause.verb, text.as_bytes(), fuel),
        ('x' | 'X', CelValue::Bytes(octets)) => return hex(out, clause.verb, octets, fuel),
        (_, value) => return Err(EvalError::WrongOperand { operation: "format", found: value.kind() }),
    };
    out.push_str(&text);
    Ok(())
}

fn named(number: f64) -> &'static str {
    match number {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

fn radix(verb: char, number: u64) -> String {
    match verb {
        'b' => format!("{number:b}"),
        'o' => format!("{number:o}"),
        'x' => format!("{number:x}"),
        _ => format!("{number:X}"),
    }
}

fn hex(out: &mut String, verb: char, octets: &[u8], fuel: &mut Fuel) -> Result<(), EvalError> {
    fuel.burn_bytes(octets.len().saturating_mul(2))?;
    for octet in octets {
        out.push_str(&if verb == 'x' { format!("{octet:02x}") } else { format!("{octet:02X}") });
    }
    Ok(())
}

fn scientific(number: f64, places: usize) -> String {
    let text = format!("{number:.places$e}");
    let Some((digits, power)) = text.split_once('e') else { return text };
    let (sign, power) = power.strip_prefix('-').map_or(("+", power), |power| ("-", power));
    format!("{digits}e{sign}{power:0>2}")
}

/// A decimal with exactly `places` digits after the point, halves to the even digit.
fn fixed(number: Decimal, places: usize) -> Result<String, EvalError> {
    let overflow = || EvalError::Overflow("format");
    let wanted = i32::try_from(places).map_err(|_| overflow())?;
    let (mut digits, shift) = (number.coefficient(), number.exponent().saturating_add(wanted));
    let mut zeros = 0;
    match u32::try_from(shift) {
        // What lies beyond the digits of a decimal is written as zeros, not calculated.
        Ok(up) => zeros = usize::try_from(up).map_err(|_| overflow())?,
        Err(_) => digits = halved(digits, shift.unsigned_abs()),
    }
    if digits == 0 {
        zeros = 0;
    }
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!("{}{}", digits.unsigned_abs(), "0".repeat(zeros));
    let text = format!("{text:0>width$}", width = places.saturating_add(1));
    let (whole, fraction) = text.split_at(text.len().saturating_sub(places));
    let point = if places == 0 { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

/// `digits` divided by ten `times`, halves to even.
fn halved(digits: i128, times: u32) -> i128 {
    let Some(divisor) = 10i128.checked_pow(times) else { return 0 };
    let whole = digits.checked_div(divisor).unwrap_or(0);
    let rest = digits.checked_rem(divisor).unwrap_or(0).unsigned_abs();
    let other = divisor.unsigned_abs().saturating_sub(rest);
    let away = rest > other || (rest == other && whole.checked_rem(2).is_some_and(|odd| odd != 0));
    if away { whole.saturating_add(digits.signum()) } else { whole }
}

/// `%s`: a value as people write it.
fn plain(out: &mut String, value: &CelValue<'_>, fuel: &mut Fuel, depth: u32) -> Result<(), EvalError> {
    fuel.burn(1)?;
    if depth > DEEPEST {
        return Err(EvalError::TooDeep);
    }
    match value {
        CelValue::Null => out.push_str("null"),
        CelValue::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        CelValue::Int(number) => out.push_str(&number.to_string()),
        CelValue::Uint(number) => out.push_str(&number.to_string()),
        CelValue::Double(number) if !number.is_finite() => out.push_str(named(*number)),
        CelValue::Double(number) => out.push_str(&double_text(*number)),
        CelValue::Decimal(number) => out.push_str(&number.to_string()),
        CelValue::Str(text) => {
            fuel.burn_bytes(text.len())?;
            out.push_str(text);
        }
        CelValue::Bytes(octets) => {
            fuel.burn_bytes(octets.len())?;
            let text = std::str::from_utf8(octets);
            out.push_str(text.map_err(|_| EvalError::argument("format", "bytes", "they are not UTF-8"))?);
        }
        CelValue::Timestamp(nanos) => out.push_str(&time::timestamp_text(*nanos)),
        CelValue::Duration(nanos) => out.push_str(&time::duration_text(*nanos)),
        CelValue::Type(kind) => out.push_str(kind.name()),
        CelValue::Ip(address) => out.push_str(&address.to_string()),
        CelValue::Cidr(range) => out.push_str(&range.to_string()),
        CelValue::Optional(_) => {
            return Err(EvalError::WrongOperand { operation: "format", found: value.kind() });
        }
        CelValue::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                plain(out, &item, fuel, depth.saturating_add(1))?;
            }
            out.push(']');
        }
        CelValue::Map(map) => {
            fuel.burn_elements(map.len())?;
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map.entries() {
                let mut name = String::new();
                plain(&mut name, &key, fuel, depth.saturating_add(1))?;
                entries.push((name, value));
            }
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push('{');
            for (at, (name, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(name);
                out.push_str(": ");
                plain(out, value, fuel, depth.saturating_add(1))?;
            }
            out.push('}');
        }
    }
    Ok(())
}
