//! The index against all policies, and the plan against what is asked.

use std::collections::BTreeMap;

use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts};
use callgate_core::history::{History, Occurrence};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use proptest::prelude::*;

use crate::Bundle;
use crate::engine::{Engine, Policies};
use crate::lower::dogwood_of;

const TOOLS: &str = r#"{"tools": [
  {"name": "a", "annotations": {"readOnlyHint": true}, "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}, "n": {"type": "integer"}}}},
  {"name": "b", "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}, "n": {"type": "integer"}}}}
]}"#;

const POLICIES: &str = r#"
@id("1") forbid (principal == Agent::"p", action == Action::"s.a", resource)
when temporal { formerly within 1h Action::"s.b"::allowed{ input.x: context.input.x } };
@id("2") forbid (principal, action in [Action::"s.a", Action::"s.b"], resource)
when temporal { count_within(1h, Action::"s.a"::request{}) > 2 };
@id("3") permit (principal, action == Action::"s.b", resource)
when temporal { !Action::"s.a"::denied{} since within 1d Action::"s.b"::request{} };
@id("4") permit (principal, action, resource) when { context.risk_tags.contains("read") }
when temporal { sum_within(n, 1h, Action::"s.a"::allowed{ input.n: n }) < 9 };
@id("5") @history("session") forbid (principal, action == Action::"s.b", resource)
when temporal { previous within 1h Action::"s.a"::request{} };
@id("6") forbid (principal is Agent, action, resource == Tool::"s.b")
when temporal { count_distinct_within(x, 1h, Action::"s.a"::allowed{ input.x: x }) > 1 };
"#;

fn engine() -> Box<dyn Engine> {
    let files = [("tools/s.json", TOOLS), ("policies/p.dogwood", POLICIES)];
    let files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    dogwood_of(&Bundle::new(files, BTreeMap::new())).unwrap()
}

/// What the policies say, by id and sorted, with the errors.
fn said(evaluation: &Evaluation) -> Vec<(String, Option<String>)> {
    let mut said: Vec<_> =
        evaluation.verdicts.iter().map(|it| (it.rule.id.to_string(), it.error.clone())).collect();
    said.sort();
    said
}

fn request(who: &str, tool: &str, args: &str, session: bool) -> Request {
    let session = if session { r#","session":{"id":"one"}"# } else { "" };
    let text = format!(
        r#"{{"agent":{{"id":"{who}"}},"tool":{{"server":"s","name":"{tool}"}},"args":{args},"risk_tags":["read"]{session}}}"#
    );
    Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap()
}

fn step() -> impl Strategy<Value = (Request, i64, bool)> {
    let who = prop::sample::select(vec!["p", "q", "\u{440}"]);
    let tool = prop::sample::select(vec!["a", "b", "c", "\u{430}"]);
    let args = prop::sample::select(vec![
        r#"{"x":"u","n":3}"#,
        r#"{"x":"v","n":-1}"#,
        "{}",
        r#"{"x":7}"#,
        r#"{"n":"7"}"#,
        r#"{"n":0.5}"#,
    ]);
    (who, tool, args, 0i64..2_000_000, any::<bool>(), any::<bool>()).prop_map(
        |(who, tool, args, wait, allowed, session)| (request(who, tool, args, session), wait, allowed),
    )
}

proptest! {
    #[test]
    fn the_index_loses_nothing_and_the_plan_asks_for_everything(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let (all, policies) = (engine(), Policies::new(vec![engine()]));
        let mut history = History::default();
        history.enforce(policies.monitors());
        let (blind, mut now_ms) = (Digest::of(b"blind"), 0);
        let numbers: Vec<u32> = (0..6).collect();
        for ((request, wait, allowed), index) in steps.iter().zip(0u64..) {
            now_ms = i64::saturating_add(now_ms, *wait);
            let asked = Occurrence::Asked(request);
            let mut facts = Facts::new(Credential::Local, now_ms);
            facts.history = Some(history.read(policies.plan(&asked, &blind), now_ms, blind));
            let mut indexed = Evaluation::default();
            policies.evaluate(request, &facts, &mut indexed);
            let unread = indexed.verdicts.iter().filter_map(|it| it.error.as_deref());
            prop_assert!(unread.clone().all(|why| why != super::engine::UNREAD), "{:?}", said(&indexed));
            let mut everything = Facts::new(Credential::Local, now_ms);
            everything.history = Some(history.read(all.plan(&numbers, &asked, &blind), now_ms, blind));
            let mut whole = Evaluation::default();
            all.evaluate(&numbers, request, &everything, &mut whole);
            prop_assert_eq!(said(&indexed), said(&whole));
            let facts = facts.history.as_ref().unwrap();
            let decided = Occurrence::Decided { request, allowed: *allowed };
            match policies.observe(&decided, facts) {
                Ok(observations) => history.apply(index, now_ms, &observations),
                Err(why) => {
                    prop_assert!(why != super::engine::UNREAD);
                    history.apply(index, now_ms, &[]);
                }
            }
        }
    }
}

#[test]
fn a_restriction_that_cannot_read_the_history_fails_and_a_permission_does_not_permit() {
    let engine = engine();
    let facts = Facts::new(Credential::Local, 0);
    let mut evaluation = Evaluation::default();
    engine.evaluate(
        &(0..6).collect::<Vec<u32>>(),
        &request("p", "b", r#"{"x":"u"}"#, true),
        &facts,
        &mut evaluation,
    );
    let failed: Vec<String> = said(&evaluation)
        .into_iter()
        .map(|(id, error)| {
            assert_eq!(error.as_deref(), Some(super::engine::UNREAD));
            id
        })
        .collect();
    assert_eq!(failed, ["2", "3", "4", "5", "6"]);
}
