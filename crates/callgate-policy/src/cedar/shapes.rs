//! The Cedar types of arguments, and values of them.
//!
//! Numbers are exact or refused: `Long` has 64 bits, `decimal` four places. An argument that its type
//! cannot carry, or that is of another type than the tool's schema says, cannot be read: a policy that
//! reads it cannot be evaluated.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use callgate_core::decimal::Decimal;
use callgate_core::value::{Map, Value};
use cedar_policy_core::ast::{self, ExtensionFunction, Name, PartialValue};
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use crate::cel::{Kind, Type};

/// A type that a policy can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Long,
    Decimal,
    Text,
    Set(Box<Shape>),
    Record(Record),
}

/// The attributes of a record.
pub(crate) type Record = BTreeMap<SmolStr, Attribute>;

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

impl Shape {
    /// The shape of a type; fields that have none are left out and named in `left_out`.
    fn of(ty: &Type, path: &str, left_out: &mut Vec<String>) -> Option<Self> {
        let shape = match ty {
            Type::Plain(Kind::Bool) => Some(Self::Bool),
            Type::Plain(Kind::Int) => Some(Self::Long),
            Type::Plain(Kind::Decimal) => Some(Self::Decimal),
            Type::Plain(Kind::Str) => Some(Self::Text),
            Type::List(item) => {
                let item = Self::of(item, &format!("{path}[]"), left_out);
                return item.map(|item| Self::Set(Box::new(item)));
            }
            Type::Object(_) => return record(ty, path, left_out).map(Self::Record),
            _ => None,
        };
        if shape.is_none() {
            left_out.push(path.to_owned());
        }
        shape
    }

    /// Appends the type as Cedar schemas write it.
    pub(crate) fn declare(&self, out: &mut String) {
        match self {
            Self::Bool => out.push_str("Bool"),
            Self::Long => out.push_str("Long"),
            Self::Decimal => out.push_str("decimal"),
            Self::Text => out.push_str("String"),
            Self::Set(item) => {
                out.push_str("Set<");
                item.declare(out);
                out.push('>');
            }
            Self::Record(record) => declare(record, out),
        }
    }

    /// What a person calls it.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Long => "an integer",
            Self::Decimal => "a number",
            Self::Text => "a string",
            Self::Set(_) => "an array",
            Self::Record(_) => "an object",
        }
    }

    /// The value in Cedar's form.
    ///
    /// # Errors
    /// What does not fit, without the value itself: errors are written into receipts.
    pub(crate) fn value(&self, value: &Value, path: &str) -> Result<ast::Value, String> {
        match (self, value) {
            (Self::Bool, Value::Bool(flag)) => Ok(ast::Value::from(*flag)),
            (Self::Long, Value::Int(number)) => Ok(ast::Value::from(*number)),
            (Self::Decimal, Value::Int(_) | Value::Decimal(_)) => {
                let number = value.as_decimal().and_then(decimal);
                number.ok_or_else(|| inexact(path))
            }
            (Self::Text, Value::Str(text)) => Ok(ast::Value::from(text.as_str())),
            (Self::Set(item), Value::List(items)) => {
                let items = items.iter().map(|it| item.value(it, path));
                Ok(ast::Value::set(items.collect::<Result<Vec<_>, _>>()?, None))
            }
            (Self::Record(record), Value::Map(map)) => Ok(ast::Value::record(read(record, map, path)?, None)),
            _ => Err(format!("`{path}` is not {}, as the tool's schema says", self.word())),
        }
    }
}

/// The attributes of an object type.
pub(crate) fn record(ty: &Type, path: &str, left_out: &mut Vec<String>) -> Option<Record> {
    let Type::Object(object) = ty else {
        left_out.push(path.to_owned());
        return None;
    };
    let attribute = |(name, field): (&String, &crate::cel::Field)| {
        let shape = Shape::of(&field.ty, &format!("{path}.{name}"), left_out)?;
        Some((SmolStr::from(name.as_str()), Attribute { shape, required: field.required }))
    };
    Some(object.fields.iter().filter_map(attribute).collect())
}

/// Appends a record type.
pub(crate) fn declare(record: &Record, out: &mut String) {
    out.push('{');
    for (at, (name, attribute)) in record.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        quote(name, out);
        out.push_str(if attribute.required { ": " } else { "?: " });
        attribute.shape.declare(out);
    }
    out.push('}');
}

/// Appends `text` as a Cedar string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The attributes of `record` that `map` has; what is missing stays missing.
fn read(record: &Record, map: &Map, path: &str) -> Result<Vec<(SmolStr, ast::Value)>, String> {
    let present = record.iter().filter_map(|(name, attribute)| Some((name, attribute, map.get(name)?)));
    present
        .map(|(name, attribute, value)| {
            Ok((name.clone(), attribute.shape.value(value, &format!("{path}.{name}"))?))
        })
        .collect()
}

fn inexact(path: &str) -> String {
    format!("`{path}` is a number that Cedar cannot carry exactly (a decimal has four places)")
}

/// The value of an argument without a type, by its own kind.
///
/// # Errors
/// As [`Shape::value`].
pub(crate) fn untyped(value: &Value, path: &str) -> Result<ast::Value, String> {
    match value {
        Value::Null => Err(format!("`{path}` is null, which Cedar does not have")),
        Value::Bool(flag) => Ok(ast::Value::from(*flag)),
        Value::Int(number) => Ok(ast::Value::from(*number)),
        Value::Decimal(number) => decimal(*number).ok_or_else(|| inexact(path)),
        Value::Str(text) => Ok(ast::Value::from(text.as_str())),
        Value::List(items) => {
            let items = items.iter().map(|item| untyped(item, path));
            Ok(ast::Value::set(items.collect::<Result<Vec<_>, _>>()?, None))
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(name, value)| Ok((SmolStr::from(name), untyped(value, path)?)));
            Ok(ast::Value::record(pairs.collect::<Result<Vec<_>, String>>()?, None))
        }
    }
}

/// The extension functions that make values which Cedar has no literals for.
struct Makers {
    decimal: &'static ExtensionFunction,
    duration: &'static ExtensionFunction,
    offset: &'static ExtensionFunction,
    epoch: ast::Value,
}

static MAKERS: LazyLock<Option<Makers>> = LazyLock::new(|| {
    let function =
        |word: &str| Extensions::all_available().func(&Name::parse_unqualified_name(word).ok()?).ok();
    Some(Makers {
        decimal: function("decimal")?,
        duration: function("duration")?,
        offset: function("offset")?,
        epoch: known(function("datetime")?, &[ast::Value::from("1970-01-01")])?,
    })
});

fn known(function: &ExtensionFunction, args: &[ast::Value]) -> Option<ast::Value> {
    match function.call(args) {
        Ok(PartialValue::Value(value)) => Some(value),
        _ => None,
    }
}

/// A number in ten-thousandths, as 64 bits carry it; `None` where it would be rounded.
pub(crate) fn ten_thousandths(number: Decimal) -> Option<i64> {
    let shift = number.exponent().checked_add(4)?;
    let factor = 10i128.checked_pow(shift.unsigned_abs())?;
    let scaled = if shift >= 0 {
        number.coefficient().checked_mul(factor)?
    } else {
        let exact = number.coefficient().checked_rem(factor)? == 0;
        exact.then(|| number.coefficient().checked_div(factor))??
    };
    i64::try_from(scaled).ok()
}

/// A number as Cedar's `decimal`: four places, 64 bits; `None` where it would be rounded.
pub(crate) fn decimal(number: Decimal) -> Option<ast::Value> {
    let scaled = ten_thousandths(number)?;
    let sign = if scaled < 0 { "-" } else { "" };
    let (whole, rest) = (scaled.unsigned_abs() / 10_000, scaled.unsigned_abs() % 10_000);
    known(MAKERS.as_ref()?.decimal, &[ast::Value::from(format!("{sign}{whole}.{rest:04}").as_str())])
}

/// A moment, in milliseconds since 1970 UTC, as Cedar's `datetime`.
pub(crate) fn moment(ms: i64) -> Option<ast::Value> {
    let makers = MAKERS.as_ref()?;
    let since = known(makers.duration, &[ast::Value::from(format!("{ms}ms").as_str())])?;
    known(makers.offset, &[makers.epoch.clone(), since])
}
