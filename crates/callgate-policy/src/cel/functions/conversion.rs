//! Conversions between types; those that would lose range are errors.

use callgate_core::decimal::{Decimal, DecimalError};

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::number::{
    double_to_int, double_to_uint, from_uint, int_to_double, truncate, uint_to_double,
};
use super::super::time;
use super::super::value::{CelValue, Octets};
use super::{
    Any, BOOL, BYTES, CIDR, Callable, DECIMAL, DOUBLE, DURATION, Definition, INT, IP, STR, Signature, Style,
    TIMESTAMP, TYPE, UINT, define, sig, unsuited,
};

pub(super) const TABLE: &[Definition] = &[
    convert("bool", &[sig(&[BOOL], BOOL), sig(&[STR], BOOL)], to_bool),
    convert("bytes", &[sig(&[BYTES], BYTES), sig(&[STR], BYTES)], to_bytes),
    convert(
        "dec",
        &[
            sig(&[DECIMAL], DECIMAL),
            sig(&[INT], DECIMAL),
            sig(&[UINT], DECIMAL),
            sig(&[STR], DECIMAL),
            sig(&[DOUBLE], DECIMAL),
        ],
        to_decimal,
    ),
    convert(
        "double",
        &[
            sig(&[DOUBLE], DOUBLE),
            sig(&[INT], DOUBLE),
            sig(&[UINT], DOUBLE),
            sig(&[DECIMAL], DOUBLE),
            sig(&[STR], DOUBLE),
        ],
        to_double,
    ),
    convert(
        "duration",
        &[sig(&[DURATION], DURATION), sig(&[STR], DURATION), sig(&[INT], DURATION)],
        to_duration,
    ),
    Definition { identity: true, ..convert("dyn", &[sig(&[Any], Any)], |args, _| same(args, "dyn")) },
    convert(
        "int",
        &[
            sig(&[INT], INT),
            sig(&[UINT], INT),
            sig(&[DOUBLE], INT),
            sig(&[DECIMAL], INT),
            sig(&[STR], INT),
            sig(&[TIMESTAMP], INT),
            sig(&[DURATION], INT),
        ],
        to_int,
    ),
    convert(
        "string",
        &[
            sig(&[STR], STR),
            sig(&[BOOL], STR),
            sig(&[INT], STR),
            sig(&[UINT], STR),
            sig(&[DOUBLE], STR),
            sig(&[DECIMAL], STR),
            sig(&[BYTES], STR),
            sig(&[TIMESTAMP], STR),
            sig(&[DURATION], STR),
            sig(&[TYPE], STR),
            sig(&[IP], STR),
            sig(&[CIDR], STR),
        ],
        to_string,
    ),
    convert(
        "timestamp",
        &[sig(&[TIMESTAMP], TIMESTAMP), sig(&[STR], TIMESTAMP), sig(&[INT], TIMESTAMP)],
        to_timestamp,
    ),
    convert("type", &[sig(&[Any], TYPE)], |args, _| match args {
        [value] => Ok(CelValue::Type(value.kind())),
        _ => Err(unsuited("type", args)),
    }),
    convert(
        "uint",
        &[
            sig(&[UINT], UINT),
            sig(&[INT], UINT),
            sig(&[DOUBLE], UINT),
            sig(&[DECIMAL], UINT),
            sig(&[STR], UINT),
        ],
        to_uint,
    ),
];

const fn convert(name: &'static str, signatures: &'static [Signature], call: Callable) -> Definition {
    define(name, Style::Function, signatures, call)
}

fn same<'a>(args: &[CelValue<'a>], name: &'static str) -> Result<CelValue<'a>, EvalError> {
    args.first().cloned().ok_or_else(|| unsuited(name, args))
}

fn to_bool<'a>(args: &[CelValue<'a>], _: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Bool(_)] => same(args, "bool"),
        [CelValue::Str(text)] => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(CelValue::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(CelValue::Bool(false)),
            other => Err(EvalError::argument("bool", other, "write `true` or `false`")),
        },
        _ => Err(unsuited("bool", args)),
    }
}

fn to_bytes<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Bytes(_)] => same(args, "bytes"),
        [CelValue::Str(super::super::value::Text::Borrowed(text))] => {
            Ok(CelValue::Bytes(Octets::Borrowed(text.as_bytes())))
        }
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            Ok(CelValue::octets(text.as_bytes()))
        }
        _ => Err(unsuited("bytes", args)),
    }
}

fn to_decimal<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let number = match args {
        [CelValue::Decimal(number)] => *number,
        [CelValue::Int(number)] => Decimal::from(*number),
        [CelValue::Uint(number)] => from_uint(*number),
        [CelValue::Double(number)] => Decimal::from_f64(*number).map_err(|_| EvalError::Overflow("dec"))?,
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            text.parse().map_err(|error| match error {
                DecimalError::Syntax(_) => EvalError::argument(
                    "dec",
                    text,
                    "write digits with an optional sign and point, as `12.50`",
                ),
                DecimalError::Range => EvalError::argument("dec", text, "34 significant digits are kept"),
            })?
        }
        _ => return Err(unsuited("dec", args)),
    };
    Ok(CelValue::Decimal(number))
}

fn to_double<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let number = match args {
        [CelValue::Double(number)] => *number,
        [CelValue::Int(number)] => int_to_double(*number),
        [CelValue::Uint(number)] => uint_to_double(*number),
        [CelValue::Decimal(number)] => number.to_f64(),
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            text.parse().map_err(|_| EvalError::argument("double", text, "it is not a number"))?
        }
        _ => return Err(unsuited("double", args)),
    };
    Ok(CelValue::Double(number))
}

fn to_int<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let number = match args {
        [CelValue::Int(number)] => Some(*number),
        [CelValue::Uint(number)] => i64::try_from(*number).ok(),
        [CelValue::Double(number)] => double_to_int(*number),
        [CelValue::Decimal(number)] => truncate(*number).and_then(|whole| i64::try_from(whole).ok()),
        [CelValue::Timestamp(nanos)] => i64::try_from(nanos.div_euclid(i128::from(time::NANOS))).ok(),
        [CelValue::Duration(nanos)] => Some(*nanos),
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            Some(
                text.parse()
                    .map_err(|_| EvalError::argument("int", text, "it is not a whole number of 64 bits"))?,
            )
        }
        _ => return Err(unsuited("int", args)),
    };
    number.map(CelValue::Int).ok_or(EvalError::Overflow("int"))
}

fn to_uint<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let number = match args {
        [CelValue::Uint(number)] => Some(*number),
        [CelValue::Int(number)] => u64::try_from(*number).ok(),
        [CelValue::Double(number)] => double_to_uint(*number),
        [CelValue::Decimal(number)] => truncate(*number).and_then(|whole| u64::try_from(whole).ok()),
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            let reason = "it is not a whole number of 64 bits, zero or more";
            Some(text.parse().map_err(|_| EvalError::argument("uint", text, reason))?)
        }
        _ => return Err(unsuited("uint", args)),
    };
    number.map(CelValue::Uint).ok_or(EvalError::Overflow("uint"))
}

fn to_string<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let text = match args {
        [CelValue::Str(_)] => return same(args, "string"),
        [CelValue::Bytes(octets)] => {
            fuel.burn_bytes(octets.len())?;
            let text = std::str::from_utf8(octets);
            return text
                .map(CelValue::string)
                .map_err(|_| EvalError::argument("string", "bytes", "they are not UTF-8"));
        }
        [CelValue::Bool(flag)] => flag.to_string(),
        [CelValue::Int(number)] => number.to_string(),
        [CelValue::Uint(number)] => number.to_string(),
        [CelValue::Decimal(number)] => number.to_string(),
        [CelValue::Double(number)] => double_text(*number),
        [CelValue::Timestamp(nanos)] => time::timestamp_text(*nanos),
        [CelValue::Duration(nanos)] => time::duration_text(*nanos),
        [CelValue::Type(kind)] => kind.name().to_owned(),
        [CelValue::Ip(address)] => address.to_string(),
        [CelValue::Cidr(range)] => range.to_string(),
        _ => return Err(unsuited("string", args)),
    };
    fuel.burn_bytes(text.len())?;
    Ok(CelValue::string(text))
}

/// The shortest form that reads back to the same double; NaN and infinities by their names.
pub(super) fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = number.abs();
    if number != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, power)) if power.trim_start_matches('-').len() < 2 => {
                let (sign, power) = power.strip_prefix('-').map_or(("+", power), |power| ("-", power));
                format!("{digits}e{sign}0{power}")
            }
            Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
            _ => text,
        };
    }
    number.to_string()
}

fn to_timestamp<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let nanos = match args {
        [CelValue::Timestamp(nanos)] => Some(*nanos),
        [CelValue::Int(seconds)] => time::from_seconds(*seconds),
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            let reason =
                "write a date and time from the years 1 to 9999 as RFC 3339 does, `2026-01-31T12:00:00Z`";
            Some(time::parse_timestamp(text).ok_or_else(|| EvalError::argument("timestamp", text, reason))?)
        }
        _ => return Err(unsuited("timestamp", args)),
    };
    nanos.map(CelValue::Timestamp).ok_or(EvalError::Overflow("timestamp"))
}

fn to_duration<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let nanos = match args {
        [CelValue::Duration(nanos)] => Some(*nanos),
        [CelValue::Int(seconds)] => seconds.checked_mul(time::NANOS),
        [CelValue::Str(text)] => {
            fuel.burn_bytes(text.len())?;
            let reason = "write numbers with units from `h` to `ns`, as `1h30m`, at most 290 years";
            Some(time::parse_duration(text).ok_or_else(|| EvalError::argument("duration", text, reason))?)
        }
        _ => return Err(unsuited("duration", args)),
    };
    nanos.map(CelValue::Duration).ok_or(EvalError::Overflow("duration"))
}
