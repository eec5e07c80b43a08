//! Filling: what monitors that were not in force would have kept, found in the log before a snapshot
//! needs it.
//!
//! The log is read while decisions go on, in rounds, until little is left; then everything pauses for
//! the last round and the activation. What is found is written to the log as the fold keeps it, so that
//! a restart folds it without unsealing a request. Until the activation nothing looks at it: after a
//! crash in between, the next publication begins again with nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::digest::Digest;
use callgate_core::history::{History, Kept, Monitor, Observation};
use callgate_core::state::{Change, Delta, HistoryFill, SessionKey, SnapshotRef};
use callgate_store::{Fold as _, StoredReceipt};

use crate::error::Unavailable;
use crate::fold::{GateState, Paused};
use crate::gate::{Active, Gate};
use crate::past::Past;

/// So few receipts are read while everything pauses.
const TAIL: u64 = 512;
/// After so many rounds the rest is read while everything pauses, however long it is.
const ROUNDS: usize = 16;
/// Most events of a piece.
const PIECE: usize = 256;
/// Most monitors that begin with one receipt.
const BEGINS: usize = 1024;
/// About how many bytes of pieces go into one receipt.
const RECEIPT_BYTES: usize = 256 << 10;
/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;

/// The fold of the log for a snapshot that will be in force.
pub(crate) struct Filling {
    active: Arc<Active>,
    blind: Digest,
    /// What must be kept.
    wanted: Vec<Monitor>,
    /// Those of them that are not kept yet.
    missing: Vec<Monitor>,
    /// Those that were in force at [`Self::next`], whose observations are in the log.
    watched: BTreeSet<Digest>,
    /// Among these, those of the snapshot in force.
    live: BTreeSet<Digest>,
    history: History,
    latest_ms: i64,
    /// The first receipt that was not read.
    next: u64,
    /// Whether the missing ones have begun in the log, empty.
    begun: bool,
    /// Whether an earlier publication left something behind of them that is not in force.
    stale: bool,
    found: Found,
}

/// What was found, for the activation's receipt.
#[derive(Debug, Default)]
struct Found {
    from: u64,
    observations: u64,
    unfit: u64,
    erased: BTreeSet<SessionKey>,
}

/// The monitors of an activation, as far as their series can be found with this secret.
fn watched(activated: &SnapshotRef, blind: &Digest) -> BTreeSet<Digest> {
    if activated.blind != Some(Digest::of(blind.as_bytes())) {
        return BTreeSet::new();
    }
    activated.monitors.iter().map(|monitor| monitor.id).collect()
}

impl Filling {
    fn read_to(&mut self, gate: &Gate, end: u64) -> Result<(), String> {
        let mut receipts = gate.store.scan(self.next);
        while self.next < end {
            let Some(receipt) = receipts.next() else { return Err("the log ends too early".to_owned()) };
            let receipt = receipt.map_err(|e| e.to_string())?;
            self.push(gate, &receipt).map_err(|problem| {
                let index = receipt.index;
                format!("receipt {index}: {problem}; erase its session to publish without it")
            })?;
            self.next = receipt.index.saturating_add(1);
        }
        Ok(())
    }

    fn push(&mut self, gate: &Gate, receipt: &StoredReceipt) -> Result<(), String> {
        let delta = GateState::decode(&receipt.delta).map_err(|e| e.to_string())?;
        self.latest_ms = self.latest_ms.max(delta.now_ms);
        let observations = self.observe(gate, receipt, &delta)?;
        self.history.apply(receipt.index, self.latest_ms, &observations);
        match &delta.change {
            Change::SnapshotActivated(activated) => {
                self.live = watched(activated, &self.blind);
                self.watched = self.live.clone();
            }
            Change::RolloutStarted(start) => {
                self.watched.extend(watched(&start.candidate, &self.blind));
            }
            Change::RolloutStopped {} => self.watched = self.live.clone(),
            _ => {}
        }
        Ok(())
    }

    /// What the receipt adds: as it was recorded for monitors that were in force, from the request for
    /// the others.
    fn observe(
        &mut self,
        gate: &Gate,
        receipt: &StoredReceipt,
        delta: &Delta,
    ) -> Result<Vec<Observation>, String> {
        let recorded = |observation: &&Observation| self.watched.contains(&observation.series.monitor);
        let mut all: Vec<Observation> =
            delta.change.observations().iter().filter(recorded).cloned().collect();
        if self.wanted.iter().all(|monitor| self.watched.contains(&monitor.id)) {
            return Ok(all);
        }
        let force = self.active.in_force();
        let event = match gate.past(receipt, delta)? {
            Past::Event(event) => event,
            Past::Nothing => return Ok(all),
            Past::Erased(key) => {
                self.found.erased.insert(key);
                return Ok(all);
            }
        };
        let queries = event.queries_of(&force, &self.blind);
        let history = self.history.read(queries, delta.now_ms, self.blind);
        let candidate = force.candidate.map(|it| it.snapshot);
        let mut observed = Vec::new();
        for snapshot in std::iter::once(force.live).chain(candidate) {
            match event.observe(snapshot, &history) {
                Ok(more) => observed.extend(more),
                // What cannot be told of the past is counted: it must not keep a stricter policy out of force.
                Err(_) => self.found.unfit = self.found.unfit.saturating_add(1),
            }
        }
        all.extend(observed.into_iter().filter(|one| !self.watched.contains(&one.series.monitor)));
        all.sort_by_key(|observation| observation.series);
        all.dedup();
        let missing = |one: &&Observation| self.missing.iter().any(|m| m.id == one.series.monitor);
        let count = u64::try_from(all.iter().filter(missing).count()).unwrap_or(u64::MAX);
        self.found.observations = self.found.observations.saturating_add(count);
        Ok(all)
    }

    /// What was found from place `from` on, in pieces that fit into receipts.
    fn pieces(&mut self, from: u64) -> Vec<HistoryFill> {
        let mut fills = Vec::new();
        let (mut kept, mut bytes) = (Vec::new(), 0usize);
        for piece in self.history.kept(&self.missing, from, PIECE) {
            bytes = bytes.saturating_add(size(&piece));
            kept.push(piece);
            if bytes >= RECEIPT_BYTES {
                fills.push(HistoryFill { begins: Vec::new(), kept: std::mem::take(&mut kept) });
                bytes = 0;
            }
        }
        if !kept.is_empty() {
            fills.push(HistoryFill { begins: Vec::new(), kept });
        }
        if self.begun || (fills.is_empty() && !self.stale) {
            return fills;
        }
        self.begun = true;
        self.begins().chain(fills).collect()
    }

    fn begins(&self) -> impl Iterator<Item = HistoryFill> {
        let begin = |monitors: &[Monitor]| HistoryFill { begins: monitors.to_vec(), kept: Vec::new() };
        self.missing.chunks(BEGINS).map(begin)
    }

    /// What the activation's receipt says of it.
    pub(crate) fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("history_from", self.found.from.to_string()),
            ("history_observations", self.found.observations.to_string()),
            ("history_erased_sessions", self.found.erased.len().to_string()),
            ("history_unfit_events", self.found.unfit.to_string()),
        ]
    }
}

/// About how many bytes a piece takes as JSON; never fewer.
fn size(piece: &Kept) -> usize {
    const PIECE_BYTES: usize = 320;
    const EVENT_BYTES: usize = 224;
    piece.events.len().saturating_mul(EVENT_BYTES).saturating_add(PIECE_BYTES)
}

impl Gate {
    /// What must be filled before `active` can be in force; `None` if nothing is missing.
    fn filling(&self, active: &Arc<Active>) -> Result<Option<Filling>, String> {
        let blind = self.identity.blind();
        let wanted = active.monitors();
        let (activations, rollout) = self.store.state(|state| {
            let release = state.0.release();
            (release.activations().to_vec(), release.rollout().cloned())
        });
        let of = |found: Option<&callgate_core::state::Activation>| {
            found.map(|activation| watched(&activation.snapshot, &blind)).unwrap_or_default()
        };
        let mut held = of(activations.last());
        if let Some(rollout) = &rollout {
            held.extend(watched(&rollout.start.candidate, &blind));
        }
        let missing: Vec<Monitor> =
            wanted.iter().filter(|monitor| !held.contains(&monitor.id)).cloned().collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let from = self.first_in_reach(&wanted)?;
        let before = activations.iter().rev().find(|activation| activation.receipt < from);
        let mut history = History::default();
        history.enforce(&wanted);
        let stale = self.store.state(|state| missing.iter().any(|m| state.0.history().watches(&m.id)));
        Ok(Some(Filling {
            active: Arc::clone(active),
            blind,
            wanted,
            missing,
            watched: of(before),
            live: of(before),
            history,
            latest_ms: 0,
            next: from,
            begun: false,
            stale,
            found: Found { from, ..Found::default() },
        }))
    }

    /// The first receipt that any question of these monitors may reach, one over the other.
    fn first_in_reach(&self, monitors: &[Monitor]) -> Result<u64, String> {
        let reach = monitors.iter().fold(MARGIN_MS, |sum, monitor| sum.saturating_add(monitor.reach_ms));
        self.first_at(self.now_ms().saturating_sub(reach), self.store.size())
    }

    /// The first of the first `size` receipts that is not older than that time.
    pub(crate) fn first_at(&self, since_ms: i64, size: u64) -> Result<u64, String> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low.midpoint(high);
            if self.clock_of(middle)? < since_ms {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn clock_of(&self, index: u64) -> Result<i64, String> {
        let receipt = self.store.read(index).map_err(|e| e.to_string())?;
        let receipt = receipt.ok_or_else(|| format!("there is no receipt {index}"))?;
        let delta = GateState::decode(&receipt.delta).map_err(|e| e.to_string())?;
        Ok(delta.now_ms)
    }

    /// Fills what is missing for `active`. While what it gives is kept, nothing happens that is not in
    /// what was filled; `None` if nothing was missing.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        active: &Arc<Active>,
        actor: &str,
    ) -> Result<Option<(Paused<'_>, Filling)>, Unavailable> {
        let Some(mut filling) = self.filling(active).map_err(Unavailable::for_good)? else { return Ok(None) };
        for _ in 0..ROUNDS {
            let end = self.store.size();
            if end.saturating_sub(filling.next) <= TAIL {
                break;
            }
            filling = self.round(filling, end, actor).await?;
        }
        let paused = Paused::begin(&self.store);
        let end = self.store.state(|state| state.0.history().size());
        self.until_durable(end).await?;
        filling = self.round(filling, end, actor).await?;
        Ok(Some((paused, filling)))
    }

    /// Reads the log up to `end`, and writes down what was found.
    async fn round(
        self: &Arc<Self>,
        mut filling: Filling,
        end: u64,
        actor: &str,
    ) -> Result<Filling, Unavailable> {
        let (gate, from) = (Arc::clone(self), filling.next);
        let read = tokio::task::spawn_blocking(move || {
            filling.read_to(&gate, end)?;
            let pieces = filling.pieces(from);
            Ok::<_, String>((filling, pieces))
        });
        let ended = |e: tokio::task::JoinError| Unavailable::now(format!("reading the log ended: {e}"));
        let (filling, pieces) = read.await.map_err(ended)?.map_err(Unavailable::for_good)?;
        for fill in pieces {
            let events: usize = fill.kept.iter().map(|piece| piece.events.len()).sum();
            let details = [("events", events.to_string()), ("monitors", fill.begins.len().to_string())];
            self.note("history.fill", actor, &details, Change::HistoryFilled(fill), Vec::new()).await?;
        }
        Ok(filling)
    }

    /// Waits until what was admitted can be read back.
    async fn until_durable(&self, size: u64) -> Result<(), Unavailable> {
        while self.store.size() < size {
            if let Some(failure) = self.failure() {
                return Err(Unavailable::for_good(failure));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}
