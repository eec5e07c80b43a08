//! A client that hangs up takes nothing with it.

use std::time::Duration;

use callgate_gate::Credential;

use crate::client::post;
use crate::fixture::{World, call_with};

/// The second of two requests of one session has to be decided again once the first is durable. Its client is gone
/// by then, so only a decision that does not hang on its connection gets there.
#[tokio::test]
async fn a_decision_that_began_is_receipted_though_its_client_hung_up() {
    let world = World::dev().await;
    let before = world.gate.size();
    let held = world.latch.hold();
    let in_session = |tool: &str| call_with("bot", tool, r#","session":{"id":"s"}"#);
    let mut first = world.client().await;
    first.send(post("/api/v1/decide", "", in_session("read"))).await;
    held.reached().await;
    let mut second = world.client().await;
    second.send(post("/api/v1/decide", "", in_session("drop"))).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(held);
    world.grows_to(before + 2).await;
    let receipt = world.gate.receipt(before + 1, &Credential::Development).expect("the second's receipt");
    assert_eq!(receipt.statement["predicate"]["decision"], "DENY");
    assert!(receipt.statement["predicate"]["prev"].is_string(), "decided again, after the first");
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
