//! Values as the suite writes them.

use std::sync::Arc;

use callgate_policy::cel::{CelValue, Entries, Key, Kind, List, Map, Octets, Text};

use crate::textproto::{Message, Value};

/// Reads a `cel.expr.Value`.
///
/// # Errors
/// A kind of value that the language does not have.
pub(crate) fn value(message: &Message) -> Result<CelValue<'static>, String> {
    let (name, value) = message.0.first().ok_or("a value has no kind")?;
    Ok(match (name.as_str(), value) {
        ("null_value", _) => CelValue::Null,
        ("bool_value", Value::Word(word)) => CelValue::Bool(word == "true"),
        ("int64_value", Value::Word(word)) => CelValue::Int(number(word)?),
        ("uint64_value", Value::Word(word)) => CelValue::Uint(number(word)?),
        ("double_value", Value::Word(word)) => CelValue::Double(double(word)?),
        ("string_value", Value::Text(octets)) => {
            let text = std::str::from_utf8(octets).map_err(|error| error.to_string())?;
            CelValue::Str(Text::Shared(text.into()))
        }
        ("bytes_value", Value::Text(octets)) => CelValue::Bytes(Octets::Shared(octets.as_slice().into())),
        ("type_value", Value::Text(octets)) => kind(&String::from_utf8_lossy(octets))?,
        ("list_value", Value::Message(list)) => {
            let items = list.messages("values").map(self::value).collect::<Result<Vec<_>, _>>()?;
            CelValue::List(List::Shared(items.into()))
        }
        ("map_value", Value::Message(map)) => self::map(map)?,
        ("object_value", Value::Message(any)) => object(any).ok_or("a message of another type")?,
        (other, _) => return Err(format!("a value of the kind `{other}`")),
    })
}

fn map(map: &Message) -> Result<CelValue<'static>, String> {
    let mut pairs = Vec::new();
    for entry in map.messages("entries") {
        let (key, inner) = entry.message("key").zip(entry.message("value")).ok_or("an entry is not whole")?;
        let key = Key::from_value(value(key)?).ok_or("a key of a kind that cannot be one")?;
        pairs.push((key, value(inner)?));
    }
    let entries = Entries::from_pairs(pairs).map_err(|error| error.to_string())?;
    Ok(CelValue::Map(Map::Shared(Arc::new(entries))))
}

/// A timestamp or duration in an `Any`.
pub(crate) fn object(any: &Message) -> Option<CelValue<'static>> {
    let (name, value) = any.0.first()?;
    let Value::Message(inner) = value else { return None };
    let part = |name: &str| inner.word(name).map_or(Some(0), |word| word.parse::<i64>().ok());
    let (seconds, nanos) = (part("seconds")?, part("nanos")?);
    let total = i128::from(seconds).checked_mul(1_000_000_000)?.checked_add(i128::from(nanos))?;
    match name.rsplit('/').next()? {
        "google.protobuf.Timestamp" => Some(CelValue::Timestamp(total)),
        "google.protobuf.Duration" => i64::try_from(total).ok().map(CelValue::Duration),
        _ => None,
    }
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

fn double(word: &str) -> Result<f64, String> {
    match word.to_ascii_lowercase().trim_start_matches('+') {
        "infinity" | "inf" => Ok(f64::INFINITY),
        "-infinity" | "-inf" => Ok(f64::NEG_INFINITY),
        "nan" | "-nan" => Ok(f64::NAN),
        plain => number(plain),
    }
}

fn kind(name: &str) -> Result<CelValue<'static>, String> {
    const ALL: [Kind; 15] = [
        Kind::Null,
        Kind::Bool,
        Kind::Int,
        Kind::Uint,
        Kind::Double,
        Kind::Str,
        Kind::Bytes,
        Kind::Timestamp,
        Kind::Duration,
        Kind::List,
        Kind::Map,
        Kind::Type,
        Kind::Optional,
        Kind::Ip,
        Kind::Cidr,
    ];
    let found = ALL.into_iter().find(|kind| kind.name() == name);
    found.map(CelValue::Type).ok_or_else(|| format!("the type `{name}`"))
}

/// Equality that also wants the same types, and takes NaN for equal.
pub(crate) fn same(a: &CelValue<'_>, b: &CelValue<'_>) -> bool {
    match (a, b) {
        (CelValue::Double(a), CelValue::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
        (CelValue::Str(a), CelValue::Str(b)) => **a == **b,
        (CelValue::Bytes(a), CelValue::Bytes(b)) => **a == **b,
        (CelValue::List(a), CelValue::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a, &b))
        }
        (CelValue::Map(a), CelValue::Map(b)) => {
            let pairs = a.entries().into_iter().zip(b.entries());
            a.len() == b.len() && pairs.into_iter().all(|((k, v), (l, w))| same(&k, &l) && same(&v, &w))
        }
        (a, b) => format!("{a:?}") == format!("{b:?}"),
    }
}
