//! Clocks that jump. The judge cannot compare times here; everything else it asks as always.

use std::sync::Arc;

use callgate_gate::clock::{Clock, ManualClock, SinceBoot, SteadyClock};
use callgate_gate::{Asked, Credential};

use crate::audit::Times;
use crate::call::{Call, PAY, Phase, SPEND};
use crate::disk::Disk;
use crate::inside::{Inside, Setting};
use crate::points::{Answer, Client};
use crate::policy;
use crate::round::Round;
use crate::scene::{NOON, Scene};
use crate::trouble::Trouble;
use crate::wire::Wire;

const MINUTES: i64 = 5 * 60 * 1000 + 1;
const DAY: i64 = 24 * 60 * 60 * 1000;
const YEAR: i64 = 365 * DAY;
const JUMPS: [i64; 3] = [MINUTES, DAY, YEAR];

pub(super) async fn ahead(scene: &mut Scene) -> Result<(), Trouble> {
    for jump in JUMPS {
        jumps(scene, jump).await?;
        as_shipped(scene, jump).await?;
    }
    Ok(())
}

pub(super) async fn back(scene: &mut Scene) -> Result<(), Trouble> {
    for jump in JUMPS {
        jumps(scene, jump.saturating_neg()).await?;
        as_shipped(scene, jump.saturating_neg()).await?;
    }
    Ok(())
}

/// The gate's clock jumps in the middle of a stream, and comes back; what was asked before is asked again.
async fn jumps(scene: &mut Scene, jump: i64) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let (gate_clock, own_clock) = (Arc::new(ManualClock::new(NOON)), Arc::new(ManualClock::new(NOON)));
    let setting = Setting { clock: gate_clock.clone(), own_clock: own_clock.clone(), ..scene.setting() };
    let gate = scene.open(&disk, &setting, &round).await?;
    scene.control(&round, &gate).await;
    let used = used_nonce(&round, &gate).await?;
    gate_clock.set(NOON.saturating_add(jump));
    round.feel(1);
    let calls = round.mixed(scene.pick(8, 40), Phase::Fault);
    round.ask(&gate.client, calls, 4).await;
    again(&round, &gate, &used, "after the jump").await?;
    // Both clocks, then the gate's alone back: a nonce that was forgotten in between must not be good again.
    own_clock.set(NOON.saturating_add(jump));
    let calls = round.mixed(scene.pick(8, 40), Phase::Fault);
    round.ask(&gate.client, calls, 4).await;
    again(&round, &gate, &used, "under the new time").await?;
    gate_clock.set(NOON);
    own_clock.set(NOON);
    again(&round, &gate, &used, "after the clock came back").await?;
    let key = gate.close().await;
    // A restart under the old time must not begin anew either.
    let gate = scene.open(&disk, &setting, &round).await?;
    again(&round, &gate, &used, "after a restart").await?;
    gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::ByHand).await
}

/// The clock as the programs have it, which does not follow a jump: a day's budget that is spent stays spent.
async fn as_shipped(scene: &mut Scene, jump: i64) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let wall = Arc::new(ManualClock::new(NOON));
    let steady = Arc::new(SteadyClock::new(Wall(Arc::clone(&wall)), SinceBoot));
    let bundle = Some(policy::limited());
    let setting = Setting { bundle, clock: steady.clone(), own_clock: steady, ..scene.setting() };
    let gate = scene.open(&disk, &setting, &round).await?;
    scene.control(&round, &gate).await;
    round.limit_tool(SPEND, 1, 1);
    let spends = |count: u64| (0..count).map(|_| round.one(SPEND, Phase::Fault)).collect();
    round.ask(&gate.client, spends(2), 1).await;
    wall.set(NOON.saturating_add(jump));
    round.feel(1);
    round.ask(&gate.client, spends(4), 2).await;
    wall.set(NOON);
    round.ask(&gate.client, spends(4), 2).await;
    let key = gate.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::ByHand).await
}

/// The wall clock, set by hand.
struct Wall(Arc<ManualClock>);

impl Clock for Wall {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
}

/// A call that ran, whose bytes somebody kept.
async fn used_nonce(round: &Arc<Round>, gate: &Inside) -> Result<Vec<u8>, Trouble> {
    let mut kept = Call::new(0, PAY, Phase::Control);
    kept.nonce = Some("kept".to_owned());
    let bytes = kept.bytes(NOON);
    let decided = gate.gate.decide(Asked::Bytes(bytes.clone()), Credential::Local).await;
    let decided = decided.map_err(Trouble::at("a decision"))?;
    if decided.permit.is_none() {
        round.wrong("a call that may run was refused before anything was broken");
    }
    Ok(bytes)
}

/// The same bytes once more: nobody may be permitted by them twice.
async fn again(round: &Round, gate: &Inside, bytes: &[u8], when: &str) -> Result<(), Trouble> {
    match gate.gate.decide(Asked::Bytes(bytes.to_vec()), Credential::Local).await {
        Ok(decided) if decided.permit.is_some() => round.wrong(format!("a used nonce was good again {when}")),
        _ => {}
    }
    Ok(())
}

/// The clock jumps while an allow is in the point's hands.
pub(super) async fn between(scene: &mut Scene) -> Result<(), Trouble> {
    for jump in JUMPS.iter().flat_map(|jump| [*jump, jump.saturating_neg()]) {
        let (round, disk) = (scene.round()?, Disk::new());
        let (setting, clock) = scene.timed();
        let gate = scene.open(&disk, &Setting { proxied: true, ..setting }, &round).await?;
        scene.control(&round, &gate).await;
        let answer = match gate.client.as_ref() {
            Client::Http(_) => late_answer(&round, &gate, &clock, jump).await?,
            _ => late_permit(&round, &gate, &clock, jump).await?,
        };
        round.feel(1);
        if jump > 0 && answer == Answer::Ran {
            round.wrong("an allow was acted on after it had expired");
        }
        let key = gate.close().await;
        scene.judge(&round, &disk.after_power_cut(), &key, Times::ByHand).await?;
    }
    Ok(())
}

/// A permit that is redeemed after the jump.
async fn late_permit(
    round: &Round,
    gate: &Inside,
    clock: &ManualClock,
    jump: i64,
) -> Result<Answer, Trouble> {
    let call = round.one(PAY, Phase::Fault);
    let request = call.request(NOON)?;
    let decided = gate.gate.decide(Asked::Request(Box::new(request.clone())), Credential::Local).await;
    let permit = decided.map_err(Trouble::at("a decision"))?.permit;
    let permit = permit.ok_or_else(|| Trouble::new("a call that may run was refused"))?;
    clock.set(NOON.saturating_add(jump));
    let answer = match permit.redeem(&request, gate.gate.now_ms()) {
        Err(refused) => Answer::Refused(format!("permit: {refused}")),
        Ok(_) => {
            round.ledger()?.act(&call.tool, &call.args)?;
            Answer::Ran
        }
    };
    round.note(&call, &answer);
    Ok(answer)
}

/// An answer that is read after the jump.
async fn late_answer(
    round: &Arc<Round>,
    gate: &Inside,
    clock: &ManualClock,
    jump: i64,
) -> Result<Answer, Trouble> {
    let call = round.one(PAY, Phase::Fault);
    let proxy = gate.proxy.as_ref().ok_or_else(|| Trouble::new("there is no proxy"))?;
    proxy.set(Wire::Delays(std::time::Duration::from_millis(200)));
    let asking = gate.client.call(&call);
    let jumping = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        // The gate has decided by now, or decides under the new time; either is an answer.
        clock.set(NOON.saturating_add(jump));
    };
    let (answer, ()) = tokio::join!(asking, jumping);
    round.note(&call, &answer);
    Ok(answer)
}
