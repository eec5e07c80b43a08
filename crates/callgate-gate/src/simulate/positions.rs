//! Where sessions stand in the candidate's contracts.
//!
//! While the contracts that had decided are the candidate's own, the recorded place stands. Where they
//! differ, a session's place is what the candidate's own decisions make of it, from its first request on.

use std::collections::HashMap;

use callgate_core::contract::Contract;
use callgate_core::facts::{Facts, Position};
use callgate_core::state::SessionKey;

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// Every decision so far was under contracts like the candidate's.
    AsRecorded,
    /// It stands here in the candidate's contract.
    Own(Option<Position>),
    /// Not known any more.
    Lost,
}

/// The sessions so far.
#[derive(Debug)]
pub(super) struct Positions {
    sessions: HashMap<SessionKey, Known>,
    /// Whether the candidate has contracts; without any, no session has a place in one.
    any: bool,
}

impl Positions {
    pub(super) fn new(candidate: &[Contract]) -> Self {
        Self { sessions: HashMap::new(), any: !candidate.is_empty() }
    }

    /// Puts the session's place among the facts; `false` if it is not known. `same` says whether the
    /// contracts that had decided are like the candidate's.
    pub(super) fn place(&mut self, key: Option<&SessionKey>, same: bool, facts: &mut Facts) -> bool {
        let Some(key) = key.filter(|key| key.is_chained()) else { return true };
        let Some(session) = &mut facts.session else {
            if self.any {
                let known = if same { Known::AsRecorded } else { Known::Own(None) };
                self.sessions.insert(key.clone(), known);
            }
            return true;
        };
        if !self.any {
            session.position = session.position.take().filter(|_| same);
            return true;
        }
        match (self.sessions.get_mut(key), same) {
            (Some(Known::Own(position)), _) => session.position.clone_from(position),
            (Some(Known::AsRecorded) | None, true) => {}
            (Some(known), false) if *known == Known::AsRecorded => {
                *known = Known::Own(session.position.clone());
            }
            (Some(_), _) | (None, false) => return false,
        }
        true
    }

    /// The candidate's decision moved the session on.
    pub(super) fn advance(&mut self, key: Option<&SessionKey>, to: Option<&Position>) {
        let known = key.zip(to).and_then(|(key, to)| self.sessions.get_mut(key).zip(Some(to)));
        if let Some((Known::Own(position), to)) = known {
            *position = Some(to.clone());
        }
    }

    /// A decision of the session could not be made again.
    pub(super) fn lost(&mut self, key: &SessionKey, same: bool) {
        if let Some(known) = self.sessions.get_mut(key)
            && !(same && *known == Known::AsRecorded)
        {
            *known = Known::Lost;
        }
    }
}

/// Whether two snapshots hold sessions to the same order of steps.
pub(super) fn same(a: &[Contract], b: &[Contract]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.rule.id == b.rule.id
                && a.steps == b.steps
                && a.actions == b.actions
                && a.seal_at == b.seal_at
                && a.seal_on == b.seal_on
                && a.agents == b.agents
        })
}
