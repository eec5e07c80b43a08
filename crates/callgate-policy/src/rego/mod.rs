//! The Rego engine: packages found by the index, matched by their headers, asked one by one.
//!
//! A package speaks only of what it is routed to. What it permits holds for exactly what its header
//! names; what it restricts, for look-alikes too. Whatever goes wrong denies.

mod answer;
pub(crate) mod builtins;
#[doc(hidden)]
pub mod door;
mod input;
mod program;
pub(crate) mod survey;
#[cfg(test)]
mod tests;

pub use program::{Options, Program, Source};

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::decision::Decision;
use callgate_core::facts::Facts;
use callgate_core::index::Form;
use callgate_core::module::Evaluation;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Specificity, Step, Verdict};
use callgate_core::snapshot::Defaults;

use self::answer::Answer;
use crate::engine::{Engine, Filing};
use crate::rules::{Matcher, RESEMBLES, Trusted};

/// The engine's name in traces.
pub(crate) const NAME: &str = "rego";

/// What a package is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Its `decision`.
    Decision,
    /// Its `deny`.
    Deny,
}

impl Entry {
    /// The name of the rule.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Deny => "deny",
        }
    }
}

/// One package that decides.
#[derive(Debug)]
pub(crate) struct Package {
    /// Stands for the package when it fails, and then denies.
    rule: Arc<Rule>,
    matcher: Matcher,
    entry: Entry,
    program: Program,
    /// The rule for each decision without anything beside it.
    plain: [Arc<Rule>; Decision::ALL.len()],
}

impl Package {
    /// A package whose `rule` has the effect of a failure.
    pub(crate) fn new(rule: Rule, matcher: Matcher, entry: Entry, program: Program) -> Self {
        let plain = Decision::ALL.map(|effect| Arc::new(Rule { effect, ..rule.clone() }));
        Self { rule: Arc::new(Rule { effect: Decision::Deny, ..rule }), matcher, entry, program, plain }
    }

    /// What the package says; `None` for no opinion.
    fn ask(&self, input: &regorus::Value, defaults: &Defaults) -> Result<Option<Arc<Rule>>, String> {
        let value = self.program.run(input)?;
        let answer = match self.entry {
            Entry::Decision => answer::of_decision(&value, defaults)?,
            Entry::Deny => answer::of_deny(&value)?,
        };
        Ok(answer.map(|answer| self.rule_of(answer)))
    }

    fn rule_of(&self, answer: Answer) -> Arc<Rule> {
        let Answer { decision: effect, mode, reason, constraints, approval, retry_after_ms } = answer;
        let bare =
            reason.is_none() && approval.is_none() && retry_after_ms.is_none() && constraints.is_empty();
        let mode = mode.unwrap_or(self.rule.mode);
        let plain = self.plain.iter().find(|rule| bare && rule.effect == effect && rule.mode == mode);
        plain.cloned().unwrap_or_else(|| {
            Arc::new(Rule {
                effect,
                mode,
                reason,
                constraints,
                approval,
                retry_after_ms,
                ..Rule::clone(&self.rule)
            })
        })
    }
}

/// All packages of a snapshot.
#[derive(Debug)]
pub(crate) struct Rego {
    /// By id, so that nothing depends on where a package stands.
    packages: Vec<Package>,
    catalogue: Catalogue,
    defaults: Defaults,
}

/// How a package's header fits the request.
#[derive(Clone, Copy)]
enum Fit {
    /// It names exactly this.
    Exact(Specificity),
    /// It names something that looks like this.
    Alike(Specificity),
}

impl Rego {
    /// Puts the packages in order.
    pub(crate) fn new(mut packages: Vec<Package>, catalogue: Catalogue, defaults: Defaults) -> Self {
        packages.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        Self { packages, catalogue, defaults }
    }

    fn get(&self, number: u32) -> Option<&Package> {
        usize::try_from(number).ok().and_then(|at| self.packages.get(at))
    }

    fn judge(
        &self,
        package: &Package,
        fit: Fit,
        input: &regorus::Value,
    ) -> (Arc<Rule>, Outcome, Option<Verdict>) {
        let verdict = |rule: &Arc<Rule>, specificity, error: Option<String>| {
            let outcome = error.clone().map_or(Outcome::Matched, Outcome::Error);
            (Arc::clone(rule), outcome, Some(Verdict { rule: Arc::clone(rule), specificity, error }))
        };
        match (package.ask(input, &self.defaults), fit) {
            (Err(error), Fit::Exact(specificity) | Fit::Alike(specificity)) => {
                verdict(&package.rule, specificity, Some(error))
            }
            (Ok(None), _) => (Arc::clone(&package.rule), Outcome::ConditionFalse, None),
            (Ok(Some(rule)), Fit::Exact(specificity)) => verdict(&rule, specificity, None),
            (Ok(Some(rule)), Fit::Alike(specificity)) => match rule.effect {
                // What only looks like what the header names is not permitted by it.
                Decision::Allow => (rule, Outcome::FieldDiffers("header"), None),
                Decision::AllowWithConstraints => verdict(&rule, specificity, Some(RESEMBLES.to_owned())),
                _ => verdict(&rule, specificity, None),
            },
        }
    }
}

impl Engine for Rego {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filings(&self) -> Vec<Filing> {
        let forms: &[Form] = &[Form::Exact, Form::Folded];
        self.packages.iter().map(|package| Filing { forms, keys: package.matcher.keys() }).collect()
    }

    fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.get(number).map(|package| &package.rule)
    }

    fn evaluate(&self, candidates: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        let trusted = Trusted::of(&self.catalogue, request);
        let mut input = None;
        for package in candidates.iter().filter_map(|number| self.get(*number)) {
            let find = |form| package.matcher.find(form, request, &trusted).map(|found| found.specificity);
            let fit = find(Form::Exact).map(Fit::Exact).or_else(|_| find(Form::Folded).map(Fit::Alike));
            let (rule, outcome, verdict) = match fit {
                Err(field) => (Arc::clone(&package.rule), Outcome::FieldDiffers(field), None),
                Ok(fit) => {
                    let input = input.get_or_insert_with(|| input::input(request, facts));
                    self.judge(package, fit, input)
                }
            };
            evaluation.verdicts.extend(verdict);
            evaluation.trace.push(Step { rule, outcome });
        }
    }
}
