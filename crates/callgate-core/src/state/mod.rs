//! Live state: a fold of the log, and the deltas it is folded from.
//!
//! Nothing else changes state. [`State::apply`] is total: a delta that [`State::check`] accepted
//! always applies. A delta is written as canonical JSON beside its receipt and bound by its digest.

pub mod approvals;
mod delta;
pub mod meters;
mod near;
mod release;
mod session;
pub mod stops;
pub mod unchecked;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::facts::{Credential, Facts, SessionFacts};
use crate::history::{History, LINGER_MS, Reads};
use crate::limit::Ask;
use crate::progress::{Halt, as_asked};
use crate::request::Request;

use approvals::{Approvals, Under};
use meters::{Expected, Meters};
use stops::Stops;
use unchecked::{PointKey, Unchecked};

pub use delta::{
    ApiKey, Change, Conflict, DecisionDelta, Delta, HistoryFill, Holder, NonceUse, OutcomeDelta, Running,
};
pub use release::{
    Activation, ControlRef, Drift, Git, Kept, Mix, ModeScope, Point, Release, Rollout, RolloutStart,
    SimulationEvidence, SnapshotRef, Stage, Tested, Trial, Tried, Unit, WHOLE_BP, percent,
};
use session::Sessions;
pub use session::{Session, SessionKey};

/// An allowed action whose outcome has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAction {
    /// SHA-256 of the decision receipt's payload.
    pub payload_sha256: [u8; 32],
    /// Whose it is.
    pub key: SessionKey,
    /// The team, for the outcome's receipt.
    pub team: Option<String>,
    /// What limits expect of its end.
    pub expected: Expected,
    /// When it was decided, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// What is looked at while it runs.
    pub running: Running,
    /// Why it was told to stop, once it was.
    pub stopped: Option<Halt>,
}

/// The fold of a log. A gate writes it out and reads it back: no field may be skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    sessions: Sessions,
    /// By [`nonce_name`], so that the look-up compares 32 bytes whatever the names are.
    nonces: BTreeSet<Digest>,
    nonce_ends: BTreeSet<(i64, Digest)>,
    open: BTreeMap<u64, OpenAction>,
    open_ends: BTreeSet<(i64, u64)>,
    next_slot: u64,
    release: Release,
    keys: BTreeMap<String, ApiKey>,
    /// By endpoint, the last receipt it is not told of any more.
    delivered: BTreeMap<String, u64>,
    latest_ms: i64,
    history: History,
    approvals: Approvals,
    meters: Meters,
    stops: Stops,
    unchecked: Unchecked,
}

impl State {
    /// The facts a decision on `request` consults.
    #[must_use]
    pub fn facts(&self, request: Option<&Request>, credential: Credential, now_ms: i64) -> Facts {
        self.facts_of(request, credential, now_ms, None)
    }

    /// The same, with the levels of the meters that `asks` names.
    #[must_use]
    pub fn facts_of(
        &self,
        request: Option<&Request>,
        credential: Credential,
        now_ms: i64,
        asks: Option<&[Ask]>,
    ) -> Facts {
        let key = request.map(SessionKey::of);
        let nonce = request.and_then(|r| r.nonce.as_deref());
        let nonce_used =
            key.as_ref().zip(nonce).is_some_and(|(key, nonce)| self.nonces.contains(&nonce_name(key, nonce)));
        let session = key.filter(SessionKey::is_chained).and_then(|key| self.session(&key));
        let session = session.map(|s| SessionFacts { version: s.version, position: s.position });
        let stopped = request.and_then(|request| self.stops.on_request(request, &credential));
        let (stopped, stops) = (stopped.map(stops::Stop::known), self.stops.newest());
        let monitor = request.is_some_and(|request| self.release.monitors(request));
        let limits = self.meters.facts(request, &credential, asks, now_ms);
        Facts { limits, monitor, nonce_used, session, stopped, stops, ..Facts::new(credential, now_ms) }
    }

    /// What earlier events left behind.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// What limits have counted.
    #[must_use]
    pub const fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What waits for people, and what they said.
    #[must_use]
    pub const fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// What operators stopped.
    #[must_use]
    pub const fn stops(&self) -> &Stops {
        &self.stops
    }

    /// What ran while the gate could not be reached.
    #[must_use]
    pub const fn unchecked(&self) -> &Unchecked {
        &self.unchecked
    }

    /// One session.
    #[must_use]
    pub fn session(&self, key: &SessionKey) -> Option<Session> {
        self.sessions.get(key)
    }

    /// An allowed action whose outcome has not come.
    #[must_use]
    pub fn open_action(&self, decision: u64) -> Option<&OpenAction> {
        self.open.get(&decision)
    }

    /// The key ring slot of a session.
    #[must_use]
    pub fn slot(&self, key: &SessionKey) -> Option<u64> {
        self.sessions.slot(key)
    }

    /// The first key ring slot no receipt has used.
    #[must_use]
    pub const fn next_slot(&self) -> u64 {
        self.next_slot
    }

    /// What decides.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// The registered keys by public name.
    #[must_use]
    pub const fn keys(&self) -> &BTreeMap<String, ApiKey> {
        &self.keys
    }

    /// The last receipt that an endpoint for events is not told of any more; `None` for one that is new.
    #[must_use]
    pub fn delivered(&self, endpoint: &str) -> Option<u64> {
        self.delivered.get(endpoint).copied()
    }

    /// The latest clock of any receipt: a gate's clock never goes back behind it.
    #[must_use]
    pub const fn latest_ms(&self) -> i64 {
        self.latest_ms
    }

    /// Whether the facts that led to `delta` still hold.
    ///
    /// # Errors
    /// What moved on.
    pub fn check(&self, delta: &Delta) -> Result<(), Conflict> {
        match &delta.change {
            Change::Decision(decision) => self.check_decision(decision, delta.now_ms),
            Change::Outcome(outcome) => {
                self.check_watched(outcome.epoch)?;
                self.check_version(&outcome.key, outcome.version)?;
                self.check_reads(outcome.reads.as_ref(), delta.now_ms)?;
                let open = self.open.get(&outcome.decision).filter(|open| open.key == outcome.key);
                open.map(|_| ()).ok_or(Conflict::Action)
            }
            Change::SnapshotStaged(stage) => known(stage.version > self.release.newest()),
            Change::SnapshotSimulated { version, .. } => known(self.release.kept.contains_key(version)),
            Change::SnapshotActivated(snapshot) => self.check_named(snapshot),
            Change::RolloutStarted(start) => {
                known(self.release.rollout.is_none() && self.release.active().is_some())?;
                self.check_named(&start.candidate)
            }
            Change::RolloutStopped {} => known(self.release.rollout.is_some()),
            Change::ModeSet { scope, monitor } => known(self.release.monitored.contains(scope) != *monitor),
            Change::PointLeased(lease) if lease.stops != self.stops.newest() => Err(Conflict::Stopped),
            Change::PointLeased(lease) => self.unchecked.check_lease(lease, delta.now_ms.max(self.latest_ms)),
            Change::UncheckedWindow(window) => self.unchecked.check_window(window),
            Change::PointRetired { id } => known(self.release.points.contains_key(id)),
            Change::ControlActivated(control) => {
                let now = self.release.control.as_ref().map_or(0, |(control, _)| control.version);
                known(control.version == now.saturating_add(1))
            }
            Change::KeyCreated(key) if self.keys.contains_key(&key.id) => Err(Conflict::Registry),
            Change::KeyRevoked { id } if !self.keys.contains_key(id) => Err(Conflict::Registry),
            Change::SessionErased(key) if self.slot(key).is_none() => Err(Conflict::Registry),
            Change::Delivered { endpoint, through } if self.delivered(endpoint) >= Some(*through) => {
                Err(Conflict::Registry)
            }
            Change::ApprovalVoted(vote) => self.approvals.check_vote(vote, delta.now_ms),
            Change::ApprovalDelegated(delegation) => {
                self.approvals.check_delegation(delegation, delta.now_ms)
            }
            Change::ApprovalCommented(comment) => self.approvals.check_comment(comment),
            Change::ApprovalExpired { approval } => self.approvals.check_expired(*approval, delta.now_ms),
            Change::StandingRevoked(end) => self.approvals.check_revoked(end),
            Change::ActionSpent { decision, .. } => {
                self.open.get(decision).map(|_| ()).ok_or(Conflict::Action)
            }
            Change::BreakerReset(reset) => self.meters.check_reset(reset),
            Change::BreakerOpened { meter } => self.meters.check_announced(meter),
            Change::StopCreated(start) => self.stops.check_start(start),
            Change::StopLifted { stop } => known(self.stops.get(*stop).is_some()),
            Change::ActionStopped { decision, .. } => {
                let open = self.open.get(decision).filter(|open| open.stopped.is_none());
                open.map(|_| ()).ok_or(Conflict::Action)
            }
            Change::KeyCreated(_)
            | Change::KeyRevoked { .. }
            | Change::SessionErased(_)
            | Change::HistoryFilled(_)
            | Change::PointAcknowledged(_)
            | Change::Delivered { .. }
            | Change::Noted {} => Ok(()),
        }
    }

    /// A snapshot is kept under that name, or its name is new.
    fn check_named(&self, snapshot: &SnapshotRef) -> Result<(), Conflict> {
        let kept = self.release.kept.get(&snapshot.version);
        known(
            kept.map_or(snapshot.version > self.release.newest(), |kept| {
                kept.stage.digest == snapshot.digest
            }),
        )
    }

    /// Whether the monitors that were asked about an outcome, if any, are those in force.
    fn check_watched(&self, asked: Option<u64>) -> Result<(), Conflict> {
        let fits = match asked {
            Some(epoch) => epoch == self.release.epoch,
            None => !self.release.looks_back(),
        };
        if fits { Ok(()) } else { Err(Conflict::Snapshot) }
    }

    fn check_reads(&self, reads: Option<&Reads>, now_ms: i64) -> Result<(), Conflict> {
        let Some(reads) = reads else { return Ok(()) };
        let recent = self.latest_ms.saturating_sub(now_ms) <= LINGER_MS;
        if recent && self.history.holds(reads) { Ok(()) } else { Err(Conflict::History) }
    }

    fn check_version(&self, key: &SessionKey, version: u64) -> Result<(), Conflict> {
        let holds = !key.is_chained() || self.sessions.version(key) == version;
        if holds { Ok(()) } else { Err(Conflict::Session) }
    }

    fn check_decision(&self, delta: &DecisionDelta, now_ms: i64) -> Result<(), Conflict> {
        let control = self.release.control.as_ref().map_or(0, |(control, _)| control.version);
        let holds = if delta.control { delta.snapshot == control } else { delta.epoch == self.release.epoch };
        if !holds {
            return Err(Conflict::Snapshot);
        }
        if delta.unchecked.is_none() && delta.can_be_stopped() && delta.stops != self.stops.newest() {
            return Err(Conflict::Stopped);
        }
        self.check_reads(delta.reads.as_ref(), now_ms)?;
        let Some(key) = &delta.key else { return Ok(()) };
        self.check_version(key, delta.version)?;
        if let Some(slot) = delta.slot
            && self.slot(key).is_some_and(|known| known != slot)
        {
            return Err(Conflict::Session);
        }
        if let Some(unchecked) = &delta.unchecked {
            self.unchecked.check_action(&point_of(key, &unchecked.point), unchecked)?;
        }
        if let Some(approval) = &delta.approval {
            self.approvals.check_decision(approval, key, Under::of(delta), now_ms)?;
        }
        self.check_limits(delta, now_ms)?;
        match &delta.nonce {
            Some(nonce) if self.nonces.contains(&nonce_name(key, &nonce.value)) => Err(Conflict::Nonce),
            _ => Ok(()),
        }
    }

    /// Whether what a decision read of limits still says the same.
    ///
    /// # Errors
    /// [`Conflict::Limit`]: it must be decided again.
    pub fn check_limits(&self, delta: &DecisionDelta, now_ms: i64) -> Result<(), Conflict> {
        // The gate's own actions are counted by nothing, and what ran already is counted whatever it met.
        if delta.control || delta.unchecked.is_some() || delta.open_until_ms.is_none() {
            return Ok(());
        }
        let asked = || as_asked(delta.key.as_ref()?, delta.team.as_deref(), delta.running.as_deref()?);
        self.meters.check(delta.charged.as_deref(), asked, now_ms.max(self.latest_ms))
    }

    /// Folds one receipt's delta in. `index` is the receipt's place in the log.
    pub fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Delta) {
        self.latest_ms = self.latest_ms.max(delta.now_ms);
        // An outcome that was taken counts, even where it is the receipt by which its action's time is over.
        if let Change::Outcome(outcome) = &delta.change {
            self.apply_outcome(index, payload_sha256, outcome);
        }
        self.forget(delta.now_ms);
        self.approvals.forget(self.latest_ms);
        self.unchecked.forget(delta.now_ms);
        self.history.apply(index, self.latest_ms, delta.change.observations());
        match &delta.change {
            Change::Decision(decision) => {
                self.apply_decision(index, payload_sha256, decision, delta.now_ms);
                self.approvals.apply_decision(index, decision, delta.now_ms);
            }
            Change::SnapshotStaged(stage) => self.release.stage(index, delta.now_ms, stage),
            Change::SnapshotSimulated { version, evidence } => {
                if let Some(kept) = self.release.kept.get_mut(version) {
                    kept.simulated = Some(evidence.clone());
                }
            }
            Change::SnapshotActivated(snapshot) => self.apply_activated(index, snapshot, delta.now_ms),
            Change::RolloutStarted(start) => {
                self.release.start(index, start);
                self.history.enforce(&self.release.watched());
                self.lapse(None, delta.now_ms);
            }
            Change::RolloutStopped {} => self.apply_stopped(delta.now_ms),
            Change::ModeSet { scope, monitor } => self.release.set_mode(scope, *monitor),
            Change::PointAcknowledged(point) => {
                self.release.points.insert(point.id.clone(), (point.clone(), index));
            }
            Change::PointLeased(lease) => self.unchecked.apply_lease(index, delta.now_ms, lease),
            Change::UncheckedWindow(window) => self.unchecked.apply_window(index, delta.now_ms, window),
            Change::PointRetired { id } => {
                self.release.points.remove(id);
            }
            Change::ControlActivated(control) => {
                self.release.control = Some((control.clone(), index));
                self.lapse(None, delta.now_ms);
            }
            Change::KeyCreated(key) => {
                self.keys.insert(key.id.clone(), key.clone());
            }
            Change::KeyRevoked { id } => {
                self.keys.remove(id);
            }
            // The next request of the session gets a new key.
            Change::SessionErased(key) => self.sessions.take_slot(key),
            Change::HistoryFilled(fill) => {
                self.history.begin(&fill.begins);
                self.history.fill(&fill.kept);
            }
            Change::Delivered { endpoint, through } => {
                self.delivered.insert(endpoint.clone(), *through);
            }
            Change::ApprovalVoted(_)
            | Change::ApprovalDelegated(_)
            | Change::ApprovalCommented(_)
            | Change::ApprovalExpired { .. }
            | Change::StandingRevoked(_) => self.apply_approval(index, &delta.change, delta.now_ms),
            Change::ActionSpent { decision, spent } => {
                if let Some(open) = self.open.get_mut(decision) {
                    self.meters.raise(&mut open.expected, spent);
                }
            }
            Change::BreakerReset(reset) => self.meters.close(&reset.meter),
            Change::BreakerOpened { meter } => self.meters.announce(meter),
            Change::StopCreated(start) => {
                self.stops.apply_start(index, start, delta.now_ms);
                self.approvals.stop(index, &start.scope, delta.now_ms);
            }
            Change::StopLifted { stop } => self.stops.apply_lift(*stop),
            Change::ActionStopped { code, decision } => {
                if let Some(open) = self.open.get_mut(decision) {
                    open.stopped = Some(*code);
                }
            }
            // An outcome was applied before.
            Change::Outcome(_) | Change::Noted {} => {}
        }
    }

    /// What people say of approvals; any other change is none of theirs.
    fn apply_approval(&mut self, index: u64, change: &Change, now_ms: i64) {
        match change {
            Change::ApprovalVoted(vote) => self.approvals.apply_vote(index, vote, now_ms),
            Change::ApprovalDelegated(delegation) => self.approvals.apply_delegation(delegation),
            Change::ApprovalCommented(comment) => self.approvals.apply_comment(index, comment, now_ms),
            Change::ApprovalExpired { approval } => self.approvals.apply_expired(*approval, now_ms),
            Change::StandingRevoked(end) => self.approvals.apply_revoked(end, now_ms),
            _ => {}
        }
    }

    fn apply_outcome(&mut self, index: u64, payload_sha256: &[u8; 32], outcome: &OutcomeDelta) {
        if let Some(open) = self.open.remove(&outcome.decision)
            && let Some(ended) = outcome.ended
        {
            let (decision, spent) = (outcome.decision, &outcome.spent);
            self.meters.end(index, decision, &open.expected, ended, spent, self.latest_ms);
        }
        self.sessions.extend(&outcome.key, payload_sha256, None);
    }

    fn apply_stopped(&mut self, now_ms: i64) {
        self.release.stop();
        self.history.enforce(&self.release.watched());
        self.lapse(None, now_ms);
    }

    fn apply_activated(&mut self, index: u64, snapshot: &SnapshotRef, now_ms: i64) {
        let before = self.release.active().map(|active| active.snapshot.clone());
        self.release.activate(index, now_ms, snapshot);
        self.history.enforce(&self.release.watched());
        let same = before.filter(|before| before.digest == snapshot.digest);
        self.lapse(same.map(|before| (before.version, snapshot.version)), now_ms);
    }

    fn apply_decision(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &DecisionDelta, now_ms: i64) {
        if let Some(slot) = delta.slot {
            self.next_slot = self.next_slot.max(slot.saturating_add(1));
        }
        self.release.tried(delta.tried.as_ref());
        let Some(key) = &delta.key else { return };
        if let Some(slot) = delta.slot {
            self.sessions.give_slot(key, slot);
        }
        self.sessions.extend(key, payload_sha256, delta.advance.as_ref());
        if let Some(unchecked) = &delta.unchecked {
            self.unchecked.apply_action(index, now_ms, &point_of(key, &unchecked.point), unchecked);
        }
        if let Some(nonce) = &delta.nonce {
            let name = nonce_name(key, &nonce.value);
            self.nonces.insert(name);
            self.nonce_ends.insert((nonce.until_ms, name));
        }
        let at_ms = self.latest_ms;
        let expected =
            delta.charged.as_deref().map(|it| self.meters.apply(index, it, delta.open_until_ms, at_ms));
        if let Some(until) = delta.open_until_ms {
            let open = OpenAction {
                payload_sha256: *payload_sha256,
                key: key.clone(),
                team: delta.team.clone(),
                expected: expected.unwrap_or_default(),
                started_ms: now_ms,
                running: delta.running.as_deref().cloned().unwrap_or_default(),
                stopped: None,
            };
            self.open.insert(index, open);
            self.open_ends.insert((until, index));
        }
    }

    /// What was asked under a snapshot that decides no more is over. `same` is a version and another one
    /// of the same text that took its place.
    fn lapse(&mut self, same: Option<(u64, u64)>, now_ms: i64) {
        let rollout = self.release.rollout.as_ref().map(|rollout| rollout.start.candidate.version);
        let control = self.release.control.as_ref().map(|(control, _)| control.version);
        let live = self.release.active().map(|active| active.snapshot.version);
        let under = |control: bool| move |version: u64| Under { control, version };
        let deciding = live.into_iter().chain(rollout).map(under(false));
        let deciding: BTreeSet<Under> = deciding.chain(control.map(under(true))).collect();
        self.approvals.enforce(&deciding, same, now_ms);
    }

    /// Drops nonces and open actions whose time is over.
    fn forget(&mut self, now_ms: i64) {
        while self.nonce_ends.first().is_some_and(|(until, _)| *until < now_ms) {
            if let Some((_, name)) = self.nonce_ends.pop_first() {
                self.nonces.remove(&name);
            }
        }
        while let Some((action, meter)) = self.meters.due(now_ms) {
            if let Some(open) = self.open.get_mut(&action) {
                self.meters.release(&mut open.expected, &meter);
            }
        }
        self.meters.forget(now_ms);
        while self.open_ends.first().is_some_and(|(until, _)| *until < now_ms) {
            if let Some((_, index)) = self.open_ends.pop_first() {
                self.open.remove(&index);
            }
        }
    }
}

fn known(it: bool) -> Result<(), Conflict> {
    if it { Ok(()) } else { Err(Conflict::Registry) }
}

fn point_of(key: &SessionKey, point: &str) -> PointKey {
    PointKey { agent: key.agent.clone(), point: point.to_owned(), tenant: key.tenant.clone() }
}

/// A name for one nonce of one session; a zero byte cannot stand in a session's names.
fn nonce_name(key: &SessionKey, nonce: &str) -> Digest {
    Digest::of([&key.tenant, "\0", &key.agent, "\0", &key.session, "\0", nonce].concat().as_bytes())
}
