//! What a snapshot's limits would have counted, had it decided alone: the fold of its own decisions and of
//! the outcomes that were recorded.
//!
//! Decisions that the snapshot itself had made stand on the levels that were recorded with them. For all
//! others this fold is read, and it tells nothing of a meter that may lack something.

use std::collections::BTreeMap;

use callgate_core::decide::{Ask, Decided, levels};
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::limit::{Amount, Does, Ended, Gauge, Span};
use callgate_core::name::fold;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, DecisionDelta, Delta, OutcomeDelta, SessionKey, State};
use callgate_log::Statement;
use callgate_log::statement::{Body, Status};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The fold.
#[derive(Debug)]
pub(super) struct Counted {
    state: State,
    /// Whether anything may stop whoever asks, whatever it asks.
    breaks: bool,
    /// When something ran of which is not known what it takes, last.
    gap_ms: Option<i64>,
}

impl Counted {
    /// Of a snapshot that limits.
    pub(super) fn new(snapshot: &Snapshot) -> Option<Self> {
        if !snapshot.has_limits() {
            return None;
        }
        let breaks = snapshot.limits().iter().any(|limit| matches!(limit.does, Does::Breaker(_)));
        Some(Self { state: State::default(), breaks, gap_ms: None })
    }

    /// Puts the levels that the snapshot asks for among the facts; `false` if they are not known.
    pub(super) fn answer(&self, snapshot: &Snapshot, ask: &Ask, facts: &mut Facts) -> bool {
        let asks = levels(snapshot, ask, &facts.credential).unwrap_or_default();
        let request = match ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        if let Some(gap) = self.gap_ms {
            let since = facts.now_ms.saturating_sub(gap);
            let whole =
                asks.iter().all(|ask| reach(ask.gauge, ask.limit).is_some_and(|reach| since >= reach));
            if !whole || (self.breaks && request.is_some()) {
                return false;
            }
        }
        facts.limits = self.state.meters().facts(request, &facts.credential, Some(&asks), facts.now_ms);
        true
    }

    /// The snapshot decided at `index`.
    pub(super) fn decided(&mut self, index: u64, decided: &Decided, now_ms: i64) {
        self.count(index, decided.effects.clone(), now_ms);
    }

    /// What was recorded at `index` was not decided again. `own` if this snapshot had decided it.
    pub(super) fn lost(&mut self, index: u64, delta: &[u8], own: bool) {
        let Ok(Delta { change: Change::Decision(effects), now_ms }) = serde_json::from_slice(delta) else {
            self.gap_ms = Some(i64::MAX);
            return;
        };
        if own {
            self.count(index, effects, now_ms);
        } else if !effects.control {
            // It may have run under this snapshot, whatever was decided then.
            self.gap_ms = self.gap_ms.max(Some(now_ms));
        }
    }

    fn count(&mut self, index: u64, effects: DecisionDelta, now_ms: i64) {
        // Nothing of it matters here but what is taken, and nobody's session is kept for it.
        let effects = DecisionDelta {
            advance: None,
            approval: None,
            key: Some(nobody()),
            nonce: None,
            observations: Vec::new(),
            reads: None,
            slot: None,
            team: None,
            tried: None,
            ..effects
        };
        self.push(index, Change::Decision(effects), now_ms);
    }

    /// An action ended, if it is one that this snapshot let run. Where nothing was limited then, the state
    /// change does not say how, and the receipt does.
    pub(super) fn ended(&mut self, index: u64, payload: &[u8], outcome: &OutcomeDelta, now_ms: i64) {
        let known = match outcome.ended {
            Some(ended) => Some((ended, outcome.spent.clone())),
            None => ending(payload),
        };
        let Some((ended, spent)) = known else {
            self.gap_ms = self.gap_ms.max(Some(now_ms));
            return;
        };
        let outcome = OutcomeDelta {
            ended: Some(ended),
            key: nobody(),
            observations: Vec::new(),
            reads: None,
            spent,
            ..outcome.clone()
        };
        self.push(index, Change::Outcome(outcome), now_ms);
    }

    /// Something else happened to meters: more was spent, or a person reset a breaker.
    pub(super) fn changed(&mut self, index: u64, delta: &Delta) {
        if matches!(delta.change, Change::ActionSpent { .. } | Change::BreakerReset(_)) {
            self.push(index, delta.change.clone(), delta.now_ms);
        }
    }

    fn push(&mut self, index: u64, change: Change, now_ms: i64) {
        // No level depends on a receipt's bytes, so its place stands for them.
        let payload = Digest::of(&index.to_be_bytes());
        self.state.apply(index, payload.as_bytes(), &Delta { change, now_ms });
    }
}

/// How an action ended by its outcome's receipt, and what it cost by folded unit.
fn ending(payload: &[u8]) -> Option<(Ended, BTreeMap<String, Amount>)> {
    let statement = Statement::parse(payload).ok()?;
    let Body::Outcome(outcome) = statement.body() else { return None };
    let ended = match outcome.status {
        Status::Succeeded => Ended::Succeeded,
        Status::Failed | Status::TimedOut | Status::Unknown => Ended::Failed,
        Status::Cancelled => Ended::Cancelled,
        Status::NotRun => Ended::NotRun,
    };
    let mut spent: BTreeMap<String, Amount> = BTreeMap::new();
    for (unit, cost) in outcome.cost.iter().flat_map(|costs| costs.iter()) {
        let cost: Amount = cost.as_str().parse().ok()?;
        let most = spent.entry(fold(unit)).or_default();
        *most = cost.max(*most);
    }
    Some((ended, spent))
}

/// A session that is none.
const fn nobody() -> SessionKey {
    SessionKey { agent: String::new(), session: String::new(), tenant: String::new() }
}

/// How long something that was taken may matter to a meter; `None` for ever.
fn reach(gauge: Gauge, limit: Amount) -> Option<i64> {
    let ms = |ms: u64| i64::try_from(ms).ok();
    match gauge {
        Gauge::Sum { over: Span::Life {} } => None,
        Gauge::Sum { over: Span::Hour {} } => Some(HOUR_MS),
        Gauge::Sum { over: Span::Day {} } => Some(DAY_MS),
        Gauge::Sum { over: Span::Month {} } => Some(DAY_MS.saturating_mul(31)),
        // A part of a window may last a little longer than the window.
        Gauge::Sum { over: Span::Rolling { ms: window } } => ms(window.saturating_add(window.div_ceil(512))),
        Gauge::Bucket { interval_ns } => ms(limit.ceil().saturating_mul(interval_ns).div_ceil(1_000_000)),
        Gauge::Distinct { ms: window } | Gauge::Failures { ms: window } => ms(window),
    }
}
