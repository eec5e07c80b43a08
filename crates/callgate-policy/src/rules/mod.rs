//! The rules engine: YAML rules with CEL conditions, found by the index and judged one by one.
//!
//! A rule that permits is matched *strictly*: exact names, and only what is known. A rule that
//! restricts is matched *cautiously*: look-alikes count, and so may what the request leaves unsaid.
//! `allow_with_constraints` does both: it permits what it matches strictly, and constrains what it
//! matches cautiously.

mod judge;
mod matcher;

pub(crate) use judge::Inquiry;
pub(crate) use matcher::{Field, LabelTest, Match, Matcher, Tags, Trusted, Want, is_behind};

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::decision::{Decision, Mode};
use callgate_core::facts::Facts;
use callgate_core::index::Form;
use callgate_core::module::Evaluation;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Stage, Step, Verdict};

use crate::condition::{Budget, Condition, Variables};
use crate::engine::{Engine, Filing};

/// The engine's name in traces.
pub(crate) const NAME: &str = "rules";

/// The stages of an approval that names nobody.
const ANYONE: &[Stage] = &[Stage::ANYONE];

/// Why a constraining rule does not permit: it does not name exactly this.
pub(crate) const RESEMBLES: &str =
    "the request only resembles what the rule names, so the rule constrains but does not permit";

/// A rule in the form that is judged.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: Arc<Rule>,
    pub(crate) matcher: Matcher,
    pub(crate) condition: Option<Condition>,
    /// Asked when everything else matches; such a rule never permits.
    pub(crate) judge: Option<Inquiry>,
}

/// All rules of a snapshot.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Those that restrict first, so that they draw on the budget before the others; then by id, so
    /// that nothing depends on where a rule stands.
    rules: Vec<Compiled>,
    catalogue: Catalogue,
    approval_expires_ms: u64,
}

/// What a rule says, before its condition is asked.
#[derive(Clone, Copy)]
enum Found {
    /// Speaks with its own effect.
    Speaks(Match),
    /// Constrains, but does not permit.
    Constrains(Match),
    /// Does not match: this field differs.
    Differs(&'static str),
}

impl Rules {
    /// Puts the rules in order.
    pub(crate) fn new(mut rules: Vec<Compiled>, catalogue: Catalogue, approval_expires_ms: u64) -> Self {
        rules.sort_by(|a, b| place(&a.rule).cmp(&place(&b.rule)));
        Self { rules, catalogue, approval_expires_ms }
    }

    fn get(&self, number: u32) -> Option<&Compiled> {
        usize::try_from(number).ok().and_then(|at| self.rules.get(at))
    }

    fn judge<'r>(
        &'r self,
        candidates: impl Iterator<Item = &'r Compiled>,
        request: &Request,
        facts: &Facts,
        evaluation: &mut Evaluation,
    ) {
        let trusted = Trusted::of(&self.catalogue, request);
        let variables = Variables { request, facts };
        let mut budget = Budget::default();
        let mut unsaid = Vec::new();
        let mut asking = Vec::new();
        for compiled in candidates {
            let found = compiled.find(request, &trusted);
            let (outcome, verdict) = compiled.conclude(found, &variables, &mut budget);
            match (&compiled.judge, &verdict) {
                (Some(inquiry), Some(Verdict { error: None, specificity, .. })) => {
                    asking.push((&compiled.rule, inquiry, *specificity));
                    continue;
                }
                // One whose condition is false says nothing of anybody's approval.
                (None, Some(_)) => {
                    if let Found::Speaks(Match { unsaid: Some(field), .. }) = found {
                        unsaid.push((Arc::clone(&compiled.rule), field));
                    }
                }
                (None, None) | (Some(_), _) => {}
            }
            evaluation.verdicts.extend(verdict);
            evaluation.trace.push(Step { rule: Arc::clone(&compiled.rule), outcome });
        }
        for (rule, field) in unsaid {
            for rule in self.unclear(&rule, &evaluation.verdicts) {
                fail(&rule, field, evaluation);
            }
        }
        for (rule, inquiry, specificity) in asking {
            let outcome = if is_denied(&evaluation.verdicts) {
                Outcome::Judged("denied without asking the judge")
            } else {
                inquiry.consult(rule, specificity, request, facts, evaluation)
            };
            evaluation.trace.push(Step { rule: Arc::clone(rule), outcome });
        }
    }

    /// What fails where an approval that was matched only because the request leaves something unsaid
    /// stands beside ones with other terms, so that the lenient one does not decide: it, or those that
    /// only monitor where it is enforced and no other that is enforced has other terms.
    fn unclear(&self, rule: &Arc<Rule>, verdicts: &[Verdict]) -> Vec<Arc<Rule>> {
        let approval = |rule: &Rule| rule.effect == Decision::RequireApproval;
        let sound = verdicts.iter().filter(|verdict| verdict.error.is_none() && approval(&verdict.rule));
        let (monitors, enforced): (Vec<_>, Vec<_>) = sound
            .filter(|other| approval(rule) && self.terms(&other.rule) != self.terms(rule))
            .map(|other| Arc::clone(&other.rule))
            .partition(|other| other.mode == Mode::Monitor);
        let alone = rule.mode == Mode::Enforce && enforced.is_empty();
        match monitors.is_empty() && enforced.is_empty() {
            true => Vec::new(),
            false if alone => monitors,
            false => vec![Arc::clone(rule)],
        }
    }

    /// Stages and time of an approval rule, defaults filled in.
    fn terms<'r>(&self, rule: &'r Rule) -> (&'r [Stage], u64) {
        rule.approval
            .as_ref()
            .map_or((ANYONE, self.approval_expires_ms), |terms| (terms.stages.as_slice(), terms.expires_ms))
    }
}

/// Whether the verdicts deny already, whatever else there is; what only monitors does not.
fn is_denied(verdicts: &[Verdict]) -> bool {
    let mut enforced = verdicts.iter().filter(|verdict| verdict.rule.mode == Mode::Enforce);
    enforced.any(|verdict| match verdict.error {
        Some(_) => !verdict.rule.effect.permits(),
        None => verdict.rule.effect == Decision::Deny,
    })
}

/// Turns the verdict of `rule` into an error, in the explanation too.
fn fail(rule: &Arc<Rule>, field: &str, evaluation: &mut Evaluation) {
    let why = format!("the request names no `{field}`, so it is not known whose approval it needs");
    for verdict in evaluation.verdicts.iter_mut().filter(|verdict| Arc::ptr_eq(&verdict.rule, rule)) {
        verdict.error = Some(why.clone());
    }
    let steps = evaluation.trace.iter_mut().filter(|step| Arc::ptr_eq(&step.rule, rule));
    for step in steps.filter(|step| step.outcome == Outcome::Matched) {
        step.outcome = Outcome::Error(why.clone());
    }
}

/// The forms a rule of that effect is matched in; see the module's description.
const fn forms(effect: Decision) -> &'static [Form] {
    match effect {
        Decision::Allow => &[Form::Exact],
        Decision::AllowWithConstraints => &[Form::Exact, Form::Folded],
        Decision::Throttle | Decision::RequireApproval | Decision::Deny => &[Form::Folded],
    }
}

impl Engine for Rules {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filings(&self) -> Vec<Filing> {
        let filing = |it: &Compiled| Filing { forms: forms(it.rule.effect), keys: it.matcher.keys() };
        self.rules.iter().map(filing).collect()
    }

    fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.get(number).map(|compiled| &compiled.rule)
    }

    fn evaluate(&self, candidates: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        let candidates = candidates.iter().filter_map(|number| self.get(*number));
        self.judge(candidates, request, facts, evaluation);
    }

    fn is_unconditional(&self, rule: &Rule) -> bool {
        let found = self.rules.binary_search_by(|compiled| place(&compiled.rule).cmp(&place(rule)));
        let compiled = found.ok().and_then(|at| self.rules.get(at));
        compiled.is_some_and(|compiled| compiled.condition.is_none() && compiled.judge.is_none())
    }
}

/// A rule's place in the order of evaluation.
fn place(rule: &Rule) -> (bool, &str) {
    (rule.effect.permits(), &rule.id)
}

impl Compiled {
    fn find(&self, request: &Request, trusted: &Trusted<'_>) -> Found {
        let exact = |form| self.matcher.find(form, request, trusted);
        match self.rule.effect {
            Decision::Allow => exact(Form::Exact).map_or_else(Found::Differs, Found::Speaks),
            Decision::AllowWithConstraints => match exact(Form::Exact) {
                Ok(found) => Found::Speaks(found),
                Err(_) => exact(Form::Folded).map_or_else(Found::Differs, Found::Constrains),
            },
            Decision::Throttle | Decision::RequireApproval | Decision::Deny => {
                exact(Form::Folded).map_or_else(Found::Differs, Found::Speaks)
            }
        }
    }

    fn conclude(
        &self,
        found: Found,
        variables: &Variables<'_>,
        budget: &mut Budget,
    ) -> (Outcome, Option<Verdict>) {
        let (found, constrains) = match found {
            Found::Differs(field) => return (Outcome::FieldDiffers(field), None),
            Found::Speaks(found) => (found, false),
            Found::Constrains(found) => (found, true),
        };
        let answer = self.condition.as_ref().map_or(Ok(true), |asked| asked.holds(variables, budget));
        let error = match answer {
            Ok(false) => return (Outcome::ConditionFalse, None),
            Ok(true) if constrains => Some(found.unsaid.map_or_else(|| RESEMBLES.to_owned(), unsaid)),
            Ok(true) => None,
            Err(error) => Some(error),
        };
        let outcome = error.clone().map_or(Outcome::Matched, Outcome::Error);
        let verdict = Verdict { rule: Arc::clone(&self.rule), specificity: found.specificity, error };
        (outcome, Some(verdict))
    }
}

/// Why a constraining rule does not permit what does not say enough.
fn unsaid(field: &str) -> String {
    format!("the request names no `{field}`, so the rule constrains but does not permit")
}

#[cfg(test)]
mod tests;
