//! The policies of a bundle that may ask about the past.
//!
//! What a clause comes to is found out first, from the answers among the facts; then Cedar judges the
//! policy with that boolean in its context. A clause that cannot be told fails its policy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::history::{
    Answer, HistoryFacts, Measure, Monitor, Observation, Occurrence, Query, Question,
};
use callgate_core::module::Evaluation;
use callgate_core::request::Request;
use callgate_core::rule::Rule;
use smol_str::SmolStr;

use super::call::{Call, FAILED, Kinds, PASSED, STOPPED, SUCCEEDED, kinds};
use super::eval::{Answers, Reader};
use super::formula::{Formula, Watch, Watches};
use crate::cedar::{Actions, Cedar, Compiled, Past};
use crate::engine::{Engine, Filing};

/// All Dogwood policies of a snapshot.
#[derive(Debug)]
pub(crate) struct Dogwood {
    cedar: Cedar,
    /// By the names that they have in the context.
    clauses: HashMap<SmolStr, Formula>,
    watches: Watches,
    monitors: Vec<Monitor>,
    /// The monitors of one action's events.
    by_action: BTreeMap<String, Vec<Digest>>,
    /// Those that every event adds to.
    streaks: Vec<Digest>,
}

impl Dogwood {
    pub(crate) fn new(
        policies: Vec<Compiled>,
        actions: Actions,
        clauses: HashMap<SmolStr, Formula>,
        watches: Watches,
    ) -> Self {
        let monitors = watches
            .iter()
            .map(|(id, watch)| Monitor { id: *id, measure: watch.measure, reach_ms: watch.reach_ms })
            .collect();
        let mut by_action: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
        let mut streaks = Vec::new();
        for (id, watch) in &watches {
            if watch.measure == Measure::Streak {
                streaks.push(*id);
            } else {
                by_action.entry(watch.event.action.clone()).or_default().push(*id);
            }
        }
        Self { cedar: Cedar::new(policies, actions), clauses, watches, monitors, by_action, streaks }
    }

    fn watched<'a>(&'a self, action: &str) -> impl Iterator<Item = (Digest, &'a Watch)> {
        let own = self.by_action.get(action).into_iter().flatten();
        own.chain(&self.streaks).filter_map(|id| Some((*id, self.watches.get(id)?)))
    }

    fn call<'r>(&'r self, request: &'r Request, kinds: Kinds) -> Call<'r> {
        Call::new(request, kinds, self.cedar.actions())
    }

    /// What each clause of the candidates comes to.
    fn past(&self, candidates: &[u32], call: &Call<'_>, blind: &Digest, answers: &mut Answers<'_>) -> Past {
        let mut past = Past::new();
        let mut reader = Reader { sight: call, watches: &self.watches, blind, answers };
        let named = candidates.iter().filter_map(|number| self.cedar.get(*number));
        for name in named.flat_map(|policy| &policy.reads.past) {
            if past.contains_key(name) {
                continue;
            }
            let Some(formula) = self.clauses.get(name) else { continue };
            let held = reader.holds(formula);
            let held = match call.take_broken() {
                Some(why) => Err(why),
                None => held,
            };
            past.insert(name.clone(), held);
        }
        past
    }

    /// What the event adds to each monitor.
    fn seen(
        &self,
        call: &Call<'_>,
        blind: &Digest,
        answers: &mut Answers<'_>,
    ) -> Result<Vec<Observation>, String> {
        let mut found = Vec::new();
        let mut reader = Reader { sight: call, watches: &self.watches, blind, answers };
        for (id, watch) in self.watched(call.action()) {
            if call.is_disguised() {
                return Err("the tool's name only looks like one whose calls are remembered".to_owned());
            }
            let observation = reader.observe(id, watch)?;
            if let Some(why) = call.take_broken() {
                return Err(why);
            }
            found.extend(observation);
        }
        Ok(found)
    }
}

impl Engine for Dogwood {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn filings(&self) -> Vec<Filing> {
        self.cedar.filings()
    }

    fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.cedar.rule(number)
    }

    fn evaluate(&self, candidates: &[u32], request: &Request, facts: &Facts, evaluation: &mut Evaluation) {
        let call = self.call(request, PASSED);
        let past = match &facts.history {
            Some(history) => self.past(candidates, &call, &history.blind, &mut |query| read(history, &query)),
            None => {
                let unread = |_: Query| Err(UNREAD.to_owned());
                self.past(candidates, &call, &Digest::of(b""), &mut { unread })
            }
        };
        self.cedar.judge(candidates, (request, facts), &past, evaluation);
    }

    fn is_unconditional(&self, rule: &Rule) -> bool {
        self.cedar.is_unconditional(rule)
    }

    fn monitors(&self) -> &[Monitor] {
        &self.monitors
    }

    fn plan(&self, candidates: &[u32], occurrence: &Occurrence<'_>, blind: &Digest) -> Vec<Query> {
        let request = occurrence.request();
        let mut asked = Vec::new();
        let mut note = |query: Query| {
            let nothing = unknown(&query);
            asked.push(query);
            Ok(nothing)
        };
        // What cannot be told here cannot be told later, either, and is an error then.
        let events: &[Kinds] = match occurrence {
            Occurrence::Asked(_) => {
                let _ = self.past(candidates, &self.call(request, PASSED), blind, &mut note);
                // How it will be decided and end is not known yet.
                &[PASSED, STOPPED, SUCCEEDED, FAILED]
            }
            other => &[kinds(other)],
        };
        for kinds in events {
            let _ = self.seen(&self.call(request, kinds), blind, &mut note);
        }
        asked
    }

    fn observe(
        &self,
        occurrence: &Occurrence<'_>,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        let request = occurrence.request();
        let mut answers = |query: Query| read(history, &query);
        let found = self.seen(&self.call(request, kinds(occurrence)), &history.blind, &mut answers)?;
        if matches!(occurrence, Occurrence::Decided { allowed: true, .. }) {
            // Once it has run, it is too late to find that its end cannot be remembered.
            for end in [SUCCEEDED, FAILED] {
                self.seen(&self.call(request, end), &history.blind, &mut answers)?;
            }
        }
        Ok(found)
    }
}

/// Why an answer is missing: nobody asked, or nobody read.
pub(super) const UNREAD: &str = "the history was not read";

fn read(history: &HistoryFacts, query: &Query) -> Result<Answer, String> {
    history.answer(query).ok_or_else(|| UNREAD.to_owned())
}

/// An answer of the right kind, for a walk that only collects questions.
const fn unknown(query: &Query) -> Answer {
    match query.question {
        Question::Totals { .. } => Answer::Totals { count: 0, named: false, sum: 0 },
        Question::Seen { .. } | Question::Newest { .. } => Answer::Seen { seen: false },
    }
}
