//! What the store asks of its owner: a state to fold, entries to keep, a signer for checkpoints.
//!
//! The store knows no policy. It must never look into a payload, a delta or an attachment.

use std::sync::Arc;

/// State that is a fold of the log.
pub trait Fold: Send + Sync + 'static {
    /// One receipt's state changes, with the versions its decision consulted.
    type Delta: Send + 'static;
    /// Why a delta no longer applies.
    type Conflict: Send + 'static;

    /// Reads a delta from the log.
    ///
    /// # Errors
    /// When the bytes are not a delta. The store then refuses to open.
    fn decode(bytes: &[u8]) -> Result<Self::Delta, FoldError>;
    /// Whether everything the decision consulted still holds. Not asked when the log is replayed.
    ///
    /// # Errors
    /// The conflict, which goes back to whoever committed.
    fn check(&self, delta: &Self::Delta) -> Result<(), Self::Conflict>;
    /// Applies a delta. Must be a function of the state and these arguments alone: no clock, no randomness.
    fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Self::Delta);
}

/// A delta that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FoldError(pub String);

/// What is committed together, or not at all.
#[derive(Debug, Clone)]
pub struct Entry<D> {
    /// The signed payload: the leaf of the tree; at most [`callgate_log::segment::MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
    /// Signature over the payload.
    pub signature: [u8; 64],
    /// `delta` as it goes to the log.
    pub delta_bytes: Vec<u8>,
    /// What the receipt changes. `Fold::decode(&delta_bytes)` must give an equal value.
    pub delta: D,
    /// Kept beside the receipt, sealed and erasable; may be empty.
    pub attachment: Vec<u8>,
}

/// Proof that an entry is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Index of the receipt in the log.
    pub index: u64,
    /// Tree size of the checkpoint that covers it.
    pub size: u64,
    /// That checkpoint: a signed note, on disk with the receipt.
    pub checkpoint: Arc<[u8]>,
}

/// A receipt as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Index of the receipt in the log.
    pub index: u64,
    /// The signed payload.
    pub payload: Vec<u8>,
    /// Signature over the payload.
    pub signature: [u8; 64],
    /// State changes as they lie in the log.
    pub delta: Vec<u8>,
    /// What is kept beside the receipt; may be empty.
    pub attachment: Vec<u8>,
    /// Tree size of the checkpoint that covers it.
    pub size: u64,
    /// That checkpoint: a signed note.
    pub checkpoint: Arc<[u8]>,
}

/// A receipt where it lies in what was read; for whoever reads many and keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptView<'a> {
    /// Index of the receipt in the log.
    pub index: u64,
    /// The signed payload.
    pub payload: &'a [u8],
    /// State changes as they lie in the log.
    pub delta: &'a [u8],
    /// What is kept beside the receipt; may be empty.
    pub attachment: &'a [u8],
}

impl StoredReceipt {
    /// Without its signature and checkpoint.
    #[must_use]
    pub fn view(&self) -> ReceiptView<'_> {
        let Self { index, payload, delta, attachment, .. } = self;
        ReceiptView { index: *index, payload, delta, attachment }
    }
}

/// Signs tree heads and knows its own signatures again.
pub trait CheckpointSigner: Send + 'static {
    /// A signed note over a tree head; at most [`callgate_log::segment::MAX_NOTE`] bytes, always of much the same
    /// length. An empty one refuses: nothing of the group is acknowledged, and the store stops.
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8>;
    /// Size and root of a note this log signed; `None` for any other.
    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])>;
}
