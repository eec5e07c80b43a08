//! The RFC 6962 Merkle tree over receipt payloads (section 2.1), with SHA-256.
//!
//! [`Frontier`] appends and gives the root while holding one hash per set bit of the size, so a restart needs no
//! leaf. Proofs are made from a [`Nodes`] source and checked without one. Nothing here stores a tree.

mod check;
mod prove;

pub use check::{InvalidProof, verify_consistency, verify_inclusion};
pub use prove::{Leaves, MissingLeaf, Nodes, ProveError, consistency_proof, inclusion_proof, node_at};

use thiserror::Error;

use crate::hash::{Hash, sha256_of};

/// The largest tree, in leaves. Far beyond any log, and small enough that no sum here can overflow.
pub const MAX_SIZE: u64 = 1 << 62;

/// The hash of a leaf: `SHA-256(0x00 ‖ payload)`.
#[must_use]
pub fn leaf_hash(payload: &[u8]) -> Hash {
    sha256_of(&[&[0], payload])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    sha256_of(&[])
}

/// The right edge of a growing tree: its size and the roots of its full subtrees, largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// The bytes are not a saved [`Frontier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the saved tree edge has {0} bytes, which does not fit the size it states; rebuild it from the log")]
pub struct BadFrontier(usize);

impl Frontier {
    /// The edge of an empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash and returns its index. One inner hash on average, 62 at most.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        let mut right = leaf;
        for _ in 0..index.trailing_ones() {
            // Every set bit of the size has its peak, so there is always one to join with.
            let Some(left) = self.peaks.pop() else { break };
            right = node_hash(&left, &right);
        }
        self.peaks.push(right);
        self.size = index.saturating_add(1);
        index
    }

    /// The root of the tree so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Saves the edge: the size as eight big-endian bytes, then 32 bytes per full subtree, largest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Restores a saved edge. The caller compares the root with a signed checkpoint before trusting it.
    ///
    /// # Errors
    /// [`BadFrontier`] when the length does not fit the size, or the size is beyond [`MAX_SIZE`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadFrontier> {
        let bad = BadFrontier(bytes.len());
        let (head, rest) = bytes.split_first_chunk::<8>().ok_or(bad)?;
        let size = u64::from_be_bytes(*head);
        let (hashes, odd) = rest.as_chunks::<32>();
        let expected = usize::try_from(size.count_ones()).map_err(|_| bad)?;
        if size > MAX_SIZE || !odd.is_empty() || hashes.len() != expected {
            return Err(bad);
        }
        Ok(Self { size, peaks: hashes.iter().map(|hash| Hash::new(*hash)).collect() })
    }
}
