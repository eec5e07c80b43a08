//! Faults of the wire between a point and its gate, or between an agent and its point.

use std::time::Duration;

use serde_json::{Value, json};

use super::away;
use crate::audit::Times;
use crate::call::{Call, PAY, Phase, UNCHECKED};
use crate::disk::Disk;
use crate::inside::{Inside, Setting};
use crate::points::Point;
use crate::round::Round;
use crate::scene::Scene;
use crate::trouble::Trouble;
use crate::wire::{Proxy, Wire};

/// How long the point waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_millis(300);

pub(super) fn proxied(scene: &Scene) -> Setting {
    Setting { proxied: true, ..scene.setting() }
}

pub(super) fn proxy(inside: &Inside) -> Result<&Proxy, Trouble> {
    inside.proxy.as_ref().ok_or_else(|| Trouble::new("there is no proxy"))
}

/// Ends a round whose fault lay on the wire, after a control behind it.
pub(super) async fn end(
    scene: &mut Scene,
    round: &std::sync::Arc<Round>,
    inside: Inside,
    disk: &Disk,
) -> Result<(), Trouble> {
    let wire = proxy(&inside)?;
    round.feel(wire.felt());
    wire.set(Wire::Passes);
    scene.control(round, &inside).await;
    let key = inside.close().await;
    scene.judge(round, &disk.after_power_cut(), &key, Times::Machine).await
}

pub(super) async fn late(scene: &mut Scene) -> Result<(), Trouble> {
    if scene.point.is_wrapper() {
        return away::late(scene).await;
    }
    unanswered(scene, Wire::Delays(PATIENCE.saturating_mul(2))).await
}

pub(super) async fn never(scene: &mut Scene) -> Result<(), Trouble> {
    if scene.point.is_wrapper() {
        return away::never(scene).await;
    }
    unanswered(scene, Wire::Hangs).await?;
    unanswered(scene, Wire::CutBefore).await
}

/// An impatient point, and a wire that does not answer in time.
async fn unanswered(scene: &mut Scene, wire: Wire) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let patient = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &patient).await;
    patient.close().await;
    let hurried = Setting { patience: PATIENCE, ..proxied(scene) };
    let inside = scene.open(&disk, &hurried, &round).await?;
    proxy(&inside)?.set(wire);
    let calls = round.mixed(scene.pick(8, 24), Phase::Fault);
    round.ask(&inside.client, calls, 8).await;
    round.feel(proxy(&inside)?.felt());
    // What was decided late is answered late, and nobody acts on it.
    tokio::time::sleep(PATIENCE.saturating_mul(2)).await;
    inside.close().await;
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    end(scene, &round, inside, &disk).await
}

pub(super) async fn garbage(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    may_run_unchecked(scene, &round);
    let allow = proxy(&inside)?.allow();
    for answer in forged(&allow) {
        proxy(&inside)?.set(Wire::Says(answer));
        let calls = vec![round.one(PAY, Phase::Fault)];
        round.ask(&inside.client, calls, 1).await;
    }
    end(scene, &round, inside, &disk).await
}

/// Answers that are none, and answers that look like an allow.
fn forged(recorded: &[u8]) -> Vec<Vec<u8>> {
    let body = recorded.windows(4).position(|four| four == b"\r\n\r\n");
    let body = body.and_then(|at| recorded.get(at.saturating_add(4)..)).unwrap_or_default();
    let real: Value = serde_json::from_slice(body).unwrap_or_default();
    let plain = json!({"decision": "ALLOW", "reasons": [], "constraints": {}, "expires_at_ms": i64::MAX});
    let without = |field: &str| {
        let mut reply = real.clone();
        if let Some(members) = reply.as_object_mut() {
            members.remove(field);
        }
        reply
    };
    let other_key = |reply: &Value| {
        let mut reply = reply.clone();
        if let Some(signature) = reply.pointer_mut("/receipt/signatures/0/sig") {
            *signature = json!("A".repeat(86) + "==");
        }
        reply
    };
    let mut answers: Vec<Vec<u8>> =
        [&plain, &without("receipt"), &without("proof"), &without("salt"), &other_key(&real)]
            .map(|reply| http(200, &reply.to_string()))
            .to_vec();
    answers.extend([
        // A whole allow under a status that is none.
        http(500, &real.to_string()),
        http(503, r#"{"decision":"DENY","code":"GATE_UNAVAILABLE"}"#),
        http(302, ""),
        http(200, ""),
        http(200, "ALLOW"),
        http(200, r#"{"decision":"ALLOW""#),
        http(200, &"[".repeat(100_000)),
        http(200, "<html><body>502 Bad Gateway</body></html>"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n{\"decision\":\"ALLOW\"}".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        (0..4096u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect(),
        Vec::new(),
    ]);
    answers
}

fn http(status: u16, body: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    format!("{head}\r\n\r\n{body}").into_bytes()
}

pub(super) async fn truncated(scene: &mut Scene) -> Result<(), Trouble> {
    if scene.point.is_wrapper() {
        return in_shares(scene, (40, 400), Wire::Truncates).await;
    }
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    // One decision; its answer is kept here, and handed out in ever longer parts to the same question.
    let call = round.one(PAY, Phase::Fault);
    let wire = proxy(&inside)?;
    wire.set(Wire::CutAfterDecision);
    round.ask(&inside.client, vec![call.clone()], 1).await;
    let whole = wire.recorded();
    let length = u64::try_from(whole.len()).unwrap_or(0);
    for part in scene.sample(length, 150, 6000) {
        let part = usize::try_from(part).unwrap_or(0).min(whole.len().saturating_sub(1));
        wire.set(Wire::Says(whole.get(..part).unwrap_or_default().to_vec()));
        round.ask(&inside.client, vec![call.clone()], 1).await;
    }
    let in_parts = round.effects_now()?;
    // The whole of it is an allow, which shows that nothing but the cut kept it from running.
    wire.set(Wire::Says(whole));
    let ran = round.ask(&inside.client, vec![call], 1).await;
    if in_parts > 3 || ran != 1 {
        round.wrong("a part of an allow was acted on, or the whole of it was not");
    }
    end(scene, &round, inside, &disk).await
}

pub(super) async fn changed(scene: &mut Scene) -> Result<(), Trouble> {
    in_shares(scene, (60, 600), Wire::Flips).await
}

/// One question for each place at which its answer is broken.
async fn in_shares(
    scene: &mut Scene,
    (quick, full): (u64, u64),
    wire: fn(u64) -> Wire,
) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    may_run_unchecked(scene, &round);
    for step in scene.sample(10_000, quick, full) {
        proxy(&inside)?.set(wire(step.saturating_sub(1)));
        let calls = vec![round.one(PAY, Phase::Fault)];
        round.ask(&inside.client, calls, 1).await;
    }
    end(scene, &round, inside, &disk).await
}

/// What a broken wire looks like to an agent with a lease: no gate.
pub(super) fn may_run_unchecked(scene: &Scene, round: &Round) {
    if scene.point == Point::Leased {
        round.expect_unchecked(1, UNCHECKED);
    }
}

/// The agent sends a part of a call and is gone. Nothing but a whole line is a call.
pub(super) async fn call_truncated(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &scene.setting(), &round).await?;
    scene.control(&round, &inside).await;
    let mut key = inside.close().await;
    let line = line_of(&round.one(PAY, Phase::Fault));
    for part in scene.sample(u64::try_from(line.len()).unwrap_or(0).saturating_sub(1), 6, 60) {
        let inside = scene.open(&disk, &scene.setting(), &round).await?;
        if let Some(client) = inside.client.lines() {
            let part = usize::try_from(part).unwrap_or(0);
            client.raw(line.get(..part).unwrap_or_default()).await;
        }
        round.feel(1);
        key = inside.close().await;
    }
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

fn line_of(call: &Call) -> String {
    let params = json!({"name": call.tool, "arguments": call.args});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 9_000, "method": "tools/call", "params": params}))
}
