//! The store as its owner uses it: threads, real files, limits, and every way to be refused.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod model;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use callgate_log::Hash;
use callgate_log::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use callgate_store::sim::{Faults, SimFs};
use callgate_store::{CheckpointSigner, CommitError, Fs, OpenError, Options, RealFs, Recovery, SegmentStore};
use model::{Registers, Set, Tag, entry, options};

type Store = SegmentStore<Registers>;

fn open(fs: &Arc<impl Fs>, options: Options) -> Result<(Store, Recovery), OpenError> {
    SegmentStore::open(Arc::<_>::clone(fs) as Arc<dyn Fs>, options, Box::new(Tag), Registers::default())
}

fn stepped(fs: &SimFs) -> Result<Store, OpenError> {
    let fs = Arc::new(fs.clone());
    SegmentStore::open_stepped(fs, options(), Box::new(Tag), Registers::default()).map(|(store, _)| store)
}

/// Commits `count` entries, two to a group.
fn fill(store: &Store, from: u64, count: u64) {
    for id in (from..from + count).step_by(2) {
        let pair = [id, id + 1].map(|id| {
            let key = u8::try_from(id % 5).unwrap();
            store.commit(entry(id, Set { key, version: store.state(|s| s.version(key)), value: id }, 60))
        });
        store.step();
        assert!(pair.into_iter().all(|commit| commit.wait().is_ok()));
    }
}

fn set(store: &Store, key: u8, value: u64) -> Set {
    Set { key, version: store.state(|s| s.version(key)), value }
}

#[test]
fn threads_commit_to_real_files_and_find_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let fs = Arc::new(RealFs::new(folder.path().join("data")).unwrap());
    let mut options = Options::new([7; 32]);
    options.segment_bytes = 64 << 10;
    options.max_entry = 8 << 10;
    options.reserve_bytes = 4 << 10;
    let (store, recovery) = open(&fs, options.clone()).unwrap();
    assert_eq!((recovery.receipts, recovery.cut), (0, None));
    let mut indexes = BTreeSet::new();
    std::thread::scope(|scope| {
        let threads = (0..8_u8).map(|key| {
            let store = &store;
            scope.spawn(move || {
                let commit = |n: u64| {
                    let id = u64::from(key) * 1000 + n;
                    store.commit_blocking(entry(id, set(store, key, n), 700)).unwrap().index
                };
                (0..100).map(commit).collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            let own = thread.join().unwrap();
            assert!(own.is_sorted(), "one client's receipts are in its order");
            indexes.extend(own);
        }
    });
    assert_eq!(indexes.len(), 800, "every index once");
    assert!(
        open(&fs, options.clone())
            .is_err_and(|e| matches!(e, OpenError::Locked(Some(pid)) if pid == std::process::id()))
    );
    let state = store.state(Registers::clone);
    drop(store);

    let (store, recovery) = open(&fs, options).unwrap();
    assert_eq!((recovery.receipts, recovery.cut), (800, None));
    assert!(recovery.segments > 5 && store.state(|s| *s == state));
    prove_everything(&store);
    for dir in ["", "log"] {
        let mode = std::fs::metadata(folder.path().join("data").join(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "folder {dir:?}");
    }
    for file in ["LOCK", "head", "checkpoint", "log/00000001.seg"] {
        let mode = std::fs::metadata(folder.path().join("data").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "file {file}");
    }
}

fn prove_everything(store: &Store) {
    let size = store.size();
    let root = |note: &[u8]| Tag.verify(note).map(|(size, root)| (size, Hash::new(root))).unwrap();
    let (_, newest) = root(&store.checkpoint().unwrap());
    for index in (0..size).step_by(37).chain([size - 1]) {
        let receipt = store.read(index).unwrap().unwrap();
        let leaf = leaf_hash(&receipt.payload);
        let path = store.prove_inclusion(index, size).unwrap().unwrap();
        verify_inclusion(&leaf, index, size, &path, &newest).unwrap();
        let (old, old_root) = root(&receipt.checkpoint);
        assert!(old == receipt.size && old > index);
        let path = store.prove_consistency(old, size).unwrap().unwrap();
        verify_consistency(old, &old_root, size, &newest, &path).unwrap();
    }
    assert_eq!(store.prove_inclusion(0, size + 1).unwrap(), None);
    assert_eq!(store.prove_inclusion(size, size).unwrap(), None);
    assert_eq!(store.read(size).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_commit_and_a_client_that_hangs_up_loses_nothing() {
    let fs = Arc::new(SimFs::new(1));
    let (store, _) = open(&fs, options()).unwrap();
    let store = Arc::new(store);
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..200_u64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let key = u8::try_from(id).unwrap();
            let commit = store.commit(entry(id, Set { key, version: 0, value: id }, 40));
            // Every third client hangs up; its entry is queued all the same.
            if id % 3 != 0 {
                commit.await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    store.close();
    assert_eq!(store.size(), 200);
    let late = store.commit(entry(900, Set { key: 1, version: 1, value: 0 }, 40)).await;
    assert!(matches!(late, Err(CommitError::Closed)));
    fs.crash();
    assert_eq!(open(&fs, options()).unwrap().0.size(), 200);
}

#[test]
fn conflicts_limits_and_back_pressure_are_typed() {
    let fs = SimFs::new(2);
    let mut options = options();
    options.queue = 3;
    let opened = SegmentStore::open_stepped(Arc::new(fs), options, Box::new(Tag), Registers::default());
    let store = opened.unwrap().0;
    let commits: Vec<_> =
        (0..5).map(|id| store.commit(entry(id, Set { key: 0, version: 0, value: id }, 30))).collect();
    store.step();
    let outcomes: Vec<_> = commits.into_iter().map(callgate_store::Commit::wait).collect();
    assert!(matches!(
        outcomes.as_slice(),
        [
            Ok(_),
            Err(CommitError::Conflict(1)),
            Err(CommitError::Conflict(1)),
            Err(CommitError::Busy),
            Err(CommitError::Busy)
        ]
    ));
    assert_eq!(store.size(), 1);
    let long = store.commit(entry(9, Set { key: 1, version: 0, value: 0 }, 1600)).wait();
    assert!(matches!(long, Err(CommitError::TooLarge(_))));
    let long = store.commit(entry(9, Set { key: 1, version: 0, value: 0 }, 70_000)).wait();
    assert!(matches!(long, Err(CommitError::TooLarge(_))));
}

#[test]
fn a_panic_in_the_committer_is_a_failure() {
    let fs = Arc::new(SimFs::new(3));
    let (store, _) = open(&fs, options()).unwrap();
    store.commit_blocking(entry(1, Set { key: 1, version: 0, value: 0 }, 30)).unwrap();
    let outcome = store.commit_blocking(entry(2, Set { key: 0xff, version: 0, value: 0 }, 30));
    assert!(matches!(outcome, Err(CommitError::Failed(_))));
    assert!(store.failure().is_some());
    let outcome = store.commit_blocking(entry(3, Set { key: 1, version: 1, value: 0 }, 30));
    assert!(matches!(outcome, Err(CommitError::Failed(_))), "nothing is accepted after a failure");
    drop(store);
    fs.crash();
    assert_eq!(open(&fs, options()).unwrap().0.size(), 1);
}

/// Signs the tree of one receipt and refuses every later one.
struct Refuses;

impl CheckpointSigner for Refuses {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        if size > 1 { Vec::new() } else { Tag.sign(size, root) }
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        Tag.verify(note)
    }
}

#[test]
fn without_a_signed_checkpoint_nothing_is_acknowledged() {
    let fs = Arc::new(SimFs::new(5));
    let disk = Arc::<SimFs>::clone(&fs) as Arc<dyn Fs>;
    let (store, _) = SegmentStore::open(disk, options(), Box::new(Refuses), Registers::default()).unwrap();
    store.commit_blocking(entry(1, Set { key: 1, version: 0, value: 0 }, 30)).unwrap();
    let outcome = store.commit_blocking(entry(2, Set { key: 2, version: 0, value: 0 }, 30));
    assert!(matches!(outcome, Err(CommitError::Failed(_))));
    assert!(store.failure().is_some());
    drop(store);
    fs.crash();
    assert_eq!(open(&fs, options()).unwrap().0.size(), 1, "what was acknowledged is there, and nothing else");
}

#[test]
fn a_full_disk_stops_commits_and_room_restarts_them() {
    let fs = Arc::new(SimFs::new(4));
    let mut options = options();
    options.housekeeping = Duration::from_millis(5);
    let (store, _) = open(&fs, options).unwrap();
    let mut faults = Faults::default();
    faults.capacity = Some(30 << 10);
    fs.set_faults(faults);
    let mut id = 0;
    let mut commit = || {
        id += 1;
        store.commit_blocking(entry(id, set(&store, 1, id), 300))
    };
    let refused = (0..200).find_map(|_| commit().err());
    assert!(matches!(refused, Some(CommitError::Full)));
    assert!(
        store.trouble().is_some_and(|trouble| trouble.contains("log/0000000")) && store.failure().is_none()
    );
    fs.set_faults(Faults::default());
    let again = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        commit().is_ok()
    });
    assert!(again, "commits go on without a restart");
    let size = store.size();
    drop(store);
    fs.crash();
    assert_eq!(open(&fs, self::options()).unwrap().0.size(), size);
}

/// A closed store with some groups in three segments.
fn closed_log(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    let store = stepped(&fs).unwrap();
    fill(&store, 0, 40);
    store.keep_house();
    drop(store);
    assert!(fs.files().contains(&"log/00000002.seg".to_owned()));
    fs
}

#[test]
fn flipped_bytes_are_noticed_or_harmless() {
    let whole = closed_log(5);
    let expected: Vec<_> = stepped(&whole.fork()).unwrap().scan(0).map(Result::unwrap).collect();
    for file in whole.files() {
        let len = whole.edit(&file, |bytes| bytes.len()).unwrap();
        for at in (0..len).step_by(23) {
            let fs = whole.fork();
            fs.edit(&file, |bytes| bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)));
            let opened = stepped(&fs);
            if file.ends_with(".seg") {
                assert!(opened.is_err(), "byte {at} of {file}");
            } else if let Ok(store) = opened {
                let found: Vec<_> = store.scan(0).map(Result::unwrap).collect();
                assert!(found == expected, "byte {at} of {file}");
            }
        }
    }
}

#[test]
fn damage_under_a_running_store_is_noticed_when_read() {
    let fs = SimFs::new(6);
    let store = stepped(&fs).unwrap();
    fill(&store, 0, 6);
    for at in (512..2000).step_by(11) {
        fs.edit("log/00000001.seg", |bytes| bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 8));
        assert!(store.scan(0).any(|receipt| receipt.is_err()), "byte {at}");
        fs.edit("log/00000001.seg", |bytes| bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 8));
    }
    assert_eq!(store.scan(0).filter(Result::is_ok).count(), 6);
}

#[test]
fn an_older_copy_is_refused() {
    let old = closed_log(7);
    let new = old.fork();
    fill(&stepped(&new).unwrap(), 40, 10);
    for witness in ["head", "checkpoint"] {
        let mixed = new.fork();
        // The whole old log, and one of the two files that remember more.
        for file in old.files().into_iter().filter(|file| file != witness) {
            let bytes = old.edit(&file, |bytes| bytes.clone()).unwrap();
            mixed.edit(&file, |target| target.clone_from(&bytes)).unwrap();
        }
        for file in new.files().into_iter().filter(|file| !old.files().contains(file)) {
            mixed.lose(&file);
        }
        let refused = stepped(&mixed).err().unwrap();
        assert!(
            matches!(refused, OpenError::Shorter { witness: w, held: 50, found: 40 } if w == witness),
            "{refused}"
        );
    }
}

#[test]
fn an_exchanged_log_is_refused() {
    let fs = closed_log(8);
    let other = SimFs::new(9);
    fill(&stepped(&other).unwrap(), 100, 50);
    for file in fs.files().into_iter().filter(|file| file.ends_with(".seg")) {
        fs.lose(&file);
    }
    let mixed = other.fork();
    for witness in ["head", "checkpoint"] {
        let bytes = fs.edit(witness, |bytes| bytes.clone()).unwrap();
        mixed.edit(witness, |target| target.clone_from(&bytes)).unwrap();
    }
    let refused = stepped(&mixed).err().unwrap();
    assert!(matches!(refused, OpenError::Rewritten { held: 40, .. }), "{refused}");
}

#[test]
fn missing_swapped_and_foreign_segments_are_refused() {
    let fs = closed_log(10);
    fs.lose("log/00000001.seg");
    assert!(matches!(stepped(&fs), Err(OpenError::Order { .. })));

    let fs = closed_log(10);
    let first = fs.edit("log/00000001.seg", |bytes| bytes.clone()).unwrap();
    let second = fs.edit("log/00000002.seg", |bytes| std::mem::replace(bytes, first)).unwrap();
    fs.edit("log/00000001.seg", |bytes| *bytes = second);
    assert!(matches!(stepped(&fs), Err(OpenError::Header { .. })));

    let fs = closed_log(10);
    fs.edit("log/00000001.seg", |bytes| bytes.truncate(4096));
    assert!(matches!(stepped(&fs), Err(OpenError::Order { .. } | OpenError::Damaged { .. })));

    let fs = Arc::new(closed_log(10));
    let mut foreign = options();
    foreign.log_id = [8; 32];
    assert!(open(&fs, foreign).is_err_and(|e| e.to_string().contains("another log")));
}

/// Signs as `Tag` does, with another key.
struct Stranger;

impl callgate_store::CheckpointSigner for Stranger {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        let mut note = Tag.sign(size, root);
        note.reverse();
        note
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        let mut note = note.to_vec();
        note.reverse();
        Tag.verify(&note)
    }
}

/// Signs every tree as if it had one more receipt.
struct Liar;

impl callgate_store::CheckpointSigner for Liar {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        Tag.sign(size + 1, root)
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        Tag.verify(note)
    }
}

#[test]
fn changed_checkpoints_are_refused() {
    let signers: [fn() -> Box<dyn callgate_store::CheckpointSigner>; 2] =
        [|| Box::new(Stranger), || Box::new(Liar)];
    for (signer, what) in signers.into_iter().zip(["not signed", "other receipts"]) {
        let fs = SimFs::new(12);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let (store, _) =
            SegmentStore::open_stepped(shared, options(), signer(), Registers::default()).unwrap();
        fill(&store, 0, 4);
        drop(store);
        fs.lose("head");
        fs.lose("checkpoint");
        let refused = stepped(&fs).err().unwrap();
        assert!(matches!(refused, OpenError::Checkpoint { .. }), "{refused}");
        assert!(refused.to_string().contains(what), "{refused}");
    }
}

#[test]
fn a_zeroed_last_group_is_told_by_the_files_beside_the_log_only() {
    let fs = SimFs::new(11);
    let store = stepped(&fs).unwrap();
    fill(&store, 0, 4);
    drop(store);
    let zeroed = fs.fork();
    zeroed.edit("log/00000001.seg", |bytes| {
        let last = bytes.iter().rposition(|b| *b != 0).unwrap() / 512 * 512;
        bytes.iter_mut().skip(last).for_each(|byte| *byte = 0);
    });
    assert!(matches!(
        stepped(&zeroed.fork()),
        Err(OpenError::Shorter { witness: "head", held: 4, found: 2 })
    ));
    zeroed.lose("head");
    assert!(matches!(stepped(&zeroed.fork()), Err(OpenError::Shorter { witness: "checkpoint", .. })));
    zeroed.lose("checkpoint");
    assert_eq!(
        stepped(&zeroed).unwrap().size(),
        2,
        "the log alone cannot tell this from a write that never finished"
    );
}

#[test]
fn every_call_may_fail_once() {
    let mut n = 0;
    loop {
        n += 1;
        let fs = SimFs::new(n);
        let mut faults = Faults::default();
        faults.fail_at = Some(n);
        fs.set_faults(faults);
        let mut acknowledged = 0;
        if let Ok(store) = stepped(&fs) {
            for id in 0..12 {
                let commit = store.commit(entry(id, Set { key: 1, version: acknowledged, value: id }, 500));
                store.step();
                acknowledged += u32::from(commit.wait().is_ok());
                store.keep_house();
            }
        }
        let calls = fs.calls();
        fs.set_faults(Faults::default());
        fs.kill();
        let size = stepped(&fs).unwrap().size();
        assert!(size >= u64::from(acknowledged) && size <= u64::from(acknowledged) + 1, "call {n}");
        if n > calls {
            assert_eq!(acknowledged, 12, "no call was left to fail");
            return;
        }
    }
}
