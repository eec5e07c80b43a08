//! The state the store folds: [`callgate_core::state::State`] over canonical JSON deltas.

use callgate_core::state::{Conflict, Delta, State};
use callgate_store::{Fold, FoldError};

/// The gate's state, as the store sees it.
#[derive(Debug, Default)]
pub(crate) struct GateState(pub State);

impl Fold for GateState {
    type Delta = Delta;
    type Conflict = Conflict;

    fn decode(bytes: &[u8]) -> Result<Delta, FoldError> {
        serde_json::from_slice(bytes).map_err(|e| FoldError(e.to_string()))
    }

    fn check(&self, delta: &Delta) -> Result<(), Conflict> {
        self.0.check(delta)
    }

    fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Delta) {
        self.0.apply(index, payload_sha256, delta);
    }
}

/// The delta as it lies in the log.
pub(crate) fn encode(delta: &Delta) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(delta)
}
