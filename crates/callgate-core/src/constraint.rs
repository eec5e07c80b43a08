//! Constraints: what must be enforced if an action runs, and how several merge to the tightest.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use crate::value::{MAX_SAFE_INTEGER, Map, Value};

/// A kind of constraint; the word is the same in bundles, on the wire and in receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The action is stopped after this many milliseconds.
    MaxRuntimeMs,
    /// A failed action is tried again at most this often.
    MaxRetries,
    /// At most this many rows come back.
    MaxRows,
    /// At most this many bytes come back.
    MaxBytes,
    /// Only these hosts may be reached.
    NetworkAllowlist,
    /// These hosts may not be reached.
    NetworkDenylist,
    /// Only these paths may be touched.
    PathAllowlist,
    /// These fields are removed from what the agent sees.
    Redact,
    /// Nothing may be changed.
    ReadOnly,
}

/// How values of a kind look and merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A whole number; the least wins.
    Least,
    /// A list; the intersection wins.
    Allowlist,
    /// A list; the union wins.
    Denylist,
    /// A switch; `true` wins.
    Switch,
}

/// The value of one constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// For [`Shape::Least`].
    Number(u64),
    /// For [`Shape::Allowlist`] and [`Shape::Denylist`].
    Names(BTreeSet<String>),
    /// For [`Shape::Switch`].
    Switch(bool),
}

/// Why a constraint cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The name is not known.
    #[error("`{0}` is not a constraint; the constraints are {known}", known = Kind::words())]
    Unknown(String),
    /// The value has another shape.
    #[error("`{0}` takes {1}")]
    Shape(&'static str, &'static str),
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::MaxRuntimeMs,
        Self::MaxRetries,
        Self::MaxRows,
        Self::MaxBytes,
        Self::NetworkAllowlist,
        Self::NetworkDenylist,
        Self::PathAllowlist,
        Self::Redact,
        Self::ReadOnly,
    ];

    /// The word, such as `max_runtime_ms`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxRuntimeMs => "max_runtime_ms",
            Self::MaxRetries => "max_retries",
            Self::MaxRows => "max_rows",
            Self::MaxBytes => "max_bytes",
            Self::NetworkAllowlist => "network_allowlist",
            Self::NetworkDenylist => "network_denylist",
            Self::PathAllowlist => "path_allowlist",
            Self::Redact => "redact",
            Self::ReadOnly => "read_only",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How its values look and merge.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::MaxRuntimeMs | Self::MaxRetries | Self::MaxRows | Self::MaxBytes => Shape::Least,
            Self::NetworkAllowlist | Self::PathAllowlist => Shape::Allowlist,
            Self::NetworkDenylist | Self::Redact => Shape::Denylist,
            Self::ReadOnly => Shape::Switch,
        }
    }

    fn words() -> String {
        Self::ALL.map(|kind| format!("`{}`", kind.as_str())).join(", ")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Limit {
    /// Reads the value of `kind`.
    ///
    /// # Errors
    /// [`ConstraintError::Shape`] with what the kind takes.
    pub fn from_value(kind: Kind, value: &Value) -> Result<Self, ConstraintError> {
        let wrong = |takes| ConstraintError::Shape(kind.as_str(), takes);
        match kind.shape() {
            Shape::Least => match value {
                Value::Int(number) => {
                    u64::try_from(*number).map(Self::Number).map_err(|_| wrong("a whole number from 0 up"))
                }
                _ => Err(wrong("a whole number from 0 up")),
            },
            Shape::Switch => match value {
                Value::Bool(on) => Ok(Self::Switch(*on)),
                _ => Err(wrong("`true` or `false`")),
            },
            Shape::Allowlist | Shape::Denylist => match value {
                Value::List(items) => items
                    .iter()
                    .map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
                    .collect::<Option<_>>()
                    .map(Self::Names)
                    .ok_or_else(|| wrong("a list of strings")),
                _ => Err(wrong("a list of strings")),
            },
        }
    }

    /// The JSON form.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Number(number) => {
                Value::Int(i64::try_from(*number).unwrap_or(i64::MAX).min(MAX_SAFE_INTEGER))
            }
            Self::Names(names) => Value::List(names.iter().map(|name| Value::Str(name.clone())).collect()),
            Self::Switch(on) => Value::Bool(*on),
        }
    }

    /// The tighter of two values of one kind: every action that satisfies the result satisfies both.
    fn tightest(kind: Kind, a: Self, b: &Self) -> Self {
        match (a, b) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a.min(*b)),
            (Self::Switch(a), Self::Switch(b)) => Self::Switch(a || *b),
            (Self::Names(a), Self::Names(b)) if kind.shape() == Shape::Allowlist => {
                Self::Names(a.intersection(b).cloned().collect())
            }
            (Self::Names(a), Self::Names(b)) => Self::Names(a.union(b).cloned().collect()),
            // One kind has one shape (`from_value`), so this is not reached; keep the first.
            (a, _) => a,
        }
    }
}

/// A set of constraints, at most one per kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints(BTreeMap<Kind, Limit>);

impl Constraints {
    /// Adds one constraint; with an earlier one of its kind, the tighter value stays.
    pub fn tighten(&mut self, kind: Kind, limit: Limit) {
        let merged = match self.0.remove(&kind) {
            Some(earlier) => Limit::tightest(kind, earlier, &limit),
            None => limit,
        };
        self.0.insert(kind, merged);
    }

    /// Adds every constraint of `other`; order never matters.
    pub fn merge(&mut self, other: &Self) {
        for (kind, limit) in &other.0 {
            self.tighten(*kind, limit.clone());
        }
    }

    /// The value of `kind`.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&Limit> {
        self.0.get(&kind)
    }

    /// The number of a [`Shape::Least`] constraint.
    #[must_use]
    pub fn number(&self, kind: Kind) -> Option<u64> {
        match self.get(kind) {
            Some(Limit::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The kinds present.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.keys().copied()
    }

    /// Kinds and values, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Limit)> {
        self.0.iter().map(|(kind, limit)| (*kind, limit))
    }

    /// `true` without constraints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object of constraint words and values.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::default();
        for (kind, limit) in &self.0 {
            map.insert(kind.as_str().to_owned(), limit.to_value());
        }
        Value::Map(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_constraints() -> impl Strategy<Value = Constraints> {
        let one = (proptest::sample::select(Kind::ALL.to_vec()), 0u64..5, "[abc]{0,3}", any::<bool>())
            .prop_map(|(kind, number, letters, on)| {
                let limit = match kind.shape() {
                    Shape::Least => Limit::Number(number),
                    Shape::Switch => Limit::Switch(on),
                    _ => Limit::Names(letters.chars().map(String::from).collect()),
                };
                (kind, limit)
            });
        proptest::collection::vec(one, 0..6).prop_map(|list| {
            let mut all = Constraints::default();
            for (kind, limit) in list {
                all.tighten(kind, limit);
            }
            all
        })
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_idempotent(a in any_constraints(), b in any_constraints(), c in any_constraints()) {
            let merged = |x: &Constraints, y: &Constraints| { let mut m = x.clone(); m.merge(y); m };
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a.clone());
        }
    }

    #[test]
    fn values_of_another_shape_are_refused() {
        assert!(Limit::from_value(Kind::MaxRuntimeMs, &Value::Int(-1)).is_err());
        assert!(Limit::from_value(Kind::Redact, &Value::from("x")).is_err());
        assert!(Limit::from_value(Kind::ReadOnly, &Value::Int(1)).is_err());
    }
}
