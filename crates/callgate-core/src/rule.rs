//! What a module says of one rule: the rule itself, and the verdict it gave on one request.

use std::sync::Arc;

use crate::constraint::Constraints;
use crate::decision::{Decision, Source};
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
}

impl Rule {
    /// The message shown for this rule: its reason, else its id.
    #[must_use]
    pub fn message(&self) -> String {
        self.reason.clone().unwrap_or_else(|| format!("rule `{}`", self.id))
    }
}

/// Who must agree before a held action runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// People or roles, such as `role:finance`; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
    /// How long the request waits, in milliseconds.
    pub expires_ms: u64,
}

impl ApprovalTerms {
    /// The terms of a rule that names none: any one reviewer, in the usual time.
    #[must_use]
    pub const fn of_anyone(defaults: &Defaults) -> Self {
        Self { reviewers: Vec::new(), quorum: 1, expires_ms: defaults.approval_expires_ms }
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
