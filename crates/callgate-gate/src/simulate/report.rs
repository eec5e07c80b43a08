//! What a simulation found: numbers, lists with a bounded length, and examples.
//!
//! The same inputs give the same bytes: every list has an order of its own, and nothing says when or how
//! fast the simulation ran.

use std::collections::BTreeMap;

use callgate_core::decision::Decision;
use callgate_core::digest::Digest;
use callgate_core::state::SimulationEvidence;
use callgate_policy::Explanation;
use serde::Serialize;

/// The report of one simulation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was simulated.
    pub inputs: Inputs,
    /// How many there were of what.
    pub totals: Totals,
    /// Each decision to each.
    pub matrix: Matrix,
    /// Flips by what decided before and what decides now, most first.
    pub by_rule: Top<RuleFlips>,
    /// Flips by agent, most first.
    pub by_agent: Top<NamedFlips>,
    /// Flips by tool, most first.
    pub by_tool: Top<NamedFlips>,
    /// Requests that people must decide.
    pub approvals: Volume,
    /// Requests that are told to come later.
    pub throttles: Volume,
    /// What could not be decided again, by reason.
    pub not_evaluated: Vec<NotEvaluated>,
    /// Some flips of each kind, in the order of the log or corpus; a kind of its own where only the
    /// constraints changed.
    pub examples: Vec<Kind>,
}

/// What was simulated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// The candidate's digest, `sha256:…`.
    pub candidate: String,
    /// The digest of the snapshot it is held against: for history the one in force at the end of what was
    /// read, `sha256:…`; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What was decided again.
    pub source: Source,
    /// For history: the snapshots that had decided, with how many of the decisions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub recorded_by: BTreeMap<String, u64>,
}

/// What was decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// The decisions of a log.
    History {
        /// The first receipt that was read.
        from: u64,
        /// The receipt before which the reading ended.
        to: u64,
        /// In words, which of them were looked at.
        filters: BTreeMap<&'static str, String>,
    },
    /// Requests from files.
    Corpus {
        /// Their names.
        files: Vec<String>,
        /// The digest of everything in them, `sha256:…`.
        digest: String,
    },
}

/// How many there were of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Receipts or lines that were read.
    pub read: u64,
    /// Decisions that the filters left.
    pub decisions: u64,
    /// Decisions that were decided again.
    pub evaluated: u64,
    /// Decisions that could not be.
    pub not_evaluated: u64,
    /// Decisions that came out the same, constraints included.
    pub same: u64,
    /// Decisions that are more permissive now.
    pub loosened: u64,
    /// That as a share of what was evaluated, in hundredths of a percent, rounded up.
    pub loosened_bp: u64,
    /// Decisions that are stricter now.
    pub tightened: u64,
    /// That as a share of what was evaluated, in hundredths of a percent, rounded up.
    pub tightened_bp: u64,
    /// The same decision with other constraints.
    pub constraints_changed: u64,
    /// The same decision, but enforcement of what is only monitored would answer otherwise.
    pub would_changed: u64,
    /// Decisions of the gate about itself, which are left out.
    pub control: u64,
    /// Decisions that the filters left out.
    pub filtered_out: u64,
}

/// Each decision to each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The decisions, in the order of rows and columns.
    pub decisions: [Decision; 5],
    /// One row for each decision before, one column for each decision now.
    pub rows: [[u64; 5]; 5],
    /// How often the candidate decided each; the sums of the columns, and what had no decision before.
    pub now: [u64; 5],
}

/// The most frequent of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Top<T> {
    /// Those that are shown.
    pub shown: Vec<T>,
    /// How many are not.
    pub more: u64,
}

/// Flips from what decided before to what decides now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleFlips {
    /// The rule that had decided, else the code.
    pub was: String,
    /// The rule that decides now, else the code.
    pub now: String,
    /// To a more permissive decision.
    pub loosened: u64,
    /// To a stricter one.
    pub tightened: u64,
}

/// Flips of one agent or tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedFlips {
    /// Whose.
    pub name: String,
    /// To a more permissive decision.
    pub loosened: u64,
    /// To a stricter one.
    pub tightened: u64,
}

/// How much of one decision there is, and what is new of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// How many there were before.
    pub was: u64,
    /// How many there are now.
    pub now: u64,
    /// How many of those were something else before.
    pub newly: u64,
    /// Whole hours from the first to the last decision that was evaluated.
    pub hours: u64,
    /// New ones in an hour, on average, with two digits.
    pub newly_per_hour: String,
    /// The hour with most new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest: Option<Busiest>,
}

/// The hour with most of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Busiest {
    /// When it begins, milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// How many.
    pub count: u64,
}

/// Decisions that could not be made again, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotEvaluated {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<Place>,
}

/// One that could not be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where it stands.
    #[serde(flatten)]
    pub at: At,
    /// What is wrong with it, where there is more to say than the reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Why something was not decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Its session was erased.
    Erased,
    /// Its receipt or what is sealed beside it cannot be read.
    Unreadable,
    /// The candidate asks a judge something that nobody has answered.
    JudgeNotAsked,
    /// The candidate asks about a past of which a part was erased or lies before what was read.
    HistoryIncomplete,
    /// The candidate limits what a part of the past used up that was erased or could not be decided again.
    LimitsIncomplete,
    /// The candidate's contracts differ, and the session began before what was read, or a part of it
    /// could not be decided again.
    PositionUnknown,
    /// The catalogue of that time gave the tool risk tags that the candidate's does not, and the record
    /// does not tell whether the caller gave them, too.
    TagsUnknown,
    /// The snapshot that had decided cannot be read back.
    SnapshotUnreadable,
    /// The line is no request.
    BadLine,
}

impl Reason {
    /// For people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Erased => "its session was erased",
            Self::Unreadable => "its record cannot be read",
            Self::JudgeNotAsked => "the candidate asks a judge what nobody has answered",
            Self::HistoryIncomplete => "the candidate asks about a past that is not all there",
            Self::LimitsIncomplete => "the candidate's limits count over a past that is not all there",
            Self::PositionUnknown => "the session's place in the candidate's contract is not known",
            Self::TagsUnknown => "risk tags of the old catalogue cannot be told from the caller's",
            Self::SnapshotUnreadable => "the snapshot that had decided cannot be read back",
            Self::BadLine => "the line is no request",
        }
    }
}

/// Decisions of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// The decision before; absent where there was none.
    pub was: Option<Decision>,
    /// The decision now.
    pub now: Decision,
    /// Whether anything is other than before.
    pub changed: bool,
    /// How many there are of it.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum At {
    /// In the log.
    Receipt {
        /// The receipt's place.
        receipt: u64,
    },
    /// In a corpus.
    Line {
        /// The file.
        file: String,
        /// The line, from 1; for a session, that of the session.
        line: u64,
    },
}

/// One decision that comes out differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Where it stands.
    #[serde(flatten)]
    pub at: At,
    /// When it was decided, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who asked.
    pub agent: String,
    /// What the action is called.
    pub tool: String,
    /// In which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How it had been decided; absent when that cannot be decided again.
    pub was: Option<Explanation>,
    /// How the candidate decides it.
    pub now: Explanation,
}

impl Report {
    /// What a publication keeps of it.
    #[must_use]
    pub fn evidence(&self) -> SimulationEvidence {
        let totals = &self.totals;
        SimulationEvidence {
            baseline: self.inputs.baseline.clone().unwrap_or_default(),
            candidate: self.inputs.candidate.clone(),
            constraints_changed: totals.constraints_changed,
            decisions: totals.evaluated,
            loosened: totals.loosened,
            not_evaluated: totals.not_evaluated,
            report_sha256: Digest::of(&self.to_json()).hex(),
            tightened: totals.tightened,
        }
    }

    /// The report as JSON on one line: the bytes that [`SimulationEvidence::report_sha256`] names.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Every key is text and every number an integer, so this cannot fail; no bytes would name no report.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether more decisions flip than that, in hundredths of a percent of what was evaluated.
    #[must_use]
    pub fn exceeds(&self, max_loosened_bp: Option<u64>, max_tightened_bp: Option<u64>) -> bool {
        let over = |share: u64, most: Option<u64>| most.is_some_and(|most| share > most);
        over(self.totals.loosened_bp, max_loosened_bp) || over(self.totals.tightened_bp, max_tightened_bp)
    }
}
