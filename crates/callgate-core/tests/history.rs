//! What of the history a commit depends on.

use callgate_core::digest::Digest;

use callgate_core::history::{Measure, Monitor, Observation, Query, Question, Reads, SeriesId};
use callgate_core::state::{
    Change, Conflict, DecisionDelta, Delta, OutcomeDelta, SessionKey, SnapshotRef, State,
};

const HOUR: i64 = 3_600_000;

fn monitor() -> Monitor {
    Monitor { id: Digest::of(b"monitor"), measure: Measure::Totals, reach_ms: HOUR }
}

fn series() -> SeriesId {
    SeriesId { key: Digest::of(b"key"), monitor: monitor().id }
}

fn decision(at: Option<u64>, observes: bool) -> DecisionDelta {
    let seen = Observation { name: None, number: 0, series: series() };
    DecisionDelta {
        advance: None,
        approval: None,
        charged: None,
        control: false,
        epoch: 1,
        key: Some(SessionKey { agent: "bot".into(), session: String::new(), tenant: "default".into() }),
        nonce: None,
        observations: if observes { vec![seen] } else { Vec::new() },
        open_until_ms: Some(i64::MAX),
        reads: at.map(|as_of| Reads { as_of, series: vec![series()] }),
        running: None,
        slot: None,
        snapshot: 1,
        stops: 0,
        team: None,
        tried: None,
        unchecked: None,
        version: 0,
    }
}

/// A state whose policies watch `monitors`, with one allowed action at 1.
fn state(monitors: Vec<Monitor>) -> State {
    let mut state = State::default();
    let snapshot = SnapshotRef { blind: None, digest: String::new(), monitors, version: 1 };
    state.apply(0, &[0; 32], &Delta { change: Change::SnapshotActivated(snapshot), now_ms: 0 });
    state.apply(1, &[1; 32], &Delta { change: Change::Decision(decision(None, true)), now_ms: 0 });
    state
}

#[test]
fn what_was_read_must_not_have_moved_on_and_must_be_recent() {
    let mut state = state(vec![monitor()]);
    let check = |state: &State, as_of, now_ms| {
        state.check(&Delta { change: Change::Decision(decision(Some(as_of), false)), now_ms })
    };
    assert_eq!(check(&state, 2, 0), Ok(()));
    assert_eq!(check(&state, 1, 0), Err(Conflict::History));
    state.apply(2, &[2; 32], &Delta { change: Change::Noted {}, now_ms: 60_000 });
    assert_eq!(check(&state, 2, 0), Ok(()));
    state.apply(3, &[3; 32], &Delta { change: Change::Noted {}, now_ms: 60_001 });
    assert_eq!(check(&state, 2, 0), Err(Conflict::History));
    assert_eq!(check(&state, 2, 1), Ok(()));
}

/// A replay reads after receipts that came between reading and committing.
#[test]
fn what_a_slow_decision_read_is_still_there_when_it_commits() {
    let mut state = state(vec![monitor()]);
    let query = Query { series: series(), question: Question::Seen { unless: Vec::new() }, within_ms: HOUR };
    let blind = Digest::of(b"blind");
    let before = state.history().read(vec![query.clone()], HOUR, blind);
    assert_eq!(before.reads(), Some(Reads { as_of: 2, series: vec![series()] }));
    state.apply(2, &[2; 32], &Delta { change: Change::Noted {}, now_ms: HOUR + 60_000 });
    assert_eq!(state.history().read(vec![query], HOUR, blind).readings, before.readings);
    state.apply(3, &[3; 32], &Delta { change: Change::Noted {}, now_ms: HOUR + 60_001 });
    assert_eq!(state.history().series(), 0, "memory follows the windows");
}

#[test]
fn an_outcome_that_asked_no_monitors_is_not_recorded_under_any() {
    let outcome = |epoch| OutcomeDelta {
        decision: 1,
        key: SessionKey { agent: "bot".into(), session: String::new(), tenant: "default".into() },
        ended: None,
        observations: Vec::new(),
        reads: None,
        spent: std::collections::BTreeMap::new(),
        epoch,
        version: 0,
    };
    let check = |state: &State, snapshot| {
        state.check(&Delta { change: Change::Outcome(outcome(snapshot)), now_ms: 0 })
    };
    let watching = state(vec![monitor()]);
    assert_eq!(check(&watching, None), Err(Conflict::Snapshot));
    assert_eq!(check(&watching, Some(2)), Err(Conflict::Snapshot));
    assert_eq!(check(&watching, Some(1)), Ok(()));
    assert_eq!(check(&state(Vec::new()), None), Ok(()));
}
