//! The Merkle tree of the log (RFC 6962 section 2.1), kept so that memory does not grow by 32 bytes per receipt.
//!
//! Nodes below level 8 are kept for the unfinished tile of 256 leaves only; above it all are kept, 32 bytes per 256
//! receipts. A proof that needs lower nodes of a finished tile reads its receipts back from the log.

use sha2::{Digest, Sha256};

/// A node of the tree.
pub(crate) type Node = [u8; 32];

/// Leaves of a tile, as a power of two.
const TILE_LEVEL: usize = 8;
/// Leaves of a tile.
pub(crate) const TILE: u64 = 1 << TILE_LEVEL;

/// Hash of a leaf: SHA-256(0x00 ‖ payload).
pub(crate) fn leaf_hash(payload: &[u8]) -> Node {
    Sha256::new().chain_update([0]).chain_update(payload).finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
fn node_hash(left: &Node, right: &Node) -> Node {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The tree of all leaves pushed so far.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    size: u64,
    /// Complete subtrees by level. Below [`TILE_LEVEL`] a level starts at the unfinished tile.
    levels: Vec<Vec<Node>>,
}

/// Gives the leaf hashes of a finished tile.
pub(crate) type TileSource<'a, E> = &'a mut dyn FnMut(u64) -> Result<Vec<Node>, E>;

impl Tree {
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn push(&mut self, leaf: Node) {
        self.size = self.size.saturating_add(1);
        let (mut node, mut level, mut odd) = (leaf, 0_usize, self.size);
        loop {
            let nodes = self.level_mut(level);
            let left = nodes.last().copied();
            nodes.push(node);
            // The level is complete to an even count exactly when the lowest bit of what remains is clear.
            let Some(left) = left.filter(|_| odd & 1 == 0) else { break };
            node = node_hash(&left, &node);
            (level, odd) = (level.saturating_add(1), odd >> 1);
        }
        if self.size.is_multiple_of(TILE) {
            self.levels.iter_mut().take(TILE_LEVEL).for_each(Vec::clear);
        }
    }

    fn level_mut(&mut self, level: usize) -> &mut Vec<Node> {
        if self.levels.len() <= level {
            self.levels.resize_with(level.saturating_add(1), Vec::new);
        }
        #[expect(clippy::indexing_slicing, reason = "resized above to hold more than `level` elements")]
        &mut self.levels[level]
    }

    /// Root of the whole tree; SHA-256 of nothing when it is empty.
    pub(crate) fn root(&self) -> Node {
        let mut root: Option<Node> = None;
        for (level, nodes) in self.levels.iter().enumerate() {
            let odd = u32::try_from(level).ok().and_then(|l| self.size.checked_shr(l)).unwrap_or(0) & 1 == 1;
            if let Some(peak) = nodes.last().filter(|_| odd) {
                root = Some(root.map_or(*peak, |right| node_hash(peak, &right)));
            }
        }
        root.unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// The node over leaves `index << level ..`, when it is kept.
    fn kept(&self, level: usize, index: u64) -> Option<Node> {
        let first = if level < TILE_LEVEL {
            let tiles = self.size.checked_div(TILE)?;
            tiles.checked_mul(TILE)?.checked_shr(u32::try_from(level).ok()?)?
        } else {
            0
        };
        self.levels.get(level)?.get(usize::try_from(index.checked_sub(first)?).ok()?).copied()
    }

    /// RFC 6962 hash over leaves `start..end`, where `start` is a multiple of the subtree's width.
    fn range<E>(&self, start: u64, end: u64, tile: TileSource<'_, E>) -> Result<Option<Node>, E> {
        let width = end.saturating_sub(start);
        if width.is_power_of_two() {
            let level = width.trailing_zeros();
            let level_index = start.checked_shr(level).unwrap_or(0);
            let kept = usize::try_from(level).ok().and_then(|l| self.kept(l, level_index));
            if kept.is_some() {
                return Ok(kept);
            }
            if width <= TILE {
                return Ok(within(&tile(start.checked_div(TILE).unwrap_or(0))?, start, end));
            }
        }
        let Some(middle) = split(start, end) else { return Ok(None) };
        let left = self.range(start, middle, tile)?;
        let right = self.range(middle, end, tile)?;
        Ok(left.zip(right).map(|(left, right)| node_hash(&left, &right)))
    }

    /// RFC 6962 section 2.1.1: the path from leaf `index` to the root of the first `size` leaves, lowest first.
    /// `None` when there is no such leaf or tree.
    pub(crate) fn inclusion<E>(
        &self,
        index: u64,
        size: u64,
        tile: TileSource<'_, E>,
    ) -> Result<Option<Vec<Node>>, E> {
        if index >= size || size > self.size {
            return Ok(None);
        }
        let (mut start, mut end, mut path) = (0, size, Vec::new());
        while let Some(middle) = split(start, end) {
            let sibling = if index < middle { (middle, end) } else { (start, middle) };
            let Some(node) = self.range(sibling.0, sibling.1, tile)? else { return Ok(None) };
            path.push(node);
            (start, end) = if index < middle { (start, middle) } else { (middle, end) };
        }
        path.reverse();
        Ok(Some(path))
    }

    /// RFC 6962 section 2.1.2: that the first `old` leaves are a prefix of the first `size`.
    /// `None` when there are no such trees; empty when they are the same or the old one is empty.
    pub(crate) fn consistency<E>(
        &self,
        old: u64,
        size: u64,
        tile: TileSource<'_, E>,
    ) -> Result<Option<Vec<Node>>, E> {
        if old > size || size > self.size {
            return Ok(None);
        }
        if old == 0 || old == size {
            return Ok(Some(Vec::new()));
        }
        let (mut start, mut end, mut whole, mut path) = (0, size, true, Vec::new());
        while end > old {
            let Some(middle) = split(start, end) else { return Ok(None) };
            let left = old <= middle;
            let sibling = if left { (middle, end) } else { (start, middle) };
            let Some(node) = self.range(sibling.0, sibling.1, tile)? else { return Ok(None) };
            path.push(node);
            (start, end) = if left { (start, middle) } else { (middle, end) };
            whole &= left;
        }
        if !whole {
            let Some(node) = self.range(start, end, tile)? else { return Ok(None) };
            path.push(node);
        }
        path.reverse();
        Ok(Some(path))
    }
}

/// Where RFC 6962 splits `start..end`: at the largest power of two less than its width; `None` for a single leaf.
fn split(start: u64, end: u64) -> Option<u64> {
    let width = end.checked_sub(start).filter(|w| *w > 1)?;
    let left = width.checked_next_power_of_two()?.checked_shr(1)?;
    start.checked_add(left)
}

/// Hash over leaves `start..end` out of the leaves of their tile.
fn within(tile: &[Node], start: u64, end: u64) -> Option<Node> {
    let first = usize::try_from(start.checked_rem(TILE)?).ok()?;
    let width = usize::try_from(end.checked_sub(start)?).ok()?;
    let mut nodes = tile.get(first..first.checked_add(width)?)?.to_vec();
    while nodes.len() > 1 {
        nodes = nodes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    nodes.first().copied()
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
