//! What ran while the gate could not be reached: the leases that permitted it, and the journals that told of it.
//!
//! A record of a journal counts once, in order, however often it is handed in. Memory is bounded by the points of
//! each agent and by the journals of the last months.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::Conflict;
use crate::fail::{FailTerms, Tier};

/// How long a journal is remembered after its first record, in milliseconds: longer than anybody hands one in.
pub const JOURNAL_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How long a lease is remembered after its end, in milliseconds.
const LEASE_LINGERS_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How far an enforcement point's clock may be behind the gate's, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;
/// The most enforcement points of one agent that hold leases.
pub const MAX_POINTS: usize = 64;
/// The most records of one journal.
pub const MAX_RECORDS: usize = 10_000;

/// One enforcement point of one agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointKey {
    /// The agent.
    pub agent: String,
    /// The enforcement point's name.
    pub point: String,
    /// The agent's tenant.
    pub tenant: String,
}

/// The terms an enforcement point may rely on while the gate cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseDelta {
    /// Whose.
    pub key: PointKey,
    /// Until when, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// How many of the agent's actions had run unchecked within the window when the terms were made; they are
    /// made again when more have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ran: u64,
    /// The receipt of the newest stop when the terms were made; they are made again when there is a newer one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stops: u64,
    /// On what terms.
    pub terms: FailTerms,
    /// The agent's tier.
    pub tier: Tier,
}

/// An action that ran unchecked, as its receipt tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UncheckedDelta {
    /// When it ran by the enforcement point's clock, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Why it was beyond its lease, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<Exceeded>,
    /// The journal's id.
    pub journal: String,
    /// The lease it ran on.
    pub lease: u64,
    /// The enforcement point.
    pub point: String,
    /// Whether it would not have run, had it been decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Its place among the journal's actions, from 0.
    pub sequence: u64,
}

/// Why an action was beyond its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// The enforcement point had no such lease.
    NoLease,
    /// The lease had ended, or had not begun.
    Time,
    /// More ran within the window than the lease says.
    Count,
    /// The lease does not name the action.
    Tool,
}

impl Exceeded {
    /// The word in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoLease => "no_lease",
            Self::Time => "time",
            Self::Count => "count",
            Self::Tool => "tool",
        }
    }
}

/// The end of a window in which actions ran unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowDelta {
    /// How many actions ran.
    pub count: u64,
    /// How many bytes of the journal could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged_bytes: u64,
    /// How many of the actions were beyond their lease.
    pub exceeded: u64,
    /// When the first ran, milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// The journal's id.
    pub journal: String,
    /// Whose.
    pub key: PointKey,
    /// How many of the actions would not have run, had they been decided.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// When the last ran, milliseconds since 1970 UTC.
    pub to_ms: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is known of one journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalState {
    /// The receipts of its actions, in their order.
    pub receipts: Vec<u64>,
    /// The receipt of its window, once that is on the log: then nothing more is taken of it.
    pub closed: Option<u64>,
    /// When its first action ran, milliseconds since 1970 UTC.
    pub first_ms: i64,
    /// When its last action ran, milliseconds since 1970 UTC.
    pub last_ms: i64,
    /// How many of its actions were beyond their lease.
    pub exceeded: u64,
    /// How many of its actions would not have run, had they been decided.
    pub refused: u64,
    /// When each of its latest actions ran.
    recent: VecDeque<i64>,
}

/// Leases and journals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// The newest lease of each point, and its receipt.
    leases: BTreeMap<PointKey, (u64, i64, LeaseDelta)>,
    lease_ends: BTreeSet<(i64, PointKey)>,
    journals: BTreeMap<(PointKey, String), JournalState>,
    journal_ends: BTreeSet<(i64, PointKey, String)>,
    windows: u64,
    actions: u64,
    refused: u64,
}

impl Unchecked {
    /// The newest lease of a point, and its receipt.
    #[must_use]
    pub fn lease(&self, key: &PointKey) -> Option<(u64, &LeaseDelta)> {
        self.leases.get(key).map(|(index, _, lease)| (*index, lease))
    }

    /// What is known of a journal.
    #[must_use]
    pub fn journal(&self, key: &PointKey, id: &str) -> Option<&JournalState> {
        self.journals.get(&(key.clone(), id.to_owned()))
    }

    /// How many windows are on the log, how many actions ran in them and in those that go on, and how many of these
    /// would not have run, had they been decided.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64, u64) {
        (self.windows, self.actions, self.refused)
    }

    /// How many actions of a point's agent ran unchecked within the last `window_ms`, at all its points.
    #[must_use]
    pub fn ran_within(&self, key: &PointKey, window_ms: u64, now_ms: i64) -> u64 {
        let since_ms = now_ms.saturating_sub(i64::try_from(window_ms).unwrap_or(i64::MAX));
        self.ran_since(&key.tenant, &key.agent, since_ms)
    }

    /// How many actions of an agent ran unchecked after `since_ms`, at all its points.
    fn ran_since(&self, tenant: &str, agent: &str, since_ms: i64) -> u64 {
        let first = PointKey { agent: agent.to_owned(), point: String::new(), tenant: String::new() };
        let of = |key: &PointKey| key.agent == agent;
        let journals = self.journals.range((first, String::new())..).take_while(|((key, _), _)| of(key));
        let journals = journals.filter(|((key, _), _)| key.tenant == tenant);
        let ran = journals.flat_map(|(_, journal)| &journal.recent).filter(|at| **at > since_ms);
        u64::try_from(ran.count()).unwrap_or(u64::MAX)
    }

    /// Why an action that ran at `at_ms` on the lease with that receipt was beyond it, if it was.
    #[must_use]
    pub fn exceeded(
        &self,
        key: &PointKey,
        journal: &str,
        (lease, at_ms): (u64, i64),
        action: &str,
    ) -> Option<Exceeded> {
        let Some((index, issued_ms, known)) = self.leases.get(key) else { return Some(Exceeded::NoLease) };
        if lease > *index {
            return Some(Exceeded::NoLease);
        }
        // Of an earlier lease only the newest one's terms are still known.
        let early = lease == *index && at_ms < issued_ms.saturating_sub(SKEW_MS);
        if early || at_ms > known.expires_at_ms {
            return Some(Exceeded::Time);
        }
        if !known.terms.names(action) {
            return Some(Exceeded::Tool);
        }
        let since = at_ms.saturating_sub(i64::try_from(known.terms.window_ms).unwrap_or(i64::MAX));
        let recent = self.journal(key, journal).into_iter().flat_map(|journal| &journal.recent);
        let ran = u64::try_from(recent.filter(|at| **at > since).count()).unwrap_or(u64::MAX);
        (ran >= known.terms.max_actions).then_some(Exceeded::Count)
    }

    pub(super) fn check_lease(&self, lease: &LeaseDelta, now_ms: i64) -> Result<(), Conflict> {
        let LeaseDelta { key, ran, terms, .. } = lease;
        if self.ran_within(key, terms.window_ms, now_ms) > *ran {
            return Err(Conflict::Limit);
        }
        if self.leases.contains_key(key) || self.points(key) < MAX_POINTS {
            Ok(())
        } else {
            Err(Conflict::Registry)
        }
    }

    /// How many points of the same agent hold leases.
    fn points(&self, key: &PointKey) -> usize {
        let first = PointKey { point: String::new(), ..key.clone() };
        let same = |other: &PointKey| other.agent == key.agent;
        let points = self.leases.range(first..).take_while(|(other, _)| same(other));
        points.filter(|(other, _)| other.tenant == key.tenant).count()
    }

    pub(super) fn check_action(&self, key: &PointKey, unchecked: &UncheckedDelta) -> Result<(), Conflict> {
        let known = self.journal(key, &unchecked.journal);
        let next = known.map_or(0, |journal| journal.receipts.len());
        let open = known.is_none_or(|journal| journal.closed.is_none()) && next < MAX_RECORDS;
        if open && u64::try_from(next) == Ok(unchecked.sequence) { Ok(()) } else { Err(Conflict::Registry) }
    }

    pub(super) fn check_window(&self, window: &WindowDelta) -> Result<(), Conflict> {
        let known = self.journal(&window.key, &window.journal);
        let count = known.map_or(0, |journal| journal.receipts.len());
        let open = known.is_none_or(|journal| journal.closed.is_none());
        if open && u64::try_from(count) == Ok(window.count) { Ok(()) } else { Err(Conflict::Registry) }
    }

    pub(super) fn apply_lease(&mut self, index: u64, now_ms: i64, lease: &LeaseDelta) {
        let until = lease.expires_at_ms.saturating_add(LEASE_LINGERS_MS);
        let before = self.leases.insert(lease.key.clone(), (index, now_ms, lease.clone()));
        if let Some((_, _, before)) = before {
            let until = before.expires_at_ms.saturating_add(LEASE_LINGERS_MS);
            self.lease_ends.remove(&(until, before.key));
        }
        self.lease_ends.insert((until, lease.key.clone()));
    }

    pub(super) fn apply_action(
        &mut self,
        index: u64,
        now_ms: i64,
        key: &PointKey,
        unchecked: &UncheckedDelta,
    ) {
        let at_ms = unchecked.at_ms;
        let journal = self.opened(key, &unchecked.journal, at_ms, now_ms);
        journal.receipts.push(index);
        journal.first_ms = journal.first_ms.min(at_ms);
        journal.last_ms = journal.last_ms.max(at_ms);
        journal.exceeded = journal.exceeded.saturating_add(u64::from(unchecked.exceeded.is_some()));
        journal.refused = journal.refused.saturating_add(u64::from(unchecked.refused));
        journal.recent.push_back(at_ms);
        self.refused = self.refused.saturating_add(u64::from(unchecked.refused));
        self.actions = self.actions.saturating_add(1);
    }

    pub(super) fn apply_window(&mut self, index: u64, now_ms: i64, window: &WindowDelta) {
        let journal = self.opened(&window.key, &window.journal, window.from_ms, now_ms);
        journal.closed = Some(index);
        self.windows = self.windows.saturating_add(1);
    }

    fn opened(&mut self, key: &PointKey, id: &str, at_ms: i64, now_ms: i64) -> &mut JournalState {
        let name = (key.clone(), id.to_owned());
        if !self.journals.contains_key(&name) {
            self.journal_ends.insert((now_ms.saturating_add(JOURNAL_MS), key.clone(), id.to_owned()));
        }
        self.journals.entry(name).or_insert_with(|| JournalState {
            receipts: Vec::new(),
            closed: None,
            first_ms: at_ms,
            last_ms: at_ms,
            exceeded: 0,
            refused: 0,
            recent: VecDeque::new(),
        })
    }

    pub(super) fn forget(&mut self, now_ms: i64) {
        while self.lease_ends.first().is_some_and(|(until, _)| *until < now_ms) {
            if let Some((_, key)) = self.lease_ends.pop_first() {
                self.leases.remove(&key);
            }
        }
        while self.journal_ends.first().is_some_and(|(until, _, _)| *until < now_ms) {
            if let Some((_, key, id)) = self.journal_ends.pop_first() {
                self.journals.remove(&(key, id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(agent: &str, point: &str) -> PointKey {
        PointKey { agent: agent.into(), point: point.into(), tenant: "t".into() }
    }

    fn terms() -> FailTerms {
        FailTerms {
            constraints: "{}".into(),
            deadline_ms: 1,
            lease_ms: 100,
            max_actions: 2,
            tools: Some(vec!["s.read".into()]),
            window_ms: 10,
        }
    }

    fn lease(key: &PointKey) -> LeaseDelta {
        let (key, expires_at_ms) = (key.clone(), SKEW_MS + 200);
        LeaseDelta { key, expires_at_ms, ran: 0, stops: 0, terms: terms(), tier: Tier::Low }
    }

    fn ran(sequence: u64, at_ms: i64) -> UncheckedDelta {
        UncheckedDelta {
            at_ms,
            exceeded: None,
            journal: "j".into(),
            lease: 5,
            point: "p".into(),
            refused: false,
            sequence,
        }
    }

    #[test]
    fn a_record_counts_once_and_in_order() {
        let (mut state, key) = (Unchecked::default(), key("a", "p"));
        assert_eq!(state.check_action(&key, &ran(1, 0)), Err(Conflict::Registry));
        for sequence in 0..3 {
            assert_eq!(state.check_action(&key, &ran(sequence, 0)), Ok(()));
            state.apply_action(sequence, 0, &key, &ran(sequence, 0));
            assert_eq!(state.check_action(&key, &ran(sequence, 0)), Err(Conflict::Registry));
        }
        let window = |count| WindowDelta {
            count,
            damaged_bytes: 0,
            exceeded: 0,
            from_ms: 0,
            journal: "j".into(),
            key: key.clone(),
            refused: 0,
            to_ms: 0,
        };
        assert_eq!(state.check_window(&window(2)), Err(Conflict::Registry), "one more came");
        assert_eq!(state.check_window(&window(3)), Ok(()));
        state.apply_window(9, 0, &window(3));
        assert_eq!(state.journal(&key, "j").unwrap().closed, Some(9));
        assert_eq!(state.check_window(&window(3)), Err(Conflict::Registry), "one window, once");
        assert_eq!(state.check_action(&key, &ran(3, 0)), Err(Conflict::Registry));
        assert_eq!(state.totals(), (1, 3, 0));
    }

    #[test]
    fn what_is_beyond_a_lease_is_told() {
        let (mut state, key) = (Unchecked::default(), key("a", "p"));
        let beyond = |state: &Unchecked, at| state.exceeded(&key, "j", (5, at), "s.read");
        assert_eq!(beyond(&state, 100), Some(Exceeded::NoLease));
        state.apply_lease(5, SKEW_MS + 100, &lease(&key));
        assert_eq!(state.exceeded(&key, "j", (6, 100), "s.read"), Some(Exceeded::NoLease));
        assert_eq!(beyond(&state, 99), Some(Exceeded::Time));
        assert_eq!(beyond(&state, SKEW_MS + 201), Some(Exceeded::Time));
        assert_eq!(state.exceeded(&key, "j", (5, 100), "s.write"), Some(Exceeded::Tool));
        assert_eq!(beyond(&state, 100), None);
        state.apply_action(7, 300, &key, &ran(0, 100));
        state.apply_action(8, 300, &key, &ran(1, 105));
        assert_eq!(beyond(&state, 109), Some(Exceeded::Count));
        assert_eq!(beyond(&state, 110), None, "the first left the window");
        assert_eq!((state.ran_since("t", "a", 99), state.ran_since("t", "a", 100)), (2, 1));
        assert_eq!((state.ran_since("t", "b", 0), state.ran_since("u", "a", 0)), (0, 0));
    }

    #[test]
    fn what_ran_after_the_terms_were_made_is_not_granted_again() {
        let (mut state, key) = (Unchecked::default(), key("a", "p"));
        let told = |ran| LeaseDelta { ran, ..lease(&key) };
        assert_eq!(state.check_lease(&told(0), 105), Ok(()));
        state.apply_action(7, 105, &key, &ran(0, 100));
        assert_eq!(state.check_lease(&told(0), 105), Err(Conflict::Limit));
        assert_eq!(state.check_lease(&told(1), 105), Ok(()));
        assert_eq!(state.check_lease(&told(0), 110), Ok(()), "it left the window");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut state = Unchecked::default();
        for point in 0..MAX_POINTS {
            let lease = lease(&key("a", &point.to_string()));
            assert_eq!(state.check_lease(&lease, 0), Ok(()));
            state.apply_lease(1, 0, &lease);
            state.apply_lease(2, 0, &lease);
        }
        assert_eq!(state.check_lease(&lease(&key("a", "more")), 0), Err(Conflict::Registry));
        assert_eq!(state.check_lease(&lease(&key("a", "3")), 0), Ok(()), "a point renews its own");
        assert_eq!(state.check_lease(&lease(&key("b", "more")), 0), Ok(()));
        state.apply_action(1, 0, &key("a", "p"), &ran(0, 0));
        state.forget(JOURNAL_MS + 1);
        assert_eq!((state.leases.len(), state.lease_ends.len()), (0, 0));
        assert_eq!((state.journals.len(), state.journal_ends.len()), (0, 0));
    }
}
