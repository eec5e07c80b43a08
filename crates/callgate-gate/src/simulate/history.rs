//! A candidate against the decisions of a log.
//!
//! The same `decide` on the recorded request and the recorded facts. Nothing is guessed: what the record
//! does not tell is counted as not decided again. Nothing here writes, and no clock is read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::decide::{Decided, decide};
use callgate_core::decision::Decision;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta};
use callgate_policy::Explanation;
use callgate_store::{Keyring, ReceiptView};

use super::filter::Filter;
use super::library::Library;
use super::past;
use super::reading::{Basis, Batch, Found, Read, Reader};
use super::recorded::Recorded;
use super::report::{At, Example, Inputs, Place, Reason, Report, Source};
use super::side::{self, Refused, Side};
use super::tally::{Flip, Lengths, Tally};
use crate::vault::Unsealed;

/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;

/// What is simulated over a log.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The snapshot that decides again.
    pub candidate: Arc<Snapshot>,
    /// Held against this snapshot's decisions on the same; left out, against those that were recorded.
    pub baseline: Option<Arc<Snapshot>>,
    /// Which decisions are looked at.
    pub filter: Filter,
    /// How long the report's lists are.
    pub lengths: Lengths,
}

impl Plan {
    /// A candidate against every recorded decision.
    #[must_use]
    pub fn new(candidate: Arc<Snapshot>) -> Self {
        Self { candidate, baseline: None, filter: Filter::default(), lengths: Lengths::default() }
    }

    /// Receipts from before this time, in milliseconds since 1970 UTC, need not be read; `None` if all are
    /// needed.
    #[must_use]
    pub fn begins_ms(&self) -> Option<i64> {
        let sides = std::iter::once(&self.candidate).chain(&self.baseline);
        // What limits have counted may reach back as far as there is anything.
        if sides.clone().any(|snapshot| snapshot.has_limits()) {
            return None;
        }
        let back = sides.map(|snapshot| past::back(&snapshot.monitors())).max().unwrap_or(0);
        self.filter.since_ms.map(|since| since.saturating_sub(back.max(MARGIN_MS)))
    }
}

/// A snapshot against the recorded decisions of a log. Give it every receipt that [`Plan::begins_ms`] asks
/// for, in order; then [`Simulation::finish`].
#[derive(Debug)]
pub struct Simulation<'k> {
    candidate: Side,
    baseline: Option<Side>,
    filter: Filter,
    tally: Tally,
    library: Library,
    recorded_by: BTreeMap<String, u64>,
    receipts: Option<(u64, u64)>,
    keyring: &'k Keyring,
    threads: usize,
    /// Receipts that were given and not looked at yet.
    batch: Batch,
}

impl<'k> Simulation<'k> {
    /// Begins. `library` holds the snapshots from before what will be read; `whole` says that nothing was
    /// before it; `keyring` opens what was recorded.
    #[must_use]
    pub fn new(plan: Plan, library: Library, whole: bool, keyring: &'k Keyring) -> Self {
        let begins = plan.begins_ms().filter(|_| !whole);
        Self {
            candidate: Side::new(plan.candidate, begins),
            baseline: plan.baseline.map(|baseline| Side::new(baseline, begins)),
            filter: plan.filter,
            tally: Tally::new(plan.lengths),
            library,
            recorded_by: BTreeMap::new(),
            receipts: None,
            keyring,
            threads: 1,
            batch: Batch::default(),
        }
    }

    /// Reads on so many threads. The report is the same on any number of them.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.candidate).chain(&mut self.baseline)
    }

    /// Decides the next receipt again, if it is a decision that is looked at; at once or together with
    /// those that come after it.
    pub fn push(&mut self, receipt: ReceiptView<'_>) {
        self.batch.add(receipt);
        if self.batch.is_full() {
            self.catch_up();
        }
    }

    /// Looks at everything that was given.
    fn catch_up(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let (filter, remembers) = (&self.filter, self.remembers());
        let reader = Reader { filter, remembers, keyring: self.keyring, threads: self.threads };
        for read in reader.read(&batch) {
            self.take(read);
        }
        batch.clear();
        self.batch = batch;
    }

    fn take(&mut self, Read { receipt, found }: Read<'_>) {
        let (from, _) = self.receipts.unwrap_or((receipt.index, receipt.index));
        self.receipts = Some((from, receipt.index.saturating_add(1)));
        let totals = &mut self.tally.totals;
        totals.read = totals.read.saturating_add(1);
        match found {
            Found::PassedOver => totals.filtered_out = totals.filtered_out.saturating_add(1),
            Found::Control => totals.control = totals.control.saturating_add(1),
            Found::Decision { recorded, wanted, basis } => {
                let counter = if wanted { &mut totals.decisions } else { &mut totals.filtered_out };
                *counter = counter.saturating_add(1);
                match basis.map(|basis| self.evaluate(receipt, &recorded, basis)) {
                    Some(Ok(again)) if wanted => self.count(receipt, &recorded, &again),
                    Some(Err(why)) if wanted => self.not_evaluated(receipt.index, why),
                    _ => {}
                }
            }
            Found::Change(delta) => self.changed(receipt, &delta),
            Found::Unreadable(problem) => self.unreadable(receipt, problem),
        }
    }

    fn changed(&mut self, receipt: ReceiptView<'_>, delta: &Delta) {
        if let Change::Outcome(outcome) = &delta.change {
            let status = crate::past::status(receipt.payload).ok();
            return self.sides().for_each(|side| side.ended(receipt, outcome, status, delta.now_ms));
        }
        self.sides().for_each(|side| side.changed(receipt.index, delta));
        self.library.learn(receipt, delta);
    }

    /// Whether decisions must be made again for the sake of those that come later.
    fn remembers(&self) -> bool {
        self.candidate.remembers() || self.baseline.as_ref().is_some_and(Side::remembers)
    }

    /// Decides again on both sides; each keeps what it must know later, even where the other cannot.
    fn evaluate(
        &mut self,
        receipt: ReceiptView<'_>,
        recorded: &Recorded<'_>,
        basis: Result<Basis, Refused>,
    ) -> Result<Again, Refused> {
        let Basis { record, ask, facts } = basis.inspect_err(|_| {
            for side in std::iter::once(&mut self.candidate).chain(&mut self.baseline) {
                side.lost_event(recorded.issued_at_ms);
                side.lost(receipt, Some(recorded.version()), &self.library);
            }
        })?;
        let library = &mut self.library;
        let mut one = |side: &mut Side, ask, facts| {
            let decided = side.evaluate(receipt, recorded, ask, facts, library);
            decided.inspect_err(|_| side.lost(receipt, Some(recorded.version()), library))
        };
        let was = self.baseline.as_mut().map(|side| one(side, ask.clone(), facts.clone()));
        let now = one(&mut self.candidate, ask, facts);
        Ok(Again { now: now?, was: was.transpose()?, record })
    }

    fn count(&mut self, receipt: ReceiptView<'_>, recorded: &Recorded<'_>, again: &Again) {
        let (at_ms, now) = (recorded.issued_at_ms, again.now.settled.decision);
        let was_enforced = again.was.as_ref().map_or_else(|| recorded.enforced(), enforced);
        let is_known = again.was.is_some() || !recorded.ran_unchecked();
        let flip = Flip {
            was: again.before(recorded),
            now,
            constraints: is_known && again.constrains_otherwise(recorded),
            would: is_known && was_enforced != enforced(&again.now),
        };
        self.tally.evaluated(at_ms, now, Some(flip));
        match self.recorded_by.get_mut(recorded.version()) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.recorded_by.insert(recorded.version().to_owned(), 1)),
        }
        let tool = recorded.tool();
        if flip.was != flip.now {
            let was = again.was.as_ref().map_or_else(|| recorded.ground(), ground);
            self.tally.named(flip, (was, ground(&again.now)), recorded.agent(), &tool);
        }
        if self.tally.wants(now, Some(flip)) {
            let example = self.example(receipt, recorded, again, tool);
            self.tally.example(now, Some(flip), example);
        }
    }

    fn example(
        &mut self,
        receipt: ReceiptView<'_>,
        recorded: &Recorded<'_>,
        again: &Again,
        tool: Cow<'_, str>,
    ) -> Example {
        let was = match (&again.was, &self.baseline) {
            (Some(was), Some(baseline)) => Some(Explanation::of(&baseline.snapshot, was)),
            _ => self.explain(recorded, &again.record),
        };
        Example {
            at: At::Receipt { receipt: receipt.index },
            at_ms: recorded.issued_at_ms,
            agent: recorded.agent().to_owned(),
            tool: tool.into_owned(),
            session: recorded.session().map(str::to_owned),
            was,
            now: Explanation::of(&self.candidate.snapshot, &again.now),
        }
    }

    /// Why it was decided so; `None` if that does not come out again.
    fn explain(&mut self, recorded: &Recorded<'_>, record: &Unsealed) -> Option<Explanation> {
        let snapshot = self.library.get(recorded.version()).ok()?;
        let (ask, facts) = side::read(record).ok()?;
        let decided = decide(&snapshot, ask, &facts);
        (decided.settled.decision == recorded.decision).then(|| Explanation::of(&snapshot, &decided))
    }

    /// What cannot be read may be one of those that are looked at.
    fn unreadable(&mut self, receipt: ReceiptView<'_>, problem: String) {
        self.tally.totals.decisions = self.tally.totals.decisions.saturating_add(1);
        self.not_evaluated(receipt.index, (Reason::Unreadable, problem));
        let delta: Option<Delta> = serde_json::from_slice(receipt.delta).ok();
        let at_ms = delta.map_or(i64::MAX, |delta| delta.now_ms);
        for side in std::iter::once(&mut self.candidate).chain(&mut self.baseline) {
            side.lost_event(at_ms);
            side.lost(receipt, None, &self.library);
        }
    }

    fn not_evaluated(&mut self, receipt: u64, (reason, detail): Refused) {
        self.tally.not_evaluated(reason, Place { at: At::Receipt { receipt }, detail });
    }

    /// The report.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.catch_up();
        let (from, to) = self.receipts.unwrap_or((0, 0));
        let in_force = || self.library.in_force().and_then(|version| self.library.digest(version));
        let given = self.baseline.map(|baseline| baseline.snapshot.digest.to_string());
        let inputs = Inputs {
            candidate: self.candidate.snapshot.digest.to_string(),
            baseline: given.or_else(|| in_force().map(str::to_owned)),
            source: Source::History { from, to, filters: self.filter.words() },
            recorded_by: self.recorded_by,
        };
        self.tally.finish(inputs)
    }
}

/// A decision made again.
struct Again {
    now: Decided,
    was: Option<Decided>,
    record: Unsealed,
}

impl Again {
    fn before(&self, recorded: &Recorded<'_>) -> Decision {
        self.was.as_ref().map_or(recorded.decision, |was| was.settled.decision)
    }

    fn constrains_otherwise(&self, recorded: &Recorded<'_>) -> bool {
        let constraints = &self.now.settled.constraints;
        match &self.was {
            Some(was) => was.settled.constraints != *constraints,
            None if constraints.is_empty() => recorded.constraints.get() != "{}",
            None => constraints.to_value().canonical() != recorded.constraints.get(),
        }
    }
}

/// What would be answered if everything were enforced.
pub(super) fn enforced(decided: &Decided) -> Decision {
    decided.settled.would.as_ref().map_or(decided.settled.decision, |would| would.decision)
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
