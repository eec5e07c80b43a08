//! A file system that loses, tears, reorders and garbles what was not synced, by seed.
//!
//! The model is harsher than a disk and kinder than malice. A sector (512 bytes) is written whole or not at all, unless
//! [`Faults::garble`] is set. Unsynced sectors survive a crash or not, each for itself and in any order; a length and a
//! name survive only once synced, or by luck. A failed sync leaves some sectors on disk and forgets the others, as Linux
//! does: a later sync succeeds and makes nothing more durable. Never in a shipped build.

mod disk;
mod rng;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fs::{File, Fs, Lock, LockError};
use crate::random::Random;
use disk::{Disk, Inode, NameChange, parent};
pub use rng::Rng;

/// What shall go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// The power fails at this call, counted from 1 over all calls; everything after it fails, too.
    pub crash_at: Option<u64>,
    /// This call fails once with an I/O error. A write may be half done, a sync loses pages.
    pub fail_at: Option<u64>,
    /// This sync, counted from 1 over all syncs of files, fails once and loses pages.
    pub fail_sync_at: Option<u64>,
    /// Bytes all files together may have.
    pub capacity: Option<u64>,
    /// A crash may flip bits in sectors that were not synced.
    pub garble: bool,
}

#[derive(Debug, Clone)]
struct World {
    rng: Rng,
    faults: Faults,
    disk: Disk,
    calls: u64,
    syncs: u64,
    /// Counts crashes; handles of an earlier life are dead.
    life: u64,
    dead: bool,
    locked: bool,
}

/// The simulated data folder. Clones share it.
#[derive(Debug, Clone)]
pub struct SimFs {
    world: Arc<Mutex<World>>,
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

fn broken() -> io::Error {
    io::Error::other("simulated I/O error")
}

/// Cuts a half-done write of `len` bytes at a sector boundary: the kernel copies by pages.
fn whole_sectors(offset: u64, len: usize) -> usize {
    let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    let end = end.saturating_sub(end.checked_rem(512).unwrap_or(0));
    usize::try_from(end.saturating_sub(offset)).unwrap_or(0)
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Good,
    Fails,
    PowerFails,
}

impl World {
    fn call(&mut self) -> io::Result<Luck> {
        if self.dead {
            return Err(gone());
        }
        self.calls = self.calls.saturating_add(1);
        if self.faults.crash_at.is_some_and(|at| self.calls >= at) {
            self.dead = true;
            return Ok(Luck::PowerFails);
        }
        Ok(if self.faults.fail_at == Some(self.calls) { Luck::Fails } else { Luck::Good })
    }

    /// A call with nothing to half do.
    fn simple_call(&mut self) -> io::Result<()> {
        match self.call()? {
            Luck::Good => Ok(()),
            Luck::Fails => Err(broken()),
            Luck::PowerFails => Err(gone()),
        }
    }

    fn write(&mut self, id: usize, data: &[u8], offset: u64) -> io::Result<()> {
        let luck = self.call()?;
        let mut len = data.len();
        if luck != Luck::Good {
            len = whole_sectors(offset, self.rng.below(len.saturating_add(1)));
        }
        let free = self.faults.capacity.map(|capacity| capacity.saturating_sub(self.disk.used()));
        let room = free.map_or(u64::MAX, |free| self.disk.inode(id).len().saturating_add(free));
        let mut room = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
        if room < len {
            room = whole_sectors(offset, room);
        }
        self.disk.inode_mut(id).write(data.get(..len.min(room)).unwrap_or_default(), offset);
        match luck {
            Luck::PowerFails => Err(gone()),
            Luck::Fails => Err(broken()),
            Luck::Good if room < len => Err(io::ErrorKind::StorageFull.into()),
            Luck::Good => Ok(()),
        }
    }

    fn sync(&mut self, id: usize) -> io::Result<()> {
        let luck = self.call()?;
        self.syncs = self.syncs.saturating_add(1);
        match luck {
            Luck::PowerFails => Err(gone()),
            Luck::Good if self.faults.fail_sync_at != Some(self.syncs) => {
                self.disk.inode_mut(id).sync();
                Ok(())
            }
            Luck::Good | Luck::Fails => {
                let mut rng = self.rng.fork();
                self.disk.inode_mut(id).settle(&mut rng, false);
                Err(broken())
            }
        }
    }
}

impl SimFs {
    /// An empty folder.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            rng: Rng::new(seed),
            faults: Faults::default(),
            disk: Disk::default(),
            calls: 0,
            syncs: 0,
            life: 0,
            dead: false,
            locked: false,
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets what shall go wrong from now on; counts go on.
    pub fn set_faults(&self, faults: Faults) {
        self.world.lock().faults = faults;
    }

    /// Calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world.lock().calls
    }

    /// Syncs of files made so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.world.lock().syncs
    }

    /// Cuts the power and restores it: what was not synced survives by chance; faults are cleared.
    pub fn crash(&self) {
        let mut world = self.world.lock();
        let (mut rng, garble) = (world.rng.fork(), world.faults.garble);
        world.disk.crash(&mut rng, garble);
        world.faults = Faults::default();
        world.life = world.life.saturating_add(1);
        (world.dead, world.locked) = (false, false);
    }

    /// Kills the program: everything written stays, synced or not.
    pub fn kill(&self) {
        let mut world = self.world.lock();
        world.faults = Faults::default();
        world.life = world.life.saturating_add(1);
        (world.dead, world.locked) = (false, false);
    }

    /// An independent copy of the folder, as it is.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut world = self.world.lock().clone();
        world.life = world.life.saturating_add(1);
        (world.dead, world.locked) = (false, false);
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Names of all files.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.world.lock().disk.names.keys().cloned().collect()
    }

    /// Changes the bytes of a file behind the store's back, durably; `None` when there is no such file.
    pub fn edit<R>(&self, path: &str, change: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        let mut world = self.world.lock();
        let id = *world.disk.names.get(path)?;
        Some(world.disk.inode_mut(id).edit(change))
    }

    /// Removes a file behind the store's back, durably.
    pub fn lose(&self, path: &str) {
        let mut world = self.world.lock();
        world.disk.names.remove(path);
        world.disk.durable_names.remove(path);
    }

    fn handle(&self, world: &World, id: usize) -> Box<dyn File> {
        Box::new(SimFile { world: Arc::clone(&self.world), id, life: world.life })
    }
}

impl Fs for SimFs {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        world.simple_call()?;
        world.disk.change(NameChange::MakeDir(path.to_owned()));
        Ok(())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        let mut world = self.world.lock();
        world.simple_call()?;
        let id = *world.disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&world, id))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        let mut world = self.world.lock();
        world.simple_call()?;
        if !world.disk.dirs.contains(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let id = world.disk.add(Inode::default());
        world.disk.change(NameChange::Link(path.to_owned(), id));
        Ok(self.handle(&world, id))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut world = self.world.lock();
        world.simple_call()?;
        let inside = world.disk.names.keys().filter(|path| parent(path) == dir);
        Ok(inside.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        world.simple_call()?;
        world.disk.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        world.simple_call()?;
        world.disk.change(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        match world.call()? {
            Luck::PowerFails => Err(gone()),
            Luck::Good => {
                world.disk.sync_dir(dir);
                Ok(())
            }
            Luck::Fails => {
                let mut rng = world.rng.fork();
                world.disk.settle_dirs(&mut rng);
                Err(broken())
            }
        }
    }

    fn lock(&self, _: &str) -> Result<Box<dyn Lock>, LockError> {
        let mut world = self.world.lock();
        world.simple_call()?;
        if world.locked {
            return Err(LockError::Held(Some(1)));
        }
        world.locked = true;
        Ok(Box::new(SimLock { world: Arc::clone(&self.world), life: world.life }))
    }
}

struct SimFile {
    world: Arc<Mutex<World>>,
    id: usize,
    life: u64,
}

impl SimFile {
    fn with<R>(&self, call: impl FnOnce(&mut World) -> io::Result<R>) -> io::Result<R> {
        let mut world = self.world.lock();
        if world.life == self.life { call(&mut world) } else { Err(gone()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|world| {
            world.simple_call()?;
            world.disk.inode(self.id).read(buf, offset).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.with(|world| world.write(self.id, data, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|world| world.sync(self.id))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world| {
            world.simple_call()?;
            Ok(world.disk.inode(self.id).len())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world| {
            world.simple_call()?;
            world.disk.inode_mut(self.id).set_len(len);
            Ok(())
        })
    }
}

struct SimLock {
    world: Arc<Mutex<World>>,
    life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        if world.life == self.life {
            world.locked = false;
        }
    }
}

/// Randomness by seed.
#[derive(Debug)]
pub struct SimRandom(Mutex<Rng>);

impl SimRandom {
    /// The same seed gives the same bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }
}

impl Random for SimRandom {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        let mut rng = self.0.lock();
        out.chunks_mut(8).for_each(|chunk| {
            let bytes = rng.next().to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(out, byte)| *out = byte);
        });
        Ok(())
    }
}

/// Names and what they name.
type Names = BTreeMap<String, usize>;
