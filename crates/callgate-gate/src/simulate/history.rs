//! A candidate against the decisions of a log.
//!
//! The same `decide` on the recorded request and the recorded facts. Nothing is guessed: what the record
//! does not tell is counted as not decided again. Nothing here writes, and no clock is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::facts::Facts;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, SessionKey};
use callgate_log::hash::sha256;
use callgate_policy::Explanation;
use callgate_store::{Keyring, StoredReceipt};

use super::filter::Filter;
use super::library::{self, Library};
use super::past::{self, Past};
use super::positions::{self, Positions};
use super::recorded::Recorded;
use super::report::{At, Example, Inputs, Place, Reason, Report, Source};
use super::tally::{Flip, Lengths, Tally};
use crate::vault::{self, Attachment, Record};

/// A snapshot against the recorded decisions of a log. Give it every receipt that [`Simulation::begins_ms`]
/// asks for, in order; then [`Simulation::finish`].
#[derive(Debug)]
pub struct Simulation {
    candidate: Arc<Snapshot>,
    filter: Filter,
    tally: Tally,
    library: Library,
    past: Option<Past>,
    positions: Positions,
    /// How the candidate stands to each snapshot that had decided.
    beside: BTreeMap<String, Result<Beside, String>>,
    recorded_by: BTreeMap<String, u64>,
    receipts: Option<(u64, u64)>,
}

/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;

/// How the candidate stands to a snapshot that had decided.
#[derive(Debug)]
struct Beside {
    /// Whether the contracts are the same.
    contracts: bool,
    /// The folded names of tools that had risk tags by their catalogue which the candidate does not give.
    tags: BTreeSet<String>,
}

/// Why a decision is not made again.
type Refused = (Reason, String);

fn refused(reason: Reason) -> Refused {
    (reason, String::new())
}

impl Simulation {
    /// Begins. `library` holds the snapshots from before what will be read; `whole` says that nothing was
    /// before it.
    #[must_use]
    pub fn new(
        candidate: Arc<Snapshot>,
        filter: Filter,
        lengths: Lengths,
        library: Library,
        whole: bool,
    ) -> Self {
        let begins = Self::begins_ms(&candidate, &filter).filter(|_| !whole);
        Self {
            past: Past::new(&candidate, begins),
            positions: Positions::new(&candidate.contracts),
            candidate,
            filter,
            tally: Tally::new(lengths),
            library,
            beside: BTreeMap::new(),
            recorded_by: BTreeMap::new(),
            receipts: None,
        }
    }

    /// Receipts from before this time, in milliseconds since 1970 UTC, need not be read; `None` if all are needed.
    #[must_use]
    pub fn begins_ms(candidate: &Snapshot, filter: &Filter) -> Option<i64> {
        let monitors = candidate.monitors();
        let back = if monitors.is_empty() { MARGIN_MS } else { past::back(&monitors) };
        filter.since_ms.map(|since| since.saturating_sub(back))
    }

    /// Decides the next receipt again, if it is a decision that is looked at.
    pub fn push(&mut self, receipt: &StoredReceipt, keyring: &Keyring) {
        let (from, _) = self.receipts.unwrap_or((receipt.index, receipt.index));
        self.receipts = Some((from, receipt.index.saturating_add(1)));
        self.tally.totals.read = self.tally.totals.read.saturating_add(1);
        if library::is_decision(receipt) {
            return self.decision(receipt, keyring);
        }
        let delta: Delta = match serde_json::from_slice(&receipt.delta) {
            Ok(delta) => delta,
            Err(e) => {
                return self.unreadable(receipt.index, format!("its state change cannot be read: {e}"));
            }
        };
        match &delta.change {
            Change::Decision(_) => self.decision(receipt, keyring),
            Change::Outcome(outcome) => {
                let Some(past) = &mut self.past else { return };
                match crate::past::status(&receipt.payload) {
                    Ok(status) => {
                        past.ended(&self.candidate, receipt.index, delta.now_ms, outcome.decision, status)
                    }
                    Err(_) => past.lost(delta.now_ms),
                }
            }
            _ => self.library.learn(receipt, &delta),
        }
    }

    fn decision(&mut self, receipt: &StoredReceipt, keyring: &Keyring) {
        let recorded = match Recorded::read(&receipt.payload) {
            Ok(recorded) => recorded,
            Err(problem) => {
                self.lost(receipt, false);
                return self.unreadable(receipt.index, problem);
            }
        };
        let totals = &mut self.tally.totals;
        if recorded.is_control() {
            totals.control = totals.control.saturating_add(1);
            return;
        }
        let wanted = self.filter.takes(&recorded);
        let counter = if wanted { &mut totals.decisions } else { &mut totals.filtered_out };
        *counter = counter.saturating_add(1);
        if !wanted && self.past.is_none() && self.candidate.contracts.is_empty() {
            return;
        }
        match self.evaluate(receipt, &recorded, keyring) {
            Ok(again) if wanted => self.count(receipt, &recorded, &again),
            Ok(_) => {}
            Err(why) => {
                let same =
                    matches!(self.beside.get(recorded.version()), Some(Ok(beside)) if beside.contracts);
                self.lost_position(receipt, same);
                if wanted {
                    self.not_evaluated(receipt.index, why);
                }
            }
        }
    }

    /// Decides again with the candidate, on what was recorded.
    fn evaluate(
        &mut self,
        receipt: &StoredReceipt,
        recorded: &Recorded<'_>,
        keyring: &Keyring,
    ) -> Result<Again, Refused> {
        let now_ms = recorded.issued_at_ms;
        let record = self.open(receipt, keyring).inspect_err(|_| {
            if let Some(past) = &mut self.past {
                past.lost(now_ms);
            }
        })?;
        let unreadable = |problem: String| (Reason::Unreadable, problem);
        let asked = crate::replay::ask(&record).map_err(unreadable).and_then(|ask| {
            let facts: Facts = serde_json::from_slice(&record.facts)
                .map_err(|e| unreadable(format!("its facts cannot be read: {e}")))?;
            Ok((ask, facts))
        });
        let (ask, mut facts) = asked.inspect_err(|_| {
            if let Some(past) = &mut self.past {
                past.lost(now_ms);
            }
        })?;
        let answered = self.past.as_ref().is_none_or(|past| past.answer(&self.candidate, &ask, &mut facts));
        // What was refused before anything looked at it did not happen to anyone.
        if let (Some(past), Ask::Request(request)) = (&mut self.past, &ask)
            && key_of(receipt).is_some()
        {
            let allowed = recorded.decision.permits();
            past.decided(&self.candidate, receipt.index, now_ms, request, allowed);
        }
        let contracts = self.holds(recorded.version(), &ask)?;
        let key = match &ask {
            Ask::Request(request) => Some(SessionKey::of(request)),
            Ask::Malformed(_) => None,
        };
        if !self.positions.place(key.as_ref(), contracts, &mut facts) {
            return Err(refused(Reason::PositionUnknown));
        }
        if !answered {
            return Err(refused(Reason::HistoryIncomplete));
        }
        let decided = decide(&self.candidate, ask, &facts);
        if !decided.questions.is_empty() {
            return Err(refused(Reason::JudgeNotAsked));
        }
        self.positions.advance(key.as_ref(), decided.effects.advance.as_ref());
        Ok(Again { decided, record })
    }

    fn open(&self, receipt: &StoredReceipt, keyring: &Keyring) -> Result<Record, Refused> {
        let payload_sha256 = sha256(&receipt.payload).into_bytes();
        match vault::open(keyring, &receipt.attachment, &payload_sha256) {
            Ok(Attachment::Record(record)) => Ok(record),
            Ok(Attachment::Erased) => Err(refused(Reason::Erased)),
            Ok(Attachment::Plain(_) | Attachment::Empty) => {
                Err((Reason::Unreadable, "its request is not beside it".to_owned()))
            }
            Err(problem) => Err((Reason::Unreadable, problem)),
        }
    }

    /// Whether the candidate's contracts are those that had decided, if the request's risk tags are the
    /// caller's or the candidate's own.
    fn holds(&mut self, version: &str, ask: &Ask) -> Result<bool, Refused> {
        if !self.beside.contains_key(version) {
            let found = self.library.get(version).map(|recorded| Beside::of(&self.candidate, &recorded));
            self.beside.insert(version.to_owned(), found);
        }
        match self.beside.get(version) {
            Some(Ok(beside)) => {
                let tool = match ask {
                    Ask::Request(request) if !beside.tags.is_empty() => request.tool.as_ref(),
                    _ => None,
                };
                if tool.is_some_and(|tool| beside.tags.contains(tool.identity.folded())) {
                    return Err(refused(Reason::TagsUnknown));
                }
                Ok(beside.contracts)
            }
            Some(Err(problem)) => Err((Reason::SnapshotUnreadable, problem.clone())),
            None => Err(refused(Reason::SnapshotUnreadable)),
        }
    }

    fn count(&mut self, receipt: &StoredReceipt, recorded: &Recorded<'_>, again: &Again) {
        let (at_ms, now) = (recorded.issued_at_ms, again.decided.settled.decision);
        let flip = Flip { was: recorded.decision, now, constraints: again.constrains_otherwise(recorded) };
        self.tally.evaluated(at_ms, now, Some(flip));
        match self.recorded_by.get_mut(recorded.version()) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.recorded_by.insert(recorded.version().to_owned(), 1)),
        }
        if flip.is_same() {
            return;
        }
        let (agent, tool) = (recorded.agent(), recorded.tool());
        self.tally.named(flip, (recorded.ground(), ground(&again.decided)), agent, &tool);
        if self.tally.wants(flip) {
            let example = Example {
                at: At::Receipt { receipt: receipt.index },
                at_ms,
                agent: agent.to_owned(),
                tool: tool.into_owned(),
                session: recorded.session().map(str::to_owned),
                was: self.explain(recorded, &again.record),
                now: Explanation::of(&self.candidate, &again.decided),
            };
            self.tally.example(flip, example);
        }
    }

    /// Why it was decided so; `None` if that does not come out again.
    fn explain(&mut self, recorded: &Recorded<'_>, record: &Record) -> Option<Explanation> {
        let snapshot = self.library.get(recorded.version()).ok()?;
        let facts: Facts = serde_json::from_slice(&record.facts).ok()?;
        let decided = decide(&snapshot, crate::replay::ask(record).ok()?, &facts);
        (decided.settled.decision == recorded.decision).then(|| Explanation::of(&snapshot, &decided))
    }

    /// What cannot be read may be one of those that are looked at.
    fn unreadable(&mut self, receipt: u64, problem: String) {
        self.tally.totals.decisions = self.tally.totals.decisions.saturating_add(1);
        self.not_evaluated(receipt, (Reason::Unreadable, problem));
    }

    fn not_evaluated(&mut self, receipt: u64, (reason, detail): Refused) {
        self.tally.not_evaluated(reason, Place { at: At::Receipt { receipt }, detail });
    }

    /// A decision of which nothing is known.
    fn lost(&mut self, receipt: &StoredReceipt, same: bool) {
        self.lost_position(receipt, same);
        let delta: Option<Delta> = serde_json::from_slice(&receipt.delta).ok();
        if let Some(past) = &mut self.past {
            past.lost(delta.map_or(i64::MAX, |delta| delta.now_ms));
        }
    }

    fn lost_position(&mut self, receipt: &StoredReceipt, same: bool) {
        if self.candidate.contracts.is_empty() {
            return;
        }
        if let Some(key) = key_of(receipt) {
            self.positions.lost(&key, same);
        }
    }

    /// The report.
    #[must_use]
    pub fn finish(self) -> Report {
        let (from, to) = self.receipts.unwrap_or((0, 0));
        let baseline = self.library.in_force().and_then(|version| self.library.digest(version));
        let inputs = Inputs {
            candidate: self.candidate.digest.to_string(),
            baseline: baseline.map(str::to_owned),
            source: Source::History { from, to, filters: self.filter.words() },
            recorded_by: self.recorded_by,
        };
        self.tally.finish(inputs)
    }
}

/// Whose session the decision touched, if any.
fn key_of(receipt: &StoredReceipt) -> Option<SessionKey> {
    match serde_json::from_slice(&receipt.delta).ok()? {
        Delta { change: Change::Decision(effects), .. } => effects.key,
        _ => None,
    }
}

/// A decision made again.
struct Again {
    decided: Decided,
    record: Record,
}

impl Again {
    fn constrains_otherwise(&self, recorded: &Recorded<'_>) -> bool {
        let constraints = &self.decided.settled.constraints;
        if constraints.is_empty() {
            return recorded.constraints.get() != "{}";
        }
        constraints.to_value().canonical() != recorded.constraints.get()
    }
}

/// The rule that decided, else the code.
pub(super) fn ground(decided: &Decided) -> String {
    let settled = &decided.settled;
    match (&settled.matched, settled.code) {
        (Some(rule), _) => rule.id.to_string(),
        (None, Some(code)) => code.to_string(),
        (None, None) => settled.decision.to_string(),
    }
}

impl Beside {
    fn of(candidate: &Snapshot, recorded: &Snapshot) -> Self {
        let lost = recorded.catalogue.iter().filter(|tool| {
            let now = candidate.catalogue.get(&tool.identity);
            let kept = |tag| now.is_some_and(|now| now.risk_tags.contains(tag));
            !tool.risk_tags.iter().all(kept)
        });
        Self {
            contracts: positions::same(&candidate.contracts, &recorded.contracts),
            tags: lost.map(|tool| tool.identity.folded().to_owned()).collect(),
        }
    }
}
