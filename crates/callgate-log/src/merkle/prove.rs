//! Making inclusion and consistency proofs (RFC 6962 sections 2.1.1 and 2.1.2).
//!
//! Needs the hashes of full subtrees from somewhere; with leaves alone a proof costs one hash per leaf of the
//! tree, with every level at hand it costs a few look-ups.

use std::convert::Infallible;

use thiserror::Error;

use super::{MAX_SIZE, node_hash};
use crate::hash::Hash;

/// Where leaf hashes come from. A closure `Fn(u64) -> Hash` is one.
pub trait Nodes {
    /// Why a hash could not be had.
    type Error;

    /// The hash of the leaf with this index.
    ///
    /// # Errors
    /// When the source does not have it.
    fn leaf(&self, index: u64) -> Result<Hash, Self::Error>;

    /// The root of the full subtree over leaves `index · 2^level ..< (index + 1) · 2^level`, if it is at hand.
    ///
    /// # Errors
    /// When the source should have it and cannot read it.
    fn node(&self, level: u32, index: u64) -> Result<Option<Hash>, Self::Error> {
        let _ = (level, index);
        Ok(None)
    }
}

impl<F: Fn(u64) -> Hash> Nodes for F {
    type Error = Infallible;

    fn leaf(&self, index: u64) -> Result<Hash, Infallible> {
        Ok(self(index))
    }
}

/// Leaf hashes in memory.
#[derive(Debug, Clone, Copy)]
pub struct Leaves<'a>(pub &'a [Hash]);

/// The source has no leaf with this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no leaf `{0}`")]
pub struct MissingLeaf(u64);

impl Nodes for Leaves<'_> {
    type Error = MissingLeaf;

    fn leaf(&self, index: u64) -> Result<Hash, MissingLeaf> {
        usize::try_from(index).ok().and_then(|i| self.0.get(i)).copied().ok_or(MissingLeaf(index))
    }
}

/// Why a proof could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// There is no such leaf or tree.
    #[error("a tree of `{size}` leaves has no `{wanted}`; ask for less")]
    OutOfRange {
        /// The leaf or the older size that was asked for.
        wanted: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The source failed.
    #[error(transparent)]
    Source(#[from] E),
}

/// A run of leaves that is a subtree of some tree: `start` is a multiple of the next power of two.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "callers keep start + len <= MAX_SIZE = 2^62 and len >= 2 in `halves`, so left < len and no sum or \
              difference leaves 0..=2^62"
)]
impl Range {
    /// Splits at the largest power of two below the length.
    fn halves(self) -> (Self, Self) {
        let left = largest_power_below(self.len);
        (Self { start: self.start, len: left }, Self { start: self.start + left, len: self.len - left })
    }

    fn contains(self, index: u64) -> bool {
        index >= self.start && index - self.start < self.len
    }

    const fn end(self) -> u64 {
        self.start + self.len
    }
}

/// The largest power of two that is smaller than `len` (1 for `len` below 3).
const fn largest_power_below(len: u64) -> u64 {
    if len < 3 { 1 } else { power(len.wrapping_sub(1).ilog2()) }
}

/// Two to the `level`; levels are below 63 because sizes are.
const fn power(level: u32) -> u64 {
    1_u64.wrapping_shl(level)
}

/// The root of the full subtree `index` at `level`, from the source's shortcuts or from its leaves.
///
/// # Errors
/// What the source says.
pub fn node_at<N: Nodes + ?Sized>(nodes: &N, level: u32, index: u64) -> Result<Hash, N::Error> {
    if level == 0 {
        return nodes.leaf(index);
    }
    if let Some(hash) = nodes.node(level, index)? {
        return Ok(hash);
    }
    let below = level.saturating_sub(1);
    let left = node_at(nodes, below, index.wrapping_mul(2))?;
    let right = node_at(nodes, below, index.wrapping_mul(2) | 1)?;
    Ok(node_hash(&left, &right))
}

/// The root over a range: its full subtrees from the left, joined from the right.
fn range_root<N: Nodes + ?Sized>(nodes: &N, range: Range) -> Result<Hash, N::Error> {
    if range.len.is_power_of_two() {
        let level = range.len.trailing_zeros();
        return node_at(nodes, level, range.start.wrapping_shr(level));
    }
    let (left, right) = range.halves();
    Ok(node_hash(&range_root(nodes, left)?, &range_root(nodes, right)?))
}

/// The inclusion proof of a leaf in the tree of the first `size` leaves: sibling first, child of the root last.
///
/// # Errors
/// [`ProveError::OutOfRange`] unless `index < size <= `[`MAX_SIZE`], [`ProveError::Source`].
pub fn inclusion_proof<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if index >= size || size > MAX_SIZE {
        return Err(ProveError::OutOfRange { wanted: index, size });
    }
    let mut range = Range { start: 0, len: size };
    let mut siblings = Vec::new();
    while range.len > 1 {
        let (left, right) = range.halves();
        let (inside, sibling) = if left.contains(index) { (left, right) } else { (right, left) };
        siblings.push(sibling);
        range = inside;
    }
    roots_upwards(nodes, Vec::new(), &siblings)
}

/// The proof that the tree of the first `old` leaves is a prefix of the tree of the first `new` leaves.
///
/// Empty when `old` is 0 or equals `new`.
///
/// # Errors
/// [`ProveError::OutOfRange`] unless `old <= new <= `[`MAX_SIZE`], [`ProveError::Source`].
pub fn consistency_proof<N: Nodes + ?Sized>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if old > new || new > MAX_SIZE {
        return Err(ProveError::OutOfRange { wanted: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut range = Range { start: 0, len: new };
    let mut siblings = Vec::new();
    while range.end() != old {
        let (left, right) = range.halves();
        let (inside, sibling) = if old <= left.end() { (left, right) } else { (right, left) };
        siblings.push(sibling);
        range = inside;
    }
    // When the old tree is itself one subtree of the new, the verifier holds its root already.
    let base = if range.start == 0 { Vec::new() } else { vec![range_root(nodes, range)?] };
    roots_upwards(nodes, base, &siblings)
}

fn roots_upwards<N: Nodes + ?Sized>(
    nodes: &N,
    mut proof: Vec<Hash>,
    siblings: &[Range],
) -> Result<Vec<Hash>, ProveError<N::Error>> {
    for sibling in siblings.iter().rev() {
        proof.push(range_root(nodes, *sibling)?);
    }
    Ok(proof)
}
