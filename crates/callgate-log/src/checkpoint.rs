//! Checkpoints: signed tree heads as C2SP tlog-checkpoint has them (<https://c2sp.org/tlog-checkpoint>).
//!
//! The key's name is the origin, and extension lines are refused, because nothing in the tree could vouch for them.
//! Whoever signs must never sign two heads of which one is not a prefix of the other; this file cannot see that.

use thiserror::Error;

use crate::hash::Hash;
use crate::keys::{SigningKey, VerifyingKey};
use crate::merkle::MAX_SIZE;
use crate::note::{Note, NoteError, NoteSigner, NoteVerifier};

/// A tree head: which log, how many receipts, what root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many receipts the tree holds.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
}

/// Why a checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it is bad or not signed by the pinned key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is no checkpoint.
    #[error("the note is not a checkpoint; expect three lines: origin, size, root")]
    Shape,
    /// Another log.
    #[error("the checkpoint is of the log `{found}`; expect `{expected}`")]
    Origin {
        /// The origin it names.
        found: String,
        /// The origin that was pinned.
        expected: String,
    },
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads the text of a checkpoint that was verified already.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`].
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Shape)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Shape);
        };
        let size = parse_decimal(size).filter(|size| *size <= MAX_SIZE).ok_or(CheckpointError::Shape)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::Shape)?;
        if origin.is_empty() {
            return Err(CheckpointError::Shape);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Verifies a checkpoint under a pinned key and reads it.
    ///
    /// Without a pinned origin, the origin it names is taken as the key's name; the caller then has to hold that
    /// origin against the other things it believes about the log.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &[u8], pinned: &VerifyingKey, origin: Option<&str>) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let claimed = Self::parse_text(note.text())?;
        if let Some(expected) = origin.filter(|expected| *expected != claimed.origin) {
            return Err(CheckpointError::Origin { found: claimed.origin, expected: expected.to_owned() });
        }
        let verifier = NoteVerifier::new(&claimed.origin, *pinned)?;
        note.verify(&verifier)?;
        Ok(claimed)
    }

    /// Verifies a checkpoint under a verifier key, whose name must be the origin.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open_with(note: &[u8], verifier: &NoteVerifier) -> Result<Self, CheckpointError> {
        Self::open(note, verifier.key(), Some(verifier.name()))
    }
}

/// Reads a decimal number as the C2SP texts write it: digits, no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    if digits && plain { text.parse().ok() } else { None }
}

/// Signs the checkpoints of one log.
#[derive(Debug)]
pub struct CheckpointSigner {
    signer: NoteSigner,
}

impl CheckpointSigner {
    /// A signer for the log with this origin.
    ///
    /// # Errors
    /// [`NoteError::Name`] when the origin cannot name a key.
    pub fn new(origin: &str, key: SigningKey) -> Result<Self, NoteError> {
        Ok(Self { signer: NoteSigner::new(origin, key)? })
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.signer.name()
    }

    /// The verifier key of the log.
    #[must_use]
    pub fn verifier(&self) -> NoteVerifier {
        self.signer.verifier()
    }

    /// Signs a tree head.
    ///
    /// # Errors
    /// [`NoteError`], which a checked origin leaves no reason for.
    pub fn sign(&self, size: u64, root: &Hash) -> Result<String, NoteError> {
        let checkpoint = Checkpoint { origin: self.origin().to_owned(), size, root: *root };
        self.signer.sign(&checkpoint.to_text())
    }
}
