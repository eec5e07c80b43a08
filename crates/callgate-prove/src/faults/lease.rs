//! Leases that do not hold.

use std::time::Duration;

use callgate_core::request::DEFAULT_TENANT;
use callgate_gate::{Credential, LeaseRequest};
use serde_json::{Value, json};

use super::stage::Stage;
use super::wire::{proxied, proxy};
use crate::call::{AGENT, LEASED, SERVER};
use crate::disk::Disk;
use crate::files;
use crate::inside::Setting;
use crate::points::{Errand, Point};
use crate::policy;
use crate::scene::Scene;
use crate::trouble::Trouble;

/// How long a brief lease holds, and a little more.
const BRIEF: Duration = Duration::from_millis(6_300);
/// How many calls try a lease.
const SOME: u64 = 2;

/// The lease ends: for a point that runs, and for one that is started again.
pub(super) async fn over(scene: &mut Scene) -> Result<(), Trouble> {
    let setting = Setting { bundle: Some(policy::briefly()), ..proxied(scene) };
    let mut stage = Stage::under(scene, setting).await?;
    stage.away()?;
    let one = stage.calls(1);
    let ran = stage.round.ask(&stage.inside.client, one, 1).await;
    stage.round.expect_unchecked(ran, ran);
    tokio::time::sleep(BRIEF).await;
    stage.run(SOME, 0).await;
    stage.restart(scene, &scene.errand()).await?;
    stage.run(SOME, 0).await;
    stage.end(scene).await
}

/// A wrapper for whom a lease is put into its folder.
struct Forgery {
    agent: &'static str,
    server: &'static str,
    lease: Value,
}

pub(super) async fn forged(scene: &mut Scene) -> Result<(), Trouble> {
    let mut stage = Stage::set(scene).await?;
    stage.wrapper()?.kill().await?;
    let lease = read_lease(&stage)?;
    let allow = proxy(&stage.inside)?.allow();
    stage.away()?;
    for (number, forgery) in forgeries(&lease, &allow, &another(scene).await?).into_iter().enumerate() {
        let folder = stage.round.dir().join("point").join(format!("forged-{number}"));
        files::write(&folder.join("lease.json"), forgery.lease.to_string().as_bytes())?;
        let Forgery { agent, server, .. } = forgery;
        let errand = Errand { agent, server, journal: Some(folder), ..scene.errand() };
        stage.restart(scene, &errand).await?;
        stage.run(SOME, 0).await;
    }
    // The true one, which shows that nothing else kept them from running.
    stage.restart(scene, &scene.errand()).await?;
    stage.run(1, 1).await;
    stage.round.expect_unchecked(1, 1);
    stage.end(scene).await
}

fn read_lease(stage: &Stage) -> Result<Value, Trouble> {
    let bytes = files::read(&stage.round.journal().join("lease.json"))?;
    serde_json::from_slice(&bytes).map_err(Trouble::at("the lease"))
}

/// A lease of another gate with the same policy, for the same agent and point.
async fn another(scene: &Scene) -> Result<Value, Trouble> {
    let (round, disk) = (crate::round::Round::new(scene.dir().join("another"))?, Disk::new());
    let setting = Setting { point: Point::Embedded, ..scene.setting() };
    let inside = scene.open(&disk, &setting, &round).await?;
    let asked = LeaseRequest {
        holds: None,
        team: None,
        agent: LEASED.to_owned(),
        enforces: ["max_runtime_ms".to_owned()].into(),
        nonce: "another".to_owned(),
        point: format!("mcp-{SERVER}"),
        tenant: DEFAULT_TENANT.to_owned(),
    };
    let reply = inside.gate.lease(asked, &Credential::Local).await.map_err(Trouble::at("a lease"))?;
    let receipt = reply.receipt.ok_or_else(|| Trouble::new("the other gate gave no lease"))?;
    let lease = json!({"nonce": "another", "proof": reply.proof, "receipt": receipt.get()});
    inside.close().await;
    Ok(lease)
}

fn forgeries(lease: &Value, allow: &[u8], another: &Value) -> Vec<Forgery> {
    let receipt = lease.get("receipt").and_then(Value::as_str).unwrap_or_default();
    let with = |name: &str, value: String| {
        let mut lease = lease.clone();
        if let Some(members) = lease.as_object_mut() {
            members.insert(name.to_owned(), value.into());
        }
        lease
    };
    // A signed payload is one long word; another letter in the middle of it is another lease.
    let at = receipt.len().checked_div(3).unwrap_or(0);
    let other = |c| if c == 'A' { 'B' } else { 'A' };
    let letter = |(n, c): (usize, char)| if n == at { other(c) } else { c };
    let altered = with("receipt", receipt.chars().enumerate().map(letter).collect());
    let mut unsigned: Value = serde_json::from_str(receipt).unwrap_or_default();
    if let Some(signature) = unsigned.pointer_mut("/signatures/0/sig") {
        *signature = json!("A".repeat(86) + "==");
    }
    let unsigned = with("receipt", unsigned.to_string());
    let other_nonce = with("nonce", "0".repeat(32));
    let mut own: Vec<Value> = vec![altered, unsigned, other_nonce, another.clone(), json!({}), json!([])];
    own.extend(no_lease(allow));
    let own = own.into_iter().map(|lease| Forgery { agent: LEASED, server: SERVER, lease });
    let whole = || lease.clone();
    own.chain([
        Forgery { agent: AGENT, server: SERVER, lease: whole() },
        Forgery { agent: "helper2", server: SERVER, lease: whole() },
        Forgery { agent: LEASED, server: "other", lease: whole() },
    ])
    .collect()
}

/// A receipt of the true gate that is no lease.
fn no_lease(allow: &[u8]) -> Option<Value> {
    let body = allow.windows(4).position(|four| four == b"\r\n\r\n")?;
    let reply: Value = serde_json::from_slice(allow.get(body.saturating_add(4)..)?).ok()?;
    let receipt = reply.get("receipt")?.to_string();
    Some(json!({"nonce": "any", "proof": reply.get("proof")?, "receipt": receipt}))
}
