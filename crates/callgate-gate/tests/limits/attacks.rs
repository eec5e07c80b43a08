//! Attempts to get past limits that take more than requests and reports: people who agree, policies that change,
//! heartbeats. The others are in `tests/attacks/`.

use std::sync::Arc;

use callgate_core::progress::Halt;
use callgate_gate::{
    ApprovalFilter, Asked, Credential, Gate, OutcomeStatus, ProgressReport, Said, StandingAsk,
    approval_number,
};

use crate::common::{NOW, World};
use crate::kit::{call, policy, replays, report, said, used};

async fn ask(gate: &Gate, tool: &str, more: &str) -> callgate_gate::Decided {
    gate.decide(Asked::Bytes(call("bot", tool, more)), Credential::Development).await.expect("decided")
}

async fn says(gate: &Gate, tool: &str) -> String {
    said(&ask(gate, tool, "").await)
}

/// Lets people agree to `files.move` ten times in advance.
async fn agree(gate: &Gate) {
    let held = ask(gate, "move", "").await;
    let id = held.reply.approval.and_then(|approval| approval.id).expect("an approval");
    let ana = Credential::Person { id: "ana".into(), roles: vec!["ops".into()], tenant: None };
    let standing = Some(StandingAsk { fixed: None, uses: Some(10), span_ms: None });
    let said = Said { comment: None, standing };
    gate.approve(approval_number(&id).expect("a number"), &ana, said).await.expect("approved");
}

fn uses(gate: &Gate) -> u64 {
    gate.standing_approvals(&ApprovalFilter::default(), &Credential::Local)[0].used
}

/// The same data folder under another policy.
async fn publish(world: &World, gate: Arc<Gate>, limits: &str) -> Arc<Gate> {
    gate.close();
    drop(gate);
    world.open(Some(&policy(limits))).await.expect("opens")
}

/// People agree to an action, not to how often it runs; and what they granted is not used up by asking too often.
#[tokio::test]
async fn a_grant_does_not_lift_a_throttle() {
    let world = World::new(970);
    let throttle = "throttles:
  - {id: slow, match: {tools: [files.move]}, at_most: 1, within: 1m, per: [agent]}
  - {id: slower, match: {tools: [files.move]}, at_most: 2, within: 1h, per: [agent]}
";
    let gate = world.open(Some(&policy(throttle))).await.expect("opens");
    agree(&gate).await;
    assert_eq!(says(&gate, "move").await, "ALLOW");
    let late = ask(&gate, "move", "").await;
    assert_eq!((said(&late).as_str(), uses(&gate)), ("RATE_EXCEEDED", 1));
    assert!(late.permit.is_none() && late.reply.approval.is_none());
    let wait = late.reply.retry_after_ms.expect("when to ask again");
    assert!((59_000..=60_058).contains(&wait), "{wait}");
    world.clock.set(NOW + 60_059);
    assert_eq!(says(&gate, "move").await, "ALLOW");
    let late = ask(&gate, "move", "").await;
    assert!(late.reply.retry_after_ms.expect("when") > 3_000_000, "the longer of the two");
    assert_eq!((said(&late).as_str(), uses(&gate)), ("RATE_EXCEEDED", 2));
    gate.close();
    replays(&world, &gate);
}

/// Who agreed to an action has not agreed to what it takes beyond a budget, though both ask the same people.
#[tokio::test]
async fn who_agreed_to_a_rule_has_not_agreed_to_a_budget() {
    let world = World::new(971);
    let budget = r#"budgets:
  - {id: moves, match: {tools: [files.move]}, unit: calls, limit: "1", per: [agent], over: day, exceed: require_approval, approval: {reviewers: ["role:ops"]}}
"#;
    let gate = world.open(Some(&policy(budget))).await.expect("opens");
    agree(&gate).await;
    assert_eq!(says(&gate, "move").await, "ALLOW");
    assert_eq!((says(&gate, "move").await.as_str(), uses(&gate)), ("APPROVAL_REQUIRED", 1));
    agree(&gate).await;
    assert_eq!(says(&gate, "move").await, "ALLOW", "they know of both now");
    gate.close();
    replays(&world, &gate);
}

/// What ran while a throttle was only monitored is not held against the agent for longer than the bucket lasts.
#[tokio::test]
async fn a_monitored_bucket_is_never_emptier_than_empty() {
    let world = World::new(972);
    let text = |mode: &str| {
        format!("throttles:\n  - {{id: slow, mode: {mode}, rate: 1/1m, burst: 2, per: [agent]}}\n")
    };
    let gate = world.open(Some(&policy(&text("monitor")))).await.expect("opens");
    for _ in 0..50 {
        assert_eq!(says(&gate, "read").await, "ALLOW");
    }
    let gate = publish(&world, gate, &text("enforce")).await;
    assert_eq!(ask(&gate, "read", "").await.reply.retry_after_ms, Some(60_000));
    world.clock.set(NOW + 60_000);
    assert_eq!(says(&gate, "read").await, "ALLOW");
    assert_eq!(says(&gate, "read").await, "RATE_EXCEEDED");
    gate.close();
}

/// A breaker that opened while it was only monitored blocked nobody; it must not be open and blind from then on.
#[tokio::test]
async fn a_breaker_that_opened_while_monitored_blocks_once_it_is_enforced() {
    let text = |mode: &str| {
        format!(
            "breakers:\n  - {{id: often, mode: {mode}, per: [agent], trip: {{allowed: 3, within: 5m}}}}\n"
        )
    };
    for (seed, wait_ms, runs) in [(973, 0, 1), (974, 600_000, 3)] {
        let world = World::new(seed);
        let gate = world.open(Some(&policy(&text("monitor")))).await.expect("opens");
        for _ in 0..5 {
            assert_eq!(says(&gate, "read").await, "ALLOW");
        }
        let gate = publish(&world, gate, &text("enforce")).await;
        world.clock.set(NOW + wait_ms);
        for _ in 0..runs {
            assert_eq!(says(&gate, "read").await, "ALLOW");
        }
        assert_eq!(says(&gate, "read").await, "BREAKER_OPEN", "{wait_ms}");
        gate.close();
        replays(&world, &gate);
    }
}

/// What a heartbeat said an action has spent is not forgotten because its reservation had been given back before.
#[tokio::test]
async fn what_was_spent_after_a_release_is_not_taken_back() {
    let world = World::new(975);
    let budget = r#"budgets:
  - {id: spend, unit: usd, limit: "10", per: [agent], over: day, estimate: "5", settle: upward, release: 1m}
"#;
    let gate = world.open(Some(&policy(budget))).await.expect("opens");
    let running = ask(&gate, "read", "").await.permit.expect("allowed").ground().number();
    world.clock.set(NOW + 60_001);
    assert_eq!(says(&gate, "drop").await, "DENIED_BY_RULE", "time passes");
    let mut beat = ProgressReport::new(running);
    beat.cost.insert("usd".to_owned(), "8".parse().expect("a decimal"));
    assert!(gate.progress(&beat, &Credential::Local).await.expect("an answer").goes_on);
    report(&gate, running, OutcomeStatus::Succeeded, None).await.expect("reported");
    gate.close();
    let state = replays(&world, &gate);
    assert_eq!(used(&state, "spend", NOW).into_values().collect::<Vec<_>>(), ["8"]);
}

/// What an action spends counts in the hour in which it was decided; that it runs into the next one lets it spend no
/// more than the limit.
#[tokio::test]
async fn what_runs_into_the_next_hour_is_stopped_at_the_limit() {
    let world = World::new(977);
    let budget = r#"budgets:
  - {id: spend, unit: usd, limit: "10", per: [agent], over: hour, estimate: "1"}
"#;
    let gate = world.open(Some(&policy(budget))).await.expect("opens");
    let running = ask(&gate, "read", "").await.permit.expect("allowed").ground().number();
    world.clock.set(NOW + 3_600_000);
    for (usd, code) in
        [("10", None), ("10.01", Some(Halt::BudgetExceeded)), ("1", Some(Halt::BudgetExceeded))]
    {
        let mut beat = ProgressReport::new(running);
        beat.cost.insert("usd".to_owned(), usd.parse().expect("a decimal"));
        assert_eq!(gate.progress(&beat, &Credential::Local).await.expect("an answer").code, code, "{usd}");
    }
    assert_eq!(says(&gate, "read").await, "ALLOW", "this hour has its own");
    gate.close();
    replays(&world, &gate);
}

/// The gate counts calls; a heartbeat that speaks of them raises nothing, for nobody.
#[tokio::test]
async fn calls_are_not_reported() {
    let world = World::new(976);
    let budget = "budgets:\n  - {id: calls, unit: calls, limit: \"3\", per: [], over: day}\n";
    let gate = world.open(Some(&policy(budget))).await.expect("opens");
    let running = ask(&gate, "read", "").await.permit.expect("allowed").ground().number();
    let mut beat = ProgressReport::new(running);
    beat.cost.insert("CALLS".to_owned(), "1000000".parse().expect("a decimal"));
    let size = gate.size();
    assert!(gate.progress(&beat, &Credential::Local).await.expect("an answer").goes_on);
    assert_eq!(gate.size(), size);
    assert_eq!(says(&gate, "read").await, "ALLOW");
    gate.close();
}
