//! The past as the candidate would know it: its own monitors, folded over what was recorded.
//!
//! Where the recorded facts answer everything the candidate asks, they stand. Only where it asks something
//! else is this fold asked, and it answers only while nothing is missing in it.

use std::collections::BTreeMap;

use callgate_core::decide::{Ask, plan};
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::history::{History, HistoryFacts, Monitor};
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_log::statement::Status;

use crate::past::Event;

/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;
/// How long an action may be open: a day.
const OPEN_MS: i64 = 24 * 60 * 60 * 1000;
/// What is in the keys of this fold's series. They stay in memory, so there is nothing to hide.
const BLIND: &[u8] = b"simulation";

/// The fold.
#[derive(Debug)]
pub(super) struct Past {
    history: History,
    blind: Digest,
    /// How far back any of its questions may reach, one over the other.
    reach_ms: i64,
    latest_ms: i64,
    /// Allowed requests, until their outcome.
    open: BTreeMap<u64, (i64, Box<Request>)>,
    /// When something happened that could not be read, last.
    gap_ms: Option<i64>,
}

/// How far back receipts may matter to the questions of these monitors.
pub(super) fn back(monitors: &[Monitor]) -> i64 {
    if monitors.is_empty() { 0 } else { reach(monitors).saturating_add(OPEN_MS) }
}

fn reach(monitors: &[Monitor]) -> i64 {
    monitors.iter().fold(MARGIN_MS, |sum, monitor| sum.saturating_add(monitor.reach_ms))
}

impl Past {
    /// Of a candidate that looks back. `begins_ms` is the time before which nothing will be folded in;
    /// `None` if all there is will be.
    pub(super) fn new(candidate: &Snapshot, begins_ms: Option<i64>) -> Option<Self> {
        let monitors = candidate.monitors();
        if monitors.is_empty() {
            return None;
        }
        let mut history = History::default();
        history.enforce(&monitors);
        Some(Self {
            history,
            blind: Digest::of(BLIND),
            reach_ms: reach(&monitors),
            latest_ms: 0,
            open: BTreeMap::new(),
            gap_ms: begins_ms,
        })
    }

    /// Puts the answers to the candidate's questions among the facts; `false` if they are not known.
    pub(super) fn answer(&self, candidate: &Snapshot, ask: &Ask, facts: &mut Facts) -> bool {
        if let Some(recorded) = &facts.history {
            let asked = plan(candidate, ask, &facts.credential, &recorded.blind).unwrap_or_default();
            if asked.iter().all(|query| recorded.answer(query).is_some()) {
                return true;
            }
        }
        let asked = plan(candidate, ask, &facts.credential, &self.blind).unwrap_or_default();
        let whole = self.gap_ms.is_none_or(|gap| facts.now_ms.saturating_sub(gap) >= self.reach_ms);
        if !asked.is_empty() && !whole {
            return false;
        }
        facts.history = Some(self.history.read(asked, facts.now_ms, self.blind));
        true
    }

    /// A request was decided at `index`.
    pub(super) fn decided(
        &mut self,
        candidate: &Snapshot,
        index: u64,
        now_ms: i64,
        request: &Request,
        allowed: bool,
    ) {
        let request = Box::new(request.clone());
        let event = Event::decided(request.clone(), allowed);
        self.happened(candidate, index, now_ms, &event);
        if allowed {
            self.open.insert(index, (now_ms, request));
        }
    }

    /// The action that `decision` allowed ended at `index`.
    pub(super) fn ended(
        &mut self,
        candidate: &Snapshot,
        index: u64,
        now_ms: i64,
        decision: u64,
        status: Status,
    ) {
        let Some((_, request)) = self.open.remove(&decision) else { return self.lost(now_ms) };
        let event = Event::ended(request, status);
        self.happened(candidate, index, now_ms, &event);
    }

    /// Something happened that cannot be read.
    pub(super) fn lost(&mut self, now_ms: i64) {
        self.gap_ms = Some(self.gap_ms.map_or(now_ms, |gap| gap.max(now_ms)));
    }

    /// As a publication of the candidate would fill it: what its monitors cannot tell of an event is left
    /// out there, too.
    fn happened(&mut self, candidate: &Snapshot, index: u64, now_ms: i64, event: &Event) {
        self.latest_ms = self.latest_ms.max(now_ms);
        let history: HistoryFacts =
            self.history.read(event.queries(candidate, &self.blind), now_ms, self.blind);
        let observations = event.observe(candidate, &history).unwrap_or_default();
        self.history.apply(index, self.latest_ms, &observations);
        let since = self.latest_ms.saturating_sub(OPEN_MS.saturating_add(MARGIN_MS));
        while self.open.first_key_value().is_some_and(|(_, (at, _))| *at < since) {
            self.open.pop_first();
        }
    }
}
