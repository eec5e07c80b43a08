//! `urn:callgate:outcome:v1`: what became of a decided action.
//!
//! An outcome closes the pair that a decision opens. It never holds what the action returned, only a salted
//! digest of it.

use serde::{Deserialize, Serialize};

use super::decision::{Agent, Gate, Session};
use crate::hash::Hash;
use crate::json::{Decimal, Map, SafeInt};

/// The predicate of an outcome receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Who asked for the action; the same as in the decision.
    pub agent: Agent,
    /// How often the action was tried.
    pub attempts: SafeInt,
    /// What it cost, by unit (`usd`, `tokens`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Map<Decimal>>,
    /// The receipt of the decision.
    pub decision_receipt: DecisionRef,
    /// A sentence for people. It must not quote what the action returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// SHA-256 of the state delta kept beside the payload.
    pub effects_digest: Hash,
    /// When the action ended; milliseconds since 1970.
    pub finished_at_ms: SafeInt,
    /// The gate and the log it writes.
    pub gate: Gate,
    /// When the gate recorded the outcome; milliseconds since 1970.
    pub issued_at_ms: SafeInt,
    /// SHA-256 of the payload of the session's previous receipt; absent without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Hash>,
    /// Salted digest of what the action returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_commitment: Option<Hash>,
    /// The session, the same as in the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// When the action began; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<SafeInt>,
    /// How it ended.
    pub status: Status,
    /// The tenant, the same as in the decision.
    pub tenant: String,
}

impl Outcome {
    /// The predicate type of this struct.
    pub const PREDICATE_TYPE: &'static str = "urn:callgate:outcome:v1";
}

/// The receipt an outcome belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRef {
    /// Its index in the log.
    pub index: SafeInt,
    /// SHA-256 of its payload.
    pub payload_sha256: Hash,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did what it should.
    Succeeded,
    /// It reported an error.
    Failed,
    /// It ran longer than it was permitted to.
    TimedOut,
    /// It was called off while it ran.
    Cancelled,
    /// It never began.
    NotRun,
    /// Nobody knows, for example after a crash.
    Unknown,
}
