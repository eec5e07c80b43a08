//! Optional values: made, tested and read.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::CelValue;
use super::{BOOL, Definition, Item, OptionalT, Style, define, sig, unsuited};

pub(super) const TABLE: &[Definition] = &[
    define("optional.of", Style::Function, &[sig(&[Item], OptionalT)], |args, _| match args {
        [value] => Ok(CelValue::optional(Some(value.clone()))),
        _ => Err(unsuited("optional.of", args)),
    }),
    define("optional.none", Style::Function, &[sig(&[], OptionalT)], |_, _| Ok(CelValue::Optional(None))),
    define("optional.ofNonZeroValue", Style::Function, &[sig(&[Item], OptionalT)], |args, _| match args {
        [value] => Ok(CelValue::optional(Some(value.clone()).filter(|value| !is_zero(value)))),
        _ => Err(unsuited("optional.ofNonZeroValue", args)),
    }),
    define("hasValue", Style::Method, &[sig(&[OptionalT], BOOL)], |args, _| match args {
        [CelValue::Optional(inner)] => Ok(CelValue::Bool(inner.is_some())),
        _ => Err(unsuited("hasValue", args)),
    }),
    define("value", Style::Method, &[sig(&[OptionalT], Item)], |args, _| match args {
        [CelValue::Optional(Some(inner))] => Ok(inner.as_ref().clone()),
        [CelValue::Optional(None)] => Err(EvalError::NoValue),
        _ => Err(unsuited("value", args)),
    }),
    define("or", Style::Method, &[sig(&[OptionalT, OptionalT], OptionalT)], |args, _| match args {
        [CelValue::Optional(None), other @ CelValue::Optional(_)] => Ok(other.clone()),
        [first @ CelValue::Optional(Some(_)), CelValue::Optional(_)] => Ok(first.clone()),
        _ => Err(unsuited("or", args)),
    }),
    define("orValue", Style::Method, &[sig(&[OptionalT, Item], Item)], or_value),
];

fn or_value<'a>(args: &[CelValue<'a>], _: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Optional(Some(inner)), _] => Ok(inner.as_ref().clone()),
        [CelValue::Optional(None), other] => Ok(other.clone()),
        _ => Err(unsuited("orValue", args)),
    }
}

/// Whether a value is the zero of its type: empty, false, 0 or null.
fn is_zero(value: &CelValue<'_>) -> bool {
    match value {
        CelValue::Null => true,
        CelValue::Bool(flag) => !flag,
        CelValue::Int(number) => *number == 0,
        CelValue::Uint(number) => *number == 0,
        CelValue::Double(number) => *number == 0.0,
        CelValue::Decimal(number) => number.coefficient() == 0,
        CelValue::Str(text) => text.is_empty(),
        CelValue::Bytes(octets) => octets.is_empty(),
        CelValue::Timestamp(nanos) => *nanos == 0,
        CelValue::Duration(nanos) => *nanos == 0,
        CelValue::List(list) => list.is_empty(),
        CelValue::Map(map) => map.is_empty(),
        CelValue::Optional(inner) => inner.is_none(),
        CelValue::Type(_) | CelValue::Ip(_) | CelValue::Cidr(_) => false,
    }
}
