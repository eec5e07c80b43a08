//! C2SP tlog-proof: one text file that ties a receipt to a checkpoint (<https://c2sp.org/tlog-proof>).
//!
//! With the payload and a pinned key it verifies offline. Extra data is carried, never believed.

use thiserror::Error;

use crate::base64;
use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::hash::Hash;
use crate::keys::VerifyingKey;
use crate::merkle::{InvalidProof, leaf_hash, verify_inclusion};
use crate::note::MAX_NOTE;

/// The first line of every proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The most hashes a proof may hold; the largest tree has 62 levels.
pub const MAX_HASHES: usize = 63;
/// The largest extra data, in bytes.
pub const MAX_EXTRA: usize = 16 * 1024;
/// The largest proof that is read, in bytes.
pub const MAX_PROOF: usize = MAX_NOTE + 32 * 1024;

/// A proof that the tree behind a checkpoint holds a receipt at an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque, unauthenticated data; receipts use none.
    pub extra: Option<Vec<u8>>,
    /// The receipt's index in the log.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The checkpoint note, verbatim.
    pub checkpoint: String,
}

/// Why a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// Larger than [`MAX_PROOF`].
    #[error("the proof has {0} bytes, more than the {MAX_PROOF} that are read")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the proof is not text")]
    NotText,
    /// Another file.
    #[error("this is not a tlog-proof; expect the first line `{HEADER}`")]
    Header,
    /// A line is malformed.
    #[error("line {0} of the proof is malformed")]
    Line(usize),
    /// The checkpoint is bad or not signed by the pinned key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead to the root.
    #[error(transparent)]
    Merkle(#[from] InvalidProof),
}

impl TlogProof {
    /// The proof as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", base64::encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a proof. Nothing is verified yet.
    ///
    /// # Errors
    /// [`TlogProofError`] for every other size or shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > MAX_PROOF {
            return Err(TlogProofError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::NotText)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(TlogProofError::Header)?;
        let mut lines = head.split('\n').zip(1_usize..).peekable();
        if lines.next().is_none_or(|(line, _)| line != HEADER) {
            return Err(TlogProofError::Header);
        }
        let extra = match lines.next_if(|(line, _)| line.starts_with("extra ")) {
            Some((line, number)) => Some(parse_extra(line).ok_or(TlogProofError::Line(number))?),
            None => None,
        };
        let index = lines.next().and_then(|(line, _)| parse_decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(TlogProofError::Line(if extra.is_some() { 3 } else { 2 }))?;
        let mut hashes = Vec::new();
        for (line, number) in lines {
            let hash = Hash::from_base64(line).filter(|_| hashes.len() < MAX_HASHES);
            hashes.push(hash.ok_or(TlogProofError::Line(number))?);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that the log behind the pinned key holds the payload at [`TlogProof::index`].
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`], [`TlogProofError::Merkle`].
    pub fn verify(
        &self,
        payload: &[u8],
        pinned: &VerifyingKey,
        origin: Option<&str>,
    ) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), pinned, origin)?;
        verify_inclusion(&leaf_hash(payload), self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

fn parse_extra(line: &str) -> Option<Vec<u8>> {
    base64::decode(line.strip_prefix("extra ")?).filter(|extra| extra.len() <= MAX_EXTRA)
}
