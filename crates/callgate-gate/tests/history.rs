//! Policies that ask about the past, at the gate: one moment for all facts, a history that is filled
//! before it is asked, and a replay that finds the same.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::sync::Arc;

use callgate_core::state::SessionKey;
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{Asked, Credential, Gate, OutcomeReport, OutcomeStatus};
use callgate_log::{Body, Statement};
use callgate_policy::Bundle;
use callgate_store::sim::Faults;
use callgate_store::{Keyring, OsRandom};
use common::{NOW, World, ask, bundle, code, flips_nothing_of_its_own};
use proptest::prelude::*;

const TOOLS: &str = r#"{"tools": [
  {"name": "refund", "inputSchema": {"type": "object", "properties": {"charge": {"type": "string"}}}},
  {"name": "login", "inputSchema": {"type": "object", "properties": {}}},
  {"name": "logout", "inputSchema": {"type": "object", "properties": {}}}
]}"#;

const RULES: &str = "version: v1
rules:
  - {id: any, scope: {agents: ['*']}, match: {tools: ['shop.*']}, decision: allow}
";

/// At most three a day; only between login and logout; not a charge twice an hour.
const LIMIT: &str = r#"@id("three") forbid (principal, action == Action::"shop.refund", resource)
when temporal { count_within(24h, Action::"shop.refund"::allowed{}) > 3 };"#;
const BETWEEN: &str = r#"@id("out") forbid (principal, action == Action::"shop.refund", resource)
unless temporal { !Action::"shop.logout"::allowed{} since within 8h Action::"shop.login"::response{} };"#;
const TWICE: &str = r#"@id("twice") forbid (principal, action == Action::"shop.refund", resource)
when temporal { count_within(1h, Action::"shop.refund"::allowed{ input.charge: context.input.charge }) > 1 };"#;

fn with(policies: &str) -> Bundle {
    bundle(&[("rules/r.yaml", RULES), ("tools/shop.json", TOOLS), ("policies/p.dogwood", policies)])
}

fn without() -> Bundle {
    bundle(&[("rules/r.yaml", RULES), ("tools/shop.json", TOOLS)])
}

fn call(tool: &str, charge: u64, session: u64) -> Vec<u8> {
    format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"shop","name":"{tool}"}},"args":{{"charge":"c{charge}"}},"session":{{"id":"s{session}"}}}}"#
    )
    .into_bytes()
}

/// A call outside of any session.
fn loose(tool: &str, charge: u64) -> Vec<u8> {
    format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"shop","name":"{tool}"}},"args":{{"charge":"c{charge}"}}}}"#
    )
    .into_bytes()
}

/// Decides, and reports how an allowed action ended.
async fn run(gate: &Gate, tool: &str, session: u64, status: OutcomeStatus) -> String {
    let decided = ask(gate, call(tool, 0, session)).await;
    if let Some(permit) = &decided.permit {
        let report = OutcomeReport::new(permit.ground().number(), status);
        gate.report(report, &Credential::Development).await.expect("reported");
    }
    decided.reply.code.map_or_else(|| decided.reply.decision.to_string(), |code| code.to_string())
}

/// Law 4 over a whole log, and the number of decisions in it.
fn replays(world: &World, gate: &Gate) -> usize {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    let mut decisions = 0;
    flips_nothing_of_its_own(gate, &keyring);
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match replay.push(&receipt, &keyring) {
            Replayed::Same => decisions += 1,
            Replayed::NotADecision | Replayed::Erased => {}
            other => panic!("receipt {}: {other:?}", receipt.index),
        }
    }
    decisions
}

/// What each activation says of the history it found.
fn activations(gate: &Gate, detail: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for receipt in gate.scan() {
        let statement = Statement::parse(&receipt.expect("readable").payload).expect("a receipt");
        if let Body::Admin(admin) = statement.body()
            && admin.operation == "snapshot.activate"
        {
            found.push(admin.details.get(detail).cloned());
        }
    }
    found
}

#[tokio::test]
async fn the_history_is_asked_kept_through_a_restart_and_replayed() {
    let world = World::new(31);
    {
        let gate = world.open(Some(&with(&format!("{LIMIT}\n{BETWEEN}")))).await.expect("opens");
        assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
        assert_eq!(run(&gate, "login", 1, OutcomeStatus::Failed).await, "ALLOW");
        assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
        assert_eq!(run(&gate, "login", 1, OutcomeStatus::Succeeded).await, "ALLOW");
        for _ in 0..2 {
            assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
        }
        gate.close();
    }
    let gate = world.open(None).await.expect("opens again");
    assert_eq!(gate.snapshot().0, "v1", "what it watches is what was recorded");
    assert_eq!(run(&gate, "refund", 2, OutcomeStatus::Unknown).await, "ALLOW");
    let dry = gate.dry_run(Asked::Bytes(call("refund", 0, 1)), &Credential::Development);
    assert_eq!(dry.matched_rule.as_deref(), Some("three"));
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    world.clock.set(NOW + 86_400_001);
    assert_eq!(
        run(&gate, "refund", 1, OutcomeStatus::Succeeded).await,
        "DENIED_BY_RULE",
        "logged in too long ago"
    );
    assert_eq!(run(&gate, "login", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    assert_eq!(run(&gate, "logout", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    assert_eq!(replays(&world, &gate), 13);
}

/// What a receipt knew of the past cannot be exchanged.
#[tokio::test]
async fn a_log_with_an_outcome_left_out_does_not_replay() {
    let world = World::new(32);
    let gate = world.open(Some(&with(BETWEEN))).await.expect("opens");
    run(&gate, "login", 1, OutcomeStatus::Succeeded).await;
    run(&gate, "refund", 2, OutcomeStatus::Succeeded).await;
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let receipts: Vec<_> = gate.scan().map(|r| r.expect("readable")).collect();
    let mut replay = Replay::new();
    let login = receipts.iter().position(|r| r.delta.starts_with(br#"{"change":{"kind":"outcome""#));
    let login = login.expect("an outcome");
    let mut differs = Vec::new();
    for (at, receipt) in receipts.iter().enumerate() {
        if at != login
            && let Replayed::Differs(found) = replay.push(receipt, &keyring)
        {
            differs.extend(found.into_iter().map(|one| one.field));
        }
    }
    assert!(differs.contains(&"facts.history".to_owned()), "{differs:?}");
}

/// Two calls never both take the last one that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_many_at_once_exactly_three_are_allowed() {
    let world = World::new(33);
    let gate = world.open(Some(&with(LIMIT))).await.expect("opens");
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let gate = gate.clone();
            let bytes = if task % 2 == 0 { loose("refund", task) } else { call("refund", task, task) };
            tokio::spawn(async move { code(&gate, bytes).await })
        })
        .collect();
    let mut allowed = 0;
    for task in tasks {
        match task.await.expect("no task panics").as_str() {
            "ALLOW" => allowed += 1,
            other => assert_eq!(other, "DENIED_BY_RULE"),
        }
    }
    assert_eq!(allowed, 3);
    assert_eq!(replays(&world, &gate), 64);
}

#[tokio::test]
async fn a_policy_published_today_sees_yesterday() {
    let world = World::new(34);
    let gate = world.open(Some(&without())).await.expect("opens");
    for tool in ["login", "refund", "refund", "refund"] {
        assert_eq!(run(&gate, tool, 1, OutcomeStatus::Succeeded).await, "ALLOW");
    }
    assert!(gate.publish(&with(&format!("{LIMIT}\n{BETWEEN}")), "operator").await.expect("published"));
    let dry = gate.dry_run(Asked::Bytes(call("refund", 0, 1)), &Credential::Development);
    assert_eq!(dry.matched_rule.as_deref(), Some("three"));
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    // Only what is new is filled; what was kept goes on.
    assert!(gate.publish(&with(&format!("{LIMIT}\n{TWICE}")), "operator").await.expect("published"));
    assert_eq!(code(&gate, loose("refund", 7)).await, "DENIED_BY_RULE");
    assert_eq!(
        activations(&gate, "history_observations"),
        [None, Some("4".to_owned()), Some("3".to_owned())]
    );
    // Without a policy that looks back nothing is kept; with it again it is found again.
    assert!(gate.publish(&without(), "operator").await.expect("published"));
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    gate.close();
    drop(gate);
    let gate = world.open(Some(&with(LIMIT))).await.expect("opens with a new bundle");
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    world.clock.set(NOW + 86_400_001);
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    replays(&world, &gate);
}

#[tokio::test]
async fn what_was_erased_cannot_be_filled_and_the_activation_says_so() {
    let world = World::new(35);
    let gate = world.open(Some(&without())).await.expect("opens");
    for session in [1, 1, 2] {
        assert_eq!(run(&gate, "refund", session, OutcomeStatus::Succeeded).await, "ALLOW");
    }
    let key = SessionKey { agent: "bot".into(), session: "s1".into(), tenant: "default".into() };
    gate.erase_session(key.clone(), "operator").await.expect("erased");
    assert!(gate.publish(&with(LIMIT), "operator").await.expect("published"));
    assert_eq!(activations(&gate, "history_erased_sessions"), [None, Some("1".to_owned())]);
    // One is left of three, so two more may be.
    for expected in ["ALLOW", "ALLOW", "DENIED_BY_RULE"] {
        assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, expected);
    }
    // What was kept while it could be read stays counted, also for a policy published again.
    gate.erase_session(key, "operator").await.expect("erased");
    assert!(gate.publish(&without(), "operator").await.expect("published"));
    assert!(gate.publish(&with(LIMIT), "operator").await.expect("published"));
    assert_eq!(run(&gate, "refund", 3, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    replays(&world, &gate);
}

/// Nobody slips between what a publication read of the log and its place in the log: whatever was
/// allowed, or ended, is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens_between_the_filling_and_the_activation() {
    let ended = TWICE.replace("allowed{", "response{").replace("> 1", "> 0");
    for (round, policy) in [TWICE, &ended].into_iter().enumerate() {
        let world = World::new(36);
        let gate = world.open(Some(&without())).await.expect("opens");
        let tasks: Vec<_> = (0..4u64)
            .map(|task| {
                let gate = gate.clone();
                tokio::spawn(async move {
                    let (mut after, mut charge) = (0, task);
                    while after < 5 {
                        after += u64::from(gate.snapshot().0 == "v2");
                        let permit = ask(&gate, loose("refund", charge)).await.permit.expect("allowed once");
                        let report = OutcomeReport::new(permit.ground().number(), OutcomeStatus::Succeeded);
                        gate.report(report, &Credential::Development).await.expect("reported");
                        charge += 4;
                    }
                    charge
                })
            })
            .collect();
        while gate.size() < 60 {
            tokio::task::yield_now().await;
        }
        assert!(gate.publish(&with(policy), "operator").await.expect("published"));
        for task in tasks {
            let end = task.await.expect("no decision failed");
            for charge in (0..end).filter(|charge| charge % 4 == end % 4) {
                let again = gate.dry_run(Asked::Bytes(loose("refund", charge)), &Credential::Development);
                assert_eq!(
                    again.matched_rule.as_deref(),
                    Some("twice"),
                    "{charge} of {end} in round {round}"
                );
            }
        }
        replays(&world, &gate);
    }
}

/// A power cut or a kill at any call of a publication that fills: the old policy or the new one is in
/// force, the new one has the whole history, and publishing again works.
#[test]
fn a_publication_that_breaks_anywhere_can_be_made_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(39);
        let gate = world.open(Some(&without())).await.expect("opens");
        for tool in ["login", "refund", "refund", "refund"] {
            assert_eq!(run(&gate, tool, 1, OutcomeStatus::Succeeded).await, "ALLOW");
        }
        gate.close();
        drop(gate);
        let next = with(&format!("{LIMIT}\n{TWICE}"));
        let (mut old, mut new) = (0, 0);
        for power in [true, false] {
            for at in 1.. {
                let broken = World { fs: world.fs.fork(), clock: world.clock.clone() };
                let gate = broken.open(None).await.expect("opens");
                let mut faults = Faults::default();
                faults.crash_at = Some(broken.fs.calls() + at);
                broken.fs.set_faults(faults);
                let published = gate.publish(&next, "operator").await;
                if power {
                    broken.fs.crash();
                } else {
                    broken.fs.kill();
                }
                drop(gate);
                let gate = broken.open(None).await.expect("opens after it");
                let version = gate.snapshot().0;
                match version.as_str() {
                    "v1" => old += 1,
                    _ => new += 1,
                }
                assert!(published.is_err() || version == "v2", "what was answered is in force");
                if version == "v1" {
                    // Something may happen before the next attempt, while what was filled lies there.
                    assert_eq!(code(&gate, call("logout", 0, 1)).await, "ALLOW");
                    assert!(gate.publish(&next, "operator").await.expect("published"));
                }
                assert_eq!(code(&gate, call("refund", 5, 1)).await, "DENIED_BY_RULE");
                gate.close();
                replays(&broken, &gate);
                if published.is_ok() {
                    break;
                }
            }
        }
        assert!(old > 4 && new > 0, "{old} and {new}");
    });
}

/// A long log is read in rounds and written down in pieces, each of which fits into a receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_filled_in_rounds_and_pieces() {
    let world = World::new(40);
    let gate = world.open(Some(&without())).await.expect("opens");
    let tasks: Vec<_> = (0..900u64)
        .map(|charge| {
            let gate = gate.clone();
            tokio::spawn(async move { code(&gate, loose("refund", charge)).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no task panics"), "ALLOW");
    }
    assert!(gate.publish(&with(TWICE), "operator").await.expect("published"));
    assert_eq!(activations(&gate, "history_observations"), [None, Some("900".to_owned())]);
    let fills = gate.scan().filter(|receipt| {
        let payload = &receipt.as_ref().expect("readable").payload;
        let statement = Statement::parse(payload).expect("a receipt");
        matches!(statement.body(), Body::Admin(admin) if admin.operation == "history.fill")
    });
    assert!(fills.count() >= 3, "one that begins, and the pieces");
    gate.close();
    drop(gate);
    let gate = world.open(None).await.expect("opens again");
    for charge in [0, 255, 256, 257, 511, 899] {
        assert_eq!(code(&gate, loose("refund", charge)).await, "DENIED_BY_RULE", "{charge}");
    }
    assert_eq!(code(&gate, loose("refund", 900)).await, "ALLOW");
    replays(&world, &gate);
}

/// A log that cannot be read keeps a policy about the past out of force, and nothing else.
#[tokio::test]
async fn a_publication_that_fails_lets_decisions_go_on() {
    let world = World::new(41);
    let gate = world.open(Some(&without())).await.expect("opens");
    for _ in 0..3 {
        assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    }
    let segment = world.fs.files().into_iter().find(|file| file.ends_with("1.seg")).expect("a segment");
    let flip = |bytes: &mut Vec<u8>| bytes[1100] ^= 1;
    world.fs.edit(&segment, flip).expect("the segment");
    let refused = gate.publish(&with(LIMIT), "operator").await.expect_err("cannot be filled");
    assert!(!refused.to_string().is_empty());
    assert_eq!(gate.snapshot().0, "v1");
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "ALLOW");
    world.fs.edit(&segment, flip).expect("the segment");
    assert!(gate.publish(&with(LIMIT), "operator").await.expect("published"));
    assert_eq!(run(&gate, "refund", 1, OutcomeStatus::Succeeded).await, "DENIED_BY_RULE");
    replays(&world, &gate);
}

#[derive(Debug, Clone)]
enum Op {
    Call { tool: usize, charge: u64, session: u64, status: Option<u8>, wait: i64 },
    Restart,
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let call = (0usize..3, 0u64..3, 0u64..3, proptest::option::of(0u8..3), 0i64..9_000_000);
    let op = prop_oneof![
        12 => call.prop_map(|(tool, charge, session, status, wait)| Op::Call { tool, charge, session, status, wait }),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..30)
}

/// A gate where the policies were always in force but let everything pass, and one where they come
/// later, must decide the same from then on.
async fn compare(seed: u64, before: &[Op], after: &[Op]) {
    let policies = format!("{LIMIT}\n{BETWEEN}\n{TWICE}");
    // Watches what the others watch, and forbids what nobody does.
    let silent = policies.replace("(principal,", "(principal == Agent::\"nobody\",");
    let mut codes = Vec::new();
    for first in [with(&silent), without()] {
        let world = World::new(seed);
        let mut gate = world.open(Some(&first)).await.expect("opens");
        let mut now = NOW;
        let mut said = Vec::new();
        for (part, ops) in [before, after].into_iter().enumerate() {
            if part == 1 {
                assert!(gate.publish(&with(&policies), "operator").await.expect("published"));
            }
            for op in ops {
                match op {
                    Op::Call { tool, charge, session, status, wait } => {
                        now += wait;
                        world.clock.set(now);
                        let tool = ["refund", "login", "logout"][*tool];
                        let decided = ask(&gate, call(tool, *charge, *session)).await;
                        said.push(decided.reply.matched_rule.clone());
                        if let (Some(permit), Some(status)) = (&decided.permit, status) {
                            let status =
                                [OutcomeStatus::Succeeded, OutcomeStatus::Failed, OutcomeStatus::NotRun]
                                    [usize::from(*status)];
                            let report = OutcomeReport::new(permit.ground().number(), status);
                            gate.report(report, &Credential::Development).await.expect("reported");
                        }
                    }
                    Op::Restart => {
                        gate.close();
                        drop(gate);
                        gate = world.open(None).await.expect("opens again");
                    }
                    Op::Crash => {
                        world.fs.crash();
                        drop(gate);
                        gate = world.open(None).await.expect("opens after a power cut");
                    }
                }
            }
        }
        gate.close();
        replays(&world, &gate);
        codes.push(said);
    }
    assert_eq!(codes[0], codes[1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filled_history_decides_like_one_that_was_always_kept(
        seed in any::<u64>(), before in ops(), after in ops(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(compare(seed, &before, &after));
    }
}
