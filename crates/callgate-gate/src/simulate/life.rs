//! A corpus against two snapshots: each side lives its own life, as if every request had come to a gate
//! with that snapshot in force.

use callgate_core::decide::{Ask, Decided, decide, levels, plan};
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::limit::Ask as Level;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, SnapshotRef, State};
use callgate_policy::Explanation;

use super::corpus::{Case, Corpus};
use super::history::{enforced, ground};
use super::report::{At, Example, Inputs, Place, Reason, Report, Source};
use super::tally::{Flip, Lengths, Tally};

const VERSION: u64 = 1;

/// One side: a snapshot, and the state that its own decisions leave.
struct Life<'a> {
    snapshot: &'a Snapshot,
    state: State,
    size: u64,
}

/// What hides values in the history of a life that nobody else sees.
fn blind() -> Digest {
    Digest::of(b"simulation")
}

impl<'a> Life<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let mut life = Self { snapshot, state: State::default(), size: 0 };
        let digest = snapshot.digest.to_string();
        let activated = SnapshotRef { blind: None, digest, monitors: snapshot.monitors(), version: VERSION };
        life.push(Change::SnapshotActivated(activated), i64::MIN);
        life
    }

    /// Folds in a change, as a gate does when its receipt is durable.
    fn push(&mut self, change: Change, now_ms: i64) {
        // Nothing a decision consults depends on a receipt's bytes, so its place stands for them.
        let payload = Digest::of(&self.size.to_be_bytes());
        self.state.apply(self.size, payload.as_bytes(), &Delta { change, now_ms });
        self.size = self.size.saturating_add(1);
    }

    fn facts(&self, case: &Case, ask: &Ask) -> Facts {
        let mut facts = match &case.facts {
            Some(given) => given.clone(),
            // As a gate's clock, that of a life never goes back.
            None => {
                let now_ms = case.now_ms.max(self.state.latest_ms());
                let asks = levels(self.snapshot, ask, &case.credential);
                self.state.facts_of(Some(&case.request), case.credential.clone(), now_ms, asks.as_deref())
            }
        };
        let blind = facts.history.as_ref().map_or_else(blind, |history| history.blind);
        let asked = plan(self.snapshot, ask, &facts.credential, &blind);
        if case.facts.is_none() {
            facts.history = asked.map(|asked| self.state.history().read(asked, facts.now_ms, blind));
        }
        facts
    }

    /// Decides the next request; `Err` if that cannot be told.
    fn decide(&mut self, case: &Case) -> Result<Decided, Reason> {
        let ask = case.ask();
        let facts = self.facts(case, &ask);
        if case.facts.is_some() && !answers(self.snapshot, &ask, &facts) {
            return Err(Reason::HistoryIncomplete);
        }
        if case.facts.is_some() && !measured(self.snapshot, &ask, &facts) {
            return Err(Reason::LimitsIncomplete);
        }
        let decided = decide(self.snapshot, ask, &facts);
        if !decided.questions.is_empty() {
            return Err(Reason::JudgeNotAsked);
        }
        let mut effects = decided.effects.clone();
        effects.snapshot = VERSION;
        self.push(Change::Decision(effects), facts.now_ms);
        Ok(decided)
    }
}

/// Whether given facts hold every answer about the past that the snapshot asks for.
fn answers(snapshot: &Snapshot, ask: &Ask, facts: &Facts) -> bool {
    let blind = facts.history.as_ref().map_or_else(blind, |history| history.blind);
    let asked = plan(snapshot, ask, &facts.credential, &blind).unwrap_or_default();
    asked.iter().all(|query| facts.history.as_ref().is_some_and(|history| history.answer(query).is_some()))
}

/// Whether given facts hold every level that the snapshot's limits ask for.
fn measured(snapshot: &Snapshot, ask: &Ask, facts: &Facts) -> bool {
    let given = facts.limits.as_ref().map(|limits| limits.levels.as_slice()).unwrap_or_default();
    let has =
        |ask: &Level| given.iter().any(|level| level.ask() == (ask.meter.as_str(), ask.limit, ask.amount));
    levels(snapshot, ask, &facts.credential).unwrap_or_default().iter().all(has)
}

/// Decides every request of a corpus with the candidate, and with the baseline if there is one.
#[must_use]
pub fn simulate_corpus(
    candidate: &Snapshot,
    baseline: Option<&Snapshot>,
    corpus: &Corpus,
    lengths: Lengths,
    mut progress: impl FnMut(u64),
) -> Report {
    let (mut now, mut was) = (Life::new(candidate), baseline.map(Life::new));
    let mut tally = Tally::new(lengths);
    for bad in &corpus.bad {
        let at = At::Line { file: bad.file.clone(), line: bad.line };
        tally.totals.read = tally.totals.read.saturating_add(1);
        tally.totals.decisions = tally.totals.decisions.saturating_add(1);
        tally.not_evaluated(Reason::BadLine, Place { at, detail: bad.problem.clone() });
    }
    for (number, case) in (1u64..).zip(&corpus.cases) {
        tally.totals.read = tally.totals.read.saturating_add(1);
        tally.totals.decisions = tally.totals.decisions.saturating_add(1);
        one(&mut tally, &mut now, was.as_mut(), corpus, case);
        progress(number);
    }
    let source = Source::Corpus { files: corpus.files.clone(), digest: corpus.digest().to_string() };
    tally.finish(Inputs {
        candidate: candidate.digest.to_string(),
        baseline: baseline.map(|baseline| baseline.digest.to_string()),
        source,
        recorded_by: std::collections::BTreeMap::new(),
    })
}

fn one(tally: &mut Tally, now: &mut Life<'_>, was: Option<&mut Life<'_>>, corpus: &Corpus, case: &Case) {
    let at = || At::Line { file: corpus.files.get(case.file).cloned().unwrap_or_default(), line: case.line };
    let again = now.decide(case);
    let before = was.map(|was| (was.decide(case), was.snapshot));
    let (again, before) = match (again, before) {
        (Ok(again), None) => (again, None),
        (Ok(again), Some((Ok(before), snapshot))) => (again, Some((before, snapshot))),
        (Err(reason), _) | (_, Some((Err(reason), _))) => {
            return tally.not_evaluated(reason, Place { at: at(), detail: String::new() });
        }
    };
    let now_decision = again.settled.decision;
    let flip = before.as_ref().map(|(before, _)| Flip {
        was: before.settled.decision,
        now: now_decision,
        constraints: before.settled.constraints != again.settled.constraints,
        would: enforced(before) != enforced(&again),
    });
    tally.evaluated(case.now_ms, now_decision, flip);
    let request = &case.request;
    let (agent, tool) = (request.agent.id.as_str(), request.action_name());
    if let (Some(flip), Some((before, _))) = (flip, &before)
        && flip.was != flip.now
    {
        tally.named(flip, (ground(before), ground(&again)), agent, tool);
    }
    if tally.wants(now_decision, flip) {
        let example = Example {
            at: at(),
            at_ms: case.now_ms,
            agent: agent.to_owned(),
            tool: tool.to_owned(),
            session: request.session.id.as_ref().map(ToString::to_string),
            was: before.as_ref().map(|(before, snapshot)| Explanation::of(snapshot, before)),
            now: Explanation::of(now.snapshot, &again),
        };
        tally.example(now_decision, flip, example);
    }
}
