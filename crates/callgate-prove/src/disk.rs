//! A disk in memory that breaks on purpose, and keeps apart what was written from what would survive a power cut.
//!
//! It takes the worst case: whatever was not synced when the power fails is gone, names included. What a failed
//! sync did not write stays readable and is never written by a later one, as Linux has it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use callgate_store::{File, Fs, Lock, LockError};
use parking_lot::Mutex;

/// What shall go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The write of this number fails, half done.
    WriteFails(u64),
    /// The sync of this number fails.
    SyncFails(u64),
    /// The call of this number takes so long.
    Hangs(u64, Duration),
    /// Every sync takes so long.
    SlowSyncs(Duration),
    /// No file can grow or be made.
    Full,
    /// The power fails at the call of this number; everything after it fails, too.
    PowerFails(u64),
    /// Syncs say that they wrote and write nothing. No gate can withstand that: the suite must find it.
    SyncsLie,
}

/// Which kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    Write,
    Sync,
}

/// Calls since the last mishap was set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    kept: Vec<u8>,
    /// Unsynced parts of `now`.
    dirty: Vec<(usize, usize)>,
}

type Names = BTreeMap<String, usize>;

#[derive(Debug, Clone, Default)]
struct World {
    inodes: Vec<Inode>,
    names: Names,
    kept_names: Names,
    mishap: Option<Mishap>,
    counts: Counts,
    felt: u64,
    dead: bool,
    locked: bool,
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    world: Arc<Mutex<World>>,
}

fn broken(what: &str) -> io::Error {
    io::Error::other(format!("injected: {what}"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Inode {
    fn write(&mut self, data: &[u8], at: usize) {
        let end = at.saturating_add(data.len());
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        if let Some(place) = self.now.get_mut(at..end) {
            place.copy_from_slice(data);
        }
        self.dirty.push((at, end));
    }

    fn sync(&mut self) {
        self.kept.resize(self.now.len(), 0);
        for (from, to) in self.dirty.drain(..) {
            let to = to.min(self.now.len());
            if let (Some(kept), Some(now)) = (self.kept.get_mut(from..to), self.now.get(from..to)) {
                kept.copy_from_slice(now);
            }
        }
    }
}

impl World {
    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts a call; whether it fails, and how long it takes.
    fn enter(&mut self, kind: Kind) -> io::Result<(bool, Duration)> {
        if self.dead {
            return Err(broken("the power is gone"));
        }
        self.counts.calls = self.counts.calls.saturating_add(1);
        let number = match kind {
            Kind::Other => 0,
            Kind::Write => {
                self.counts.writes = self.counts.writes.saturating_add(1);
                self.counts.writes
            }
            Kind::Sync => {
                self.counts.syncs = self.counts.syncs.saturating_add(1);
                self.counts.syncs
            }
        };
        let (fails, span) = match self.mishap {
            Some(Mishap::WriteFails(at)) => (kind == Kind::Write && number == at, Duration::ZERO),
            Some(Mishap::SyncFails(at)) => (kind == Kind::Sync && number == at, Duration::ZERO),
            Some(Mishap::Hangs(at, span)) if self.counts.calls == at => (false, span),
            Some(Mishap::SlowSyncs(span)) if kind == Kind::Sync => (false, span),
            Some(Mishap::PowerFails(at)) if self.counts.calls >= at => {
                self.dead = true;
                (true, Duration::ZERO)
            }
            _ => (false, Duration::ZERO),
        };
        self.felt = self.felt.saturating_add(u64::from(fails || !span.is_zero()));
        Ok((fails, span))
    }

    fn write(&mut self, id: usize, data: &[u8], offset: u64, fails: bool) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let full = self.mishap == Some(Mishap::Full);
        let inode = self.inode(id)?;
        let room = if full { inode.now.len().saturating_sub(at) } else { data.len() };
        let half = data.len().checked_div(1024).unwrap_or(0).saturating_mul(512);
        let len = if fails { half } else { data.len().min(room) };
        inode.write(data.get(..len).unwrap_or_default(), at);
        if fails {
            return Err(broken("the write failed"));
        }
        if len < data.len() {
            self.felt = self.felt.saturating_add(1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self, id: usize, fails: bool) -> io::Result<()> {
        let lies = self.mishap == Some(Mishap::SyncsLie);
        let inode = self.inode(id)?;
        if fails || lies {
            inode.dirty.clear();
            self.felt = self.felt.saturating_add(u64::from(lies));
            return if fails { Err(broken("the sync failed")) } else { Ok(()) };
        }
        inode.sync();
        Ok(())
    }
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets what shall go wrong from now on, and counts from 0 again.
    pub(crate) fn set(&self, mishap: Option<Mishap>) {
        let mut world = self.world.lock();
        (world.mishap, world.counts) = (mishap, Counts::default());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.world.lock().counts
    }

    /// How often something went wrong so far.
    pub(crate) fn felt(&self) -> u64 {
        self.world.lock().felt
    }

    /// The disk as the next power-on finds it.
    pub(crate) fn after_power_cut(&self) -> Self {
        let world = self.world.lock();
        let inodes = world.inodes.iter();
        let inodes = inodes.map(|one| Inode { now: one.kept.clone(), kept: one.kept.clone(), dirty: vec![] });
        let (names, kept_names) = (world.kept_names.clone(), world.kept_names.clone());
        let left = World { inodes: inodes.collect(), names, kept_names, ..World::default() };
        Self { world: Arc::new(Mutex::new(left)) }
    }

    /// An independent copy, as a program sees it that was started again; nobody has it locked.
    pub(crate) fn copy(&self) -> Self {
        let mut left = self.world.lock().clone();
        (left.mishap, left.locked, left.dead, left.felt) = (None, false, false, 0);
        Self { world: Arc::new(Mutex::new(left)) }
    }

    /// Changes the bytes of a file behind everybody's back, durably.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut world = self.world.lock();
        let Some(id) = world.names.get(path).copied() else { return false };
        let Ok(inode) = world.inode(id) else { return false };
        change(&mut inode.now);
        inode.kept = inode.now.clone();
        true
    }

    /// Removes a file behind everybody's back, durably.
    pub(crate) fn lose(&self, path: &str) -> bool {
        let mut world = self.world.lock();
        world.kept_names.remove(path);
        world.names.remove(path).is_some()
    }

    /// Names of the files in a folder.
    pub(crate) fn files_in(&self, folder: &str) -> Vec<String> {
        let world = self.world.lock();
        world.names.keys().filter(|path| parent(path) == folder).cloned().collect()
    }

    /// A call that nothing is half done of.
    fn simple(&self) -> io::Result<()> {
        let (fails, span) = self.world.lock().enter(Kind::Other)?;
        std::thread::sleep(span);
        if fails { Err(broken("the call failed")) } else { Ok(()) }
    }

    fn handle(&self, id: usize) -> Box<dyn File> {
        Box::new(Handle { disk: self.clone(), id })
    }
}

impl Fs for Disk {
    fn create_dir(&self, _: &str) -> io::Result<()> {
        self.simple()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.simple()?;
        let id = *self.world.lock().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(id))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.simple()?;
        let mut world = self.world.lock();
        if world.mishap == Some(Mishap::Full) {
            world.felt = world.felt.saturating_add(1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let id = world.inodes.len();
        world.inodes.push(Inode::default());
        world.names.insert(path.to_owned(), id);
        drop(world);
        Ok(self.handle(id))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.simple()?;
        let world = self.world.lock();
        let inside = world.names.keys().filter(|path| parent(path) == dir);
        Ok(inside.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.simple()?;
        let mut world = self.world.lock();
        let id = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.simple()?;
        let removed = self.world.lock().names.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let (fails, span) = self.world.lock().enter(Kind::Sync)?;
        std::thread::sleep(span);
        if fails {
            return Err(broken("the sync failed"));
        }
        let mut world = self.world.lock();
        if world.mishap == Some(Mishap::SyncsLie) {
            return Ok(());
        }
        world.kept_names.retain(|path, _| parent(path) != dir);
        let inside: Names = world.names.iter().filter(|(path, _)| parent(path) == dir).map(owned).collect();
        world.kept_names.extend(inside);
        Ok(())
    }

    fn lock(&self, _: &str) -> Result<Box<dyn Lock>, LockError> {
        self.simple()?;
        let mut world = self.world.lock();
        if std::mem::replace(&mut world.locked, true) {
            return Err(LockError::Held(None));
        }
        Ok(Box::new(Held(self.clone())))
    }
}

fn owned((path, id): (&String, &usize)) -> (String, usize) {
    (path.clone(), *id)
}

struct Held(Disk);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.world.lock().locked = false;
    }
}

struct Handle {
    disk: Disk,
    id: usize,
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.simple()?;
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let to = from.saturating_add(buf.len());
        let mut world = self.disk.world.lock();
        let bytes = world.inode(self.id)?.now.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let (fails, span) = self.disk.world.lock().enter(Kind::Write)?;
        std::thread::sleep(span);
        self.disk.world.lock().write(self.id, data, offset, fails)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (fails, span) = self.disk.world.lock().enter(Kind::Sync)?;
        std::thread::sleep(span);
        self.disk.world.lock().sync(self.id, fails)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.simple()?;
        let mut world = self.disk.world.lock();
        Ok(u64::try_from(world.inode(self.id)?.now.len()).unwrap_or(u64::MAX))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.simple()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut world = self.disk.world.lock();
        let inode = world.inode(self.id)?;
        let old = inode.now.len();
        inode.now.resize(len, 0);
        inode.dirty.push((old.min(len), len));
        Ok(())
    }
}
