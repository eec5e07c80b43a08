//! A decision that a judge has a part in: asked outside, receipted, replayed without it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use callgate_core::finding::{Answer, Answering, Finding, Judge, Question, Ruling};
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{Asked, Credential, Decided, Gate, GateOptions};
use callgate_log::statement::{Body, Finding as Receipted};
use callgate_log::{Statement, sha256};
use callgate_policy::Bundle;
use callgate_store::{Keyring, OsRandom};
use common::{World, bundle, call};

const RULES: &str = r#"
version: v1
rules:
  - {id: write, match: {tools: ["files.*"]}, decision: allow}
  - {id: never, match: {tools: ["files.drop"]}, when: "args.path != ''", decision: deny}
  - id: tidy
    match: {tools: ["files.*"]}
    judge: {policy: "Writes only tidy text.", on_failure: require_approval}
    decision: deny
"#;

fn judged() -> Bundle {
    bundle(&[("callgate.yaml", "version: v1\njudge: {model: m, timeout: 1500ms}\n"), ("rules/r.yaml", RULES)])
}

/// A judge that does as it is told.
#[derive(Debug)]
struct Told {
    ruling: Ruling,
    takes: Duration,
    about: Option<Question>,
    panics: bool,
    asked: AtomicUsize,
}

impl Told {
    fn rules(ruling: Ruling) -> Self {
        Self { ruling, takes: Duration::ZERO, about: None, panics: false, asked: AtomicUsize::new(0) }
    }
}

impl Judge for Told {
    fn answer<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            assert!(!self.panics, "a judge that panics");
            let question = self.about.as_ref().unwrap_or(question).digest;
            let confidence = "0.9".parse().expect("a decimal");
            let answer = Answer::Given { model: "m-1".into(), ruling: self.ruling, confidence };
            Finding { question, answer, latency_ms: 4, cached: false }
        })
    }
}

async fn open(world: &World, judge: Option<Arc<Told>>) -> Arc<Gate> {
    let judge = judge.map(|judge| judge as Arc<dyn Judge>);
    let options = GateOptions { segment_bytes: 4 << 20, judge, ..GateOptions::default() };
    let opened =
        Gate::open(world.fs(), world.clock.clone(), Arc::new(OsRandom), Some(&judged()), options).await;
    opened.expect("opens").gate
}

async fn ask(gate: &Gate, tool: &str) -> Decided {
    gate.decide(Asked::Bytes(call(tool, "")), Credential::Development).await.expect("a decision")
}

/// The findings of the newest receipt.
fn findings(gate: &Gate) -> Vec<Receipted> {
    let last = gate.scan().last().expect("a receipt").expect("readable");
    match Statement::parse(&last.payload).expect("a receipt").body() {
        Body::Decision(decision) => decision.findings.clone(),
        other => panic!("{other:?}"),
    }
}

/// Every decision of the log, decided again.
fn replay(world: &World, gate: &Gate) -> usize {
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    let mut same = 0;
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match replay.push(&receipt, &keyring) {
            Replayed::Same => same += 1,
            Replayed::NotADecision => {}
            other => panic!("receipt {}: {other:?}", receipt.index),
        }
    }
    same
}

#[tokio::test]
async fn an_answer_decides_and_is_receipted_and_replayed() {
    for (ruling, decision) in
        [(Ruling::Complies, "ALLOW"), (Ruling::Violates, "DENY"), (Ruling::Unsure, "REQUIRE_APPROVAL")]
    {
        let world = World::new(21);
        let judge = Arc::new(Told::rules(ruling));
        let gate = open(&world, Some(Arc::clone(&judge))).await;
        let decided = ask(&gate, "write").await;
        assert_eq!(decided.reply.decision.as_str(), decision);
        assert_eq!(decided.permit.is_some(), ruling == Ruling::Complies);
        let found = findings(&gate);
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((finding.rule.as_str(), finding.model.as_deref()), ("tidy", Some("m-1")));
        assert_eq!(finding.confidence.as_ref().map(|it| it.as_str()), Some("0.9"));
        assert_eq!((finding.latency_ms.get(), finding.cached), (4, false));
        assert_eq!(judge.asked.load(Ordering::SeqCst), 1);
        // The judge is gone; the log is enough.
        assert_eq!(replay(&world, &gate), 1);
    }
}

#[tokio::test]
async fn a_judge_is_not_asked_about_what_is_denied_anyway() {
    let world = World::new(22);
    let judge = Arc::new(Told::rules(Ruling::Complies));
    let gate = open(&world, Some(Arc::clone(&judge))).await;
    assert_eq!(ask(&gate, "drop").await.reply.matched_rule.as_deref(), Some("never"));
    assert!(findings(&gate).is_empty());
    assert_eq!(
        ask(&gate, "other.tool").await.reply.code.map(|it| it.to_string()).as_deref(),
        Some("NO_POLICY_MATCH")
    );
    assert_eq!(judge.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_a_judge_the_stricter_decision_holds_and_says_so() {
    let world = World::new(23);
    let gate = open(&world, None).await;
    assert_eq!(gate.missing_judge().as_deref(), Some("m"));
    let decided = ask(&gate, "write").await;
    assert_eq!(decided.reply.decision.as_str(), "REQUIRE_APPROVAL");
    assert!(decided.permit.is_none());
    assert_eq!(findings(&gate)[0].failure.as_deref(), Some("not_configured"));
    assert_eq!(replay(&world, &gate), 1);
}

#[tokio::test]
async fn a_slow_judge_leaves_time_for_the_receipt() {
    let world = World::new(24);
    let judge = Told { takes: Duration::from_secs(60), ..Told::rules(Ruling::Complies) };
    let gate = open(&world, Some(Arc::new(judge))).await;
    let began = Instant::now();
    let decided = ask(&gate, "write").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(decided.reply.decision.as_str(), "REQUIRE_APPROVAL");
    assert!(decided.reply.receipt_index.is_some());
    let found = findings(&gate);
    assert_eq!(found[0].failure.as_deref(), Some("timeout"));
    assert!(found[0].latency_ms.get() >= 1400, "{}", found[0].latency_ms);
    assert_eq!(replay(&world, &gate), 1);
}

#[tokio::test]
async fn a_judge_that_fails_or_answers_something_else_restricts() {
    let other = Question {
        digest: callgate_core::digest::Digest::of(b"another question"),
        model: "m".into(),
        instructions: String::new(),
        data: String::new(),
        max_tokens: 1,
        timeout_ms: 1,
    };
    let cases = [
        (Told { panics: true, ..Told::rules(Ruling::Complies) }, "internal"),
        (Told { about: Some(other), ..Told::rules(Ruling::Complies) }, "malformed"),
    ];
    for (judge, failure) in cases {
        let world = World::new(25);
        let gate = open(&world, Some(Arc::new(judge))).await;
        assert_eq!(ask(&gate, "write").await.reply.decision.as_str(), "REQUIRE_APPROVAL");
        assert_eq!(findings(&gate)[0].failure.as_deref(), Some(failure));
    }
}

/// What was shown is committed to with the receipt's salt, and nothing of it is in the tree.
#[tokio::test]
async fn a_receipt_does_not_tell_what_the_judge_was_shown() {
    let world = World::new(26);
    let gate = open(&world, Some(Arc::new(Told::rules(Ruling::Complies)))).await;
    let (first, second) = (ask(&gate, "write").await, ask(&gate, "write").await);
    assert!(first.permit.is_some() && second.permit.is_some());
    let all: Vec<_> = gate.scan().map(|receipt| receipt.expect("readable")).collect();
    let commitments: Vec<_> = all
        .iter()
        .filter_map(|receipt| match Statement::parse(&receipt.payload).expect("a receipt").body() {
            Body::Decision(decision) => Some(decision.findings[0].question_commitment),
            _ => None,
        })
        .collect();
    let [one, other] = commitments.as_slice() else { panic!("{commitments:?}") };
    assert_ne!(one, other, "the same question, under another salt");
    assert_ne!(*one, sha256(b""));
    for receipt in &all {
        for bytes in [&receipt.payload, &receipt.delta, &receipt.attachment] {
            assert!(!String::from_utf8_lossy(bytes).contains("secret-path-7"));
        }
    }
}
