//! The requests of the client that wait for an answer, by id.

use std::collections::{HashMap, HashSet, VecDeque};

use callgate_core::digest::Digest;
use callgate_gate::Ground;
use tokio::time::Instant;

use crate::message::Id;
use crate::method::Decided;

/// How many ids given up on are remembered, so that a late answer cannot be taken for another's.
const MAX_RETIRED: usize = 4096;

/// A call that the server runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: Decided,
    pub(crate) modern: bool,
    /// What a person calls it.
    pub(crate) name: String,
    pub(crate) action: Digest,
    /// What it runs on.
    pub(crate) ground: Ground,
    /// The most bytes its result may have.
    pub(crate) max_bytes: Option<u64>,
    /// Whether the policy limits it in time, rather than the wrapper's default.
    pub(crate) limited: bool,
    pub(crate) span_ms: u128,
    pub(crate) started_ms: i64,
    pub(crate) deadline: Instant,
}

/// What a request waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// The server's answer, which passes as it is.
    Passed {
        /// Whether ending waits for it; a subscription would never end.
        ends: bool,
    },
    /// The server's list of tools.
    Listed {
        /// Whether the client speaks revision 2026-07-28 or later.
        modern: bool,
    },
    /// The gate.
    Deciding {
        /// Whether the client called it off meanwhile.
        cancelled: bool,
    },
    /// The server's result.
    Running(Box<Running>),
}

/// One request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) state: State,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: HashMap<String, Entry>,
    retired: HashSet<String>,
    retired_order: VecDeque<String>,
}

impl Pending {
    /// Whether a new request may use this id.
    pub(crate) fn is_free(&self, id: &Id) -> bool {
        !self.entries.contains_key(id.key()) && !self.retired.contains(id.key())
    }

    pub(crate) fn insert(&mut self, id: Id, state: State) {
        self.entries.insert(id.key().to_owned(), Entry { id, state });
    }

    pub(crate) fn get_mut(&mut self, id: &Id) -> Option<&mut Entry> {
        self.entries.get_mut(id.key())
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<Entry> {
        self.entries.remove(id.key())
    }

    /// Takes the request this answer of the server belongs to. An answer before the question was
    /// forwarded belongs to none.
    pub(crate) fn answered(&mut self, id: &Id) -> Option<Entry> {
        self.retired.remove(id.key());
        match self.entries.get(id.key())?.state {
            State::Deciding { .. } => None,
            _ => self.remove(id),
        }
    }

    /// Stops waiting; a late answer belongs to nobody, and the id is not used again.
    pub(crate) fn retire(&mut self, id: &Id) -> Option<Entry> {
        let entry = self.entries.remove(id.key())?;
        if self.retired.insert(id.key().to_owned()) {
            self.retired_order.push_back(id.key().to_owned());
        }
        while self.retired_order.len() > MAX_RETIRED {
            if let Some(oldest) = self.retired_order.pop_front() {
                self.retired.remove(&oldest);
            }
        }
        Some(entry)
    }

    /// When the next running call is out of time.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.running().map(|(_, running)| running.deadline).min()
    }

    /// The calls that are out of time at `now`.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Id> {
        self.running().filter(|(_, running)| running.deadline <= now).map(|(id, _)| id.clone()).collect()
    }

    /// The running calls with their names, and what they run on.
    pub(crate) fn grounds(&self) -> Vec<(Id, String, Ground)> {
        let one = |(id, running): (&Id, &Running)| (id.clone(), running.name.clone(), running.ground);
        self.running().map(one).collect()
    }

    /// Whether any call runs.
    pub(crate) fn has_running(&self) -> bool {
        self.running().next().is_some()
    }

    /// Whether the call on that ground still runs under that id.
    pub(crate) fn runs(&self, id: &Id, ground: Ground) -> bool {
        let entry = self.entries.get(id.key());
        entry.is_some_and(|it| matches!(&it.state, State::Running(running) if running.ground == ground))
    }

    /// Everything that waits for the server.
    pub(crate) fn at_server(&self) -> Vec<Id> {
        let waits = self.entries.values().filter(|entry| !matches!(entry.state, State::Deciding { .. }));
        waits.map(|entry| entry.id.clone()).collect()
    }

    /// Whether nothing is left that ending should wait for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.entries.values().all(|entry| matches!(entry.state, State::Passed { ends: false }))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn running(&self) -> impl Iterator<Item = (&Id, &Running)> {
        self.entries.values().filter_map(|entry| match &entry.state {
            State::Running(running) => Some((&entry.id, running.as_ref())),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn id(raw: &str) -> Id {
        Id::read(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_before_the_question_belongs_to_nobody() {
        let mut pending = Pending::default();
        pending.insert(id("1"), State::Deciding { cancelled: false });
        assert!(pending.answered(&id("1")).is_none());
        assert!(!pending.is_free(&id("1")) && !pending.is_quiet());
        pending.insert(id("1"), State::Passed { ends: true });
        assert!(pending.answered(&id("1")).is_some() && pending.answered(&id("1")).is_none());
        assert!(pending.is_free(&id("1")) && pending.is_quiet());
    }

    #[test]
    fn an_id_given_up_on_is_not_free_before_its_late_answer() {
        let mut pending = Pending::default();
        pending.insert(id("1"), State::Passed { ends: true });
        assert!(pending.retire(&id("1")).is_some());
        assert!(!pending.is_free(&id("1.0")));
        assert!(pending.answered(&id("1")).is_none());
        assert!(pending.is_free(&id("1")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pending = Pending::default();
        for n in 0..5000 {
            pending.insert(id(&n.to_string()), State::Passed { ends: true });
            pending.retire(&id(&n.to_string()));
        }
        assert!(pending.is_free(&id("1")) && !pending.is_free(&id("4999")));
        assert_eq!((pending.retired.len(), pending.retired_order.len()), (MAX_RETIRED, MAX_RETIRED));
    }
}
