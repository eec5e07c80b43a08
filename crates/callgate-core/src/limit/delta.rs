//! What a decision does to meters and breakers, as it lies in the log: everything that folding it needs,
//! so that no state depends on what a bundle says today.

use serde::{Deserialize, Serialize};

use super::{Amount, Dimension, Gauge};
use crate::digest::Digest;

/// What a decision counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    /// How often breakers had opened and closed when the facts were read; what runs must be decided again
    /// when that moved on.
    pub epoch: u64,
    /// What breakers count now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The breakers whose half-open probe this action is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
    /// What is taken from budgets and throttles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Take>,
    /// What breakers count when the action ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Mark>,
}

impl Charged {
    /// Whether it counts nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.probes.is_empty() && self.takes.is_empty() && self.watches.is_empty()
    }
}

/// A reservation on one meter, and what was read that must still hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// How much.
    pub amount: Amount,
    /// How the meter counts.
    pub gauge: Gauge,
    /// The most.
    pub limit: Amount,
    /// Counted for a snapshot that did not decide: nothing was read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub loose: bool,
    /// The meter's name.
    pub meter: String,
    /// Whether the action was near the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<NearTake>,
    /// Whether the action was beyond the limit, and runs all the same: people agreed, or it is only monitored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub over: bool,
    /// When it is given back unless the action has ended, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_at_ms: Option<i64>,
    /// What outcomes do to it.
    #[serde(default, skip_serializing_if = "is_reported")]
    pub settle: Settle,
    /// The folded unit that outcomes settle; `None` for a throttle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// See [`Take::near`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearTake {
    /// From here on.
    pub at: Amount,
    /// Whether it was reached.
    pub reached: bool,
}

/// What outcomes do to a reservation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// What is reported takes its place.
    #[default]
    Reported,
    /// What is reported can only raise it.
    Upward,
}

/// What a breaker counts, and when it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// How much.
    pub amount: Amount,
    /// At which count or sum it opens.
    pub at: Amount,
    /// The breaker's id and lineage.
    pub breaker: String,
    /// How its meter counts.
    pub gauge: Gauge,
    /// How it may close without a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_open: Option<HalfOpen>,
    /// Whom it counts and blocks: see [`super::keys`].
    pub key: String,
    /// Whether it is only monitored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub monitor: bool,
    /// What must be different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Digest>,
    /// Whom it counts by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per: Vec<Dimension>,
    /// The share of failures at which it opens, in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_bp: Option<u32>,
}

impl Mark {
    /// The meter's name.
    #[must_use]
    pub fn meter(&self) -> String {
        format!("{}:{}", self.breaker, self.key)
    }
}

/// How a breaker may close without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfOpen {
    /// How long it stays open before one action is tried, in milliseconds.
    pub after_ms: u64,
    /// How many must succeed, one after the other.
    pub probes: u32,
}

/// How an action ended, as limits see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It did what it should.
    Succeeded,
    /// It failed, ran too long, or nobody knows.
    Failed,
    /// It was called off while it ran.
    Cancelled,
    /// It never began.
    NotRun,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_reported(settle: &Settle) -> bool {
    *settle == Settle::Reported
}
