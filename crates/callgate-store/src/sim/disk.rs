//! What is on the simulated disk, what the program sees, and the difference: everything not synced yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{Names, Rng};

const SECTOR: usize = 512;

/// A change to a file that is not durable.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, data } => {
                let end = offset.saturating_add(data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(target) = bytes.get_mut(*offset..end) {
                    target.copy_from_slice(data);
                }
            }
        }
    }

    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::SetLen(len) => *len,
            Self::Write { offset, data } => len.max(offset.saturating_add(data.len())),
        }
    }

    fn sectors(&self) -> std::ops::Range<usize> {
        match self {
            Self::Write { offset, data } if !data.is_empty() => {
                let end = offset.saturating_add(data.len()).div_ceil(SECTOR);
                offset.checked_div(SECTOR).unwrap_or(0)..end
            }
            _ => 0..0,
        }
    }

    /// The part of a write that lies in one sector.
    fn within(&self, sector: usize) -> Option<Self> {
        let Self::Write { offset, data } = self else { return None };
        let from = sector.saturating_mul(SECTOR).max(*offset);
        let to = sector.saturating_add(1).saturating_mul(SECTOR).min(offset.saturating_add(data.len()));
        let data = data.get(from.checked_sub(*offset)?..to.checked_sub(*offset)?)?.to_vec();
        Some(Self::Write { offset: from, data })
    }
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What the program sees.
    current: Vec<u8>,
    /// What a crash leaves for sure.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.current.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> Option<()> {
        let from = usize::try_from(offset).ok()?;
        buf.copy_from_slice(self.current.get(from..from.checked_add(buf.len())?)?);
        Some(())
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.push(Change::Write { offset, data: data.to_vec() });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.push(Change::SetLen(usize::try_from(len).unwrap_or(usize::MAX)));
    }

    fn push(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let result = change(&mut self.current);
        self.durable.clone_from(&self.current);
        self.pending.clear();
        result
    }

    /// Lets chance decide which unsynced sectors reach the disk; the rest is forgotten, though still seen.
    pub(super) fn settle(&mut self, rng: &mut Rng, garble: bool) {
        let changes = std::mem::take(&mut self.pending);
        if changes.is_empty() {
            return;
        }
        // Everything lost, everything kept, or each sector for itself.
        let mood = rng.below(4);
        let pick = |rng: &mut Rng| match mood {
            0 => 0,
            1 => changes.len(),
            _ => rng.below(changes.len().saturating_add(1)),
        };
        let kept = pick(rng);
        let len = changes.iter().take(kept).fold(self.durable.len(), |len, change| change.len_after(len));
        let sectors: BTreeSet<usize> = changes.iter().flat_map(Change::sectors).collect();
        for sector in sectors {
            let kept = pick(rng);
            let before = self.sector(sector);
            for part in changes.iter().take(kept).filter_map(|change| change.within(sector)) {
                part.apply(&mut self.durable);
            }
            // A write torn inside a sector mixes old and new bytes; the same bytes mix to themselves.
            if garble && self.sector(sector) != before && rng.one_in(4) {
                let at = sector.saturating_mul(SECTOR).saturating_add(rng.below(SECTOR));
                if let Some(byte) = self.durable.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
        self.durable.resize(len, 0);
    }

    fn sector(&self, sector: usize) -> Vec<u8> {
        let from = sector.saturating_mul(SECTOR);
        let bytes = self.durable.get(from..).unwrap_or_default();
        bytes.get(..SECTOR).unwrap_or(bytes).to_vec()
    }

    fn crash(&mut self, rng: &mut Rng, garble: bool) {
        self.settle(rng, garble);
        self.current.clone_from(&self.durable);
    }
}

/// A change to the names in a folder that is not durable.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    MakeDir(String),
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

impl NameChange {
    fn dir(&self) -> &str {
        match self {
            Self::MakeDir(path) | Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _) => {
                parent(path)
            }
        }
    }

    fn apply(&self, names: &mut Names, dirs: &mut BTreeSet<String>) {
        match self {
            Self::MakeDir(path) => {
                dirs.insert(path.clone());
            }
            Self::Link(path, id) => {
                names.insert(path.clone(), *id);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

/// The folder a path lies in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// All files and names.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    pub(super) names: Names,
    pub(super) dirs: BTreeSet<String>,
    pub(super) durable_names: Names,
    durable_dirs: BTreeSet<String>,
    pending: Vec<NameChange>,
}

impl Default for Disk {
    fn default() -> Self {
        let root = BTreeSet::from([String::new()]);
        Self {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            dirs: root.clone(),
            durable_names: BTreeMap::new(),
            durable_dirs: root,
            pending: Vec::new(),
        }
    }
}

impl Disk {
    pub(super) fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len().saturating_sub(1)
    }

    #[expect(clippy::indexing_slicing, reason = "ids come from `add` and inodes are never taken away")]
    pub(super) fn inode(&self, id: usize) -> &Inode {
        &self.inodes[id]
    }

    #[expect(clippy::indexing_slicing, reason = "ids come from `add` and inodes are never taken away")]
    pub(super) fn inode_mut(&mut self, id: usize) -> &mut Inode {
        &mut self.inodes[id]
    }

    /// Bytes all files have.
    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|id| self.inode(*id).len()).fold(0, u64::saturating_add)
    }

    pub(super) fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names, &mut self.dirs);
        self.pending.push(change);
    }

    pub(super) fn sync_dir(&mut self, dir: &str) {
        for change in self.pending.extract_if(.., |change| change.dir() == dir) {
            change.apply(&mut self.durable_names, &mut self.durable_dirs);
        }
    }

    /// Lets chance decide how many of each folder's unsynced changes, oldest first, reach the disk.
    pub(super) fn settle_dirs(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.pending);
        let dirs: BTreeSet<&str> = changes.iter().map(NameChange::dir).collect();
        for dir in dirs {
            let inside: Vec<_> = changes.iter().filter(|change| change.dir() == dir).collect();
            let kept = rng.below(inside.len().saturating_add(1));
            for change in inside.into_iter().take(kept) {
                change.apply(&mut self.durable_names, &mut self.durable_dirs);
            }
        }
    }

    pub(super) fn crash(&mut self, rng: &mut Rng, garble: bool) {
        self.settle_dirs(rng);
        self.inodes.iter_mut().for_each(|inode| inode.crash(rng, garble));
        let dirs = self.durable_dirs.clone();
        self.durable_names.retain(|path, _| dirs.contains(parent(path)));
        self.names.clone_from(&self.durable_names);
        self.dirs = dirs;
    }
}
