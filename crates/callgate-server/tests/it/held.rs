//! A disk whose syncs wait while a test holds them: decisions stay under way for as long as the test needs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use callgate_store::sim::SimFs;
use callgate_store::{File, Fs, Lock, LockError};
use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct State {
    held: bool,
    waiting: usize,
}

/// Stops syncs and lets them go.
#[derive(Clone, Default)]
pub(crate) struct Latch(Arc<(Mutex<State>, Condvar)>);

/// Syncs wait while this lives.
pub(crate) struct Held(Latch);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.0.lock().held = false;
        self.0.0.1.notify_all();
    }
}

impl Latch {
    pub(crate) fn hold(&self) -> Held {
        self.0.0.lock().held = true;
        Held(self.clone())
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.waiting += 1;
        while state.held {
            changed.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

impl Held {
    /// Waits until a sync waits.
    pub(crate) async fn reached(&self) {
        while self.0.0.0.lock().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) struct HeldFs {
    pub(crate) disk: SimFs,
    pub(crate) latch: Latch,
}

struct HeldFile {
    file: Box<dyn File>,
    latch: Latch,
}

impl HeldFs {
    fn held(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(HeldFile { file, latch: self.latch.clone() })
    }
}

impl Fs for HeldFs {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.disk.open(path).map(|file| self.held(file))
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.disk.create(path).map(|file| self.held(file))
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &str) -> Result<Box<dyn Lock>, LockError> {
        self.disk.lock(path)
    }
}

impl File for HeldFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(data, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.latch.pass();
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
