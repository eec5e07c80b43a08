//! C2SP tlog-tiles: which tiles a tree has, where they are served and what they hold
//! (<https://c2sp.org/tlog-tiles>).
//!
//! Pure: it names paths and makes bytes; whoever serves them owns the files.

use thiserror::Error;

use crate::checkpoint::parse_decimal;
use crate::merkle::{MAX_SIZE, Nodes, node_at};
use crate::statement::MAX_PAYLOAD;

/// Hashes in a full tile, and entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;
/// [`FULL_WIDTH`] as an index.
const FULL: u64 = 256;
/// Tree levels one tile level spans.
const HEIGHT: u32 = 8;

/// A tile: 1 to 256 consecutive hashes of one tree level in eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The tile level; its hashes are roots over `256^level` leaves.
    pub level: u8,
    /// Its position in the level.
    pub index: u64,
    /// How many hashes it holds; 256 when full.
    pub width: u16,
}

/// An entry is larger than the 16-bit length of a bundle can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the entry has {0} bytes, more than the {MAX_PAYLOAD} an entry bundle can hold")]
pub struct EntryTooLarge(usize);

impl Tile {
    /// The path under the log's prefix: `tile/L/N` or, when partial, `tile/L/N.p/W`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.tail())
    }

    /// The path of the entry bundle with the same position. Only level 0 has bundles.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.tail())
    }

    fn tail(&self) -> String {
        let mut path = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1000);
            rest /= 1000;
        }
        if self.width < FULL_WIDTH {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// Reads a path that [`Tile::path`] writes; every other spelling is `None`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > 64 {
            return None;
        }
        let (level, tail) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = parse_decimal(level).filter(|level| *level < 64)?;
        let (digits, width) = match tail.split_once(".p/") {
            Some((digits, width)) => (digits, parse_decimal(width).filter(|width| (1..256).contains(width))?),
            None => (tail, 256),
        };
        let index = digits.split('/').try_fold(0_u64, |index, part| {
            let part = part.strip_prefix('x').unwrap_or(part);
            let digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
            let value: u64 = part.parse().ok().filter(|_| digits)?;
            index.checked_mul(1000)?.checked_add(value)
        })?;
        let tile = Self { level: u8::try_from(level).ok()?, index, width: u16::try_from(width).ok()? };
        // Writing it again is the check that the `x` marks and zeros stand where they must.
        (tile.path() == path).then_some(tile)
    }

    /// The hashes of the tile, joined: 32 bytes each.
    ///
    /// # Errors
    /// What the source says.
    pub fn hashes<N: Nodes + ?Sized>(&self, nodes: &N) -> Result<Vec<u8>, N::Error> {
        let level = u32::from(self.level).saturating_mul(HEIGHT);
        let first = self.index.saturating_mul(FULL);
        let mut bytes = Vec::with_capacity(usize::from(self.width).saturating_mul(32));
        for offset in 0..u64::from(self.width) {
            bytes.extend_from_slice(node_at(nodes, level, first.saturating_add(offset))?.as_bytes());
        }
        Ok(bytes)
    }
}

/// The tiles that a tree of `new` leaves has and a tree of `old` leaves had not, lowest level first.
///
/// With `old = 0`, all tiles. Sizes beyond [`MAX_SIZE`] have none.
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let levels = if old < new && new <= MAX_SIZE { 0..8_u8 } else { 0..0 };
    levels.flat_map(move |level| {
        let hashes = |size: u64| size.checked_shr(u32::from(level).saturating_mul(HEIGHT)).unwrap_or(0);
        let (before, now) = (hashes(old), hashes(new));
        let first = before / FULL;
        let end = if now > before { now.div_ceil(FULL) } else { first };
        (first..end).map(move |index| {
            let left = now.saturating_sub(index.saturating_mul(FULL));
            Tile { level, index, width: u16::try_from(left).map_or(FULL_WIDTH, |left| left.min(FULL_WIDTH)) }
        })
    })
}

/// An entry bundle: each payload behind its length as two big-endian bytes.
///
/// # Errors
/// [`EntryTooLarge`] beyond 65,535 bytes.
pub fn entry_bundle<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, EntryTooLarge> {
    let mut bytes = Vec::new();
    for payload in payloads {
        let length = u16::try_from(payload.len()).map_err(|_| EntryTooLarge(payload.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(payload);
    }
    Ok(bytes)
}
