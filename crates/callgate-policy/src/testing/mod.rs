//! Policy tests: a bundle's `tests/*.yaml`, played against the snapshot that `check` accepts.
//!
//! Pure: no clock, no file, no randomness. A session goes through the same `decide` and the same fold
//! of state as in the gate, in memory; what a test says of time and identity takes the place of facts.

mod compare;
mod plan;
mod play;

use callgate_core::decision::{Decision, Source};
use callgate_core::snapshot::Snapshot;
use serde::Serialize;
use serde::ser::Serializer;

pub(crate) use plan::{Case, plan};

use crate::bundle::Bundle;
use crate::diagnostic::Report;
use crate::explain::Explanation;
use crate::lower;

/// What came of a bundle's tests. Serialises to the JSON that `docs/testing.md` describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestReport {
    /// Every test that was played, by file and place.
    pub tests: Vec<TestResult>,
    /// How many tests the filter left out.
    pub left_out: usize,
    /// Every rule and contract, and how many decisions of the tests it spoke in; by id.
    pub coverage: Vec<Covered>,
}

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The file.
    pub file: String,
    /// The test's name, unique in the file.
    pub name: String,
    /// Where it begins.
    #[serde(serialize_with = "written")]
    pub source: Source,
    /// How many decisions it made.
    pub decisions: usize,
    /// The decisions that were not as expected; empty when it passed.
    pub failures: Vec<StepFailure>,
}

/// A decision that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepFailure {
    /// The step, counted from 1; `None` for a test without steps.
    pub step: Option<usize>,
    /// Where the request or step stands.
    #[serde(serialize_with = "written")]
    pub source: Source,
    /// What was not as expected.
    pub differences: Vec<TestDifference>,
    /// Why it came out as it did.
    pub explanation: Explanation,
}

/// One thing that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestDifference {
    /// The key of `expect`, or `outcome`.
    pub field: &'static str,
    /// What the test expects.
    pub expected: String,
    /// What came out.
    pub actual: String,
}

/// How often a rule spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// The rule or contract.
    pub rule: String,
    /// Its engine.
    pub engine: &'static str,
    /// Where it stands.
    #[serde(serialize_with = "written")]
    pub source: Source,
    /// What it answers.
    pub effect: Decision,
    /// In how many decisions it spoke: matched and could be evaluated.
    pub decisions: usize,
}

fn written<S: Serializer>(source: &Source, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(source)
}

impl TestResult {
    /// Whether every decision was as expected.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl TestReport {
    /// How many tests failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.passed()).count()
    }

    /// The rules and contracts that spoke in no decision.
    pub fn uncovered(&self) -> impl Iterator<Item = &Covered> {
        self.coverage.iter().filter(|rule| rule.decisions == 0)
    }
}

/// Plays the tests of a bundle; with a `filter`, those whose `file: name` contains it.
///
/// # Errors
/// The report that `check` gives, when the bundle or one of its tests has errors.
pub fn run(bundle: &Bundle, filter: Option<&str>) -> Result<TestReport, Report> {
    let built = lower::build(bundle);
    let Some(snapshot) = built.snapshot else { return Err(built.report) };
    let mut coverage = coverage(&snapshot);
    let (mut tests, mut left_out) = (Vec::new(), 0usize);
    for case in &built.tests {
        if filter.is_some_and(|text| !case.label().contains(text)) {
            left_out = left_out.saturating_add(1);
            continue;
        }
        tests.push(play::play(&snapshot, case, &mut coverage));
    }
    Ok(TestReport { tests, left_out, coverage })
}

/// Every rule and contract of a snapshot, not yet covered.
fn coverage(snapshot: &Snapshot) -> Vec<Covered> {
    let rules = snapshot.modules.iter().flat_map(|module| module.listed());
    let contracts = snapshot.contracts.iter().map(|contract| contract.rule.clone());
    let mut all: Vec<Covered> = rules
        .chain(contracts)
        .map(|rule| Covered {
            rule: rule.id.to_string(),
            engine: rule.module,
            source: rule.source.clone(),
            effect: rule.effect,
            decisions: 0,
        })
        .collect();
    all.sort_by(|a, b| a.rule.cmp(&b.rule));
    all
}
