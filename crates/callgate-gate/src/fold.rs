//! The state the store folds: [`callgate_core::state::State`] over canonical JSON deltas.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use callgate_core::state::{Change, Conflict, Delta, State};
use callgate_log::hash::{Hash, sha256};
use callgate_store::{Fold, FoldError, SegmentStore};
use serde::Deserialize;

use crate::events::{Feed, Places};

/// Names how a state is saved, and what a log folds to. It grows with every change to what `apply` does with an old
/// delta; a release folds the log anew in any case.
const FORMAT: &str = concat!("callgate state 2, ", env!("CARGO_PKG_VERSION"));

/// As much of a receipt as names its delta.
#[derive(Deserialize)]
struct Named {
    predicate: Effects,
}

#[derive(Deserialize)]
struct Effects {
    effects_digest: Hash,
}

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

    fn belongs(payload: &[u8], delta: &[u8]) -> bool {
        let named = serde_json::from_slice::<Named>(payload).ok();
        named.is_some_and(|named| sha256(delta) == named.predicate.effects_digest)
    }

    const FORMAT: Option<&'static str> = Some(FORMAT);

    fn save(&self, out: &mut dyn Write) -> Result<(), FoldError> {
        let feed = self.2.places();
        ciborium::into_writer(&(&self.0, feed), out).map_err(|e| FoldError(e.to_string()))
    }

    fn load(input: &mut dyn Read) -> Result<Self, FoldError> {
        let (state, feed): (State, Places) =
            ciborium::from_reader(input).map_err(|e| FoldError(e.to_string()))?;
        Ok(Self(state, Pause::default(), Feed::at(feed)))
    }
}

/// The delta as it lies in the log.
pub(crate) fn encode(delta: &Delta) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(delta)
}
