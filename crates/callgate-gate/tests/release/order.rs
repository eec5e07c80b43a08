//! Atomic and ordered: whoever decides meanwhile is never wrong about what is in force, and never refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callgate_gate::{ControlError, Gate, ModeRequest};
use callgate_policy::Bundle;
use tokio::task::JoinHandle;

use crate::common::{World, ask, bundle, call};
use crate::kit::{
    self, ME, acts, canary, ordered, policy, publish, ready, replays, roll_back, shadow, stage,
};

/// Agents that decide until they are told to stop; each gives how many decisions it got.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Load {
    fn begin(gate: &Arc<Gate>, agents: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |agent: usize| {
            let (gate, stop) = (Arc::clone(gate), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut decided = 0;
                while !stop.load(Ordering::Acquire) {
                    let session = format!(r#","session":{{"id":"s{agent}-{}"}}"#, decided / 5);
                    let session = if agent.is_multiple_of(2) { session } else { String::new() };
                    let reply = ask(&gate, call("read", &session)).await.reply;
                    assert!(reply.decision.permits(), "{:?}", reply.reasons);
                    decided += 1;
                }
                decided
            })
        };
        Self { tasks: (0..agents).map(one).collect(), stop }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Release);
        let mut decided = 0;
        for task in self.tasks {
            decided += task.await.expect("no decision failed");
        }
        decided
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_go_on_while_snapshots_come_and_go() {
    let world = World::new(400);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    let version = ready(&gate, &policy("two")).await;
    let load = Load::begin(&gate, 16);
    for round in 0..50 {
        let released = publish(&gate, &version).await.expect("published");
        assert_eq!((released.changed, released.snapshot.as_str()), (true, "v2"), "round {round}");
        let reply = ask(&gate, call("read", "")).await.reply;
        assert_eq!(reply.snapshot, "v2", "what comes after the answer is by the new one");
        let released = roll_back(&gate, "v1").await.expect("rolled back");
        assert_eq!((released.previous.as_str(), released.snapshot.as_str()), ("v2", "v1"));
        let reply = ask(&gate, call("read", "")).await.reply;
        assert_eq!(reply.snapshot, "v1");
    }
    let decided = load.end().await;
    assert_eq!(ordered(&gate), decided + 100, "each decision is in its place in the log");
    assert_eq!(acts(&gate, "snapshot.activate").len(), 101);
    gate.close();
    replays(&world, &gate);
}

const TOOLS: &str = r#"{"tools": [{"name": "read", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}}]}"#;

/// Looks back, so that each of its publications fills a history while decisions go on.
fn looking_back(more: u32) -> Bundle {
    let policies = format!(
        r#"@id("many") forbid (principal, action == Action::"files.read", resource)
when temporal {{ count_within(24h, Action::"files.read"::allowed{{}}) > {more} }};"#
    );
    let rules = "version: v1\nrules: [{id: any, match: {tools: ['**']}, decision: allow}]\n";
    let tests = "version: v1\ntests: [{name: runs, request: {agent: {id: bot}, tool: {server: files, name: read}}, expect: {decision: ALLOW}}]\n";
    bundle(&[
        ("rules/r.yaml", rules),
        ("tools/files.json", TOOLS),
        ("policies/p.dogwood", &policies),
        ("tests/t.yaml", tests),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_look_back_come_and_go_in_order_too() {
    let world = World::new(401);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    ready(&gate, &looking_back(1_000_000)).await;
    let load = Load::begin(&gate, 4);
    for _ in 0..5 {
        publish(&gate, "v2").await.expect("published");
        roll_back(&gate, "v1").await.expect("rolled back");
    }
    let decided = load.end().await;
    assert_eq!(ordered(&gate), decided);
    gate.close();
    replays(&world, &gate);
}

/// Trials and modes begin and end among decisions, and the log replays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_and_modes_come_and_go_among_decisions() {
    let world = World::new(402);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    ready(&gate, &policy("two")).await;
    let load = Load::begin(&gate, 8);
    for round in 0..10 {
        let what = if round % 2 == 0 { shadow("v2") } else { canary("v2", 5_000) };
        gate.start_rollout(what, ME).await.expect("begins");
        for monitor in [true, false] {
            let what = ModeRequest { monitor, agent: None, tenant: None, note: None };
            assert!(gate.set_mode(what, ME).await.expect("set"));
        }
        gate.stop_rollout(None, ME).await.expect("ends");
    }
    load.end().await;
    gate.close();
    assert!(replays(&world, &gate) > 0);
    let before = kit::seen(&gate);
    drop(gate);
    assert_eq!(kit::seen(world.open(None).await.expect("opens again").as_ref()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_publish_at_once_each_finds_what_is_in_force() {
    let world = World::new(403);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    for name in ["two", "three"] {
        ready(&gate, &policy(name)).await;
    }
    let tasks: Vec<_> = (0..12)
        .map(|task| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { publish(&gate, if task % 2 == 0 { "v2" } else { "v3" }).await })
        })
        .collect();
    let (mut changed, mut refused) = (0, 0);
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(released) => changed += usize::from(released.changed),
            // Its simulation is against what the other replaced.
            Err(ControlError::Conflict(why)) => {
                assert!(why.contains("another snapshot"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(
        (changed, refused),
        (1, 6),
        "one wins; its friends change nothing; the others must look again"
    );
    assert_eq!(acts(&gate, "snapshot.activate").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bundle_staged_by_many_at_once_is_kept_once() {
    let world = World::new(404);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let gate = Arc::clone(&gate);
            let bundle = policy(if task % 2 == 0 { "two" } else { "three" });
            tokio::spawn(async move { stage(&gate, &bundle).await.expect("staged").version })
        })
        .collect();
    let mut versions = std::collections::BTreeSet::new();
    for task in tasks {
        versions.insert(task.await.expect("no panic"));
    }
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), ["v2", "v3"]);
    assert_eq!(acts(&gate, "snapshot.stage").len(), 2);
}
