//! Saved states: the fold of the first receipts of the log, written out, so that a start need not fold them again.
//!
//! A saved state is only ever a short cut. It is signed with the log's key, names the group it ends with, and is used
//! when that group is in the log, byte for byte; anything else is left aside, with the reason, and the log is folded
//! from the saved state before it or from the start. Nothing that verifies the log looks at these files.

mod keeper;
mod read;
mod write;

use crate::fs::Fs;
use crate::shared::OnDisk;
use crate::tree::Tree;

pub(crate) use keeper::{Keeper, run};
pub(crate) use read::{Base, Looked, newest};

/// The folder of the saved states.
pub(crate) const STATE: &str = "state";
const MAGIC: [u8; 8] = *b"CGSTATE\x01";
/// What is read, written and hashed at a time.
const CHUNK: usize = 1 << 20;
/// How many are kept: the newest, and one to fall back on.
const KEPT: usize = 2;
/// The longest attestation and note that are read.
const MAX_SMALL: usize = 16 << 10;

/// A state and what belongs to it, up to one place in the log.
pub(crate) struct Whole<'a, S> {
    pub(crate) state: &'a S,
    pub(crate) tree: &'a Tree,
    pub(crate) on_disk: &'a OnDisk,
}

fn path(size: u64) -> String {
    format!("{STATE}/{size:020}.state")
}

/// The number of receipts in a saved state named `name`.
fn size_of(name: &str) -> Option<u64> {
    let size = name.strip_suffix(".state")?.parse().ok()?;
    (path(size) == format!("{STATE}/{name}")).then_some(size)
}

/// Removes what interrupted savings left. What fails here costs room and nothing else.
pub(crate) fn tidy(fs: &dyn Fs) {
    for name in fs.list(STATE).unwrap_or_default().iter().filter(|name| name.ends_with(".tmp")) {
        let _ = fs.remove(&format!("{STATE}/{name}"));
    }
}

/// How many receipts the saved states have, newest first.
fn sizes(fs: &dyn Fs) -> std::io::Result<Vec<u64>> {
    let mut sizes: Vec<u64> = fs.list(STATE)?.iter().filter_map(|name| size_of(name)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    Ok(sizes)
}
