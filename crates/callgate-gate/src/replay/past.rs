//! Replaying what decisions and outcomes knew of the past, and what they added to it.

use std::collections::BTreeMap;

use callgate_core::approval::ApprovalNames;
use callgate_core::decide::Ask;
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::history::{HistoryFacts, Reads};
use callgate_core::in_force::InForce;
use callgate_core::request::Request;
use callgate_core::state::approvals::Under;
use callgate_core::state::{DecisionDelta, OutcomeDelta, SessionKey, State};
use callgate_log::statement::Status;

use super::Difference;
use crate::past::Event;

/// The requests of actions that are open, as far as an outcome may be asked about them, and the secret
/// in the keys of the history.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Box<Request>>,
    blind: Option<Digest>,
}

impl Requests {
    /// Remembers an allowed request until its outcome.
    pub(super) fn keep(&mut self, index: u64, request: Box<Request>) {
        self.open.insert(index, request);
    }

    pub(super) fn learn(&mut self, facts: &Facts) {
        self.blind = facts.history.as_ref().map(|history| history.blind).or(self.blind);
    }

    /// Forgets the requests of actions that are not open any more.
    pub(super) fn forget(&mut self, state: &State, ended: Option<u64>) {
        if let Some(decision) = ended {
            self.open.remove(&decision);
        }
        while self.open.first_key_value().is_some_and(|(index, _)| state.open_action(*index).is_none()) {
            self.open.pop_first();
        }
    }

    /// What an outcome read and added must be what the log folds to. Where the request was erased, or
    /// the secret is not known yet, there is nothing to compare with.
    pub(super) fn outcome_differs(
        &self,
        state: &State,
        force: Option<&InForce<'_>>,
        outcome: &OutcomeDelta,
        status: Status,
        now_ms: i64,
    ) -> Vec<Difference> {
        let Some(force) = force else {
            let nothing = outcome.observations.is_empty() && outcome.reads.is_none();
            return if nothing {
                Vec::new()
            } else {
                vec![differs("effects.observations", outcome, &"none")]
            };
        };
        let Some((request, blind)) = self.open.get(&outcome.decision).zip(self.blind) else {
            return Vec::new();
        };
        let ended = Event::ended(request.clone(), status);
        let history = state.history().read(ended.queries_of(force, &blind), now_ms, blind);
        let observed = ended.observe_for(force, &history).unwrap_or_default();
        let mut differences = Vec::new();
        if observed != outcome.observations {
            differences.push(differs("effects.observations", &outcome.observations, &observed));
        }
        let series = |reads: Option<Reads>| reads.map(|reads| reads.series);
        let (recorded, replayed) = (series(outcome.reads.clone()), series(history.reads()));
        if recorded != replayed || !hold(state, outcome.reads.as_ref()) {
            differences.push(differs("effects.reads", &recorded, &replayed));
        }
        differences
    }
}

/// What was read of the history must be what the log folds to at this place.
pub(super) fn history_differs(
    state: &State,
    force: &InForce<'_>,
    ask: &Ask,
    facts: &Facts,
) -> Option<Difference> {
    let recorded = facts.history.as_ref();
    let (blind, as_of) = recorded.map_or((Digest::of(b""), 0), |history| (history.blind, history.as_of));
    let queries = force.plan(ask, &facts.credential, &blind);
    let folded = queries.map(|queries| state.history().read(queries, facts.now_ms, blind));
    // Receipts of others may have come between reading and committing.
    let folded = folded.map(|folded| HistoryFacts { as_of, ..folded });
    let held = hold(state, recorded.and_then(HistoryFacts::reads).as_ref());
    (folded.as_ref() != recorded || !held).then(|| differs("facts.history", &recorded, &folded.as_ref()))
}

/// What was known of approvals must be what the log folds to at this place, where the decision did
/// something with it.
pub(super) fn approval_differs(
    state: &State,
    ask: &Ask,
    facts: &Facts,
    effects: &DecisionDelta,
) -> Option<Difference> {
    let (Ask::Request(request), Some(read), true) = (ask, &facts.approval, effects.approval.is_some()) else {
        return None;
    };
    let names = ApprovalNames::of(request, &read.blind);
    let key = SessionKey::of(request);
    let folded = state.approvals().seen(&names, &key, Under::of(effects), facts.now_ms);
    (folded != read.seen).then(|| differs("facts.approval", &read.seen, &folded))
}

/// What was read of limits may have moved on before the decision was committed, but must have said the same.
pub(super) fn limits_differ(state: &State, facts: &Facts, effects: &DecisionDelta) -> Option<Difference> {
    let same = state.check_limits(effects, facts.now_ms).is_ok();
    (!same).then(|| differs("facts.limits", &facts.limits, &"levels at which the answer is another one"))
}

fn hold(state: &State, reads: Option<&Reads>) -> bool {
    reads.is_none_or(|reads| reads.as_of <= state.history().size() && state.history().holds(reads))
}

fn differs(field: &str, recorded: &impl std::fmt::Debug, replayed: &impl std::fmt::Debug) -> Difference {
    Difference {
        field: field.to_owned(),
        recorded: format!("{recorded:?}"),
        replayed: format!("{replayed:?}"),
    }
}
