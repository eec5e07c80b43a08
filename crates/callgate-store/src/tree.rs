//! The Merkle tree of the log (RFC 6962 section 2.1), kept so that memory does not grow by 32 bytes per receipt.
//!
//! Nodes below level 8 are kept for the newest tiles of 256 leaves only, so that a proof that goes out with a reply
//! reads nothing back; above it all are kept, 32 bytes per 256 receipts. A proof that needs lower nodes of an older
//! tile reads its receipts back from the log.

use callgate_log::Hash;
use callgate_log::merkle::{Nodes, node_hash};

/// Leaves of a tile, as a power of two.
const TILE_LEVEL: usize = 8;
/// Leaves of a tile.
pub(crate) const TILE: u64 = 1 << TILE_LEVEL;
/// The leaves whose lower nodes are kept at least; up to twice as many are, about 1 MiB.
const RECENT: u64 = 32 * TILE;

/// The tree of all leaves pushed so far.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    size: u64,
    /// The first leaf whose lower nodes are kept; a multiple of [`TILE`].
    recent: u64,
    /// Complete subtrees by level. Below [`TILE_LEVEL`] a level starts at `recent`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The first leaf whose lower nodes are kept.
    pub(crate) const fn recent(&self) -> u64 {
        self.recent
    }

    /// The nodes that are kept, by level.
    pub(crate) fn levels(&self) -> &[Vec<Hash>] {
        &self.levels
    }

    /// How many nodes of a level are kept of a tree of `size` leaves.
    pub(crate) fn kept_at(size: u64, recent: u64, level: u32) -> u64 {
        let all = size.checked_shr(level).unwrap_or(0);
        let below = usize::try_from(level).is_ok_and(|level| level < TILE_LEVEL);
        all.saturating_sub(if below { recent.checked_shr(level).unwrap_or(0) } else { 0 })
    }

    /// The tree that had this size and kept these nodes; nothing is checked here.
    pub(crate) const fn restore(size: u64, recent: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, recent, levels }
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        self.size = self.size.saturating_add(1);
        let (mut node, mut rest) = (leaf, self.size);
        for level in 0..64 {
            let nodes = self.level_mut(level);
            let left = nodes.last().copied();
            nodes.push(node);
            // The level now has an even count exactly when the lowest bit of what remains is clear.
            let Some(left) = left.filter(|_| rest & 1 == 0) else { break };
            node = node_hash(&left, &node);
            rest >>= 1;
        }
        if self.size.is_multiple_of(TILE) && self.size.saturating_sub(self.recent) >= RECENT.saturating_mul(2)
        {
            self.forget(self.size.saturating_sub(RECENT));
        }
    }

    /// Drops the lower nodes of the leaves before `first`, a multiple of [`TILE`].
    fn forget(&mut self, first: u64) {
        let dropped = first.saturating_sub(self.recent);
        for (level, nodes) in (0_u32..).zip(self.levels.iter_mut().take(TILE_LEVEL)) {
            let count = usize::try_from(dropped.checked_shr(level).unwrap_or(0)).unwrap_or(usize::MAX);
            nodes.drain(..count.min(nodes.len()));
        }
        self.recent = first;
    }

    fn level_mut(&mut self, level: usize) -> &mut Vec<Hash> {
        if self.levels.len() <= level {
            self.levels.resize_with(level.saturating_add(1), Vec::new);
        }
        #[expect(clippy::indexing_slicing, reason = "resized above to hold more than `level` elements")]
        &mut self.levels[level]
    }

    /// Root of the whole tree.
    pub(crate) fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for (level, nodes) in (0_u32..).zip(&self.levels) {
            let odd = self.size.checked_shr(level).unwrap_or(0) & 1 == 1;
            if let Some(peak) = nodes.last().filter(|_| odd) {
                root = Some(root.map_or(*peak, |right| node_hash(peak, &right)));
            }
        }
        root.unwrap_or_else(callgate_log::merkle::empty_root)
    }

    /// The node over leaves `index << level ..`, when it is kept.
    fn kept(&self, level: u32, index: u64) -> Option<Hash> {
        let level_index = usize::try_from(level).ok()?;
        let first = if level_index < TILE_LEVEL { self.recent.checked_shr(level)? } else { 0 };
        self.levels.get(level_index)?.get(usize::try_from(index.checked_sub(first)?).ok()?).copied()
    }
}

/// A tree and the leaves of some finished tiles: what a proof is made from.
pub(crate) struct Source<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) tiles: &'a [(u64, Vec<Hash>)],
}

impl Nodes for Source<'_> {
    /// The tile whose leaves are needed, too.
    type Error = u64;

    fn leaf(&self, index: u64) -> Result<Hash, u64> {
        let wanted = index.checked_div(TILE).unwrap_or(0);
        let within = usize::try_from(index.checked_rem(TILE).unwrap_or(0)).unwrap_or(0);
        let tile =
            || self.tiles.iter().find(|(tile, _)| *tile == wanted).and_then(|(_, leaves)| leaves.get(within));
        self.tree.kept(0, index).or_else(|| tile().copied()).ok_or(wanted)
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Hash>, u64> {
        Ok(self.tree.kept(level, index))
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
