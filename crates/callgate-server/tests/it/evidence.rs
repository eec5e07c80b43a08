//! Reading receipts and checkpoints back.

use callgate_log::checkpoint::Checkpoint;
use serde_json::json;

use crate::client::key;
use crate::fixture::{World, call};
use crate::schema::Schemas;

#[tokio::test]
async fn a_receipt_is_read_by_its_own_agent_only() {
    let world = World::new().await;
    let (ours, theirs) = (key(&world.key("bot").await), key(&world.key("other").await));
    let reply = world.decide(&ours, call("bot", "drop")).await;
    let path = format!("/api/v1/receipts/{}", reply["receipt_index"]);
    let read = world.get(&path, &ours).await;
    assert_eq!(read.status, 200);
    let receipt = read.json();
    Schemas::load().check("Receipt", &receipt);
    assert_eq!(receipt["receipt"], reply["receipt"]);
    assert_eq!(receipt["statement"]["predicate"]["decision"], "DENY");
    let foreign = world.get(&path, &theirs).await;
    let absent = world.get("/api/v1/receipts/999999", &theirs).await;
    assert_eq!((foreign.status, absent.status), (404, 404), "no difference to a receipt that is not there");
    let named = format!("`{}`", reply["receipt_index"]);
    assert_eq!(foreign.text().replace(&named, "N"), absent.text().replace("`999999`", "N"));
    // The gate's own receipts are its operator's.
    assert_eq!(world.get("/api/v1/receipts/0", &ours).await.status, 404);
}

#[tokio::test]
async fn an_outcomes_receipt_is_read_too() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let index = world.decide(&headers, call("bot", "read")).await["receipt_index"].clone();
    let outcome = json!({"receipt_index": index, "status": "succeeded"}).to_string();
    let recorded = world.post("/api/v1/outcomes", &headers, outcome).await.json();
    let path = format!("/api/v1/receipts/{}", recorded["receipt_index"]);
    let receipt = world.get(&path, &headers).await.json();
    assert_eq!(receipt["statement"]["predicate"]["status"], "succeeded");
}

#[tokio::test]
async fn what_is_no_index_is_not_found() {
    let world = World::dev().await;
    for id in ["x", "-1", "1.0", "18446744073709551616", "%00", "%ff", "..%2f..%2fkeys"] {
        let response = world.get(&format!("/api/v1/receipts/{id}"), "").await;
        assert_eq!(response.status, 404, "{id}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{id}");
    }
    assert_eq!(world.get("/api/v1/receipts/0", "").await.status, 200);
}

#[tokio::test]
async fn the_checkpoint_covers_what_was_answered() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let index = world.decide(&headers, call("bot", "read")).await["receipt_index"].as_u64().unwrap();
    let response = world.get("/api/v1/checkpoint", &headers).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let origin = world.gate.identity().origin();
    let checkpoint = Checkpoint::open(&response.body, &world.gate.verifying_key(), Some(origin))
        .expect("signed by the gate");
    assert!(checkpoint.size > index);
}
