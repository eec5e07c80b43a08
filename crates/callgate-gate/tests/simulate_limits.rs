//! Simulation with limits: a candidate's meters are those of its own decisions over what was recorded.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::sync::Arc;

use callgate_core::snapshot::Snapshot;
use callgate_core::state::SessionKey;
use callgate_gate::simulate::{Corpus, Lengths, Library, Plan, Reason, Report, Simulation, simulate_corpus};
use callgate_gate::{Credential, Gate, OutcomeReport, OutcomeStatus};
use callgate_policy::Bundle;
use callgate_store::{Keyring, OsRandom};
use common::{NOW, World, ask, bundle, call, flips_nothing_of_its_own};

const HOUR: i64 = 60 * 60 * 1000;
const RULES: &str = "version: v1
rules:
  - {id: any, match: {tools: ['shop.*']}, decision: allow}
  - {id: never, match: {tools: ['shop.wipe']}, decision: deny}
";

fn compile(bundle: &Bundle) -> Arc<Snapshot> {
    match callgate_policy::compile(bundle) {
        Ok(snapshot) => Arc::new(snapshot),
        Err(report) => panic!("{report}"),
    }
}

/// A shop with these limits.
fn shop(limits: &str) -> Bundle {
    let text = format!("version: v1\n{limits}\n");
    let mut files = vec![("rules/r.yaml", RULES)];
    if !limits.is_empty() {
        files.push(("limits/l.yaml", &text));
    }
    bundle(&files)
}

fn budget(limit: u32) -> String {
    format!(
        "budgets: [{{id: spend, match: {{tools: [shop.pay]}}, unit: usd, limit: {limit}, per: [agent], over: 24h,
   estimate: 10}}]
breakers: [{{id: strikes, per: [agent], trip: {{denials: 3, within: 1h, codes: [DENIED_BY_RULE]}}}}]"
    )
}

fn simulated(
    world: &World,
    gate: &Gate,
    candidate: &Arc<Snapshot>,
    baseline: Option<&Arc<Snapshot>>,
) -> Report {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let plan = Plan { baseline: baseline.cloned(), ..Plan::new(Arc::clone(candidate)) };
    assert_eq!(plan.begins_ms(), None);
    let mut simulation = Simulation::new(plan, Library::default(), true, &keyring);
    for receipt in gate.scan() {
        simulation.push(receipt.expect("readable").view());
    }
    simulation.finish()
}

fn reasons(report: &Report) -> Vec<(Reason, u64)> {
    report.not_evaluated.iter().map(|one| (one.reason, one.count)).collect()
}

fn session(id: &str) -> String {
    format!(r#","session":{{"id":"{id}"}}"#)
}

/// Pays every hour, and reports 5 for the first; how many were not let run.
async fn pay(world: &World, gate: &Gate) -> u64 {
    let mut stopped = 0;
    for number in 0..6 {
        world.clock.set(NOW + number * HOUR);
        let decided = ask(gate, call("shop.pay", &session(&format!("s{number}")))).await;
        stopped += u64::from(decided.permit.is_none());
        if number == 0 {
            let receipt = decided.permit.as_ref().expect("allowed").ground().number();
            let mut report = OutcomeReport::new(receipt, OutcomeStatus::Succeeded);
            report.cost.insert("usd".to_owned(), 5.into());
            gate.report(report, &Credential::Development).await.expect("reported");
        }
    }
    stopped
}

#[tokio::test]
async fn a_candidates_limits_stop_what_they_would_have_stopped() {
    let (world, other) = (World::new(71), World::new(71));
    let gate = world.open(Some(&shop(""))).await.expect("opens");
    assert_eq!(pay(&world, &gate).await, 0);
    let strict = other.open(Some(&shop(&budget(35)))).await.expect("opens");
    // 5 + 10 + 10 + 10.
    assert_eq!(pay(&other, &strict).await, 2);
    let candidate = compile(&shop(&budget(35)));
    let report = simulated(&world, &gate, &candidate, None);
    assert_eq!((report.totals.evaluated, report.totals.tightened), (6, 2), "{:?}", reasons(&report));
    assert_eq!(report, simulated(&world, &gate, &candidate, None), "the same bytes twice");
    // Back: without the limit, or with a higher one, they would have run.
    for looser in [shop(""), shop(&budget(55))] {
        let report = simulated(&other, &strict, &compile(&looser), None);
        assert_eq!((report.totals.evaluated, report.totals.loosened), (6, 2), "{:?}", reasons(&report));
    }
    let two = simulated(&other, &strict, &candidate, Some(&compile(&shop(&budget(55)))));
    assert_eq!((two.totals.evaluated, two.totals.tightened), (6, 2));
}

#[tokio::test]
async fn a_snapshot_flips_nothing_of_its_own_limits() {
    let world = World::new(72);
    let gate = world.open(Some(&shop(&budget(35)))).await.expect("opens");
    assert_eq!(pay(&world, &gate).await, 2);
    for _ in 0..3 {
        ask(&gate, call("shop.wipe", "")).await;
    }
    assert!(ask(&gate, call("shop.look", "")).await.permit.is_none(), "the breaker is open");
    gate.publish(&shop(&budget(1000)), "operator").await.expect("published");
    assert!(ask(&gate, call("shop.look", "")).await.permit.is_none(), "and stays open");
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    flips_nothing_of_its_own(&gate, &keyring);
    let report = simulated(&world, &gate, &compile(&shop("")), None);
    // Two payments, and twice the look.
    assert_eq!((report.totals.loosened, report.totals.tightened), (4, 0));
}

#[tokio::test]
async fn what_an_erased_session_took_is_not_guessed() {
    let world = World::new(73);
    let gate = world.open(Some(&shop(""))).await.expect("opens");
    assert_eq!(pay(&world, &gate).await, 0);
    world.clock.set(NOW + 30 * HOUR);
    ask(&gate, call("shop.pay", &session("late"))).await;
    let key = SessionKey { agent: "bot".into(), session: "s1".into(), tenant: "default".into() };
    gate.erase_session(key, "operator").await.expect("erased");
    let only =
        "budgets: [{id: spend, match: {tools: [shop.pay]}, unit: usd, limit: 35, per: [agent], over: 24h,
   estimate: 10}]";
    let report = simulated(&world, &gate, &compile(&shop(only)), None);
    assert_eq!(reasons(&report), [(Reason::Erased, 1), (Reason::LimitsIncomplete, 4)]);
    assert_eq!(report.totals.same, 2, "before it, and after the window");
    // A breaker may have stopped anything since.
    let report = simulated(&world, &gate, &compile(&shop(&budget(35))), None);
    assert_eq!(reasons(&report), [(Reason::Erased, 1), (Reason::LimitsIncomplete, 5)]);
}

#[test]
fn a_corpus_fills_the_meters_of_each_side() {
    let line = |hour: i64| {
        format!(
            r#"{{"time_ms":{},"request":{}}}"#,
            NOW + hour * HOUR,
            String::from_utf8_lossy(&call("shop.pay", ""))
        )
    };
    let lines: Vec<String> = (0..5).map(line).collect();
    let mut corpus = Corpus::default();
    corpus.add("c.jsonl", lines.join("\n").as_bytes());
    let (candidate, baseline) = (compile(&shop(&budget(25))), compile(&shop("")));
    let report = simulate_corpus(&candidate, Some(&baseline), &corpus, Lengths::default(), |_| {});
    assert_eq!((report.totals.evaluated, report.totals.tightened), (5, 3), "{:?}", reasons(&report));
}
