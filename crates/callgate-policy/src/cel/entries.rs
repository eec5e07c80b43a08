//! Maps that an evaluation builds: sorted by key, so that their order is always the canonical one.

use std::cmp::Ordering;

use callgate_core::value::key_order;

use super::number::whole;
use super::value::{CelValue, Text};

/// The key of a map: only these kinds of values can be one.
#[derive(Debug, Clone)]
pub enum Key<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `uint`; equal to the `int` of the same value.
    Uint(u64),
    /// A string.
    Str(Text<'a>),
}

/// A map's entries, sorted and without a repeated key.
#[derive(Debug, Clone, Default)]
pub struct Entries<'a>(Vec<(Key<'a>, CelValue<'a>)>);

/// What a key is looked up by.
enum Probe<'k> {
    Bool(bool),
    Number(i128),
    Str(&'k str),
}

impl Probe<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Str(a), Self::Str(b)) => key_order(a, b),
            (Self::Bool(_), _) | (Self::Number(_), Self::Str(_)) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

impl<'a> Key<'a> {
    /// `value` as a key, if its kind can be one.
    #[must_use]
    pub fn from_value(value: CelValue<'a>) -> Option<Self> {
        match value {
            CelValue::Bool(flag) => Some(Self::Bool(flag)),
            CelValue::Int(number) => Some(Self::Int(number)),
            CelValue::Uint(number) => Some(Self::Uint(number)),
            CelValue::Str(text) => Some(Self::Str(text)),
            _ => None,
        }
    }

    fn probe(&self) -> Probe<'_> {
        match self {
            Self::Bool(flag) => Probe::Bool(*flag),
            Self::Int(number) => Probe::Number(i128::from(*number)),
            Self::Uint(number) => Probe::Number(i128::from(*number)),
            Self::Str(text) => Probe::Str(text),
        }
    }

    /// The key as a message shows it.
    pub(super) fn shown(&self) -> Box<str> {
        match self {
            Self::Bool(flag) => flag.to_string().into(),
            Self::Int(number) => number.to_string().into(),
            Self::Uint(number) => number.to_string().into(),
            Self::Str(text) => super::error::shown(text),
        }
    }
}

impl<'a> Entries<'a> {
    /// Sorts `pairs`.
    ///
    /// # Errors
    /// The repeated key.
    pub fn from_pairs(mut pairs: Vec<(Key<'a>, CelValue<'a>)>) -> Result<Self, RepeatedKey> {
        pairs.sort_by(|(a, _), (b, _)| a.probe().cmp(&b.probe()));
        let repeated = pairs.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a.probe().cmp(&b.probe()).is_eq() => Some(a.shown()),
            _ => None,
        });
        repeated.map_or(Ok(Self(pairs)), |key| Err(RepeatedKey(key)))
    }

    fn find(&self, probe: &Probe<'_>) -> Option<&CelValue<'a>> {
        let at = self.0.binary_search_by(|(key, _)| key.probe().cmp(probe)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The value of the string key `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&CelValue<'a>> {
        self.find(&Probe::Str(name))
    }

    /// The value of any key; numbers match by value.
    #[must_use]
    pub fn get(&self, key: &CelValue<'_>) -> Option<&CelValue<'a>> {
        match key {
            CelValue::Bool(flag) => self.find(&Probe::Bool(*flag)),
            CelValue::Str(name) => self.field(name),
            other => self.find(&Probe::Number(whole(other)?)),
        }
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Key<'a>, CelValue<'a>)> {
        self.0.iter()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `true` without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A key that a map literal gives twice, as a message shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key `{0}` is given twice")]
pub struct RepeatedKey(pub Box<str>);
