//! A module: one policy engine's compiled part of a snapshot.

use std::fmt::Debug;
use std::sync::Arc;

use crate::digest::Digest;
use crate::facts::Facts;
use crate::finding::{Consulted, Question};
use crate::history::{HistoryFacts, Monitor, Observation, Occurrence, Query};
use crate::limit::{Charge, Limit};
use crate::request::Request;
use crate::rule::{Rule, Step, Verdict};

/// What the modules found; filled once per decision, read by `settle` and shown as the explanation.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The verdicts of the rules that matched, or could not be evaluated.
    pub verdicts: Vec<Verdict>,
    /// Every candidate rule and how far it came.
    pub trace: Vec<Step>,
    /// What the rules say that ask a judge: never permissive, and applied after all other verdicts.
    pub judged: Vec<Verdict>,
    /// What has no finding among the facts yet.
    pub questions: Vec<Question>,
    /// The findings that rules looked at.
    pub consulted: Vec<Consulted>,
}

/// One policy engine over a compiled bundle.
///
/// An implementation is pure, total and bounded: same request and facts, same verdicts; no clock,
/// no randomness, no I/O, no panic. A rule that cannot be evaluated gives a verdict with an error.
pub trait Module: Debug + Send + Sync {
    /// The engine's name in traces, such as `rules`.
    fn name(&self) -> &'static str;

    /// Adds this module's verdicts on `request`.
    fn evaluate(&self, request: &Request, facts: &Facts, evaluation: &mut Evaluation);

    /// What must be kept of events for its policies. A module without any never looks back.
    fn monitors(&self) -> &[Monitor] {
        &[]
    }

    /// The questions about the past that evaluating or observing `occurrence` asks. `blind` goes into
    /// every key.
    fn plan(&self, _occurrence: &Occurrence<'_>, _blind: &Digest) -> Vec<Query> {
        Vec::new()
    }

    /// What `occurrence` adds to the history.
    ///
    /// # Errors
    /// Why that cannot be told; the action must not run then.
    fn observe(
        &self,
        _occurrence: &Occurrence<'_>,
        _history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        Ok(Vec::new())
    }

    /// Whether it has limits: then [`Self::charges`] is asked.
    fn has_limits(&self) -> bool {
        false
    }

    /// The limits that speak of `request`, and how much it is to each. In doubt a limit speaks.
    fn charges(&self, _request: &Request) -> Vec<Charge> {
        Vec::new()
    }

    /// Every limit it holds, by id: for what names or counts limits. [`Self::listed`] has a rule for each, too.
    fn limits(&self) -> Vec<Arc<Limit>> {
        Vec::new()
    }

    /// How many rules it holds; for people only.
    fn rules(&self) -> usize {
        0
    }

    /// Every rule it holds, for what names or counts rules; in an order of the module's own.
    fn listed(&self) -> Vec<Arc<Rule>> {
        Vec::new()
    }

    /// Whether this rule of the module has no condition, so that it says the same with any
    /// arguments. Only what a list of tools shows depends on it; `false` when in doubt.
    fn is_unconditional(&self, _rule: &Rule) -> bool {
        false
    }
}
