//! The fold of stops: what a decision must know of them to be committed.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot do")]

use callgate_core::state::{Change, Conflict, Delta, State};

fn delta(change: &str) -> Delta {
    Delta { change: serde_json::from_str::<Change>(change).unwrap(), now_ms: 1 }
}

fn decision(more: &str) -> Delta {
    let key = r#""key":{"agent":"bot","session":"","tenant":"default"}"#;
    delta(&format!(r#"{{"kind":"decision","epoch":0,{key},"snapshot":0,"version":0{more}}}"#))
}

#[test]
fn what_lets_something_run_must_know_the_newest_stop() {
    let mut state = State::default();
    let running = |stops: u64| decision(&format!(r#","open_until_ms":9,"stops":{stops}"#));
    assert_eq!(state.check(&decision(r#","open_until_ms":9"#)), Ok(()));
    let stop = delta(r#"{"kind":"stop_created","by":"ana","scope":{"scope":"agent","agent":"other"}}"#);
    assert_eq!(state.check(&stop), Ok(()));
    state.apply(5, &[0; 32], &stop);
    assert_eq!(state.check(&running(0)), Err(Conflict::Stopped));
    assert_eq!(state.check(&running(5)), Ok(()));
    assert_eq!(state.check(&running(6)), Err(Conflict::Stopped), "nor one that never was");
    assert_eq!(state.check(&decision("")), Ok(()), "a denial is one whatever was stopped");
    let same = delta(r#"{"kind":"stop_created","by":"ben","scope":{"scope":"agent","agent":"0THER"}}"#);
    assert_eq!(state.check(&same), Err(Conflict::Registry), "one stop for one scope");
    let lift = delta(r#"{"kind":"stop_lifted","stop":5}"#);
    state.apply(7, &[0; 32], &lift);
    assert!(state.stops().is_empty());
    assert_eq!(state.check(&lift), Err(Conflict::Registry));
    assert_eq!(state.check(&running(5)), Ok(()), "what was decided while it held may run, if it could then");
    // What was decided before it may not, though it was lifted since.
    assert_eq!(state.check(&running(0)), Err(Conflict::Stopped));
}

#[test]
fn stops_are_written_out_and_read_back() {
    let mut state = State::default();
    for (index, scope) in [(3, r#"{"scope":"everything"}"#), (4, r#"{"scope":"tool","tool":"files.read"}"#)] {
        let change = format!(r#"{{"kind":"stop_created","by":"ana","note":"loops","scope":{scope}}}"#);
        state.apply(index, &[0; 32], &delta(&change));
    }
    let written = serde_json::to_vec(&state).unwrap();
    let read: State = serde_json::from_slice(&written).unwrap();
    assert_eq!(read.stops(), state.stops());
    assert_eq!(read.stops().newest(), 4);
}
