//! What the store asks of its owner: a state to fold, entries to keep, a signer for checkpoints.
//!
//! The store knows no policy. It must never look into a payload, a delta or an attachment.

use std::io;
use std::sync::Arc;

/// State that is a fold of the log.
pub trait Fold: Send + Sync + Sized + 'static {
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

    /// Whether `delta` is the one that the receipt with this payload names. Asked whenever a receipt is folded from
    /// disk: the tree holds payloads only. What names none says yes.
    #[must_use]
    fn belongs(payload: &[u8], delta: &[u8]) -> bool {
        let _ = (payload, delta);
        true
    }

    /// Names what [`Fold::save`] writes and what [`Fold::apply`] makes of a log: another name, and what was saved is
    /// left aside and the log folded again. Without one nothing is saved.
    const FORMAT: Option<&'static str> = None;

    /// Writes the whole state.
    ///
    /// # Errors
    /// What `out` reports, or that it cannot be written.
    fn save(&self, out: &mut dyn io::Write) -> Result<(), FoldError> {
        let _ = out;
        Err(FoldError("this state is not saved".to_owned()))
    }

    /// Reads what [`Fold::save`] wrote: a state that behaves as the one that was saved, for ever. It must not read on.
    ///
    /// # Errors
    /// What `input` reports, or that it is something else.
    fn load(input: &mut dyn io::Read) -> Result<Self, FoldError> {
        let _ = input;
        Err(FoldError("this state is not saved".to_owned()))
    }
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

/// Signs tree heads and saved states, and knows its own signatures again.
pub trait CheckpointSigner: Send + Sync + 'static {
    /// A signed note over a tree head; at most [`callgate_log::segment::MAX_NOTE`] bytes, always of much the same
    /// length. An empty one refuses: nothing of the group is acknowledged, and the store stops.
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8>;
    /// Size and root of a note this log signed; `None` for any other.
    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])>;
    /// Signs the SHA-256 of a saved state, so that it passes for nothing else; at most 16 KiB. An empty signature
    /// refuses: no state is saved.
    fn attest(&self, digest: &[u8; 32]) -> Vec<u8> {
        let _ = digest;
        Vec::new()
    }
    /// Whether [`CheckpointSigner::attest`] gave this for that digest.
    fn attests(&self, digest: &[u8; 32], attestation: &[u8]) -> bool {
        let _ = (digest, attestation);
        false
    }
}
