//! The JSON values a payload may hold, chosen so that plain serialisation is already RFC 8785.
//!
//! RFC 8785 sorts keys by UTF-16 code units and writes numbers as ECMAScript does. Integers within ±(2^53 − 1)
//! are the only numbers both sides write alike, so there is no other number type here, and [`Map`] sorts as the
//! RFC does. Nothing in this file may write a float.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// An integer that every JSON reader keeps exactly: within ±(2^53 − 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct SafeInt(i64);

/// The number is outside ±(2^53 − 1), so other JSON readers would round it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the integer `{0}` is outside ±9007199254740991; write it as a string")]
pub struct UnsafeInt(i128);

impl SafeInt {
    /// The greatest safe integer, 2^53 − 1.
    pub const MAX: Self = Self(9_007_199_254_740_991);
    /// The least safe integer, −(2^53 − 1).
    pub const MIN: Self = Self(-9_007_199_254_740_991);

    /// The value.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for SafeInt {
    type Error = UnsafeInt;
    fn try_from(value: i64) -> Result<Self, UnsafeInt> {
        if (Self::MIN.0..=Self::MAX.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(UnsafeInt(value.into()))
        }
    }
}

impl TryFrom<u64> for SafeInt {
    type Error = UnsafeInt;
    fn try_from(value: u64) -> Result<Self, UnsafeInt> {
        i64::try_from(value).map_err(|_| UnsafeInt(value.into())).and_then(Self::try_from)
    }
}

impl From<u32> for SafeInt {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<i32> for SafeInt {
    fn from(value: i32) -> Self {
        Self(value.into())
    }
}

impl fmt::Display for SafeInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for SafeInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        Self::try_from(value).map_err(serde::de::Error::custom)
    }
}

/// A key of a [`Map`]. Compares by UTF-16 code units, which differs from byte order beyond U+FFFF.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
struct Key(String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0.is_ascii() && other.0.is_ascii() {
            return self.0.cmp(&other.0);
        }
        self.0.encode_utf16().cmp(other.0.encode_utf16())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An object with free keys, serialised in RFC 8785 order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Map<V>(BTreeMap<Key, V>);

impl<V> Map<V> {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.get(&Key(key.to_owned()))
    }

    /// Puts a value under a key and returns the one it replaced.
    pub fn insert(&mut self, key: impl Into<String>, value: V) -> Option<V> {
        self.0.insert(Key(key.into()), value)
    }

    /// Keys and values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.0.as_str(), value))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Into<String>, V> FromIterator<(K, V)> for Map<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (Key(key.into()), value)).collect())
    }
}

/// A decimal number as text, such as `0.02`: an optional minus, digits, an optional point and digits.
///
/// Amounts are never floats; at most 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(String);

/// The text is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a decimal number; write it like `12.50`, with at most 40 characters")]
pub struct NotDecimal(String);

impl Decimal {
    /// The longest text, in bytes.
    pub const MAX_LEN: usize = 40;

    /// Reads a decimal number.
    ///
    /// # Errors
    /// [`NotDecimal`] when the text has another shape, such as an exponent, a plus or no digit before the point.
    pub fn parse(text: &str) -> Result<Self, NotDecimal> {
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let shaped = match unsigned.split_once('.') {
            Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
            None => all_digits(unsigned),
        };
        if shaped && text.len() <= Self::MAX_LEN {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotDecimal(text.chars().take(Self::MAX_LEN).collect()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
