//! The limits of a snapshot: which of them speak of a request, and how much it is to each.
//!
//! What they count up to is state, which the gate keeps; nothing here adds anything up. Every limit is
//! matched cautiously, and one that cannot tell how much speaks all the same: the action then does not run.

mod counts;

pub(crate) use counts::{Amounts, Counts, Expression, Meaning};

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::constraint::Constraints;
use callgate_core::decision::Decision;
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::index::{Form, Index};
use callgate_core::limit::{Amount, Charge, Does, Exceed, Limit, Near, Then};
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::Rule;

use crate::condition::{Asked, Budget, Condition};
use crate::engine::guarded;
use crate::rules::{Field, Matcher, Trusted, is_behind};

/// A limit in the form that is asked.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) limit: Arc<Limit>,
    pub(crate) matcher: Matcher,
    /// The agents of which one must be behind the request, for a limit that counts by the chain: what its agents
    /// delegate counts, too. The matcher then asks for no agent.
    pub(crate) behind: Field,
    pub(crate) condition: Option<Arc<Condition>>,
    pub(crate) counts: Counts,
}

/// All limits of a snapshot, by id.
#[derive(Debug)]
pub(crate) struct Limits {
    limits: Vec<Metered>,
    /// What names and counts rules sees of them.
    listed: Vec<Arc<Rule>>,
    index: Index,
    catalogue: Catalogue,
}

impl Limits {
    /// Puts the limits in order and files them.
    pub(crate) fn new(mut limits: Vec<Metered>, catalogue: Catalogue) -> Self {
        limits.sort_by(|a, b| a.limit.id.cmp(&b.limit.id));
        let mut index = Index::default();
        for (number, metered) in (0u32..).zip(&limits) {
            for keys in metered.matcher.keys() {
                index.insert(number, Form::Folded, &keys);
            }
        }
        let listed = limits.iter().map(|metered| Arc::new(rule_of(&metered.limit))).collect();
        Self { limits, listed, index, catalogue }
    }
}

/// A limit as what names and counts rules sees it.
fn rule_of(limit: &Limit) -> Rule {
    let mut constraints = Constraints::default();
    let (effect, approval) = match &limit.does {
        Does::Budget(budget) => {
            if let Some(Near { then: Then::Constrain(near), .. }) = &budget.near {
                constraints = near.clone();
            }
            match &budget.exceed {
                Exceed::Deny => (Decision::Deny, None),
                Exceed::Approval(terms) => (Decision::RequireApproval, Some(terms.clone())),
            }
        }
        Does::Throttle(_) => (Decision::Throttle, None),
        Does::Breaker(_) => (Decision::Deny, None),
    };
    Rule {
        id: Arc::clone(&limit.id),
        module: limit.module(),
        source: limit.source.clone(),
        effect,
        mode: limit.mode,
        priority: 0,
        // No priority outranks a limit.
        invariant: true,
        reason: limit.reason.clone(),
        constraints,
        approval,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: limit.fingerprint,
    }
}

impl Module for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn evaluate(&self, _request: &Request, _facts: &Facts, _evaluation: &mut Evaluation) {}

    fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    fn charges(&self, request: &Request) -> Vec<Charge> {
        let mut numbers = Vec::with_capacity(8);
        self.index.candidates(request, &mut numbers);
        let trusted = Trusted::of(&self.catalogue, request);
        let mut budget = Budget::default();
        let candidates = numbers.iter().filter_map(|number| self.limits.get(usize::try_from(*number).ok()?));
        candidates
            .filter_map(|metered| metered.charge(request, &trusted, &self.catalogue, &mut budget))
            .collect()
    }

    fn limits(&self) -> Vec<Arc<Limit>> {
        self.limits.iter().map(|metered| Arc::clone(&metered.limit)).collect()
    }

    fn listed(&self) -> Vec<Arc<Rule>> {
        self.listed.clone()
    }
}

impl Metered {
    /// What the request is to the limit; `None` if the limit does not speak of it.
    fn charge(
        &self,
        request: &Request,
        trusted: &Trusted<'_>,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Option<Charge> {
        self.matcher
            .find(Form::Folded, request, trusted)
            .ok()
            .filter(|_| is_behind(&self.behind, request))?;
        let counted = guarded(|| self.count(request, catalogue, budget)).flatten().transpose()?;
        let (amount, name) = match counted {
            Ok((amount, name)) => (Ok(amount), name),
            Err(problem) => (Err(problem), None),
        };
        Some(Charge { limit: Arc::clone(&self.limit), amount, name })
    }

    fn count(
        &self,
        request: &Request,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Result<Option<(Amount, Option<Digest>)>, String> {
        let holds = self.condition.as_ref().map_or(Ok(true), |asked| asked.holds(&Asked(request), budget));
        match holds.map_err(|problem| format!("`when`: {problem}"))? {
            true => self.counts.of(request, catalogue, budget).map(Some),
            false => Ok(None),
        }
    }
}
