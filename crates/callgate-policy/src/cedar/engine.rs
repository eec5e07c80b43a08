//! The policies of a bundle, as the index finds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callgate_core::decision::Decision;
use callgate_core::facts::Facts;
use callgate_core::index::Form;
use callgate_core::module::Evaluation;
use callgate_core::name::MAX_NAME;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Specificity, Step, Verdict};
use smol_str::SmolStr;

use super::NAME;
use super::answer::Answer;
use super::judge::Judge;
use super::policy::Compiled;
use super::schema::Actions;
use super::view::Source;
use crate::engine::{Engine, Filing};

/// Why a constraining policy does not permit.
const RESEMBLES: &str =
    "the request only resembles what the policy names, so the policy constrains but does not permit";

/// What clauses about the past come to, by the names they have in the context; or why that cannot be
/// told.
pub(crate) type Past = BTreeMap<SmolStr, Result<bool, String>>;

/// All Cedar policies of a snapshot.
#[derive(Debug)]
pub(crate) struct Cedar {
    /// Restrictive ones first, then by id.
    policies: Vec<Compiled>,
    actions: Actions,
    /// How restrictive policies spell the names they compare with, by fold.
    spellings: HashMap<Box<str>, Vec<Box<str>>>,
}

impl Cedar {
    pub(crate) fn new(mut policies: Vec<Compiled>, actions: Actions) -> Self {
        policies.sort_by(|a, b| {
            (a.rule.effect.permits(), &a.rule.id).cmp(&(b.rule.effect.permits(), &b.rule.id))
        });
        let mut spellings: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        for policy in policies.iter().filter(|policy| policy.restricts()) {
            for (fold, spelling) in &policy.reads.spellings {
                let known = spellings.entry(fold.as_str().into()).or_default();
                if !known.iter().any(|it| **it == **spelling) {
                    known.push(spelling.as_str().into());
                }
            }
        }
        Self { policies, actions, spellings }
    }

    pub(crate) const fn actions(&self) -> &Actions {
        &self.actions
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Compiled> {
        usize::try_from(number).ok().and_then(|at| self.policies.get(at))
    }

    /// Whether some restrictive policy spells this name otherwise.
    fn resembles(&self, exact: &str, folded: &str) -> bool {
        exact.len() <= MAX_NAME
            && self
                .spellings
                .get(folded)
                .is_some_and(|known| known.iter().any(|spelling| **spelling != *exact))
    }

    /// Adds the verdicts of the candidates, where the past is as said.
    pub(crate) fn judge(
        &self,
        candidates: &[u32],
        (request, facts): (&Request, &Facts),
        past: &Past,
        evaluation: &mut Evaluation,
    ) {
        let policies: Vec<&Compiled> = candidates.iter().filter_map(|number| self.get(*number)).collect();
        if policies.is_empty() {
            return;
        }
        let resembles = |exact: &str, folded: &str| self.resembles(exact, folded);
        let source = Source { request, facts, actions: &self.actions, past };
        match Judge::new(source, &policies, &resembles) {
            Ok(judge) => {
                for policy in &policies {
                    conclude(policy, told(answer(policy, &judge), policy, past), judge.action(), evaluation);
                }
            }
            Err(why) => {
                for policy in &policies {
                    let action = &self.actions.unlisted;
                    conclude(policy, Answer::Error(why.clone()), action, evaluation);
                }
            }
        }
    }
}

impl Engine for Cedar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filings(&self) -> Vec<Filing> {
        let filing = |policy: &Compiled| Filing {
            forms: match policy.rule.effect {
                Decision::Allow => &[Form::Exact],
                Decision::AllowWithConstraints => &[Form::Exact, Form::Folded],
                Decision::Throttle | Decision::RequireApproval | Decision::Deny => &[Form::Folded],
            },
            keys: vec![policy.keys(&self.actions)],
        };
        self.policies.iter().map(filing).collect()
    }

    fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.get(number).map(|policy| &policy.rule)
    }

    fn evaluate(&self, candidates: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        self.judge(candidates, (request, facts), &Past::new(), evaluation);
    }

    fn is_unconditional(&self, rule: &Rule) -> bool {
        let found = self.policies.iter().find(|policy| policy.rule.id == rule.id);
        found.is_some_and(|policy| policy.condition.is_none())
    }
}

fn answer<'r>(policy: &'r Compiled, judge: &Judge<'r>) -> Answer {
    if !policy.permits() {
        return judge.maybe(policy);
    }
    let surely = judge.surely(policy);
    if surely == Answer::Yes || !policy.restricts() {
        return surely;
    }
    // What cannot permit may still constrain.
    match judge.maybe(policy) {
        Answer::Yes => Answer::Error(RESEMBLES.to_owned()),
        other => other,
    }
}

/// The same answer; where the policy failed because the past could not be told, with that reason.
fn told(answer: Answer, policy: &Compiled, past: &Past) -> Answer {
    let unknown = || policy.reads.past.iter().find_map(|name| past.get(name)?.as_ref().err());
    match answer {
        Answer::Error(why) => Answer::Error(unknown().cloned().unwrap_or(why)),
        other => other,
    }
}

fn conclude(
    policy: &Compiled,
    answer: Answer,
    action: &cedar_policy_core::ast::EntityUID,
    evaluation: &mut Evaluation,
) {
    let rule = &policy.rule;
    let mut say = |error: Option<String>, specificity: Specificity| {
        evaluation.verdicts.push(Verdict { rule: Arc::clone(rule), specificity, error });
    };
    let outcome = match answer {
        Answer::Differs(part) => Outcome::FieldDiffers(part),
        Answer::False => Outcome::ConditionFalse,
        Answer::Yes => {
            say(None, policy.specificity(action));
            Outcome::Matched
        }
        Answer::Error(why) => {
            say(Some(why.clone()), policy.specificity(action));
            Outcome::Error(why)
        }
    };
    evaluation.trace.push(Step { rule: Arc::clone(rule), outcome });
}
