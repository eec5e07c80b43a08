//! Contracts: the permitted order of steps in a session, and what each function may do.
//!
//! A contract guards and permits: a step and action it allows is its `ALLOW` verdict, which rules
//! may restrict. A session follows the contract it began with, to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decision::{Code, Decision, Mode, Reason, Source};
use crate::digest::Digest;
use crate::facts::{Position, SessionFacts};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::request::Request;
use crate::rule::Rule;

/// A step order with its action map.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The verdict's rule: id, source, effect `ALLOW`.
    pub rule: Arc<Rule>,
    /// The steps in order; not empty, each once.
    pub steps: Vec<String>,
    /// Function → the action types it permits; without a map, the order alone is enforced.
    pub actions: Option<BTreeMap<String, BTreeSet<String>>>,
    /// The step that ends the session.
    pub seal_at: String,
    /// The action types that seal it there; empty means any.
    pub seal_on: BTreeSet<String>,
    /// The agents that must follow it even when their request names no step; empty means none.
    pub agents: Vec<Pattern>,
}

/// What the contracts of a snapshot say of one request.
#[derive(Debug, Clone, Default)]
pub struct Ruling {
    /// Guards that failed.
    pub denials: Vec<Reason>,
    /// The contract that permits it.
    pub permits: Option<Arc<Rule>>,
    /// Where the session stands if the action runs.
    pub advance: Option<Position>,
}

impl Contract {
    fn knows(&self, word: &str) -> bool {
        self.actions.as_ref().is_some_and(|actions| actions.contains_key(word))
            || self.steps.iter().any(|step| step == word)
    }

    /// Whether `agent` must follow this contract. Compared folded: a guard restricts.
    fn binds(&self, agent: &Name) -> bool {
        self.agents.iter().any(|pattern| pattern.folded().matches(agent.folded()))
    }

    fn reason(&self, code: Code, message: String) -> Reason {
        Reason {
            code: Some(code),
            rule: Some(Arc::clone(&self.rule.id)),
            source: Some(self.rule.source.clone()),
            message,
        }
    }

    /// The step's place must be where the session stands or the one after it.
    fn order(&self, step: Option<&Name>, position: Option<&Position>) -> Result<String, String> {
        let at = position.and_then(|p| self.steps.iter().position(|s| *s == p.step));
        let due = at.map_or(0, |at| at.saturating_add(1));
        let wanted = match (at.and_then(|at| self.steps.get(at)), self.steps.get(due)) {
            (Some(here), Some(next)) => format!("`{here}` again or `{next}`"),
            (Some(here), None) => format!("`{here}` again"),
            (None, Some(first)) => format!("`{first}`, the first step"),
            (None, None) => "no step".to_owned(),
        };
        let Some(step) = step else {
            return Err(format!("the request names no step; this session's contract expects {wanted}"));
        };
        let place = self.steps.iter().position(|s| s == step.as_str());
        match place {
            Some(place) if place == due || Some(place) == at => Ok(step.as_str().to_owned()),
            Some(_) => Err(format!("step `{step}` is out of order; expected {wanted}")),
            None => Err(format!("`{step}` is not a step of this contract; expected {wanted}")),
        }
    }

    fn action(&self, request: &Request) -> Result<(), Reason> {
        let function = request.session.function.as_ref().or(request.session.step.as_ref());
        let Some(actions) = &self.actions else { return Ok(()) };
        let Some(permitted) = function.and_then(|f| actions.get(f.as_str())) else {
            let named = function.map_or("", Name::as_str);
            let message = format!("function `{named}` is not in the contract's action map");
            return Err(self.reason(Code::NoPolicyMatch, message));
        };
        let types = permitted.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
        let function = function.map_or("", Name::as_str);
        match &request.session.action_type {
            Some(action) if permitted.contains(action.as_str()) => Ok(()),
            Some(action) => {
                let message = format!("function `{function}` does not permit `{action}`; it permits {types}");
                Err(self.reason(Code::ActionNotAllowed, message))
            }
            None => {
                let message =
                    format!("the request names no action type; function `{function}` permits {types}");
                Err(self.reason(Code::ActionNotAllowed, message))
            }
        }
    }

    fn rule_on(&self, request: &Request, session: Option<&SessionFacts>) -> Ruling {
        let mut ruling = Ruling::default();
        let position = session.and_then(|s| s.position.as_ref());
        if request.session.id.is_none() {
            let message = "a contract needs `session.id` to hold the order of steps".to_owned();
            ruling.denials.push(self.reason(Code::SequenceViolation, message));
        }
        let step = match self.order(request.step(), position) {
            Ok(step) => Some(step),
            Err(message) => {
                ruling.denials.push(self.reason(Code::SequenceViolation, message));
                None
            }
        };
        if let Err(reason) = self.action(request) {
            ruling.denials.push(reason);
        }
        if let Some(step) = step.filter(|_| ruling.denials.is_empty()) {
            let sealing = request.session.action_type.as_ref();
            let seals = self.seal_on.is_empty() || sealing.is_some_and(|a| self.seal_on.contains(a.as_str()));
            let sealed = step == self.seal_at && seals;
            ruling.permits = Some(Arc::clone(&self.rule));
            ruling.advance = Some(Position { contract: self.rule.id.to_string(), step, sealed });
        }
        ruling
    }
}

/// Finds the contract that governs the request and applies it.
#[must_use]
pub fn apply(contracts: &[Contract], request: &Request, session: Option<&SessionFacts>) -> Ruling {
    let position = session.and_then(|s| s.position.as_ref());
    if let Some(position) = position {
        if position.sealed {
            let message = "the session reached its final step and is sealed; begin a new session".to_owned();
            let denials = vec![Reason::guard(Code::SealedSequence, message)];
            return Ruling { denials, ..Ruling::default() };
        }
        let Some(contract) = contracts.iter().find(|c| *c.rule.id == *position.contract) else {
            let message = format!(
                "the session follows contract `{}`, which this snapshot does not have; begin a new session",
                position.contract
            );
            return Ruling {
                denials: vec![Reason::guard(Code::NoPolicyMatch, message)],
                ..Ruling::default()
            };
        };
        return contract.rule_on(request, session);
    }
    let words = [request.session.function.as_ref(), request.session.step.as_ref()];
    let bound = contracts.iter().filter(|c| c.binds(&request.agent.id));
    let free = contracts.iter().filter(|c| c.agents.is_empty());
    let named = free.filter(|c| words.iter().flatten().any(|word| c.knows(word.as_str())));
    // Contracts are sorted by id, and `check` refuses two that could claim one request.
    if let Some(contract) = bound.chain(named).next() {
        return contract.rule_on(request, session);
    }
    if !contracts.is_empty()
        && let Some(word) = words.iter().flatten().next()
    {
        let message = format!("no contract knows the function or step `{word}`");
        return Ruling { denials: vec![Reason::guard(Code::NoPolicyMatch, message)], ..Ruling::default() };
    }
    Ruling::default()
}

/// The rule that stands for a contract's own `ALLOW`; `fingerprint` is that of the contract.
#[must_use]
pub fn rule_of(id: &str, source: Source, fingerprint: Digest) -> Rule {
    Rule {
        id: id.into(),
        module: "contract",
        source,
        effect: Decision::Allow,
        mode: Mode::Enforce,
        priority: 0,
        invariant: false,
        reason: None,
        constraints: crate::constraint::Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint,
    }
}
