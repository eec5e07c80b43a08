//! What the store writes, call by call: acknowledged sectors once, groups with one write and one sync each.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod model;

use std::io;
use std::sync::{Arc, Mutex};

use callgate_store::sim::SimFs;
use callgate_store::{File, Fs, Lock, LockError, SegmentStore};
use model::{Registers, Set, Tag, entry, options};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Write { path: String, from: u64, to: u64 },
    Sync { path: String },
}

/// Passes everything on and notes what is written and synced.
#[derive(Clone)]
struct Noting {
    inner: SimFs,
    calls: Arc<Mutex<Vec<Call>>>,
}

struct NotingFile {
    inner: Box<dyn File>,
    path: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Noting {
    fn wrap(&self, path: &str, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(NotingFile { inner, path: path.to_owned(), calls: Arc::clone(&self.calls) })
    }
}

impl Fs for Noting {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(path, self.inner.open(path)?))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        // A segment is prepared under another name and written under its own.
        Ok(self.wrap(path.trim_end_matches(".tmp"), self.inner.create(path)?))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // What was written while it was prepared is over.
        self.calls
            .lock()
            .unwrap()
            .retain(|call| !matches!(call, Call::Write { path, .. } | Call::Sync { path } if path == to));
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &str) -> Result<Box<dyn Lock>, LockError> {
        self.inner.lock(path)
    }
}

impl File for NotingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let to = offset + data.len() as u64;
        self.calls.lock().unwrap().push(Call::Write { path: self.path.clone(), from: offset, to });
        self.inner.write_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.calls.lock().unwrap().push(Call::Sync { path: self.path.clone() });
        self.inner.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}

#[test]
fn acknowledged_sectors_are_written_once_and_groups_with_one_write_and_one_sync() {
    let fs = Noting { inner: SimFs::new(1), calls: Arc::default() };
    for life in 0..3_u64 {
        let shared = Arc::new(fs.clone());
        let opened = SegmentStore::open_stepped(shared, options(), Box::new(Tag), Registers::default());
        let store = opened.unwrap().0;
        for round in 0..20 {
            let version = store.state(|s| s.version(1));
            let commits = [0, 1].map(|key| {
                let id = life * 100 + round * 2 + u64::from(key);
                store.commit(entry(id, Set { key, version, value: id }, 80))
            });
            store.step();
            assert!(commits.into_iter().all(|commit| commit.wait().is_ok()));
        }
    }
    let calls = fs.calls.lock().unwrap().clone();
    let shared = Arc::new(fs.inner);
    let opened = SegmentStore::open_stepped(shared, options(), Box::new(Tag), Registers::default());
    let recovered = opened.unwrap().1;
    let log: Vec<_> = calls
        .iter()
        .filter(
            |call| matches!(call, Call::Write { path, .. } | Call::Sync { path } if path.starts_with("log/")),
        )
        .collect();
    let mut end = ("", 0);
    let mut groups = 0;
    for pair in log.chunks(2) {
        let [Call::Write { path, from, to }, Call::Sync { path: synced }] = pair else {
            panic!("one write, one sync: {pair:?}")
        };
        assert!(path == synced && (path.as_str(), *from) >= end && from % 512 == 0, "{pair:?} after {end:?}");
        end = (path.as_str(), *to);
        groups += 1;
    }
    // A batch at the end of a segment makes two groups.
    assert_eq!(groups, recovered.groups);
}
