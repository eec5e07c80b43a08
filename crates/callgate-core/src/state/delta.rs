//! Deltas: what one receipt does to the state, as it lies beside the receipt.

use serde::{Deserialize, Serialize};

use super::SessionKey;
use crate::digest::Digest;
use crate::facts::Position;
use crate::history::{Kept, Monitor, Observation, Reads};

/// A snapshot that was in force, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRef {
    /// The digest of the secret in the keys of their series: under another one nothing of theirs is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Digest>,
    /// `sha256:…` of the bundle.
    pub digest: String,
    /// What its policies watch; the events of every other monitor are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<Monitor>,
    /// The short version, `v1` upwards.
    pub version: u64,
}

/// A snapshot and the receipt that brought it into force; the bundle's text lies beside that receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// The receipt's index.
    pub receipt: u64,
}

/// A registered API key; only its hash is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The agent it speaks for.
    pub agent: String,
    /// The key's public name.
    pub id: String,
    /// Lower-case hex SHA-256 of the key's secret.
    pub sha256: String,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The agent's tenant.
    pub tenant: String,
}

/// What one receipt does to the state: a change, and the clock it was made at. The clock of every
/// receipt counts, so that a restarted gate's time never goes back behind its own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The change.
    pub change: Change,
    /// The gate's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A decision's effects.
    Decision(DecisionDelta),
    /// An outcome closes an open action.
    Outcome(OutcomeDelta),
    /// A snapshot comes into force.
    SnapshotActivated(SnapshotRef),
    /// A key is registered.
    KeyCreated(ApiKey),
    /// A key is no longer accepted.
    KeyRevoked {
        /// The key's public name.
        id: String,
    },
    /// The key ring slot of a session was erased: its requests cannot be read again.
    SessionErased(SessionKey),
    /// Monitors that were not in force are filled from the log, before a snapshot needs them.
    HistoryFilled(HistoryFill),
    /// A receipt that changes nothing, such as the log's first.
    Noted {},
}

impl Change {
    /// What it adds to the history.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        match self {
            Self::Decision(decision) => &decision.observations,
            Self::Outcome(outcome) => &outcome.observations,
            _ => &[],
        }
    }
}

/// One piece of what the log holds for monitors that were not in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFill {
    /// The monitors that begin here, empty, whatever was kept of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begins: Vec<Monitor>,
    /// Their events, as a fold of the log keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
}

/// The effects of one decision. The versions are those its facts were read at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionDelta {
    /// Where the session stands now, if the decision moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Position>,
    /// The session; `None` for a request too malformed to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SessionKey>,
    /// The nonce this request used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<NonceUse>,
    /// What the request adds to the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// Whether an action is now open, until its outcome or this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<i64>,
    /// What was read of the history; it must not have moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// The key ring slot that seals this session's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The version of the snapshot that decided; it must still be in force.
    pub snapshot: u64,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The session's receipts when the facts were read.
    pub version: u64,
}

/// A nonce and how long it must be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonceUse {
    /// Until when, milliseconds since 1970 UTC.
    pub until_ms: i64,
    /// The nonce.
    pub value: String,
}

/// Closes an open action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeDelta {
    /// The decision receipt's index.
    pub decision: u64,
    /// Whose session it is.
    pub key: SessionKey,
    /// What the outcome adds to the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// What was read of the history; it must not have moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// The version of the snapshot whose monitors were asked; it must still be in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<u64>,
    /// The session's receipts when the facts were read.
    pub version: u64,
}

/// What changed between reading facts and committing; the shell decides again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The session got another receipt.
    #[error("the session moved on")]
    Session,
    /// The nonce was used.
    #[error("the nonce was used")]
    Nonce,
    /// Another snapshot came into force.
    #[error("another snapshot came into force")]
    Snapshot,
    /// The action is closed or unknown.
    #[error("the action is closed or unknown")]
    Action,
    /// What was read of the history got another event.
    #[error("the history moved on")]
    History,
    /// A snapshot version or key id is taken, or the key is unknown.
    #[error("the registry moved on")]
    Registry,
}
