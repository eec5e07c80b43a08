//! The state the store folds: [`callgate_core::state::State`] over canonical JSON deltas.

use std::sync::atomic::{AtomicBool, Ordering};

use callgate_core::state::{Change, Conflict, Delta, State};
use callgate_store::{Fold, FoldError, SegmentStore};

use crate::events::Feed;

/// The gate's state, as the store sees it.
#[derive(Debug, Default)]
pub(crate) struct GateState(pub State, pub Pause, pub Feed);

/// While it lasts nothing happens: no decision and no outcome is committed, so that a snapshot can come
/// into force with everything before it in its history. Whoever meets it waits for the publication.
#[derive(Debug, Default)]
pub(crate) struct Pause(AtomicBool);

/// A [`Pause`] of a store; ends when dropped.
pub(crate) struct Paused<'a>(&'a SegmentStore<GateState>);

impl<'a> Paused<'a> {
    /// Begins one. What the committer admitted before it is in the state by then, though it may not be
    /// durable yet.
    pub(crate) fn begin(store: &'a SegmentStore<GateState>) -> Self {
        store.state(|state| state.1.0.store(true, Ordering::Release));
        Self(store)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.state(|state| state.1.0.store(false, Ordering::Release));
    }
}

impl Fold for GateState {
    type Delta = Delta;
    type Conflict = Conflict;

    fn decode(bytes: &[u8]) -> Result<Delta, FoldError> {
        serde_json::from_slice(bytes).map_err(|e| FoldError(e.to_string()))
    }

    fn check(&self, delta: &Delta) -> Result<(), Conflict> {
        let happens = matches!(delta.change, Change::Decision(_) | Change::Outcome(_));
        if happens && self.1.0.load(Ordering::Acquire) {
            return Err(Conflict::Snapshot);
        }
        self.0.check(delta)
    }

    fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Delta) {
        self.0.apply(index, payload_sha256, delta);
        self.2.note(index, &delta.change);
    }
}

/// The delta as it lies in the log.
pub(crate) fn encode(delta: &Delta) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(delta)
}
