//! A log is read without owning it: beside a running store, from a copy, and never past damage.
#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]

use std::sync::Arc;

use callgate_store::{
    CheckpointSigner, Entry, Fold, FoldError, Fs, LogReader, Options, ReadOnlyFs, RealFs, SegmentStore,
    StoredReceipt,
};

struct Count(u64);

impl Fold for Count {
    type Delta = ();
    type Conflict = ();

    fn decode(_: &[u8]) -> Result<(), FoldError> {
        Ok(())
    }

    fn check(&self, (): &()) -> Result<(), ()> {
        Ok(())
    }

    fn apply(&mut self, _: u64, _: &[u8; 32], (): &()) {
        self.0 += 1;
    }
}

/// Notes that are no signatures: the store does not look into them.
struct Plain;

impl CheckpointSigner for Plain {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        [&size.to_le_bytes()[..], root].concat()
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        let (size, root) = note.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*size), root.try_into().ok()?))
    }
}

fn store(dir: &std::path::Path) -> SegmentStore<Count> {
    let mut options = Options::new([7; 32]);
    options.segment_bytes = 64 << 10;
    options.reserve_bytes = 4 << 10;
    options.max_entry = 4 << 10;
    SegmentStore::open(Arc::new(RealFs::new(dir).unwrap()), options, Box::new(Plain), Count(0)).unwrap().0
}

fn entry(number: u64) -> Entry<()> {
    Entry {
        payload: format!("receipt {number}").into_bytes(),
        signature: [number.to_le_bytes()[0]; 64],
        delta_bytes: b"delta".to_vec(),
        delta: (),
        attachment: vec![1; 900],
    }
}

fn reader(dir: &std::path::Path) -> LogReader {
    LogReader::new(Arc::new(ReadOnlyFs::new(dir).unwrap()))
}

fn rest(reader: &mut LogReader) -> Vec<StoredReceipt> {
    std::iter::from_fn(|| reader.next_group().unwrap()).flatten().collect()
}

#[test]
fn a_running_stores_log_is_read_as_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut reader = reader(dir.path());
    assert_eq!(rest(&mut reader), []);
    let mut seen = Vec::new();
    for round in 0..40 {
        for number in 0..10 {
            store.commit_blocking(entry(round * 10 + number)).unwrap();
        }
        seen.extend(rest(&mut reader));
        assert_eq!(reader.position(), (round + 1) * 10);
    }
    let stored: Vec<StoredReceipt> = store.scan(0).map(Result::unwrap).collect();
    assert_eq!(seen, stored, "over several segments");
    assert!(dir.path().join("log/00000003.seg").exists());
    let near = rest(&mut LogReader::near(Arc::new(ReadOnlyFs::new(dir.path()).unwrap()), 399).unwrap());
    assert_eq!(near.last(), stored.last());
    assert!(near.len() < stored.len() && near.first().unwrap().index <= 399);
}

#[test]
fn the_log_folder_alone_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    opened.commit_blocking(entry(0)).unwrap();
    opened.close();
    assert_eq!(rest(&mut reader(&dir.path().join("log"))).len(), 1);
    let fs = ReadOnlyFs::new(dir.path()).unwrap();
    assert_eq!(LogReader::beside(&fs).unwrap().map(|note| note.len()), Some(40));
    assert!(ReadOnlyFs::new(dir.path().join("keys")).is_err());
}

#[test]
fn nothing_is_ever_written() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path()).commit_blocking(entry(0)).unwrap();
    let fs = ReadOnlyFs::new(dir.path()).unwrap();
    assert!(fs.create("log/x").is_err() && fs.remove("head").is_err() && fs.rename("head", "x").is_err());
    assert!(fs.create_dir("new").is_err() && fs.lock("LOCK").is_err());
    let file = fs.open("head").unwrap();
    assert!(file.write_at(b"x", 0).is_err() && file.set_len(0).is_err());
}

#[test]
fn damage_is_never_read_over() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    for number in 0..200 {
        opened.commit_blocking(entry(number)).unwrap();
    }
    opened.close();
    drop(opened);
    let first = dir.path().join("log/00000001.seg");
    let whole = std::fs::read(&first).unwrap();
    for at in [20, 600, 5000, 40_000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&first, &bytes).unwrap();
        let mut reader = reader(dir.path());
        let error = std::iter::from_fn(|| reader.next_group().transpose()).find_map(Result::err);
        assert!(error.is_some_and(|e| e.to_string().contains("log/00000001.seg")), "byte {at}");
    }
    std::fs::write(&first, vec![0; whole.len()]).unwrap();
    assert!(reader(dir.path()).next_group().is_err(), "an emptied segment before others is damage");
    std::fs::remove_file(&first).unwrap();
    assert!(reader(dir.path()).next_group().is_err(), "so is a missing one");
}

#[test]
fn an_unfinished_group_is_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    opened.commit_blocking(entry(0)).unwrap();
    opened.commit_blocking(entry(1)).unwrap();
    opened.close();
    drop(opened);
    let path = dir.path().join("log/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last sector of the second group never reached the disk.
    let last = bytes.chunks(512).rposition(|sector| sector.iter().any(|b| *b != 0)).unwrap();
    bytes[last * 512..(last + 1) * 512].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let mut reader = reader(dir.path());
    assert_eq!(rest(&mut reader).len(), 1);
    assert!(reader.unfinished());
}
