//! `urn:callgate:admin:v1`: a change to the gate itself, receipted like any other action.

use serde::{Deserialize, Serialize};

use super::decision::Gate;
use crate::hash::Hash;
use crate::json::{Map, SafeInt};

/// The predicate of an admin receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Who made the change.
    pub actor: String,
    /// What changed, in words and digests. Secrets must never stand here.
    pub details: Map<String>,
    /// SHA-256 of the state delta kept beside the payload.
    pub effects_digest: Hash,
    /// The gate and the log it writes.
    pub gate: Gate,
    /// When the gate recorded the change; milliseconds since 1970.
    pub issued_at_ms: SafeInt,
    /// What was done: `log.start`, `snapshot.activate`, `key.create`, `key.revoke`, `subject.erase`, …
    pub operation: String,
}

impl Admin {
    /// The predicate type of this struct.
    pub const PREDICATE_TYPE: &'static str = "urn:callgate:admin:v1";
}
