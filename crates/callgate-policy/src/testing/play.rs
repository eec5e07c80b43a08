//! One test, played: each request decided on the state that those before it left.

use callgate_core::decide::{Ask, Decided, decide, levels, plan};
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::finding::{Answer, Failure, Finding, Question};
use callgate_core::history::{Observation, Occurrence};
use callgate_core::limit::Ended;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, OutcomeDelta, SnapshotRef, State};

use super::plan::{Ending, Given, Step};
use super::{Case, Covered, StepFailure, TestDifference, TestResult, compare};
use crate::explain::Explanation;

/// The version a test's snapshot has in the log that it stands for.
const VERSION: u64 = 1;
/// What is in force grew once.
const EPOCH: u64 = 1;

/// A log in memory: only the state it folds to, and how long it is.
struct Log {
    state: State,
    size: u64,
}

/// Plays a test and notes which rules spoke.
pub(super) fn play(snapshot: &Snapshot, case: &Case, coverage: &mut [Covered]) -> TestResult {
    let mut log = Log { state: State::default(), size: 0 };
    let monitors = snapshot.monitors();
    let activated =
        SnapshotRef { blind: None, digest: snapshot.digest.to_string(), monitors, version: VERSION };
    let begins = case.steps.first().map_or(0, |step| step.now_ms);
    log.push(Change::SnapshotActivated(activated), begins);
    let mut failures = Vec::new();
    for (number, step) in (1usize..).zip(&case.steps) {
        let (decided, differences) = log.step(snapshot, case, step);
        cover(&decided, coverage);
        if !differences.is_empty() {
            failures.push(StepFailure {
                step: case.is_session.then_some(number),
                source: step.source.clone(),
                differences,
                explanation: Explanation::of(snapshot, &decided),
            });
        }
    }
    TestResult {
        file: case.source.file.to_string(),
        name: case.name.clone(),
        source: case.source.clone(),
        decisions: case.steps.len(),
        failures,
    }
}

impl Log {
    /// Folds in a change, as the gate does when its receipt is durable; gives the receipt's index.
    fn push(&mut self, change: Change, now_ms: i64) -> u64 {
        let index = self.size;
        // Nothing a decision consults depends on a receipt's bytes, so its place stands for them.
        let payload = Digest::of(&index.to_be_bytes());
        self.state.apply(index, payload.as_bytes(), &Delta { change, now_ms });
        self.size = index.saturating_add(1);
        index
    }

    fn step(&mut self, snapshot: &Snapshot, case: &Case, step: &Step) -> (Decided, Vec<TestDifference>) {
        let request = match &step.ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        let blind = blind();
        let asks = levels(snapshot, &step.ask, &case.credential);
        let mut facts = self.state.facts_of(request, case.credential.clone(), step.now_ms, asks.as_deref());
        facts.monitor = case.monitor;
        let plan = plan(snapshot, &step.ask, &case.credential, &blind);
        facts.history = plan.map(|queries| self.state.history().read(queries, step.now_ms, blind));
        let decided = gathered(snapshot, case, step, facts);
        let mut differences = compare::differences(&step.expect, &decided.settled);
        let mut effects = decided.effects.clone();
        effects.snapshot = VERSION;
        effects.epoch = EPOCH;
        let index = self.push(Change::Decision(effects), step.now_ms);
        if let Some(ending) = &step.outcome {
            differences.extend(self.close(snapshot, &decided.ask, index, ending, step.now_ms));
        }
        (decided, differences)
    }

    /// Records the outcome of an action, which only one that was allowed has.
    fn close(
        &mut self,
        snapshot: &Snapshot,
        ask: &Ask,
        decision: u64,
        ending: &Ending,
        now_ms: i64,
    ) -> Option<TestDifference> {
        let status = ending.status;
        let Some(open) = self.state.open_action(decision) else {
            return Some(TestDifference {
                field: "outcome",
                expected: status.to_owned(),
                actual: "the action was not allowed, so it did not run".to_owned(),
            });
        };
        let key = open.key.clone();
        let version = self.state.session(&key).map_or(0, |session| session.version);
        let observations = self.observe(snapshot, ask, status, now_ms);
        let delta = OutcomeDelta {
            decision,
            ended: Some(ended(status)),
            epoch: Some(EPOCH),
            key,
            observations,
            reads: None,
            spent: ending.spent.clone(),
            version,
        };
        self.push(Change::Outcome(delta), now_ms);
        None
    }

    /// What the outcome adds to the history.
    fn observe(&self, snapshot: &Snapshot, ask: &Ask, status: &'static str, now_ms: i64) -> Vec<Observation> {
        let Ask::Request(request) = ask else { return Vec::new() };
        let (ended, blind) = (Occurrence::Ended { request, status }, blind());
        let queries = snapshot.plan(&ended, &blind);
        let history = self.state.history().read(queries, now_ms, blind);
        // An action whose end cannot be told apart was not allowed in the first place.
        snapshot.observe(&ended, &history).unwrap_or_default()
    }
}

/// How limits see the end.
fn ended(status: &str) -> Ended {
    match status {
        "succeeded" => Ended::Succeeded,
        "cancelled" => Ended::Cancelled,
        "not_run" => Ended::NotRun,
        _ => Ended::Failed,
    }
}

/// What hides values in the history of a test: nothing to hide from anyone.
fn blind() -> Digest {
    Digest::of(b"test")
}

/// Decides with the findings that the test gives; a question that it does not answer, nobody does.
fn gathered(snapshot: &Snapshot, case: &Case, step: &Step, mut facts: Facts) -> Decided {
    let decided = decide(snapshot, step.ask.clone(), &facts);
    if decided.questions.is_empty() {
        return decided;
    }
    let unanswered = |question: &Question| Finding::failed(question.digest, Failure::NotConfigured, 0);
    facts.findings = decided.questions.iter().map(unanswered).collect();
    // A question does not name its rule, but the decision names the rules of its findings.
    let consulted = decide(snapshot, step.ask.clone(), &facts).consulted;
    for finding in &mut facts.findings {
        let model = decided.questions.iter().find(|question| question.digest == finding.question);
        let rules = consulted.iter().filter(|one| one.finding.question == finding.question);
        let given = rules.filter_map(|one| case.findings.get(&*one.rule)).next();
        finding.answer = match (given, model) {
            (Some(Given::Ruling(ruling, confidence)), Some(question)) => {
                Answer::Given { model: question.model.to_string(), ruling: *ruling, confidence: *confidence }
            }
            (Some(Given::Failure(failure)), _) => Answer::Failed { failure: *failure },
            _ => continue,
        };
    }
    decide(snapshot, step.ask.clone(), &facts)
}

/// Counts the rules that matched and could be evaluated, and the contracts that permitted or denied.
fn cover(decided: &Decided, coverage: &mut [Covered]) {
    let settled = &decided.settled;
    let verdict = |id: &str| settled.verdicts.iter().find(|verdict| &*verdict.rule.id == id);
    for covered in coverage {
        let spoke = match verdict(&covered.rule) {
            Some(verdict) => verdict.error.is_none(),
            // A contract that denies gives reasons and no verdict.
            None => settled.reasons.iter().any(|reason| reason.rule.as_deref() == Some(&*covered.rule)),
        };
        covered.decisions = covered.decisions.saturating_add(usize::from(spoke));
    }
}
