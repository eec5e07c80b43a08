//! Contracts over whole sessions: what is asked, in order, and the code each request gets.

#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::contract::{Contract, rule_of};
use callgate_core::decide::{Ask, decide};
use callgate_core::decision::{Code, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::Credential;
use callgate_core::json::Limits;
use callgate_core::pattern::Pattern;
use callgate_core::request::Request;
use callgate_core::snapshot::{Defaults, Snapshot};
use callgate_core::state::{Change, Conflict, Delta, State};

fn contract(id: &str, seal_on: &[&str], agents: &[&str]) -> Contract {
    let set = |words: &[&str]| words.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    Contract {
        rule: Arc::new(rule_of(
            id,
            Source { file: "contracts/c.yaml".into(), line: 1, column: 1 },
            Digest::of(b""),
        )),
        steps: ["intake", "review", "execution", "settle"].map(String::from).to_vec(),
        actions: Some(BTreeMap::from([
            ("intake".to_owned(), set(&["READ_INPUT"])),
            ("review".to_owned(), set(&["READ_INPUT"])),
            ("execution".to_owned(), set(&["WRITE_DB", "EMIT_EVENT"])),
            ("settle".to_owned(), set(&["WRITE_SUMMARY", "SEAL_SEQUENCE"])),
        ])),
        seal_at: "settle".to_owned(),
        seal_on: set(seal_on),
        agents: agents.iter().map(|pattern| Pattern::new(pattern).unwrap()).collect(),
    }
}

fn snapshot(contracts: Vec<Contract>) -> Snapshot {
    Snapshot {
        digest: Digest::of(b"contracts"),
        modules: Vec::new(),
        contracts,
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    }
}

/// Plays `function/action` requests of one session and compares the codes (`-` for an allow).
fn play(contracts: Vec<Contract>, session: &str, script: &[(&str, &str)]) {
    let snapshot = snapshot(contracts);
    let mut state = State::default();
    for (index, (asked, expected)) in (0u64..).zip(script) {
        let (function, action) = asked.split_once('/').unwrap();
        let mut fields = String::new();
        if !session.is_empty() {
            fields.push_str(&format!(r#""id":"{session}","#));
        }
        if !action.is_empty() {
            fields.push_str(&format!(r#""action_type":"{action}","#));
        }
        let text = if function.is_empty() {
            format!(r#"{{"agent":{{"id":"loan-bot"}},"topic":"t","session":{{"id":"{session}"}}}}"#)
        } else {
            format!(r#"{{"agent":{{"id":"loan-bot"}},"session":{{{fields}"function":"{function}"}}}}"#)
        };
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let facts = state.facts(Some(&request), Credential::Development, 1);
        let decided = decide(&snapshot, Ask::Request(Box::new(request)), &facts);
        let code = decided.settled.code.map_or("-", Code::as_str);
        assert_eq!(code, *expected, "request {index}: {asked}: {:?}", decided.settled.reasons);
        let delta = Delta { change: Change::Decision(decided.effects), now_ms: 1 };
        assert_eq!(state.check(&delta), Ok(()));
        state.apply(index, &[0; 32], &delta);
        if !session.is_empty() {
            assert_eq!(state.check(&delta), Err(Conflict::Session), "the same facts cannot be used twice");
        }
    }
}

#[test]
fn a_session_runs_in_order_to_its_seal() {
    play(
        vec![contract("loan", &["SEAL_SEQUENCE"], &[])],
        "s1",
        &[
            ("execution/WRITE_DB", "SEQUENCE_VIOLATION"),
            ("intake/WRITE_DB", "ACTION_NOT_ALLOWED"),
            ("intake/", "ACTION_NOT_ALLOWED"),
            ("intake/READ_INPUT", "-"),
            ("intake/READ_INPUT", "-"),
            ("execution/WRITE_DB", "SEQUENCE_VIOLATION"),
            ("review/READ_INPUT", "-"),
            ("intake/READ_INPUT", "SEQUENCE_VIOLATION"),
            ("execution/WRITE_DB", "-"),
            ("execution/EMIT_EVENT", "-"),
            ("settle/WRITE_SUMMARY", "-"),
            ("settle/SEAL_SEQUENCE", "-"),
            ("settle/WRITE_SUMMARY", "SEALED_SEQUENCE"),
            ("intake/READ_INPUT", "SEALED_SEQUENCE"),
        ],
    );
}

#[test]
fn without_seal_on_any_action_of_the_last_step_seals() {
    play(
        vec![contract("loan", &[], &[])],
        "s1",
        &[
            ("intake/READ_INPUT", "-"),
            ("review/READ_INPUT", "-"),
            ("execution/EMIT_EVENT", "-"),
            ("settle/WRITE_SUMMARY", "-"),
            ("settle/SEAL_SEQUENCE", "SEALED_SEQUENCE"),
        ],
    );
}

#[test]
fn unknown_functions_have_no_policy() {
    play(
        vec![contract("loan", &[], &[])],
        "s1",
        &[
            ("teleport/READ_INPUT", "NO_POLICY_MATCH"),
            ("intake/READ_INPUT", "-"),
            // Out of order and unknown: the order comes first in the codes.
            ("teleport/READ_INPUT", "SEQUENCE_VIOLATION"),
        ],
    );
}

#[test]
fn a_contract_needs_a_session() {
    play(vec![contract("loan", &[], &[])], "", &[("intake/READ_INPUT", "SEQUENCE_VIOLATION")]);
}

#[test]
fn a_session_that_began_under_a_contract_cannot_leave_it_by_naming_no_step() {
    play(vec![contract("loan", &[], &[])], "s1", &[("intake/READ_INPUT", "-"), ("/", "SEQUENCE_VIOLATION")]);
}

#[test]
fn an_agent_that_must_follow_a_contract_cannot_leave_out_the_step() {
    play(
        vec![contract("loan", &[], &["loan-*"])],
        "s1",
        &[("/", "SEQUENCE_VIOLATION"), ("intake/READ_INPUT", "-")],
    );
    play(vec![contract("loan", &[], &["other-*"])], "s1", &[("/", "NO_POLICY_MATCH")]);
}

#[test]
fn nonces_and_open_actions_are_forgotten_in_their_time() {
    let snapshot = snapshot(vec![contract("loan", &[], &[])]);
    let mut state = State::default();
    let ask = |state: &mut State, index: u64, nonce: &str, now: i64| {
        let text = format!(
            r#"{{"agent":{{"id":"b"}},"session":{{"id":"s{index}","function":"intake","action_type":"READ_INPUT"}},"nonce":"{nonce}","ts_ms":{now}}}"#
        );
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let facts = state.facts(Some(&request), Credential::Development, now);
        let decided = decide(&snapshot, Ask::Request(Box::new(request.clone())), &facts);
        let delta = Delta { change: Change::Decision(decided.effects), now_ms: now };
        assert_eq!(state.check(&delta), Ok(()));
        state.apply(index, &[0; 32], &delta);
        request
    };
    let first = ask(&mut state, 0, "n", 1_000);
    let used = |state: &State, at: i64| state.facts(Some(&first), Credential::Development, at).nonce_used;
    assert!(used(&state, 1_000));
    // As long as the request is fresh its nonce is known: five minutes and not less.
    ask(&mut state, 1, "m", 1_000 + 300_000);
    assert!(used(&state, 301_000));
    ask(&mut state, 2, "l", 1_000 + 300_001);
    assert!(!used(&state, 301_001));
    assert!(state.open_action(0).is_some());
    ask(&mut state, 3, "k", 1_000 + 24 * 60 * 60 * 1000 + 1);
    assert!(state.open_action(0).is_none());
}
