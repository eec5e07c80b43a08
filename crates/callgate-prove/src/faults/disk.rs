//! Faults of the disk under the gate. After each, the judge reads what a power cut would have left.

use std::time::Duration;

use crate::audit::Times;
use crate::call::Phase;
use crate::disk::{Counts, Disk, Mishap};
use crate::scene::Scene;
use crate::trouble::Trouble;

/// How long a gate may take here.
const DEADLINE: Duration = Duration::from_millis(300);
/// How long a hanging call takes: longer than gate and point wait.
const HANG: Duration = Duration::from_millis(1200);
/// How long the point waits.
const PATIENCE: Duration = Duration::from_millis(700);

/// How many calls of each kind a small run makes.
async fn measured(scene: &mut Scene) -> Result<Counts, Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let gate = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &gate).await;
    disk.set(None);
    let calls = round.mixed(4, Phase::Control);
    round.ask(&gate.client, calls, 1).await;
    let counts = disk.counts();
    let key = gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await?;
    Ok(counts)
}

/// One small run in which something goes wrong, and a restart after it.
async fn run(scene: &mut Scene, mishap: Mishap, deadline: Option<Duration>) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let setting = scene.setting();
    let gate = scene.open(&disk, &setting, &round).await?;
    scene.control(&round, &gate).await;
    let mut gate = gate;
    if let Some(deadline) = deadline {
        // The same gate again, with little time.
        gate.close().await;
        let hurried = crate::inside::Setting { deadline, patience: PATIENCE, ..setting.clone() };
        gate = scene.open(&disk, &hurried, &round).await?;
    }
    disk.set(Some(mishap));
    let calls = round.mixed(4, Phase::Fault);
    round.ask(&gate.client, calls, 1).await;
    let key = gate.close().await;
    round.feel(disk.felt());
    // The power goes now, at the worst moment for whatever was not synced.
    let left = disk.after_power_cut();
    let gate = scene.open(&left, &setting, &round).await?;
    scene.control(&round, &gate).await;
    gate.close().await;
    scene.judge(&round, &left.after_power_cut(), &key, Times::Machine).await
}

pub(super) async fn write_fails(scene: &mut Scene) -> Result<(), Trouble> {
    let counts = measured(scene).await?;
    for at in scene.sample(counts.writes, 4, 40) {
        run(scene, Mishap::WriteFails(at), None).await?;
    }
    Ok(())
}

pub(super) async fn sync_fails(scene: &mut Scene) -> Result<(), Trouble> {
    let counts = measured(scene).await?;
    for at in scene.sample(counts.syncs, 4, 40) {
        run(scene, Mishap::SyncFails(at), None).await?;
    }
    Ok(())
}

pub(super) async fn power_fails(scene: &mut Scene) -> Result<(), Trouble> {
    let counts = measured(scene).await?;
    for at in scene.sample(counts.calls, 6, 80) {
        run(scene, Mishap::PowerFails(at), None).await?;
    }
    Ok(())
}

pub(super) async fn hangs(scene: &mut Scene) -> Result<(), Trouble> {
    let counts = measured(scene).await?;
    for at in scene.sample(counts.calls, 4, 16) {
        run(scene, Mishap::Hangs(at, HANG), Some(DEADLINE)).await?;
    }
    Ok(())
}

pub(super) async fn slow(scene: &mut Scene) -> Result<(), Trouble> {
    let span = DEADLINE.saturating_add(Duration::from_millis(100));
    run(scene, Mishap::SlowSyncs(span), Some(DEADLINE)).await
}

/// The next segment cannot be made, and the current one fills up.
pub(super) async fn full(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let gate = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &gate).await;
    disk.set(Some(Mishap::Full));
    let padding = "x".repeat(220_000);
    let mut refused = 0u64;
    // Two segments of 4 MiB are there; each call takes its request twice over, sealed.
    for _ in 0..200u64 {
        let mut call = round.one(crate::call::PAY, Phase::Fault);
        if let Some(members) = call.args.as_object_mut() {
            members.insert("padding".to_owned(), padding.clone().into());
        }
        let ran = round.ask(&gate.client, vec![call], 1).await;
        refused = refused.saturating_add(u64::from(ran == 0));
        if refused > 4 {
            break;
        }
    }
    round.feel(refused);
    // Room comes back, and with it the gate.
    disk.set(None);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    scene.control(&round, &gate).await;
    let key = gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

/// A disk that says it wrote and did not: no gate can withstand it, and the judge must see it.
pub(crate) async fn lies(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let gate = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &gate).await;
    disk.set(Some(Mishap::SyncsLie));
    let calls = round.mixed(4, Phase::Fault);
    round.ask(&gate.client, calls, 1).await;
    round.feel(disk.felt());
    let key = gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}
