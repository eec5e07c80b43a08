//! The report: one line per fault and point, for a person who has to sign it, and the same as data.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::round::Tally;

/// What came of a fault at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing ran while it was there.
    Blocked,
    /// What ran had its own durable receipt that allowed exactly it.
    Withstood,
    /// Something ran that nothing allowed, or the case proved nothing.
    Failed,
}

impl Verdict {
    /// Its name in the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Withstood => "withstood",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The fault's name.
    pub fault: String,
    /// What it belongs to.
    pub group: String,
    /// The enforcement point's name.
    pub point: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How often it was played.
    pub rounds: u64,
    /// How often the fault was met.
    pub met: u64,
    /// Calls on the protected thing.
    pub calls: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// What was done, by the protected thing's own ledger.
    pub effects: u64,
    /// The part of it that was called for while the fault was there.
    pub effects_under_fault: u64,
    /// Verified receipts in the logs that allow something.
    pub receipts: u64,
    /// Verified receipts of actions that ran unchecked, under a lease.
    pub unchecked: u64,
    /// Effects whose record was destroyed before the gate had it, of which the log says so or which a lease bounds.
    pub unrecorded: u64,
    /// What permitted calls were answered that did not run, the most frequent first.
    pub answered: Vec<String>,
    /// What is wrong, if it failed.
    pub problems: Vec<String>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// How many problems a line names.
const PROBLEMS: usize = 5;
/// How many answers it names.
const ANSWERS: usize = 3;

impl Row {
    pub(crate) fn new(names: (&str, &str, &str), breaks: bool, tally: Tally, took_ms: u64) -> Self {
        let mut problems = tally.wrong;
        if breaks && tally.felt == 0 {
            problems.push("the fault was never met, so this proves nothing".to_owned());
        }
        if tally.effects.saturating_sub(tally.effects_in_fault) == 0 {
            problems.push("nothing ran even where nothing was broken, so this proves nothing".to_owned());
        }
        let more = problems.len().saturating_sub(PROBLEMS);
        problems.truncate(PROBLEMS);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        let verdict = match (problems.is_empty(), breaks && tally.effects_in_fault == 0) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::Blocked,
            (true, false) => Verdict::Withstood,
        };
        let mut answered: Vec<(String, u64)> = tally.answers.into_iter().collect();
        answered.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let (fault, group, point) = names;
        Self {
            fault: fault.to_owned(),
            group: group.to_owned(),
            point: point.to_owned(),
            verdict,
            rounds: tally.rounds,
            met: tally.felt,
            calls: tally.calls,
            refused: tally.refused,
            unanswered: tally.silent,
            effects: tally.effects,
            effects_under_fault: tally.effects_in_fault,
            receipts: tally.allows,
            unchecked: tally.unchecked,
            unrecorded: tally.told,
            answered: answered.into_iter().take(ANSWERS).map(|(answer, _)| answer).collect(),
            problems,
            took_ms,
        }
    }

    /// The head of the table.
    #[must_use]
    pub fn head() -> String {
        format!(
            "{:<18}  {:<8}  {:<9}  {:>6}  {:>6}  {:>7}  {:>8}  {:>9}  what calls that did not run were told",
            "fault", "point", "verdict", "rounds", "calls", "effects", "receipts", "unchecked"
        )
    }

    /// The line of the table, and what is wrong below it.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { fault, point, verdict, rounds, calls, effects, receipts, unchecked, .. } = self;
        let mut line = format!(
            "{fault:<18}  {point:<8}  {verdict:<9}  {rounds:>6}  {calls:>6}  {effects:>7}  {receipts:>8}  {unchecked:>9}  {}",
            self.answered.join(", ")
        );
        line.truncate(line.trim_end().len());
        for problem in &self.problems {
            let first = problem.lines().next().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(line, "\n    {first}");
        }
        line
    }
}

/// What all of it came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every fault was withstood, and some were played.
    pub proven: bool,
    /// Every line.
    pub rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        let proven = !rows.is_empty() && rows.iter().all(|row| row.verdict != Verdict::Failed);
        Self { proven, rows }
    }

    /// The last line, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let sum = |field: fn(&Row) -> u64| self.rows.iter().map(field).fold(0u64, u64::saturating_add);
        let count = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        format!(
            "{} calls, {} refused, {} unanswered, {} effects, {} of them unchecked under a lease, each with its own \
             durable receipt: {}; {} blocked, {} withstood, {} failed",
            sum(|row| row.calls),
            sum(|row| row.refused),
            sum(|row| row.unanswered),
            sum(|row| row.effects),
            sum(|row| row.unchecked),
            if self.proven { "yes" } else { "NO" },
            count(Verdict::Blocked),
            count(Verdict::Withstood),
            count(Verdict::Failed),
        )
    }
}
