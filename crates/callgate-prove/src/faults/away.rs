//! Gates that go away, or seem to, before a wrapper: one whose agent fails closed, or goes on within its lease.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::wire::{end, may_run_unchecked, proxied, proxy};
use crate::call::{PAY, Phase, UNCHECKED, WIPE};
use crate::disk::Disk;
use crate::points::{Client, Leaseholder, Slip};
use crate::scene::Scene;
use crate::trouble::Trouble;
use crate::wire::Wire;

/// Longer than a wrapper waits, with a lease or without.
const LATE: Duration = Duration::from_millis(5_600);
/// How long a gate that goes on may take to be itself again.
const WAKING: Duration = Duration::from_millis(400);

/// kill -9 in a stream of calls. What is left of the stream goes on within the lease; then the gate comes back, to the
/// same point or to one that was killed, too.
pub(super) async fn killed(scene: &mut Scene) -> Result<(), Trouble> {
    for life in 0..scene.pick(2, 8) {
        let round = scene.round_outside()?;
        round.expect_unchecked(1, UNCHECKED);
        let gate = scene.start(&round).await?;
        scene.control_calls(&round, &gate.client).await;
        let (stream, client) = (Arc::clone(&round), Arc::clone(&gate.client));
        let asking = tokio::spawn(async move {
            let calls = stream.mixed(120, Phase::Fault);
            stream.ask(&client, calls, 8).await
        });
        tokio::time::sleep(Duration::from_millis(life.saturating_mul(37).saturating_add(15))).await;
        let orphan = gate.orphan().await?;
        let _counted = asking.await;
        round.feel(1);
        let gate = if life.checked_rem(2) == Some(0) {
            scene.adopt(orphan, &round).await?
        } else {
            if let Client::Remote(wrapper) = orphan.client.as_ref() {
                wrapper.kill().await?;
            }
            scene.start(&round).await?
        };
        let key = gate.key;
        scene.control_calls(&round, &gate.client).await;
        gate.stop().await?;
        scene.judge_on_disk(&round, &key).await?;
    }
    Ok(())
}

/// A gate that is there and says nothing.
pub(super) async fn stopped(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    gate.signal(Signal::STOP)?;
    let calls = (0..scene.pick(1, UNCHECKED)).map(|_| round.one(PAY, Phase::Fault));
    let count = round.ask(&gate.client, calls.collect(), 1).await;
    // Whatever ran, no gate said so.
    round.expect_unchecked(count.max(1), count);
    gate.signal(Signal::CONT)?;
    round.feel(1);
    tokio::time::sleep(WAKING).await;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    scene.judge_on_disk(&round, &key).await
}

pub(super) async fn late(scene: &mut Scene) -> Result<(), Trouble> {
    unanswered(scene, Wire::Delays(LATE), scene.pick(1, 3)).await
}

pub(super) async fn never(scene: &mut Scene) -> Result<(), Trouble> {
    unanswered(scene, Wire::Hangs, scene.pick(1, 3)).await?;
    unanswered(scene, Wire::CutBefore, 12).await
}

/// A wire that does not answer in time. A wrapper decides one call after the other, so that each takes its whole time.
async fn unanswered(scene: &mut Scene, wire: Wire, count: u64) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    may_run_unchecked(scene, &round);
    proxy(&inside)?.set(wire);
    let mut calls: Vec<_> = (0..count).map(|_| round.one(PAY, Phase::Fault)).collect();
    if count > 1 {
        calls.push(round.one(WIPE, Phase::Fault));
    }
    round.ask(&inside.client, calls, 1).await;
    end(scene, &round, inside, &disk).await
}

/// A point of the suite's own that was given a lease, while nobody answers; it may slip.
pub(crate) async fn slips(scene: &mut Scene, slip: Slip) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    let mut point = Leaseholder::leased(proxy(&inside)?.address(), round.ledger()?, slip).await?;
    proxy(&inside)?.set(Wire::CutBefore);
    for _ in 0..UNCHECKED.saturating_add(2) {
        let call = round.one(PAY, Phase::Fault);
        round.note(&call, &point.call(&call).await);
    }
    round.expect_unchecked(1, UNCHECKED);
    round.feel(proxy(&inside)?.felt());
    proxy(&inside)?.set(Wire::Passes);
    point.hand_in().await?;
    drop(point);
    end(scene, &round, inside, &disk).await
}
