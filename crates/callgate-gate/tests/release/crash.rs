//! A power cut, or a kill, at every call of the file system: exactly the old or the new state, and doing it
//! again works.

use std::sync::Arc;

use callgate_gate::{Acknowledgement, ControlError, Gate, ModeRequest};
use callgate_store::sim::Faults;

use crate::common::{World, ask, call};
use crate::kit::{ME, canary, policy, publish, ready, replays, roll_back, seen, shadow, simulate, stage};

/// Breaks `act` at every call. What people see afterwards is what it was before or what it is after.
async fn breaks(world: &World, act: impl AsyncFn(&Arc<Gate>) -> Result<(), ControlError>) {
    let whole = World { fs: world.fs.fork(), clock: world.clock.clone() };
    let gate = whole.open(None).await.expect("opens");
    act(&gate).await.expect("done");
    let expected = seen(&gate);
    drop(gate);
    let (mut old, mut new) = (0, 0);
    for power in [true, false] {
        for at in 1.. {
            let broken = World { fs: world.fs.fork(), clock: world.clock.clone() };
            let gate = broken.open(None).await.expect("opens");
            let before = seen(&gate);
            let mut faults = Faults::default();
            faults.crash_at = Some(broken.fs.calls() + at);
            broken.fs.set_faults(faults);
            let done = act(&gate).await;
            if power {
                broken.fs.crash();
            } else {
                broken.fs.kill();
            }
            drop(gate);
            let gate = broken.open(None).await.expect("opens after it");
            let found = seen(&gate);
            if found == before {
                old += 1;
                assert!(done.is_err(), "what was answered holds");
                act(&gate).await.expect("done again");
                assert_ne!(seen(&gate), before);
            } else {
                new += 1;
                assert_eq!(found, expected, "at call {at}: neither the old nor the new state");
                match act(&gate).await {
                    Ok(()) | Err(ControlError::Conflict(_)) => {}
                    Err(other) => panic!("{other}"),
                }
                assert_eq!(seen(&gate), found, "doing it again changes nothing");
            }
            assert!(ask(&gate, call("read", "")).await.permit.is_some());
            gate.close();
            replays(&broken, &gate);
            if done.is_ok() {
                break;
            }
        }
    }
    assert!(old > 2 && new > 0, "{old} and {new}");
}

/// A gate with `v1` in force and `v2` ready; then whatever else, and closed.
async fn world(seed: u64, more: impl AsyncFn(&Arc<Gate>)) -> World {
    let world = World::new(seed);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    assert!(ask(&gate, call("read", "")).await.permit.is_some());
    more(&gate).await;
    gate.close();
    world
}

async fn with_two(seed: u64) -> World {
    world(seed, async |gate| {
        ready(gate, &policy("two")).await;
    })
    .await
}

#[tokio::test]
async fn staging_that_breaks_keeps_all_or_nothing() {
    // The first act of all: the control policy comes into the log with it.
    let world = world(410, async |_| {}).await;
    breaks(&world, async |gate| stage(gate, &policy("two")).await.map(|_| ())).await;
}

#[tokio::test]
async fn a_simulation_that_breaks_counts_whole_or_not_at_all() {
    let world = world(411, async |gate| {
        stage(gate, &policy("two")).await.expect("staged");
    })
    .await;
    let simulated = async |gate: &Arc<Gate>| {
        if gate.snapshot_record("v2")?.simulated.is_some() {
            return Ok(());
        }
        simulate(gate, "v2").await
    };
    breaks(&world, simulated).await;
}

#[tokio::test]
async fn a_publication_that_breaks_leaves_one_of_two_in_force() {
    let world = with_two(412).await;
    breaks(&world, async |gate| publish(gate, "v2").await.map(|_| ())).await;
}

#[tokio::test]
async fn a_rollback_that_breaks_leaves_one_of_two_in_force() {
    let world = world(413, async |gate| {
        ready(gate, &policy("two")).await;
        publish(gate, "v2").await.expect("published");
    })
    .await;
    breaks(&world, async |gate| roll_back(gate, "v1").await.map(|_| ())).await;
}

#[tokio::test]
async fn a_trial_that_breaks_as_it_begins_has_begun_or_not() {
    let world = with_two(414).await;
    breaks(&world, async |gate| gate.start_rollout(shadow("v2"), ME).await.map(|_| ())).await;
    breaks(&world, async |gate| gate.start_rollout(canary("v2", 10_000), ME).await.map(|_| ())).await;
}

#[tokio::test]
async fn a_trial_that_breaks_as_it_ends_has_ended_or_not() {
    let world = world(415, async |gate| {
        ready(gate, &policy("two")).await;
        gate.start_rollout(canary("v2", 5_000), ME).await.expect("begins");
    })
    .await;
    breaks(&world, async |gate| gate.stop_rollout(None, ME).await).await;
    breaks(&world, async |gate| publish(gate, "v2").await.map(|_| ())).await;
}

#[tokio::test]
async fn a_mode_or_a_point_that_breaks_is_set_or_not() {
    let world = world(416, async |_| {}).await;
    let monitor = ModeRequest { monitor: true, agent: Some("bot".into()), tenant: None, note: None };
    breaks(&world, async |gate| gate.set_mode(monitor.clone(), ME).await.map(|_| ())).await;
    let point = Acknowledgement {
        id: "mcp-1".into(),
        enforces: ["max_retries".to_owned()].into(),
        snapshot: "v1".into(),
    };
    breaks(&world, async |gate| gate.acknowledge(point.clone(), ME).await.map(|_| ())).await;
}
