//! Saved states: a start from one is the start from the log, and nothing but the log can change what it comes to.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod model;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use callgate_log::merkle::{leaf_hash, verify_inclusion};
use callgate_store::sim::SimFs;
use callgate_store::{CheckpointSigner, Fold, FoldError, OpenError, Options, Recovery, SegmentStore};
use model::{Registers, Set, Tag, entry};
use sha2::{Digest, Sha256};

type Store = SegmentStore<Registers>;

fn options() -> Options {
    let mut options = model::options();
    options.save_every = 10;
    options
}

fn open_with(fs: &SimFs, options: Options) -> Result<(Store, Recovery), OpenError> {
    SegmentStore::open_stepped(Arc::new(fs.clone()), options, Box::new(Tag), Registers::default())
}

fn open(fs: &SimFs) -> (Store, Recovery) {
    open_with(fs, options()).unwrap()
}

/// Commits `count` entries, two to a group.
fn fill(store: &Store, count: u64) {
    let from = store.size();
    for id in (from..from + count).step_by(2) {
        let pair = [id, id + 1].map(|id| {
            let key = u8::try_from(id % 5).unwrap();
            store.commit(entry(id, Set { key, version: store.state(|s| s.version(key)), value: id }, 60))
        });
        store.step();
        assert!(pair.into_iter().all(|commit| commit.wait().is_ok()));
    }
}

fn saved(fs: &SimFs) -> Vec<String> {
    fs.files().into_iter().filter(|name| name.starts_with("state/")).collect()
}

/// A log of 64 receipts over several segments, saved at 20, 40 and 60; the newest two are kept.
fn log() -> (SimFs, Registers) {
    let fs = SimFs::new(31);
    let (store, _) = open(&fs);
    for _ in 0..3 {
        fill(&store, 20);
        store.save_state();
    }
    fill(&store, 4);
    store.save_state();
    assert_eq!(store.saved().receipts, Some(60), "{:?}", store.saved());
    let state = store.state(Clone::clone);
    fs.crash();
    drop(store);
    (fs, state)
}

#[test]
fn a_start_goes_on_from_the_newest_of_two_and_proves_what_it_did_not_read() {
    let (fs, state) = log();
    let names = ["state/00000000000000000040.state", "state/00000000000000000060.state"];
    // A power cut may bring back one that was dropped.
    assert!(saved(&fs).ends_with(&names.map(str::to_owned)), "{:?}", saved(&fs));
    let (store, recovery) = open(&fs);
    assert_eq!(recovery.saved, Some((names[1].to_owned(), 60)));
    assert_eq!((recovery.receipts, recovery.ignored.len()), (64, 0));
    assert!(store.state(|s| *s == state));
    let plain = fs.fork();
    saved(&fs).iter().for_each(|name| plain.lose(name));
    let (whole, without) = open(&plain);
    assert_eq!(without.saved, None);
    assert_eq!(
        (recovery.groups, recovery.segments, recovery.checkpoint),
        (without.groups, without.segments, without.checkpoint)
    );
    assert!(without.segments > 1, "the log is longer than a segment");
    assert!(whole.state(|s| *s == state));
    fill(&store, 30);
    let root = Tag.verify(&store.checkpoint().unwrap()).unwrap().1.into();
    for index in [0, 17, 41, 63, 93] {
        let receipt = store.read(index).unwrap().unwrap();
        let proof = store.prove_inclusion(index, 94).unwrap().unwrap();
        assert!(verify_inclusion(&leaf_hash(&receipt.payload), index, 94, &proof, &root).is_ok());
    }
    assert_eq!(store.scan(0).filter(Result::is_ok).count(), 94);
}

/// Whatever is done to the saved states, the state is the fold of the log, and what was left aside is named.
#[test]
fn what_is_not_what_was_saved_is_left_aside() {
    let newest = "state/00000000000000000060.state";
    let older = "state/00000000000000000040.state";
    let length = log().0.edit(newest, |bytes| bytes.len()).unwrap();
    type Change = Box<dyn Fn(&SimFs)>;
    let flip = |at: usize| -> Change { Box::new(move |fs| fs.edit(newest, |b| b[at] ^= 1).unwrap()) };
    let cut = |to: usize| -> Change { Box::new(move |fs| fs.edit(newest, |b| b.truncate(to)).unwrap()) };
    let mut changes: Vec<(Change, &str)> = (0..length).step_by(5).map(|at| (flip(at), "")).collect();
    changes.extend((0..length).step_by(31).map(|to| (cut(to), "")));
    changes.push((
        Box::new(move |fs: &SimFs| {
            let bytes = fs.edit(older, |bytes| bytes.clone()).unwrap();
            fs.edit(newest, |now| *now = bytes).unwrap();
        }),
        "named for another number",
    ));
    changes.push((
        // Whole and with a right digest, but signed by nobody.
        Box::new(move |fs: &SimFs| {
            fs.edit(newest, |bytes| {
                let body = bytes.len() - 4 - 32 - 32;
                bytes[body - 1] ^= 1;
                let digest = Sha256::digest(&bytes[..body]);
                bytes[body..body + 32].copy_from_slice(&digest);
            })
            .unwrap();
        }),
        "not signed by this log's key",
    ));
    let (fs, state) = log();
    for (change, why) in changes {
        let fs = fs.fork();
        change(&fs);
        let (store, recovery) = open(&fs);
        assert!(store.state(|s| *s == state));
        assert_eq!(recovery.saved, Some((older.to_owned(), 40)), "{:?}", recovery.ignored);
        assert_eq!(recovery.ignored.len(), 1);
        assert!(recovery.ignored[0].0 == newest && recovery.ignored[0].1.contains(why), "{recovery:?}");
    }
}

#[test]
fn another_log_and_another_version_are_left_aside() {
    let (fs, state) = log();
    // The saved states of another log with the same key.
    let other = SimFs::new(32);
    let mut foreign = options();
    foreign.log_id = [9; 32];
    let (store, _) = open_with(&other, foreign).unwrap();
    fill(&store, 60);
    store.save_state();
    drop(store);
    let bytes = other.edit("state/00000000000000000060.state", |bytes| bytes.clone()).unwrap();
    fs.edit("state/00000000000000000060.state", |now| *now = bytes).unwrap();
    let (store, recovery) = open(&fs);
    assert!(recovery.ignored[0].1.contains("another log"), "{recovery:?}");
    assert!(store.state(|s| *s == state));
    drop(store);
    let fs: Arc<SimFs> = Arc::new(fs);
    let opened = SegmentStore::open_stepped(fs, options(), Box::new(Tag), Newer(Registers::default()));
    let (store, recovery) = opened.unwrap();
    assert!(recovery.ignored.iter().any(|(_, why)| why.contains("another version")), "{recovery:?}");
    assert_eq!((recovery.saved, recovery.ignored.len()), (None, 2));
    assert!(store.state(|s| s.0 == state));
}

/// The same registers, saved in another way, and receipts that name what they change.
struct Newer(Registers);

impl Fold for Newer {
    type Delta = Set;
    type Conflict = u32;

    fn decode(bytes: &[u8]) -> Result<Set, FoldError> {
        Registers::decode(bytes)
    }

    fn check(&self, delta: &Set) -> Result<(), u32> {
        self.0.check(delta)
    }

    fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Set) {
        self.0.apply(index, payload_sha256, delta);
    }

    fn belongs(payload: &[u8], delta: &[u8]) -> bool {
        !payload.starts_with(b"receipt 7777 ") || delta[0] == 2
    }

    const FORMAT: Option<&'static str> = Some("registers 2");

    fn save(&self, out: &mut dyn Write) -> Result<(), FoldError> {
        self.0.save(out)
    }

    fn load(input: &mut dyn Read) -> Result<Self, FoldError> {
        Registers::load(input).map(Self)
    }
}

/// The tree holds payloads only: a delta that its receipt does not name would otherwise change the state unseen.
#[test]
fn an_exchanged_delta_is_refused() {
    let fs = SimFs::new(33);
    let (store, _) = open(&fs);
    let commit = store.commit(entry(7777, Set { key: 1, version: 0, value: 0 }, 60));
    store.step();
    assert!(commit.wait().is_ok());
    drop(store);
    let fs = Arc::new(fs);
    let opened = SegmentStore::open_stepped(fs, options(), Box::new(Tag), Newer(Registers::default()));
    assert!(matches!(opened.map(|_| ()), Err(OpenError::Exchanged(0))));
}

/// A saved state is evidence of the log's length, too.
#[test]
fn a_log_that_lost_its_end_is_refused() {
    let (fs, _) = log();
    fs.lose("head");
    fs.lose("checkpoint");
    let later = fs.files().into_iter().filter(|name| name.ends_with(".seg")).skip(1);
    later.for_each(|name| fs.edit(&name, |bytes| bytes.fill(0)).unwrap());
    let refused = open_with(&fs, options()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Shorter { held: 60, .. }), "{refused}");
}

fn begun(fs: &SimFs, name: &str) -> bool {
    fs.edit(name, |bytes| bytes.iter().any(|byte| *byte != 0)).unwrap()
}

/// A start does not read what a saved state covers; whoever reads it finds the damage, and the next state is not
/// saved over it.
#[test]
fn damage_behind_a_saved_state_is_found_at_the_start_and_before_it_by_reading() {
    let (fs, state) = log();
    let early = fs.fork();
    early.edit("log/00000001.seg", |bytes| bytes[700] ^= 1);
    let (store, _) = open(&early);
    assert!(store.state(|s| *s == state));
    assert!(store.scan(0).any(|receipt| receipt.is_err()));
    drop(store);
    let late = fs.fork();
    let last = late.files().into_iter().rfind(|name| name.ends_with(".seg") && begun(&late, name)).unwrap();
    late.edit(&last, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 40] ^= 1;
    });
    assert!(open_with(&late, options()).is_err());
    // Damaged while the gate runs, in what the next saved state is folded from.
    let (store, _) = open(&fs);
    fill(&store, 20);
    fs.edit("log/00000001.seg", |bytes| bytes.fill(7));
    saved(&fs).iter().for_each(|name| fs.lose(name));
    store.save_state();
    let told = store.saved();
    assert!(told.trouble.as_ref().is_some_and(|why| why.contains("00000001.seg")), "{told:?}");
    assert!(saved(&fs).is_empty());
}

/// With threads: states are saved while others commit, and at the end.
#[test]
fn states_are_saved_while_entries_are_committed() {
    let fs = SimFs::new(34);
    let mut options = options();
    options.housekeeping = Duration::from_millis(1);
    let opened =
        SegmentStore::open(Arc::new(fs.clone()), options.clone(), Box::new(Tag), Registers::default());
    let (store, _) = opened.unwrap();
    let mut id = 0;
    while id < 200 || store.saved().receipts.is_none() {
        let key = u8::try_from(id % 5).unwrap();
        let version = store.state(|s| s.version(key));
        store.commit_blocking(entry(id, Set { key, version, value: id }, 60)).unwrap();
        id += 1;
    }
    store.close();
    assert_eq!(store.saved().receipts, Some(store.size()), "{:?}", store.saved());
    let state = store.state(Clone::clone);
    drop(store);
    let (store, recovery) = open_with(&fs, options).unwrap();
    assert_eq!(recovery.saved.map(|(_, receipts)| receipts), Some(id));
    assert!(store.state(|s| *s == state));
}

/// No room for a saved state is no reason to stop, and is told.
#[test]
fn a_full_disk_keeps_states_from_being_saved_and_nothing_else() {
    let fs = SimFs::new(35);
    let (store, _) = open(&fs);
    fill(&store, 12);
    let mut faults = callgate_store::sim::Faults::default();
    faults.capacity = Some(0);
    fs.set_faults(faults);
    store.save_state();
    assert!(store.saved().trouble.is_some() && store.trouble().is_none() && store.failure().is_none());
    fs.set_faults(callgate_store::sim::Faults::default());
    fill(&store, 12);
    store.save_state();
    assert_eq!((store.saved().receipts, store.saved().trouble), (Some(24), None));
    assert!(saved(&fs).iter().all(|name| !name.ends_with(".tmp")));
}
