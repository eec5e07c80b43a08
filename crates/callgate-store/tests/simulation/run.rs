//! One seed: several lives of one data folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_store::sim::{Faults, Rng, SimFs};
use callgate_store::{CommitError, Entry, Mutant, OpenError, Options, SegmentStore, StoredReceipt};

use crate::model::{Registers, Set, Tag, entry, options};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PowerCuts,
    FailingCalls,
    FullDisk,
    Garbage,
}

/// What happened, to be sure that something did.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    acknowledged: u64,
    lives: u64,
    cuts: u64,
    discards: u64,
    conflicts: u64,
    failures: u64,
    full: u64,
    /// Starts from a saved state.
    short_cuts: u64,
    recovered_from_full: u64,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.lives += other.lives;
        self.cuts += other.cuts;
        self.discards += other.discards;
        self.conflicts += other.conflicts;
        self.failures += other.failures;
        self.full += other.full;
        self.short_cuts += other.short_cuts;
        self.recovered_from_full += other.recovered_from_full;
    }

    /// A run in which the interesting things never happen proves nothing.
    pub(crate) fn assert_busy(&self, kind: Kind) {
        assert!(self.acknowledged > self.lives && self.conflicts > 0 && self.failures > 0);
        assert!(self.short_cuts > 0 && self.short_cuts < self.lives, "{} starts", self.short_cuts);
        match kind {
            Kind::PowerCuts | Kind::FailingCalls => assert!(self.cuts > 0),
            Kind::Garbage => assert!(self.discards > 0 && self.cuts > 0),
            Kind::FullDisk => assert!(self.full > 0 && self.recovered_from_full > 0),
        }
    }
}

struct World {
    fs: SimFs,
    rng: Rng,
    kind: Kind,
    options: Options,
    /// Every entry ever handed to a store, by payload.
    sent: BTreeMap<Vec<u8>, Entry<Set>>,
    /// Payloads that must be in the log, by index.
    durable: BTreeMap<u64, Vec<u8>>,
    /// Payloads that were refused and must never be in the log.
    refused: BTreeSet<Vec<u8>>,
    next_id: u64,
    stats: Stats,
}

type Store = SegmentStore<Registers>;

pub(crate) fn run(seed: u64, kind: Kind, mutant: Option<Mutant>) -> Result<Stats, String> {
    let mut options = options();
    options.mutant = mutant;
    // What a saved state covers is not read again, and so not cut either: some logs have none.
    options.save_every = if seed % 4 == 3 { u64::MAX } else { 5 };
    let mut world = World {
        fs: SimFs::new(seed),
        rng: Rng::new(seed ^ 0x5eed),
        kind,
        options,
        sent: BTreeMap::new(),
        durable: BTreeMap::new(),
        refused: BTreeSet::new(),
        next_id: 0,
        stats: Stats::default(),
    };
    for _ in 0..3 + world.rng.below(5) {
        world.life()?;
    }
    world.fs.crash();
    let store = world.open()?.ok_or("the last start failed without a fault")?;
    world.work(&store, 3)?;
    world.hold(&store)?;
    drop(store);
    world.flip()?;
    Ok(world.stats)
}

impl World {
    fn life(&mut self) -> Result<(), String> {
        self.stats.lives += 1;
        let calls = self.fs.calls();
        let mut faults = Faults::default();
        let soon = 1 + self.rng.below(90) as u64;
        match self.kind {
            Kind::PowerCuts => faults.crash_at = Some(calls + soon),
            Kind::Garbage => (faults.crash_at, faults.garble) = (Some(calls + soon), true),
            Kind::FailingCalls if self.rng.one_in(2) => faults.fail_at = Some(calls + soon),
            Kind::FailingCalls => faults.fail_sync_at = Some(self.fs.syncs() + 1 + soon / 5),
            Kind::FullDisk => {
                faults.capacity = Some(3000 + self.rng.below(60_000) as u64);
                faults.fail_sync_at = self.rng.one_in(4).then(|| self.fs.syncs() + soon);
            }
        }
        self.fs.set_faults(faults);
        let Some(store) = self.open()? else {
            self.end(None);
            return Ok(());
        };
        let rounds = 4 + self.rng.below(12);
        self.work(&store, rounds)?;
        if self.kind == Kind::FullDisk {
            self.recover_from_full(&store)?;
        }
        self.end(Some(store));
        Ok(())
    }

    /// Ends a life: a power cut, a kill, or a proper end and then perhaps a power cut.
    fn end(&mut self, store: Option<Store>) {
        let power_cut = matches!(self.kind, Kind::PowerCuts | Kind::Garbage) || self.rng.one_in(2);
        // Otherwise the handle outlives the crash; what it does then must reach nothing.
        let handle = if self.rng.one_in(3) { None } else { store };
        if power_cut {
            self.fs.crash();
        } else {
            self.fs.kill();
        }
        drop(handle);
    }

    /// Opens the store; `None` when an injected fault stopped it.
    fn open(&mut self) -> Result<Option<Store>, String> {
        let fs = Arc::new(self.fs.clone());
        let open = |options: &Options| {
            SegmentStore::open_stepped(fs.clone(), options.clone(), Box::new(Tag), Registers::default())
        };
        let mut opened = open(&self.options);
        if matches!(opened, Err(OpenError::DamagedTail { .. })) && self.kind == Kind::Garbage {
            self.stats.discards += 1;
            let mut discarding = self.options.clone();
            discarding.discard_damaged_tail = true;
            opened = open(&discarding);
        }
        match opened {
            Ok((store, recovery)) => {
                self.stats.cuts += u64::from(recovery.cut.is_some());
                self.stats.short_cuts += u64::from(recovery.saved.is_some());
                self.adopt(&store)?;
                self.hold(&store)?;
                Ok(Some(store))
            }
            Err(OpenError::Io { source, .. }) if injected(&source) => Ok(None),
            Err(error) => Err(format!("refused to start: {error}")),
        }
    }

    /// What a started store shows is durable from then on, acknowledged or not.
    fn adopt(&mut self, store: &Store) -> Result<(), String> {
        // An injected fault fails one call; then the second attempt tells.
        let first = self.read_all(store)?;
        let all = if first.is_some() { first } else { self.read_all(store)? };
        for receipt in all.into_iter().flatten() {
            match self.durable.get(&receipt.index) {
                Some(payload) if *payload != receipt.payload => {
                    return Err(format!("receipt {} is another one than was acknowledged", receipt.index));
                }
                Some(_) => {}
                None if self.refused.contains(&receipt.payload) => {
                    return Err(format!("receipt {} was refused and is in the log", receipt.index));
                }
                None => {
                    self.durable.insert(receipt.index, receipt.payload);
                }
            }
        }
        Ok(())
    }

    /// All receipts; `None` when an injected fault got in the way.
    fn read_all(&self, store: &Store) -> Result<Option<Vec<StoredReceipt>>, String> {
        match store.scan(0).collect() {
            Ok(all) => Ok(Some(all)),
            Err(callgate_store::ReadError::Io { source, .. }) if injected(&source) => Ok(None),
            Err(error) => Err(format!("could not read: {error}")),
        }
    }

    /// Holds the store against what is known.
    fn hold(&self, store: &Store) -> Result<(), String> {
        let Some(all) = self.read_all(store)? else { return Ok(()) };
        if all.len() != self.durable.len() {
            return Err(format!("{} receipts are durable, {} are there", self.durable.len(), all.len()));
        }
        let mut state = Registers::default();
        for (receipt, (index, payload)) in all.iter().zip(&self.durable) {
            let sent = self.sent.get(payload).ok_or("a receipt nobody sent")?;
            let same = receipt.index == *index
                && receipt.payload == sent.payload
                && receipt.signature == sent.signature
                && receipt.delta == sent.delta_bytes
                && receipt.attachment == sent.attachment;
            if !same {
                return Err(format!("receipt {index} is not what was sent"));
            }
            fold(&mut state, receipt, &sent.delta)?;
        }
        if store.failure().is_none() && store.state(|s| *s != state) {
            return Err("the state is not the fold of the log".to_owned());
        }
        let distinct: BTreeSet<_> = self.durable.values().collect();
        if distinct.len() == self.durable.len() { Ok(()) } else { Err("a receipt is there twice".to_owned()) }
    }

    fn work(&mut self, store: &Store, rounds: usize) -> Result<(), String> {
        for _ in 0..rounds {
            let was_failed = store.failure().is_some();
            let count = 1 + self.rng.below(5);
            let commits: Vec<_> = (0..count)
                .map(|_| {
                    let entry = self.entry(store);
                    let payload = entry.payload.clone();
                    (payload, store.commit(entry))
                })
                .collect();
            store.step();
            for (payload, commit) in commits {
                self.settle(payload, commit.wait(), was_failed)?;
            }
            if self.rng.one_in(3) {
                store.keep_house();
            }
            if self.rng.one_in(4) && self.options.save_every < u64::MAX {
                store.save_state();
            }
            if self.rng.one_in(6) && store.failure().is_none() {
                self.hold(store)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, store: &Store) -> Entry<Set> {
        let key = u8::try_from(self.rng.below(6)).unwrap_or(0);
        let stale = self.rng.one_in(12);
        let version = store.state(|s| s.version(key)).wrapping_sub(u32::from(stale));
        let delta = Set { key, version, value: self.rng.next() };
        let size = if self.rng.one_in(8) { 1500 } else { 20 + self.rng.below(300) };
        self.next_id += 1;
        let entry = entry(self.next_id, delta, size);
        self.sent.insert(entry.payload.clone(), entry.clone());
        entry
    }

    fn settle(
        &mut self,
        payload: Vec<u8>,
        outcome: Result<callgate_store::Durable, CommitError<u32>>,
        was_failed: bool,
    ) -> Result<(), String> {
        match outcome {
            Ok(_) if was_failed => return Err("acknowledged after the store had failed".to_owned()),
            Ok(durable) => {
                self.stats.acknowledged += 1;
                if self.durable.insert(durable.index, payload).is_some() {
                    return Err(format!("receipt {} was acknowledged twice", durable.index));
                }
                if durable.index >= durable.size {
                    return Err(format!("receipt {} is not covered by its checkpoint", durable.index));
                }
            }
            Err(CommitError::Failed(_)) => self.stats.failures += 1,
            Err(CommitError::Conflict(_)) => {
                self.stats.conflicts += 1;
                self.refused.insert(payload);
            }
            Err(CommitError::Full) => {
                self.stats.full += 1;
                self.refused.insert(payload);
            }
            Err(other) => return Err(format!("unexpected: {other}")),
        }
        Ok(())
    }

    /// Gives the disk room again: a store that never half wrote anything goes on without a restart.
    fn recover_from_full(&mut self, store: &Store) -> Result<(), String> {
        self.fs.set_faults(Faults::default());
        let (full, failures) = (self.stats.full, self.stats.failures);
        let before = store.size();
        self.work(store, 2)?;
        if full > 0 && failures == self.stats.failures && self.stats.full == full && store.size() > before {
            self.stats.recovered_from_full += 1;
        }
        if self.stats.full > full {
            return Err("full although there is room".to_owned());
        }
        Ok(())
    }

    /// Flips a byte of an acknowledged group or of a saved state on the quiet disk: the store must refuse, or still have
    /// everything; what a saved state covers is found when it is read.
    fn flip(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let fs = self.fs.fork();
            let logs: Vec<_> = fs.files().into_iter().collect();
            let logs: Vec<_> =
                logs.into_iter().filter(|f| f.ends_with(".seg") || f.ends_with(".state")).collect();
            let Some(file) = logs.get(self.rng.below(logs.len())) else { continue };
            let at = self.rng.next();
            // Without the files that remember the length, so that the log must find it by itself.
            if self.rng.one_in(2) {
                fs.lose("head");
                fs.lose("checkpoint");
            }
            let place = fs.edit(file, |bytes| {
                let written = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
                let place = usize::try_from(at).unwrap_or(0) % (written + 1);
                bytes.get_mut(place).map(|byte| *byte ^= 0x10).map(|()| place)
            });
            let opened = SegmentStore::open_stepped(
                Arc::new(fs),
                self.options.clone(),
                Box::new(Tag),
                Registers::default(),
            );
            if let Ok((store, recovery)) = opened {
                let found = store.scan(0).any(|receipt| receipt.is_err());
                if found && file.ends_with(".seg") && recovery.saved.is_some() {
                    continue;
                }
                self.hold(&store)
                    .map_err(|e| format!("a flip at {place:?} of {file} was not noticed: {e}"))?;
            }
        }
        Ok(())
    }
}

fn fold(state: &mut Registers, receipt: &StoredReceipt, delta: &Set) -> Result<(), String> {
    use callgate_store::Fold as _;
    use sha2::Digest as _;
    state.check(delta).map_err(|_| format!("receipt {} rests on a state that was not", receipt.index))?;
    state.apply(receipt.index, &sha2::Sha256::digest(&receipt.payload).into(), delta);
    Ok(())
}

fn injected(error: &std::io::Error) -> bool {
    let text = error.to_string();
    error.kind() == std::io::ErrorKind::StorageFull
        || text.contains("simulated")
        || text.contains("power is gone")
}
