//! The canonical value every engine sees: JSON with exact numbers and sorted keys.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::decimal::Decimal;

/// Whole numbers beyond this magnitude are not exact as IEEE 754 doubles (RFC 7493 section 2.2).
pub const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// A JSON value after canonicalisation. Numbers are exact; object keys are unique and in the
/// order of RFC 8785 section 3.2.3 (UTF-16 code units).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within ±(2^53 − 1).
    Int(i64),
    /// Any other number that a double carries without loss.
    Decimal(Decimal),
    /// A string of Unicode scalar values.
    Str(String),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Map(Map),
}

/// A JSON object: unique keys in RFC 8785 order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map(Vec<(String, Value)>);

/// The order of object keys in RFC 8785: by UTF-16 code units, which differs from byte order only
/// above the Basic Multilingual Plane.
#[must_use]
pub fn key_order(a: &str, b: &str) -> Ordering {
    let differ = a.bytes().zip(b.bytes()).find(|(a, b)| a != b);
    match differ {
        None => a.len().cmp(&b.len()),
        // Only characters from U+E000 on, whose first byte is 0xEE or more, come in another order.
        Some((a, b)) if a < 0xEE && b < 0xEE => a.cmp(&b),
        Some(_) => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

impl Map {
    /// Builds an object from pairs in any order; the second pair of a repeated key is handed back.
    ///
    /// # Errors
    /// The repeated key.
    pub fn from_pairs(mut pairs: Vec<(String, Value)>) -> Result<Self, String> {
        // What was written canonically is in order already, and what is in strict order repeats nothing.
        if pairs.is_sorted_by(|(a, _), (b, _)| key_order(a, b).is_lt()) {
            return Ok(Self(pairs));
        }
        pairs.sort_by(|(a, _), (b, _)| key_order(a, b));
        let repeated = pairs.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a.clone()),
            _ => None,
        });
        repeated.map_or(Ok(Self(pairs)), Err)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(k, _)| key_order(k, key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Sets `key`, replacing an earlier value.
    pub fn insert(&mut self, key: String, value: Value) {
        match self.0.binary_search_by(|(k, _)| key_order(k, &key)) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    slot.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.binary_search_by(|(k, _)| key_order(k, key)).ok()?;
        Some(self.0.remove(at).1)
    }

    /// The pairs, in canonical order.
    #[must_use]
    pub fn into_pairs(self) -> Vec<(String, Value)> {
        self.0
    }

    /// The pairs in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `true` without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value {
    /// An empty object.
    #[must_use]
    pub fn empty_map() -> Self {
        Self::Map(Map::default())
    }

    /// The string, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if this is one.
    #[must_use]
    pub const fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The exact number, if this is one.
    #[must_use]
    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Int(number) => Some(Decimal::from(*number)),
            Self::Decimal(number) => Some(*number),
            _ => None,
        }
    }

    /// What JSON calls this kind of value.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::Decimal(_) => "number",
            Self::Str(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }

    /// The RFC 8785 serialisation; equal values give equal bytes.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(128);
        self.write_canonical(&mut out);
        out
    }

    /// Appends the RFC 8785 serialisation.
    pub fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            // Writing to a `String` cannot fail.
            Self::Int(number) => drop(write!(out, "{number}")),
            Self::Decimal(number) => drop(write!(out, "{number}")),
            Self::Str(text) => write_string(text, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write_canonical(out);
                }
                out.push(']');
            }
            Self::Map(map) => map.write_canonical(out),
        }
    }
}

impl Map {
    /// Appends the RFC 8785 serialisation.
    pub fn write_canonical(&self, out: &mut String) {
        out.push('{');
        for (at, (key, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_string(key, out);
            out.push(':');
            value.write_canonical(out);
        }
        out.push('}');
    }
}

/// Appends `text` as a JSON string in the form of RFC 8785 section 3.2.2.2.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}
