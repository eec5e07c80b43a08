//! Checking inclusion and consistency proofs, by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2.
//!
//! These are the few lines an auditor's trust rests on. They must need nothing but their arguments.

use thiserror::Error;

use super::{MAX_SIZE, empty_root, node_hash};
use crate::hash::Hash;

/// The proof does not tie the hashes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the Merkle proof does not lead to the root; the receipt, the proof or the checkpoint was changed")]
pub struct InvalidProof;

/// A pair of positions that climbs the tree: the node's and the last one's on its level.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    const fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    /// Whether the sibling is on the left; then skips the levels on which the node has no sibling.
    const fn sibling_is_left(&mut self) -> bool {
        if self.node & 1 == 0 && self.node != self.last {
            return false;
        }
        while self.node & 1 == 0 && self.node != 0 {
            self.up();
        }
        true
    }
}

/// Checks that the leaf is at `index` of the tree with this size and root.
///
/// # Errors
/// [`InvalidProof`], also when `index >= size`, the size is beyond [`MAX_SIZE`] or the proof has another length.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), InvalidProof> {
    if index >= size || size > MAX_SIZE {
        return Err(InvalidProof);
    }
    let mut climb = Climb { node: index, last: size.saturating_sub(1) };
    let mut hash = *leaf;
    for sibling in proof {
        if climb.last == 0 {
            return Err(InvalidProof);
        }
        hash = if climb.sibling_is_left() { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        climb.up();
    }
    if climb.last == 0 && hash == *root { Ok(()) } else { Err(InvalidProof) }
}

/// Checks that the tree with the old size and root is a prefix of the one with the new size and root.
///
/// # Errors
/// [`InvalidProof`], also when `old_size > new_size` or the proof has another length.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    if old_size > new_size || new_size > MAX_SIZE {
        return Err(InvalidProof);
    }
    if old_size == 0 || old_size == new_size {
        let expected = if old_size == new_size { *new_root } else { empty_root() };
        let fits = proof.is_empty() && *old_root == expected;
        return if fits { Ok(()) } else { Err(InvalidProof) };
    }
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(InvalidProof)?
    };
    let mut climb = Climb { node: old_size.saturating_sub(1), last: new_size.saturating_sub(1) };
    while climb.node & 1 == 1 {
        climb.up();
    }
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if climb.last == 0 {
            return Err(InvalidProof);
        }
        if climb.sibling_is_left() {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
        } else {
            new = node_hash(&new, sibling);
        }
        climb.up();
    }
    if climb.last == 0 && old == *old_root && new == *new_root { Ok(()) } else { Err(InvalidProof) }
}
