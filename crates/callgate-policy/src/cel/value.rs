//! Values while an expression runs: borrowed from the request or the program wherever that is possible.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use callgate_core::decimal::Decimal;
use callgate_core::value::{self as json, Value};

use super::cidr::Cidr;
use super::entries::{Entries, Key};
use super::types::Kind;

/// A value of the language. Cloning never copies text, lists or maps.
#[derive(Debug, Clone)]
pub enum CelValue<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed 64-bit integer; every whole JSON number is one.
    Int(i64),
    /// An unsigned 64-bit integer.
    Uint(u64),
    /// An IEEE 754 double; never comes from a request.
    Double(f64),
    /// An exact decimal; every other JSON number is one.
    Decimal(Decimal),
    /// Text.
    Str(Text<'a>),
    /// Octets.
    Bytes(Octets<'a>),
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// A type as a value.
    Type(Kind),
    /// A value or none.
    Optional(Option<Arc<Self>>),
    /// An address.
    Ip(IpAddr),
    /// An address with the length of its network's prefix.
    Cidr(Cidr),
}

/// Text, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Part of the request or the program.
    Borrowed(&'a str),
    /// Made by the evaluation.
    Shared(Arc<str>),
}

/// Octets, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Octets<'a> {
    /// Part of the request or the program.
    Borrowed(&'a [u8]),
    /// Made by the evaluation.
    Shared(Arc<[u8]>),
}

/// A list, borrowed or shared.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// A JSON array.
    Json(&'a [Value]),
    /// A constant of the program, or a list of the host.
    Slice(&'a [CelValue<'a>]),
    /// Made by the evaluation.
    Shared(Arc<[CelValue<'a>]>),
}

/// A map, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// A JSON object.
    Json(&'a json::Map),
    /// A structure of the host.
    Fields(&'a dyn Fields),
    /// A constant of the program.
    Entries(&'a Entries<'a>),
    /// Made by the evaluation.
    Shared(Arc<Entries<'a>>),
}

/// A structure of the host that reads as a map with string keys, without being copied into one.
pub trait Fields: Sync {
    /// The value of field `name`; `None` if it is absent.
    fn field(&self, name: &str) -> Option<CelValue<'_>>;
    /// The names of the fields that are present, in canonical key order.
    fn names(&self) -> Vec<&str>;
}

impl fmt::Debug for dyn Fields + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl<'a> CelValue<'a> {
    /// Reads a JSON value in place: whole numbers are `int`, other numbers `decimal`.
    #[must_use]
    pub fn from_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Int(number) => Self::Int(*number),
            Value::Decimal(number) => Self::Decimal(*number),
            Value::Str(text) => Self::Str(Text::Borrowed(text)),
            Value::List(items) => Self::List(List::Json(items)),
            Value::Map(map) => Self::Map(Map::Json(map)),
        }
    }

    /// Text in place.
    #[must_use]
    pub const fn text(text: &'a str) -> Self {
        Self::Str(Text::Borrowed(text))
    }

    /// A structure of the host in place.
    #[must_use]
    pub const fn fields(fields: &'a dyn Fields) -> Self {
        Self::Map(Map::Fields(fields))
    }

    /// What `type(x)` gives.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Uint(_) => Kind::Uint,
            Self::Double(_) => Kind::Double,
            Self::Decimal(_) => Kind::Decimal,
            Self::Str(_) => Kind::Str,
            Self::Bytes(_) => Kind::Bytes,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Duration(_) => Kind::Duration,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Type(_) => Kind::Type,
            Self::Optional(_) => Kind::Optional,
            Self::Ip(_) => Kind::Ip,
            Self::Cidr(_) => Kind::Cidr,
        }
    }

    pub(super) fn string(text: impl Into<Arc<str>>) -> Self {
        Self::Str(Text::Shared(text.into()))
    }

    pub(super) fn octets(octets: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(Octets::Shared(octets.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Shared(items.into()))
    }

    /// `optional.of(value)`, or none.
    pub(super) fn optional(inner: Option<Self>) -> Self {
        Self::Optional(inner.map(Arc::new))
    }

    pub(super) fn map(entries: Entries<'a>) -> Self {
        Self::Map(Map::Shared(Arc::new(entries)))
    }

    /// The same value with nothing borrowed. Only for values an expression made: those are as bounded
    /// as the expression.
    pub(super) fn into_static(self) -> CelValue<'static> {
        match self {
            Self::Null => CelValue::Null,
            Self::Bool(flag) => CelValue::Bool(flag),
            Self::Int(number) => CelValue::Int(number),
            Self::Uint(number) => CelValue::Uint(number),
            Self::Double(number) => CelValue::Double(number),
            Self::Decimal(number) => CelValue::Decimal(number),
            Self::Str(text) => CelValue::string(&*text),
            Self::Bytes(octets) => CelValue::octets(&*octets),
            Self::Timestamp(nanos) => CelValue::Timestamp(nanos),
            Self::Duration(nanos) => CelValue::Duration(nanos),
            Self::List(list) => CelValue::list(list.iter().map(CelValue::into_static).collect()),
            Self::Map(map) => {
                let pair = |(key, value): (Self, Self)| {
                    Some((Key::from_value(key.into_static())?, value.into_static()))
                };
                let pairs = map.entries().into_iter().filter_map(pair).collect();
                // The keys come from a map, so none repeats.
                CelValue::map(Entries::from_pairs(pairs).unwrap_or_default())
            }
            Self::Type(kind) => CelValue::Type(kind),
            Self::Optional(inner) => {
                CelValue::Optional(inner.map(|inner| Arc::new(Arc::unwrap_or_clone(inner).into_static())))
            }
            Self::Ip(address) => CelValue::Ip(address),
            Self::Cidr(range) => CelValue::Cidr(range),
        }
    }

    /// The same value borrowed from `self`, without touching a reference count.
    pub(super) fn borrow(&'a self) -> Self {
        match self {
            Self::Str(text) => Self::Str(Text::Borrowed(text)),
            Self::Bytes(octets) => Self::Bytes(Octets::Borrowed(octets)),
            Self::List(List::Shared(items)) => Self::List(List::Slice(items)),
            Self::Map(Map::Shared(entries)) => Self::Map(Map::Entries(entries)),
            other => other.clone(),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> Text<'a> {
    /// The part of this text that `pick` chooses: borrowed where the text is, copied where it is shared.
    pub(super) fn part(&self, pick: impl FnOnce(&str) -> &str) -> Self
    where
        Self: 'a,
    {
        match self {
            Self::Borrowed(text) => Self::Borrowed(pick(text)),
            Self::Shared(text) => Self::Shared(pick(text).into()),
        }
    }
}

impl Deref for Octets<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(octets) => octets,
            Self::Shared(octets) => octets,
        }
    }
}

impl<'a> List<'a> {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Slice(items) => items.len(),
            Self::Shared(items) => items.len(),
        }
    }

    /// `true` without elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<CelValue<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(CelValue::from_json),
            Self::Slice(items) => items.get(index).map(CelValue::borrow),
            Self::Shared(items) => items.get(index).cloned(),
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = CelValue<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map) => map.len(),
            Self::Fields(fields) => fields.names().len(),
            Self::Entries(entries) => entries.len(),
            Self::Shared(entries) => entries.len(),
        }
    }

    /// `true` without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of the string key `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<CelValue<'a>> {
        match self {
            Self::Json(map) => map.get(name).map(CelValue::from_json),
            Self::Fields(fields) => fields.field(name),
            Self::Entries(entries) => entries.field(name).map(CelValue::borrow),
            Self::Shared(entries) => entries.field(name).cloned(),
        }
    }

    /// The value of any key; numbers match by value, whatever their type.
    #[must_use]
    pub fn get(&self, key: &CelValue<'_>) -> Option<CelValue<'a>> {
        match (self, key) {
            (_, CelValue::Str(name)) => self.field(name),
            (Self::Entries(entries), _) => entries.get(key).map(CelValue::borrow),
            (Self::Shared(entries), _) => entries.get(key).cloned(),
            (Self::Json(_) | Self::Fields(_), _) => None,
        }
    }

    /// The keys in canonical order: `false`, `true`, numbers by value, strings as RFC 8785 sorts them.
    #[must_use]
    pub fn keys(&self) -> Vec<CelValue<'a>> {
        match self {
            Self::Json(map) => map.iter().map(|(name, _)| CelValue::text(name)).collect(),
            Self::Fields(fields) => fields.names().into_iter().map(CelValue::text).collect(),
            Self::Entries(entries) => entries.iter().map(|(key, _)| key.borrow()).collect(),
            Self::Shared(entries) => entries.iter().map(|(key, _)| key.to_value()).collect(),
        }
    }

    /// The entries in canonical key order.
    #[must_use]
    pub fn entries(&self) -> Vec<(CelValue<'a>, CelValue<'a>)> {
        match self {
            Self::Json(map) => {
                map.iter().map(|(name, value)| (CelValue::text(name), CelValue::from_json(value))).collect()
            }
            Self::Fields(fields) => {
                let pair = |name| Some((CelValue::text(name), fields.field(name)?));
                fields.names().into_iter().filter_map(pair).collect()
            }
            Self::Entries(entries) => entries.iter().map(|(k, v)| (k.borrow(), v.borrow())).collect(),
            Self::Shared(entries) => entries.iter().map(|(k, v)| (k.to_value(), v.clone())).collect(),
        }
    }
}

impl<'a> Key<'a> {
    /// The key as a value.
    #[must_use]
    pub fn to_value(&self) -> CelValue<'a> {
        match self {
            Self::Bool(flag) => CelValue::Bool(*flag),
            Self::Int(number) => CelValue::Int(*number),
            Self::Uint(number) => CelValue::Uint(*number),
            Self::Str(text) => CelValue::Str(text.clone()),
        }
    }

    fn borrow(&'a self) -> CelValue<'a> {
        match self {
            Self::Str(text) => CelValue::text(text),
            other => other.to_value(),
        }
    }
}
