//! A thousand calls at once on what is there once. Exactly one may run.

use std::time::Duration;

use callgate_gate::{ApprovalFilter, Credential, Said, approval_number};
use callgate_policy::Bundle;

use crate::audit::Times;
use crate::call::{BURST, Call, LAST, PAY, Phase, SIGN, SPEND, TRIP};
use crate::disk::Disk;
use crate::inside::Setting;
use crate::points::Point;
use crate::policy;
use crate::scene::Scene;
use crate::trouble::Trouble;

/// How many ask at once.
const RACERS: u64 = 1000;
/// How long they may wait; deciding a thousand times takes its time.
const LONG: Duration = Duration::from_secs(40);

fn unhurried(scene: &Scene) -> Setting {
    Setting { deadline: LONG, patience: LONG, ..scene.setting() }
}

/// How many race here. The MCP point decides one call after the other; a sample of them shows as much.
fn racers(scene: &Scene) -> u64 {
    if matches!(scene.point, Point::Mcp | Point::Remote) { scene.pick(300, RACERS) } else { RACERS }
}

fn all_at_once() -> usize {
    usize::try_from(RACERS).unwrap_or(usize::MAX)
}

/// One grant that people gave.
pub(super) async fn last_grant(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &unhurried(scene), &round).await?;
    scene.control(&round, &inside).await;
    let call = round.one(SIGN, Phase::Fault);
    round.limit(call.n, 1, 1);
    round.ask(&inside.client, vec![call.clone()], 1).await;
    let (gate, who) = (&inside.gate, reviewer());
    let open = gate.approvals(&ApprovalFilter::default(), &who);
    let id = open.first().ok_or_else(|| Trouble::new("no call was held"))?.id.clone();
    let id = approval_number(&id).map_err(Trouble::at("an approval"))?;
    gate.approve(id, &who, Said::default()).await.map_err(Trouble::at("an approval"))?;
    let racer = |n: u64| Call { nonce: Some(format!("racer-{n}")), ..call.clone() };
    let count = racers(scene);
    let ran = round.ask(&inside.client, (0..count).map(racer).collect(), all_at_once()).await;
    round.feel(count.saturating_sub(ran));
    let key = inside.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

fn reviewer() -> Credential {
    Credential::Person { id: "ana".to_owned(), roles: ["finance".to_owned()].into(), tenant: None }
}

/// One nonce.
pub(super) async fn last_nonce(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &unhurried(scene), &round).await?;
    scene.control(&round, &inside).await;
    let call = round.one(PAY, Phase::Fault);
    round.limit(call.n, 1, 1);
    let racers = (0..RACERS).map(|_| call.clone()).collect();
    let ran = round.ask(&inside.client, racers, all_at_once()).await;
    round.feel(RACERS.saturating_sub(ran));
    let key = inside.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

/// What a policy about the past permits once a day.
pub(super) async fn last_count(scene: &mut Scene) -> Result<(), Trouble> {
    last_of(scene, LAST, policy::counting()).await
}

/// The last unit of a budget.
pub(super) async fn last_budget(scene: &mut Scene) -> Result<(), Trouble> {
    last_of(scene, SPEND, policy::limited()).await
}

/// The last token of a throttle.
pub(super) async fn last_throttle(scene: &mut Scene) -> Result<(), Trouble> {
    last_of(scene, BURST, policy::limited()).await
}

/// The call that trips a breaker.
pub(super) async fn last_breaker(scene: &mut Scene) -> Result<(), Trouble> {
    last_of(scene, TRIP, policy::limited()).await
}

async fn last_of(scene: &mut Scene, tool: &str, bundle: Bundle) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let setting = Setting { bundle: Some(bundle), ..unhurried(scene) };
    let inside = scene.open(&disk, &setting, &round).await?;
    scene.control(&round, &inside).await;
    round.limit_tool(tool, 1, 1);
    let count = racers(scene);
    let all = (0..count).map(|_| round.one(tool, Phase::Fault)).collect();
    let ran = round.ask(&inside.client, all, all_at_once()).await;
    round.feel(count.saturating_sub(ran));
    let key = inside.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}
