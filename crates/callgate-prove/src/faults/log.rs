//! Faults of what lies on disk, met at a restart.

use callgate_gate::clock::SystemClock;
use callgate_log::{SigningKey, VerifyingKey};

use crate::audit::Times;
use crate::call::{Phase, SPEND};
use crate::disk::Disk;
use crate::files;
use crate::inside::Setting;
use crate::policy;
use crate::scene::Scene;
use crate::trouble::Trouble;

/// A log with something in it, on a disk that nobody holds.
async fn written(
    scene: &mut Scene,
) -> Result<(Disk, std::sync::Arc<crate::round::Round>, VerifyingKey), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let gate = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &gate).await;
    let key = gate.close().await;
    Ok((disk.copy(), round, key))
}

/// Starts on a damaged copy. A gate that opens all the same must still write a log that verifies; of one that does not
/// open the judge reads the copy from before.
async fn restart(scene: &mut Scene, damage: impl Fn(&Disk) -> bool, may_open: bool) -> Result<(), Trouble> {
    let (before, round, key) = written(scene).await?;
    let damaged = before.copy();
    if !damage(&damaged) {
        return Err(Trouble::new("there was nothing to damage"));
    }
    let judged = match scene.try_open(&damaged, &scene.setting(), &round).await? {
        Err(refused) => {
            round.feel(1);
            round.note(&round.one(crate::call::PAY, Phase::Fault), &refused_to_open(&refused));
            before.copy()
        }
        Ok(gate) => {
            if !may_open {
                round.wrong("the gate opened on what was damaged");
            }
            let calls = round.mixed(4, Phase::Fault);
            round.ask(&gate.client, calls, 1).await;
            gate.close().await;
            round.feel(1);
            damaged.after_power_cut()
        }
    };
    scene.judge_with(&round, (&judged, &before), &key).await
}

/// What nobody can be asked for, since there is no gate.
pub(super) fn refused_to_open(why: &str) -> crate::points::Answer {
    let known = [
        ("key", "no gate: key"),
        ("damaged", "no gate: damaged"),
        ("attests", "no gate: log cut"),
        ("fit", "no gate: log cut"),
    ];
    let why = why.to_lowercase();
    let word = known.iter().find(|(part, _)| why.contains(part)).map_or("no gate", |(_, word)| word);
    crate::points::Answer::Refused(word.to_owned())
}

const SEGMENT: &str = "log/00000001.seg";

/// The bytes of the first segment that hold receipts.
fn in_use(disk: &Disk) -> u64 {
    let mut length = 0;
    disk.edit(SEGMENT, |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        length = u64::try_from(last).unwrap_or(0);
    });
    length
}

pub(super) async fn damaged(scene: &mut Scene) -> Result<(), Trouble> {
    let (disk, round, key) = written(scene).await?;
    let length = in_use(&disk);
    scene.judge(&round, &disk, &key, Times::Machine).await?;
    let flip = |at: u64| {
        move |bytes: &mut Vec<u8>| {
            if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 0x10;
            }
        }
    };
    for at in scene.sample(length, 6, 60) {
        // Each log has other bytes; the place is what counts.
        restart(scene, |disk| disk.edit(SEGMENT, flip(at.saturating_sub(1))), false).await?;
    }
    restart(scene, |disk| disk.edit("keyring/00000001.keys", flip(9)), false).await?;
    restart(scene, |disk| disk.edit("checkpoint", flip(60)), false).await?;
    // The last acknowledged group turned to zeros: only the witnesses beside the log know of it.
    let zeroed = |disk: &Disk| {
        let from = in_use(disk).saturating_sub(600);
        disk.edit(SEGMENT, |bytes| {
            let from = usize::try_from(from).unwrap_or(0).checked_div(512).unwrap_or(0).saturating_mul(512);
            bytes.iter_mut().skip(from).for_each(|byte| *byte = 0);
        })
    };
    restart(scene, zeroed, false).await
}

pub(super) async fn missing(scene: &mut Scene) -> Result<(), Trouble> {
    restart(scene, |disk| disk.lose(SEGMENT), false).await?;
    restart(scene, |disk| disk.lose("keyring/00000001.keys"), true).await?;
    // Each witness alone may be gone; the log is still whole.
    restart(scene, |disk| disk.lose("head"), true).await?;
    restart(scene, |disk| disk.lose("checkpoint"), true).await
}

/// What a gate remembers between two lives, beside the log that says the same.
pub(super) async fn state_damaged(scene: &mut Scene) -> Result<(), Trouble> {
    let setting = Setting { bundle: Some(policy::limited()), save_every: 6, ..scene.setting() };
    let flips: Vec<Option<u64>> = scene.sample(10_000, 4, 40).into_iter().map(Some).chain([None]).collect();
    for flip in flips {
        let (round, disk) = (scene.round()?, Disk::new());
        let gate = scene.open(&disk, &setting, &round).await?;
        round.limit_tool(SPEND, 1, 1);
        let spent = vec![round.one(SPEND, Phase::Control)];
        round.ask(&gate.client, spent, 1).await;
        for _ in 0..3 {
            scene.control(&round, &gate).await;
        }
        let key = gate.close().await;
        let damaged = disk.copy();
        let saved = damaged.files_in("state");
        for path in &saved {
            damaged.edit(path, |bytes| match flip {
                Some(share) => flip_at(bytes, share),
                // Cut off at its beginning.
                None => bytes.clear(),
            });
        }
        round.feel(u64::from(!saved.is_empty()));
        let gate = scene.open(&damaged, &setting, &round).await?;
        let again = (0..3).map(|_| round.one(SPEND, Phase::Fault)).collect();
        round.ask(&gate.client, again, 3).await;
        gate.close().await;
        scene.judge(&round, &damaged.after_power_cut(), &key, Times::Machine).await?;
    }
    Ok(())
}

fn flip_at(bytes: &mut [u8], share: u64) {
    let length = u64::try_from(bytes.len()).unwrap_or(0);
    let at = length.saturating_mul(share.saturating_sub(1)).checked_div(10_000).unwrap_or(0);
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
        *byte ^= 1;
    }
}

pub(super) async fn key_missing(scene: &mut Scene) -> Result<(), Trouble> {
    restart(scene, |disk| disk.lose("keys/gate.key"), false).await?;
    with_programs(scene, files::remove).await
}

pub(super) async fn key_replaced(scene: &mut Scene) -> Result<(), Trouble> {
    let pem = SigningKey::from_seed(&[7; 32]).to_pkcs8_pem().map_err(Trouble::at("a key"))?;
    let replace = |disk: &Disk| disk.edit("keys/gate.key", |bytes| *bytes = pem.as_bytes().to_vec());
    restart(scene, replace, false).await?;
    restart(scene, |disk| disk.edit("keys/gate.key", |bytes| *bytes = b"no key".to_vec()), false).await?;
    with_programs(scene, |path| files::write(path, pem.as_bytes())).await
}

/// The same with a program: it must not start, and goes on once its key is back.
async fn with_programs(
    scene: &mut Scene,
    damage: impl Fn(&std::path::Path) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let round = scene.round_outside()?;
    let gate = scene.start(&round).await?;
    let key = gate.key;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    let (path, kept) = (round.data().join("keys/gate.key"), round.dir().join("gate.key"));
    files::write(&kept, &files::read(&path)?)?;
    damage(&path)?;
    match scene.try_start(&round).await? {
        Err(refused) => {
            round.feel(1);
            round.note(&round.one(crate::call::PAY, Phase::Fault), &refused_to_open(&refused));
        }
        Ok(gate) => {
            round.wrong("the program started without its key");
            gate.stop().await?;
        }
    }
    files::rename(&kept, &path)?;
    let gate = scene.start(&round).await?;
    scene.control_calls(&round, &gate.client).await;
    gate.stop().await?;
    scene.judge_on_disk(&round, &key).await
}

/// A setting under the machine's clock with another policy.
pub(super) fn with_bundle(scene: &Scene, bundle: Option<callgate_policy::Bundle>) -> Setting {
    Setting { bundle, clock: std::sync::Arc::new(SystemClock), ..scene.setting() }
}
