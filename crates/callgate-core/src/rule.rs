//! What a module says of one rule: the rule itself, and the verdict it gave on one request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraints;
use crate::decision::{Decision, Mode, Source};
use crate::digest::Digest;
use crate::snapshot::Defaults;

/// The parts of a rule that combining and receipts need; the condition stays with the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the snapshot.
    pub id: Arc<str>,
    /// Which engine speaks, such as `rules`.
    pub module: &'static str,
    /// Where the rule stands.
    pub source: Source,
    /// What it answers when it matches.
    pub effect: Decision,
    /// Whether its answer is enforced.
    pub mode: Mode,
    /// Higher outranks lower; 0 unless written.
    pub priority: i32,
    /// Nothing outranks the verdict of an invariant.
    pub invariant: bool,
    /// For a person; shown to the agent.
    pub reason: Option<String>,
    /// What must be enforced if the action runs.
    pub constraints: Constraints,
    /// Who must agree, for [`Decision::RequireApproval`].
    pub approval: Option<ApprovalTerms>,
    /// When to ask again, for [`Decision::Throttle`].
    pub retry_after_ms: Option<u64>,
    /// The controls this rule is evidence for, such as `soc2/cc6.1`.
    pub controls: Vec<String>,
    /// The digest of what the rule means: of its text without comments, blanks and descriptions. The
    /// same rule has the same one in every bundle, wherever it stands; its defaults are not in it.
    pub fingerprint: Digest,
}

impl Rule {
    /// The message shown for this rule: its reason, else its id.
    #[must_use]
    pub fn message(&self) -> String {
        self.reason.clone().unwrap_or_else(|| format!("rule `{}`", self.id))
    }
}

/// Who must agree before a held action runs, and what they should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// What must be met, one after the other; never empty.
    pub stages: Vec<Stage>,
    /// How long the request waits, in milliseconds.
    pub expires_ms: u64,
    /// What the action can reach if it goes wrong; for the reviewers.
    pub blast_radius: Option<String>,
    /// How the action is undone; for the reviewers.
    pub rollback: Option<String>,
}

/// One step of an approval: so many of these people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// People or roles, such as `role:finance`, sorted; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
}

impl Stage {
    /// Any one reviewer.
    pub const ANYONE: Self = Self { reviewers: Vec::new(), quorum: 1 };

    /// So many of `reviewers`, in whatever order and however often they are named.
    #[must_use]
    pub fn of(reviewers: impl IntoIterator<Item = String>, quorum: u32) -> Self {
        let reviewers: std::collections::BTreeSet<String> = reviewers.into_iter().collect();
        Self { reviewers: reviewers.into_iter().collect(), quorum }
    }
}

impl ApprovalTerms {
    /// The terms of a rule that names none: any one reviewer, in the usual time.
    #[must_use]
    pub fn of_anyone(defaults: &Defaults) -> Self {
        Self::in_stages(vec![Stage::ANYONE], defaults.approval_expires_ms)
    }

    /// These stages, one after the other; none means any one reviewer.
    #[must_use]
    pub fn in_stages(mut stages: Vec<Stage>, expires_ms: u64) -> Self {
        if stages.is_empty() {
            stages.push(Stage::ANYONE);
        }
        Self { stages, expires_ms, blast_radius: None, rollback: None }
    }

    /// Terms that meet both: the stages of both, equal ones once, in the shorter time.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for stage in other.stages {
            if !self.stages.contains(&stage) {
                self.stages.push(stage);
            }
        }
        self.expires_ms = self.expires_ms.min(other.expires_ms);
        self.blast_radius = both(self.blast_radius, other.blast_radius);
        self.rollback = both(self.rollback, other.rollback);
        self
    }
}

/// What both say, for a person.
fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

/// How narrowly a rule matched: the fields it named exactly, then those it named by a pattern.
/// More exact fields win; among equals, more pattern fields win.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// Fields matched by an exact value.
    pub exact: u16,
    /// Fields matched by a pattern.
    pub pattern: u16,
}

impl Specificity {
    /// Counts one field.
    pub const fn count(&mut self, exact: bool) {
        if exact {
            self.exact = self.exact.saturating_add(1);
        } else {
            self.pattern = self.pattern.saturating_add(1);
        }
    }
}

/// What one rule says of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule.
    pub rule: Arc<Rule>,
    /// How narrowly it matched.
    pub specificity: Specificity,
    /// Why its condition could not be evaluated; then it does not permit, but still restricts.
    pub error: Option<String>,
}

/// One line of the explanation: a rule that was looked at, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Arc<Rule>,
    /// How far it came.
    pub outcome: Outcome,
}

/// How far a candidate rule came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It matched and gave a verdict.
    Matched,
    /// This field did not match.
    FieldDiffers(&'static str),
    /// Its condition was false.
    ConditionFalse,
    /// Its condition could not be evaluated.
    Error(String),
    /// It asks a judge: what came of that, in words.
    Judged(&'static str),
}
