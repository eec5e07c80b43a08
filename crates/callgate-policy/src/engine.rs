//! What the policy languages share: one index over all their rules, limits on text before a parser
//! of others sees it, and a guard around code that may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::history::{HistoryFacts, Monitor, Observation, Occurrence, Query};
use callgate_core::index::{Form, Index, Keys};
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Specificity, Step, Verdict};

mod fence;

pub(crate) use fence::{Lexis, guarded, prescan, with_room};

/// How a rule is filed in the index.
#[derive(Debug, Clone)]
pub(crate) struct Filing {
    /// The forms of names it is looked up by.
    pub(crate) forms: &'static [Form],
    /// What it is found by: an entry for each alternative. Keys without any field make it always a
    /// candidate.
    pub(crate) keys: Vec<Keys>,
}

/// One language's part of a bundle. Its rules are numbered from 0 in an order the engine chooses:
/// restrictive ones first, then by id, so that neither file nor rule order shows.
///
/// An implementation is pure, total and bounded, as [`Module`] asks.
pub(crate) trait Engine: std::fmt::Debug + Send + Sync {
    /// The language's name in traces, such as `rules`.
    fn name(&self) -> &'static str;

    /// How each rule is filed, in their order.
    fn filings(&self) -> Vec<Filing>;

    /// The rule of that number.
    fn rule(&self, number: u32) -> Option<&Arc<Rule>>;

    /// Adds the verdicts of the candidates that match. Candidates are ascending numbers of rules that
    /// may match; whether they do is still to be found out.
    fn evaluate(&self, candidates: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation);

    /// As [`Module::is_unconditional`].
    fn is_unconditional(&self, _rule: &Rule) -> bool {
        false
    }

    /// As [`Module::monitors`].
    fn monitors(&self) -> &[Monitor] {
        &[]
    }

    /// As [`Module::plan`]; of a request that is asked, with the candidates.
    fn plan(&self, _candidates: &[u32], _occurrence: &Occurrence<'_>, _blind: &Digest) -> Vec<Query> {
        Vec::new()
    }

    /// As [`Module::observe`].
    ///
    /// # Errors
    /// Why that cannot be told.
    fn observe(
        &self,
        _occurrence: &Occurrence<'_>,
        _history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        Ok(Vec::new())
    }
}

/// The rules of all languages behind one index.
#[derive(Debug)]
pub(crate) struct Policies {
    engines: Vec<Installed>,
    index: Index,
    monitors: Vec<Monitor>,
}

/// An engine and the numbers its rules have in the index: from `first`, below `end`.
#[derive(Debug)]
struct Installed {
    engine: Box<dyn Engine>,
    first: u32,
    end: u32,
}

impl Policies {
    /// Files all rules.
    pub(crate) fn new(engines: Vec<Box<dyn Engine>>) -> Self {
        let mut index = Index::default();
        let mut next = 0u32;
        let install = |engine: Box<dyn Engine>| {
            let first = next;
            for filing in engine.filings() {
                for form in filing.forms {
                    for keys in &filing.keys {
                        index.insert(next, *form, keys);
                    }
                }
                next = next.saturating_add(1);
            }
            Installed { engine, first, end: next }
        };
        let engines: Vec<Installed> = engines.into_iter().map(install).collect();
        let monitors = engines.iter().flat_map(|installed| installed.engine.monitors()).cloned().collect();
        Self { engines, index, monitors }
    }

    /// Gives each engine that has any candidates for `request` their numbers.
    fn each(&self, request: &Request, mut visit: impl FnMut(&Installed, &[u32])) {
        let mut numbers = Vec::with_capacity(16);
        self.index.candidates(request, &mut numbers);
        let mut rest = numbers.as_mut_slice();
        for installed in &self.engines {
            let count = rest.partition_point(|number| *number < installed.end);
            let Some((own, others)) = rest.split_at_mut_checked(count) else { return };
            rest = others;
            for number in &mut *own {
                *number = number.saturating_sub(installed.first);
            }
            visit(installed, own);
        }
    }
}

impl Module for Policies {
    fn name(&self) -> &'static str {
        "policies"
    }

    fn evaluate(&self, request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        self.each(request, |installed, own| {
            if !own.is_empty() {
                installed.evaluate(own, request, facts, evaluation);
            }
        });
    }

    fn monitors(&self) -> &[Monitor] {
        &self.monitors
    }

    fn plan(&self, occurrence: &Occurrence<'_>, blind: &Digest) -> Vec<Query> {
        let mut all = Vec::new();
        if self.monitors.is_empty() {
            return all;
        }
        // What is not planned because an engine fails is missing later, which is an error then.
        let mut plan = |installed: &Installed, own: &[u32]| {
            all.extend(guarded(|| installed.engine.plan(own, occurrence, blind)).unwrap_or_default());
        };
        match occurrence {
            Occurrence::Asked(request) => self.each(request, plan),
            _ => self.engines.iter().for_each(|installed| plan(installed, &[])),
        }
        all
    }

    fn observe(
        &self,
        occurrence: &Occurrence<'_>,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        let mut all = Vec::new();
        for installed in self.engines.iter().filter(|installed| !installed.engine.monitors().is_empty()) {
            all.extend(guarded(|| installed.engine.observe(occurrence, history)).flatten()?);
        }
        Ok(all)
    }

    fn rules(&self) -> usize {
        let count = |installed: &Installed| installed.end.saturating_sub(installed.first);
        self.engines.iter().map(|it| usize::try_from(count(it)).unwrap_or(usize::MAX)).sum()
    }

    fn listed(&self) -> Vec<Arc<Rule>> {
        let rules = self.engines.iter().flat_map(|installed| {
            let count = installed.end.saturating_sub(installed.first);
            (0..count).filter_map(|number| installed.engine.rule(number).cloned())
        });
        rules.collect()
    }

    fn is_unconditional(&self, rule: &Rule) -> bool {
        let mut engines = self.engines.iter().map(|installed| &installed.engine);
        engines.any(|engine| engine.name() == rule.module && engine.is_unconditional(rule))
    }
}

impl Installed {
    /// Evaluates behind a guard: where an engine panics, every candidate of it counts as one that
    /// could not be evaluated.
    fn evaluate(&self, own: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        let (verdicts, steps) = (evaluation.verdicts.len(), evaluation.trace.len());
        let (judged, questions) = (evaluation.judged.len(), evaluation.questions.len());
        let consulted = evaluation.consulted.len();
        let run = AssertUnwindSafe(|| self.engine.evaluate(own, request, facts, &mut *evaluation));
        if catch_unwind(run).is_ok() {
            return;
        }
        evaluation.verdicts.truncate(verdicts);
        evaluation.trace.truncate(steps);
        evaluation.judged.truncate(judged);
        evaluation.questions.truncate(questions);
        evaluation.consulted.truncate(consulted);
        let error = format!("the {} engine failed on this request", self.engine.name());
        for rule in own.iter().filter_map(|number| self.engine.rule(*number)) {
            evaluation.verdicts.push(Verdict {
                rule: Arc::clone(rule),
                specificity: Specificity::default(),
                error: Some(error.clone()),
            });
            evaluation.trace.push(Step { rule: Arc::clone(rule), outcome: Outcome::Error(error.clone()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use callgate_core::constraint::Constraints;
    use callgate_core::decision::{Decision, Mode, Source};
    use callgate_core::facts::Credential;
    use callgate_core::json::Limits;

    use super::*;

    /// Speaks of everything; panics when the request has a topic.
    #[derive(Debug)]
    struct Touchy(Vec<Arc<Rule>>);

    impl Engine for Touchy {
        fn name(&self) -> &'static str {
            "touchy"
        }

        fn filings(&self) -> Vec<Filing> {
            self.0.iter().map(|_| Filing { forms: &[Form::Exact], keys: vec![Keys::default()] }).collect()
        }

        fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
            self.0.get(usize::try_from(number).unwrap())
        }

        fn evaluate(&self, candidates: &[u32], request: &Request, _: &Facts, evaluation: &mut Evaluation) {
            for number in candidates {
                let rule = Arc::clone(self.rule(*number).unwrap());
                evaluation.verdicts.push(Verdict { rule, specificity: Specificity::default(), error: None });
                assert!(request.topic.is_none(), "a topic");
            }
        }
    }

    fn rule(id: &str, effect: Decision) -> Arc<Rule> {
        Arc::new(Rule {
            id: id.into(),
            module: "touchy",
            source: Source { file: "x".into(), line: 1, column: 1 },
            effect,
            mode: Mode::Enforce,
            priority: 0,
            invariant: false,
            reason: None,
            constraints: Constraints::default(),
            approval: None,
            retry_after_ms: None,
            controls: Vec::new(),
            fingerprint: Digest::of(b""),
        })
    }

    fn evaluate(policies: &Policies, text: &str) -> Vec<(String, bool)> {
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let facts = Facts::new(Credential::Local, 0);
        let mut evaluation = Evaluation::default();
        policies.evaluate(&request, &facts, &mut evaluation);
        let verdicts = evaluation.verdicts.iter();
        verdicts.map(|verdict| (verdict.rule.id.to_string(), verdict.error.is_some())).collect()
    }

    #[test]
    fn each_engine_gets_its_own_candidates() {
        let first = Touchy(vec![rule("a", Decision::Allow), rule("b", Decision::Deny)]);
        let second = Touchy(vec![rule("c", Decision::Allow)]);
        let policies = Policies::new(vec![Box::new(first), Box::new(second)]);
        assert_eq!(policies.rules(), 3);
        let found = evaluate(&policies, r#"{"agent":{"id":"x"},"tool":{"name":"t"}}"#);
        assert_eq!(found, [("a".into(), false), ("b".into(), false), ("c".into(), false)]);
    }

    #[test]
    fn an_engine_that_panics_has_failed_on_every_candidate() {
        let engine = Touchy(vec![rule("a", Decision::Allow), rule("b", Decision::Deny)]);
        let policies = Policies::new(vec![Box::new(engine)]);
        let found = evaluate(&policies, r#"{"agent":{"id":"x"},"topic":"t"}"#);
        assert_eq!(found, [("a".into(), true), ("b".into(), true)]);
    }
}
