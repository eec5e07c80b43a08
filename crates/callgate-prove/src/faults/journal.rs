//! Faults of the journal in which an enforcement point writes what runs while its gate is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::stage::Stage;
use crate::call::UNCHECKED;
use crate::files;
use crate::points::Errand;
use crate::scene::Scene;
use crate::trouble::Trouble;
use crate::wire::Wire;

/// How many actions run before something happens to their journal.
const SOME: u64 = 3;

pub(super) async fn unwritable(scene: &mut Scene) -> Result<(), Trouble> {
    full(scene, 0).await?;
    full(scene, 1).await?;
    replaced(scene).await?;
    in_use(scene).await
}

/// The disk is full, after so many records.
async fn full(scene: &mut Scene, before: u64) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    stage.restart(scene, &Errand { limited: true, ..scene.errand() }).await?;
    stage.away()?;
    stage.run(before, before).await;
    stage.wrapper()?.starve().await?;
    stage.run(SOME, 0).await;
    stage.round.expect_unchecked(before, before);
    // There is room again, for a program that is started again.
    stage.restart(scene, &scene.errand()).await?;
    stage.end(scene).await
}

/// The folder is another one, and a file stands where it was.
async fn replaced(scene: &mut Scene) -> Result<(), Trouble> {
    let stage = Stage::set(scene).await?;
    stage.away()?;
    let (place, aside) = (stage.round.journal(), stage.round.dir().join("aside"));
    files::rename(&place, &aside)?;
    files::write(&place, b"not a folder")?;
    stage.run(SOME, 0).await;
    files::remove(&place)?;
    files::rename(&aside, &place)?;
    stage.end(scene).await
}

/// Another point has it.
async fn in_use(scene: &mut Scene) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    let other = scene.wrapper(&stage.inside, &scene.errand(), &stage.round).await?;
    let first = std::mem::replace(&mut stage.inside.client, other);
    stage.away()?;
    stage.run(SOME, 0).await;
    stage.wrapper()?.kill().await?;
    stage.inside.client = first;
    stage.end(scene).await
}

/// What happens to a journal.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The byte at this share (of 10,000) is changed.
    Flipped(u64),
    /// It ends at this share (of 10,000).
    Torn(u64),
    /// Something stands behind it.
    Longer,
}

impl Damage {
    /// Does it; from which byte on the journal says nothing any more.
    fn strike(self, bytes: &mut Vec<u8>) -> usize {
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        let at = |share: u64| {
            usize::try_from(length.saturating_mul(share).checked_div(10_000).unwrap_or(0)).unwrap_or(0)
        };
        match self {
            Self::Flipped(share) => {
                if let Some(byte) = bytes.get_mut(at(share)) {
                    *byte ^= 1;
                }
                at(share)
            }
            Self::Torn(share) => {
                bytes.truncate(at(share));
                at(share)
            }
            Self::Longer => {
                bytes.extend_from_slice(b"{\"n\":");
                usize::try_from(length).unwrap_or(usize::MAX)
            }
        }
    }
}

pub(super) async fn damaged(scene: &mut Scene) -> Result<(), Trouble> {
    let shares: Vec<u64> = scene.sample(9_990, 2, 24).into_iter().map(|at| at.saturating_sub(1)).collect();
    let flips = shares.iter().map(|share| Damage::Flipped(*share));
    let tears = [Damage::Torn(9_950), Damage::Torn(5), Damage::Torn(4_990), Damage::Longer];
    // The last two show as much where there is little time.
    let skipped = usize::try_from(scene.pick(2, 0)).unwrap_or(0);
    for damage in flips.chain(tears.into_iter().skip(skipped)) {
        struck(scene, damage).await?;
    }
    Ok(())
}

async fn struck(scene: &mut Scene, damage: Damage) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    stage.away()?;
    stage.run(SOME, SOME).await;
    stage.wrapper()?.kill().await?;
    let path = stage.journal()?;
    let whole = files::read(&path)?;
    let mut bytes = whole.clone();
    let from = damage.strike(&mut bytes);
    files::write(&path, &bytes)?;
    let left = kept(&whole, from, |n| stage.round.excuse(n));
    stage.round.expect_unchecked(left, left);
    stage.round.expect_damage();
    stage.restart(scene, &scene.errand()).await?;
    stage.run(SOME, 0).await;
    // The point looks every second, and does not forget what is damaged when it puts that aside.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    stage.run(SOME, 0).await;
    stage.end(scene).await
}

/// How many actions are in the lines before a byte; `gone` is told the calls of the others.
fn kept(whole: &[u8], from: usize, gone: impl Fn(u64)) -> u64 {
    let (mut at, mut kept) = (0usize, 0u64);
    for line in whole.split_inclusive(|byte| *byte == b'\n') {
        at = at.saturating_add(line.len());
        match call_of(line) {
            Some(_) if at <= from => kept = kept.saturating_add(1),
            Some(n) => gone(n),
            None => {}
        }
    }
    kept
}

/// The call of a journal's line, if it is of an action that was about to run.
fn call_of(line: &[u8]) -> Option<u64> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let request: Value = serde_json::from_str(line.pointer("/body/request")?.as_str()?).ok()?;
    request.pointer("/args/n")?.as_str()?.parse().ok()
}

pub(super) async fn lost(scene: &mut Scene) -> Result<(), Trouble> {
    lost_alive(scene).await?;
    lost_down(scene, |journal, _| files::remove(journal), true).await?;
    lost_down(scene, |_, folder| files::remove_dir(folder), false).await
}

/// Under a point that runs: it knows what it wrote.
async fn lost_alive(scene: &mut Scene) -> Result<(), Trouble> {
    let stage = Stage::set(scene).await?;
    stage.away()?;
    stage.run(SOME, SOME).await;
    files::remove(&stage.journal()?)?;
    stage.run(UNCHECKED, UNCHECKED.saturating_sub(SOME)).await;
    stage.round.expect_unchecked(UNCHECKED, UNCHECKED);
    stage.end(scene).await
}

/// While it is down: the journal alone, of which its lease tells; or lease and journal, after which nothing tells more
/// than the lease on the log. Nothing runs on either.
async fn lost_down(
    scene: &mut Scene,
    remove: fn(&Path, &Path) -> Result<(), Trouble>,
    told: bool,
) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    stage.away()?;
    stage.run(SOME, SOME).await;
    stage.wrapper()?.kill().await?;
    let path = stage.journal()?;
    let whole = files::read(&path)?;
    let each = |n| if told { stage.round.excuse(n) } else { stage.round.erase(n) };
    kept(&whole, 0, each);
    remove(&path, &stage.round.journal())?;
    if told {
        stage.round.expect_damage();
    }
    stage.restart(scene, &scene.errand()).await?;
    stage.run(SOME, 0).await;
    stage.end(scene).await
}

/// Answers to the hand-in are lost, to a point that lives and to one that is killed; then the journal comes again.
pub(super) async fn again(scene: &mut Scene) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    stage.away()?;
    stage.run(SOME, SOME).await;
    stage.round.expect_unchecked(SOME, SOME);
    let (path, name) = (stage.journal()?, closing(&stage.journal()?));
    let whole = files::read(&path)?;
    stage.wire(Wire::CutAfterDecision)?;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    stage.restart(scene, &scene.errand()).await?;
    stage.wire(Wire::Passes)?;
    scene.control(&stage.round, &stage.inside).await;
    stage.wrapper()?.kill().await?;
    files::write(&name, &whole)?;
    stage.restart(scene, &scene.errand()).await?;
    stage.end(scene).await
}

/// Where a journal lies that is handed in.
fn closing(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().replace("open-", "closing-"));
    path.with_file_name(name.unwrap_or_default())
}

/// At moments of a stream that nobody decides: between record and action, after the action, before its outcome.
pub(super) async fn point_killed(scene: &mut Scene) -> Result<(), Trouble> {
    let rounds = scene.pick(3, 24);
    for step in 0..rounds {
        let mut stage = Stage::set(scene).await?;
        stage.away()?;
        stage.round.expect_unchecked(1, UNCHECKED);
        for wait in [step, step.saturating_mul(3)] {
            let (round, client) = (Arc::clone(&stage.round), Arc::clone(&stage.inside.client));
            let calls = stage.calls(UNCHECKED);
            let asking = tokio::spawn(async move { round.ask(&client, calls, 1).await });
            tokio::time::sleep(Duration::from_millis(wait)).await;
            stage.wrapper()?.kill().await?;
            let _counted = asking.await;
            stage.round.feel(1);
            stage.restart(scene, &scene.errand()).await?;
        }
        let calls = stage.calls(UNCHECKED.saturating_add(1));
        stage.round.ask(&stage.inside.client, calls, 1).await;
        stage.end(scene).await?;
    }
    Ok(())
}
