//! A client that hangs up takes nothing with it.

use std::time::Duration;

use callgate_gate::Credential;

use crate::client::post;
use crate::fixture::{World, call, call_with};

/// While a sync is under way, two requests of one session are decided on the same facts and wait. Once the first of
/// them is in, the second has to be decided again. Its client is gone by then, so only a decision that does not hang
/// on its connection gets there.
#[tokio::test]
async fn a_decision_that_began_is_receipted_though_its_client_hung_up() {
    let world = World::dev().await;
    let before = world.gate.size();
    let held = world.latch.hold();
    let mut ahead = world.client().await;
    ahead.send(post("/api/v1/decide", "", call("bot", "read"))).await;
    held.reached().await;
    let mut gone = Vec::new();
    for tool in ["read", "write"] {
        let mut client = world.client().await;
        client.send(post("/api/v1/decide", "", call_with("bot", tool, r#","session":{"id":"s"}"#))).await;
        gone.push(client);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(gone);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(held);
    assert_eq!(ahead.response().await.expect("an answer").status, 200);
    world.grows_to(before + 3).await;
    let [first, second] = [1, 2].map(|place| {
        let receipt = world.gate.receipt(before + place, &Credential::Development).expect("a receipt");
        receipt.statement["predicate"].clone()
    });
    assert_eq!(first["session"]["id"], second["session"]["id"]);
    assert!(
        first["prev"].is_null() && second["prev"].is_string(),
        "the second was decided again, after the first"
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_sends_asked_nothing() {
    let world = World::dev().await;
    let before = world.gate.size();
    let whole = post("/api/v1/decide", "", call_with("bot", "read", ""));
    for length in [1, 20, whole.len() / 2, whole.len() - 1] {
        let mut client = world.client().await;
        client.send(whole.get(..length).expect("a part")).await;
    }
    let reply = world.decide("", call_with("bot", "read", "")).await;
    assert_eq!(reply["receipt_index"], before, "only the whole request was decided");
}
