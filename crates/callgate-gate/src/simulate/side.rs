//! One snapshot that decides recorded requests again, and what it must know of the log to do so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::facts::Facts;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, OutcomeDelta, SessionKey};
use callgate_log::statement::Status;
use callgate_store::ReceiptView;

use super::library::Library;
use super::meters::Counted;
use super::past::Past;
use super::positions::{self, Positions};
use super::recorded::Recorded;
use super::report::Reason;
use crate::vault::Unsealed;

/// Why a decision is not made again, and what more there is to say.
pub(super) type Refused = (Reason, String);

pub(super) fn refused(reason: Reason) -> Refused {
    (reason, String::new())
}

/// A snapshot that decides again.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) snapshot: Arc<Snapshot>,
    past: Option<Past>,
    positions: Positions,
    counted: Option<Counted>,
    /// How it stands to each snapshot that had decided.
    beside: BTreeMap<String, Result<Beside, String>>,
}

/// How a snapshot stands to one that had decided.
#[derive(Debug)]
struct Beside {
    /// Whether the contracts are the same.
    contracts: bool,
    /// The folded names of tools that had risk tags by their catalogue which this one does not give.
    tags: BTreeSet<String>,
}

impl Side {
    /// `begins_ms` is the time before which nothing will be read; `None` if all there is will be.
    pub(super) fn new(snapshot: Arc<Snapshot>, begins_ms: Option<i64>) -> Self {
        Self {
            past: Past::new(&snapshot, begins_ms),
            positions: Positions::new(&snapshot.contracts),
            counted: Counted::new(&snapshot),
            snapshot,
            beside: BTreeMap::new(),
        }
    }

    /// Whether decisions that nobody asks for must be made again for the sake of those that come later.
    pub(super) fn remembers(&self) -> bool {
        self.past.is_some() || self.counted.is_some() || !self.snapshot.contracts.is_empty()
    }

    /// Decides again, on what was recorded.
    pub(super) fn evaluate(
        &mut self,
        receipt: ReceiptView<'_>,
        recorded: &Recorded<'_>,
        ask: Ask,
        mut facts: Facts,
        library: &mut Library,
    ) -> Result<Decided, Refused> {
        let answered = self.look_back(receipt, recorded, &ask, &mut facts);
        let contracts = self.holds(recorded.version(), &ask, library)?;
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
        if !self.measure(recorded.version(), &ask, &mut facts, library) {
            return Err(refused(Reason::LimitsIncomplete));
        }
        let now_ms = facts.now_ms;
        let decided = decide(&self.snapshot, ask, &facts);
        if !decided.questions.is_empty() {
            return Err(refused(Reason::JudgeNotAsked));
        }
        self.positions.advance(key.as_ref(), decided.effects.advance.as_ref());
        if let Some(counted) = &mut self.counted {
            counted.decided(receipt.index, &decided, now_ms);
        }
        Ok(decided)
    }

    /// Puts the levels of the snapshot's limits among the facts; `false` if one is not known. What was
    /// recorded with the snapshot's own decisions stands.
    fn measure(&self, version: &str, ask: &Ask, facts: &mut Facts, library: &Library) -> bool {
        if self.is_own(library.digest(version)) {
            return true;
        }
        // What another snapshot's limits and breakers came to says nothing of these.
        facts.limits = None;
        self.counted.as_ref().is_none_or(|counted| counted.answer(&self.snapshot, ask, facts))
    }

    fn is_own(&self, digest: Option<&str>) -> bool {
        digest.is_some_and(|digest| digest == self.snapshot.digest.to_string())
    }

    /// Something happened to meters beside decisions and outcomes.
    pub(super) fn changed(&mut self, index: u64, delta: &Delta) {
        if let Some(counted) = &mut self.counted {
            counted.changed(index, delta);
        }
    }

    /// Puts what the snapshot asks of the past among the facts, and remembers this decision for those that
    /// come later; `false` if an answer is not known.
    fn look_back(
        &mut self,
        receipt: ReceiptView<'_>,
        recorded: &Recorded<'_>,
        ask: &Ask,
        facts: &mut Facts,
    ) -> bool {
        let Some(past) = &mut self.past else { return true };
        let answered = past.answer(&self.snapshot, ask, facts);
        // What was refused before anything looked at it did not happen to anyone.
        if let Ask::Request(request) = ask
            && key_of(receipt).is_some()
        {
            let (at_ms, allowed) = (recorded.issued_at_ms, recorded.decision.permits());
            past.decided(&self.snapshot, receipt.index, at_ms, request, allowed);
        }
        answered
    }

    /// Whether the contracts that had decided are these, if the request's risk tags are the caller's or
    /// this catalogue's own.
    fn holds(&mut self, version: &str, ask: &Ask, library: &mut Library) -> Result<bool, Refused> {
        if !self.beside.contains_key(version) {
            let found = library.get(version).map(|recorded| Beside::of(&self.snapshot, &recorded));
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

    /// An allowed action ended.
    pub(super) fn ended(
        &mut self,
        receipt: ReceiptView<'_>,
        outcome: &OutcomeDelta,
        status: Option<Status>,
        now_ms: i64,
    ) {
        if let Some(counted) = &mut self.counted {
            counted.ended(receipt.index, receipt.payload, outcome, now_ms);
        }
        let Some(past) = &mut self.past else { return };
        match status {
            Some(status) => past.ended(&self.snapshot, receipt.index, now_ms, outcome.decision, status),
            None => past.lost(now_ms),
        }
    }

    /// What happened by this receipt cannot be read.
    pub(super) fn lost_event(&mut self, at_ms: i64) {
        if let Some(past) = &mut self.past {
            past.lost(at_ms);
        }
    }

    /// The decision of this receipt was not made again, so what it takes and its session's place are not
    /// known any more.
    pub(super) fn lost(&mut self, receipt: ReceiptView<'_>, version: Option<&str>, library: &Library) {
        let own = self.is_own(version.and_then(|version| library.digest(version)));
        if let Some(counted) = &mut self.counted {
            counted.lost(receipt.index, receipt.delta, own);
        }
        if self.snapshot.contracts.is_empty() {
            return;
        }
        let beside = version.and_then(|version| self.beside.get(version));
        let same = matches!(beside, Some(Ok(beside)) if beside.contracts);
        if let Some(key) = key_of(receipt) {
            self.positions.lost(&key, same);
        }
    }
}

/// The request and the facts of a record.
pub(super) fn read(record: &Unsealed) -> Result<(Ask, Facts), String> {
    let ask = crate::replay::read_ask(record.request(), record.is_malformed())?;
    let facts =
        serde_json::from_slice(record.facts()).map_err(|e| format!("its facts cannot be read: {e}"))?;
    Ok((ask, facts))
}

/// Whose session the decision touched, if any.
fn key_of(receipt: ReceiptView<'_>) -> Option<SessionKey> {
    match serde_json::from_slice(receipt.delta).ok()? {
        Delta { change: Change::Decision(effects), .. } => effects.key,
        _ => None,
    }
}

impl Beside {
    fn of(snapshot: &Snapshot, recorded: &Snapshot) -> Self {
        let lost = recorded.catalogue.iter().filter(|tool| {
            let now = snapshot.catalogue.get(&tool.identity);
            let kept = |tag| now.is_some_and(|now| now.risk_tags.contains(tag));
            !tool.risk_tags.iter().all(kept)
        });
        Self {
            contracts: positions::same(&snapshot.contracts, &recorded.contracts),
            tags: lost.map(|tool| tool.identity.folded().to_owned()).collect(),
        }
    }
}
