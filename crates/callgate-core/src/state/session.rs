//! Sessions: how many receipts each has, its place in a contract, its slot of the key ring.
//!
//! There are as many as there ever were, so what is kept of one is small: its names are not, only a digest of them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::facts::Position;
use crate::request::Request;

/// Names one session: unique for one agent of one tenant. An empty id stands for requests without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionKey {
    /// The agent.
    pub agent: String,
    /// The session's id.
    pub session: String,
    /// The tenant.
    pub tenant: String,
}

impl SessionKey {
    /// The session of `request`.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        Self {
            agent: request.agent.id.as_str().to_owned(),
            session: request.session.id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned()),
            tenant: request.tenant.as_str().to_owned(),
        }
    }

    /// Whether receipts of this session form a chain; requests without a session do not.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        !self.session.is_empty()
    }

    /// One digest for all three; a zero byte cannot stand in any.
    fn name(&self) -> Digest {
        Digest::of([&self.tenant, "\0", &self.agent, "\0", &self.session].concat().as_bytes())
    }
}

/// What one session has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// How many receipts it has.
    pub version: u64,
    /// Its place in a contract.
    pub position: Option<Position>,
    /// SHA-256 of its last receipt's payload.
    pub last: Option<[u8; 32]>,
}

/// All sessions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sessions(BTreeMap<Digest, Kept>);

/// One session. What has no session id has a slot and stays at version 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Says nothing at version 0.
    last: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Box<Position>>,
    /// One more than the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<NonZeroU64>,
    version: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { last: Digest::from_bytes([0; 32]), position: None, slot: None, version: 0 }
    }
}

impl Sessions {
    pub(super) fn get(&self, key: &SessionKey) -> Option<Session> {
        let kept = self.0.get(&key.name()).filter(|kept| kept.version > 0)?;
        let position = kept.position.as_deref().cloned();
        Some(Session { version: kept.version, position, last: Some(*kept.last.as_bytes()) })
    }

    /// How many receipts it has.
    pub(super) fn version(&self, key: &SessionKey) -> u64 {
        self.0.get(&key.name()).map_or(0, |kept| kept.version)
    }

    /// The slot that seals its requests.
    pub(super) fn slot(&self, key: &SessionKey) -> Option<u64> {
        self.0.get(&key.name())?.slot.map(|number| number.get().saturating_sub(1))
    }

    pub(super) fn give_slot(&mut self, key: &SessionKey, slot: u64) {
        self.0.entry(key.name()).or_default().slot = NonZeroU64::new(slot.saturating_add(1));
    }

    pub(super) fn take_slot(&mut self, key: &SessionKey) {
        if let Some(kept) = self.0.get_mut(&key.name()) {
            kept.slot = None;
        }
    }

    /// One more receipt, if it has a chain.
    pub(super) fn extend(&mut self, key: &SessionKey, payload_sha256: &[u8; 32], advance: Option<&Position>) {
        if !key.is_chained() {
            return;
        }
        let kept = self.0.entry(key.name()).or_default();
        kept.version = kept.version.saturating_add(1);
        kept.last = Digest::from_bytes(*payload_sha256);
        if let Some(position) = advance {
            kept.position = Some(Box::new(position.clone()));
        }
    }
}
