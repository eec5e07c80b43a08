//! Policies that are broken, each with a rule in it that would permit what must never run.

use crate::audit::Times;
use crate::call::{PAY, Phase, WIPE};
use crate::disk::Disk;
use crate::faults::log::{refused_to_open, with_bundle};
use crate::files;
use crate::points::{Answer, Point};
use crate::policy;
use crate::scene::Scene;
use crate::trouble::Trouble;

/// The gate is started on one: it must not decide by any part of it.
pub(super) async fn at_start(scene: &mut Scene) -> Result<(), Trouble> {
    for bundle in policy::broken() {
        let (round, disk) = (scene.round()?, Disk::new());
        let gate = scene.open(&disk, &scene.setting(), &round).await?;
        scene.control(&round, &gate).await;
        let key = gate.close().await;
        let setting = with_bundle(scene, Some(bundle));
        match scene.try_open(&disk, &setting, &round).await? {
            Err(_) => {
                round.feel(1);
                round.note(&round.one(PAY, Phase::Fault), &Answer::Refused("no gate: policy".to_owned()));
            }
            Ok(gate) => {
                let calls = vec![round.one(WIPE, Phase::Fault)];
                if round.ask(&gate.client, calls, 1).await > 0 {
                    round.wrong("a broken policy permitted what must never run");
                }
                round.feel(1);
                gate.close().await;
            }
        }
        scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await?;
    }
    program(scene).await
}

/// A program on a folder that holds a broken policy.
async fn program(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    for bundle in policy::broken() {
        files::remove_dir(&round.bundle())?;
        files::make_dir(&round.bundle())?;
        files::write_bundle(&bundle, &round.bundle())?;
        match scene.try_start(&round).await? {
            Err(refused) => {
                round.feel(1);
                round.note(&round.one(PAY, Phase::Fault), &refused_to_open(&refused));
            }
            Ok(gate) => {
                round.wrong("the program started on a broken policy");
                gate.stop().await?;
            }
        }
    }
    scene.judge_on_disk(&round, &key).await
}

/// One is published while calls go on: the policy before it stays in force.
pub(super) async fn published(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let gate = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &gate).await;
    for bundle in policy::broken() {
        let calls = round.mixed(scene.pick(12, 60), Phase::Fault);
        let (asking, publishing) =
            tokio::join!(round.ask(&gate.client, calls, 8), gate.gate.publish(&bundle, "operator"));
        round.feel(u64::from(publishing.is_err()));
        if publishing.is_ok() || asking == 0 {
            round.wrong("a broken policy came into force, or stopped the sound one");
        }
    }
    let key = gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await?;
    if scene.point == Point::Http { reloaded(scene).await } else { Ok(()) }
}

/// The same by way of the folder that `callgate serve` reads again and again.
async fn reloaded(scene: &mut Scene) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    for bundle in policy::broken() {
        files::remove_dir(&round.bundle())?;
        files::make_dir(&round.bundle())?;
        files::write_bundle(&bundle, &round.bundle())?;
        let calls = round.mixed(scene.pick(8, 40), Phase::Fault);
        round.ask(&gate.client, calls, 4).await;
        // Long enough for the folder to be read, twice in a row.
        tokio::time::sleep(std::time::Duration::from_millis(900)).await;
        let calls = round.mixed(scene.pick(8, 40), Phase::Fault);
        let ran = round.ask(&gate.client, calls, 4).await;
        round.feel(u64::from(ran > 0));
    }
    gate.stop().await?;
    scene.judge_on_disk(&round, &key).await
}
