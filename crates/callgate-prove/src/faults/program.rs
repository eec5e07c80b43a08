//! Faults of the gate's program, by real signals and limits.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::away;
use crate::call::{Phase, SAVE, SAVINGS, UNCHECKED};
use crate::points::Point;
use crate::policy;
use crate::scene::Scene;
use crate::trouble::Trouble;

/// How long a point waits for a gate that is stopped.
const IMPATIENT: Duration = Duration::from_millis(400);

/// The control: the same calls as everywhere, with nothing broken.
pub(super) async fn nothing(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start(&round).await?;
    let key = gate.key;
    let count = scene.pick(40, 200);
    let calls = round.mixed(count, Phase::Control);
    let permitted = count.saturating_sub(count.checked_div(4).unwrap_or(0));
    if round.ask(&gate.client, calls, 8).await != permitted {
        round.wrong("with nothing broken, not every permitted call ran");
    }
    gate.stop().await?;
    scene.judge_on_disk(&round, &key).await
}

pub(super) async fn killed(scene: &mut Scene) -> Result<(), Trouble> {
    if scene.point == Point::Leased {
        return away::killed(scene).await;
    }
    let round = scene.round_outside()?;
    let mut pinned = None;
    for life in 0..scene.pick(2, 8) {
        let gate = scene.start(&round).await?;
        pinned.get_or_insert(gate.key);
        scene.control_calls(&round, &gate.client).await;
        let (stream, client) = (Arc::clone(&round), Arc::clone(&gate.client));
        let asking = tokio::spawn(async move {
            let calls = stream.mixed(120, Phase::Fault);
            stream.ask(&client, calls, 8).await
        });
        // Somewhere in the stream, each time elsewhere.
        tokio::time::sleep(Duration::from_millis(life.saturating_mul(37).saturating_add(15))).await;
        gate.kill().await?;
        let _counted = asking.await;
        round.feel(1);
    }
    // What is left is whole, and goes on.
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    scene.judge_on_disk(&round, pinned.as_ref().unwrap_or(&key)).await
}

/// The same while a budget is spent: over all lives of the gate together it is spent once.
pub(super) async fn budget_killed(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_under(&policy::limited())?;
    round.limit_tool(SAVE, 1, SAVINGS);
    let mut pinned = None;
    for life in 0..scene.pick(2, 6) {
        let gate = scene.start(&round).await?;
        pinned.get_or_insert(gate.key);
        scene.control_calls(&round, &gate.client).await;
        let (stream, client) = (Arc::clone(&round), Arc::clone(&gate.client));
        let asking = tokio::spawn(async move {
            let calls = (0..40).map(|_| stream.one(SAVE, Phase::Fault)).collect();
            stream.ask(&client, calls, 4).await
        });
        tokio::time::sleep(Duration::from_millis(life.saturating_mul(23).saturating_add(10))).await;
        gate.kill().await?;
        let _counted = asking.await;
        round.feel(1);
    }
    // What is left may be spent, and no more.
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    let calls = (0..SAVINGS.saturating_mul(2)).map(|_| round.one(SAVE, Phase::Fault)).collect();
    round.ask(&gate.client, calls, 4).await;
    gate.stop().await?;
    scene.judge_on_disk(&round, pinned.as_ref().unwrap_or(&key)).await
}

pub(super) async fn stopped(scene: &mut Scene) -> Result<(), Trouble> {
    if scene.point == Point::Leased {
        return away::stopped(scene).await;
    }
    for _ in 0..scene.pick(1, 3) {
        let round = scene.round_outside()?;
        let gate = scene.start_as(&round, IMPATIENT.saturating_mul(4), false).await?;
        let key = gate.key;
        scene.control_calls(&round, &gate.client).await;
        gate.signal(Signal::STOP)?;
        // Its threads on other processors go on for a moment.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let calls = round.mixed(8, Phase::Fault);
        let ran = round.ask(&gate.client, calls, 8).await;
        // Whatever answered, it was not the gate.
        if ran > 0 {
            round.wrong(format!("{ran} call(s) were answered as run while the gate was stopped"));
        }
        gate.signal(Signal::CONT)?;
        round.feel(1);
        tokio::time::sleep(IMPATIENT).await;
        scene.control_calls(&round, &gate.client).await;
        gate.stop().await?;
        scene.judge_on_disk(&round, &key).await?;
    }
    Ok(())
}

pub(super) async fn starved(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start_as(&round, IMPATIENT.saturating_mul(5), true).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    gate.starve()?;
    if scene.point == Point::Leased {
        round.expect_unchecked(1, UNCHECKED);
    }
    // Nine may run, which is more than a lease lets run unchecked.
    let calls = round.mixed(12, Phase::Fault);
    let ran = round.ask(&gate.client, calls, 2).await;
    round.feel(u64::from(ran < 9));
    gate.stop().await?;
    let gate = scene.start(&round).await?;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    scene.judge_on_disk(&round, &key).await
}
