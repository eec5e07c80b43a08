//! Servers that die, lie, flood or babble, and clients that reuse ids or hang up.

use std::time::Duration;

use callgate_mcp::WrapError;
use serde_json::json;
use tokio::time::timeout;

use crate::rig::{Rig, WAIT, options, outcome, receipt, text};

#[tokio::test]
async fn a_server_that_dies_leaves_answers_and_an_unknown_outcome() {
    let mut rig = Rig::new().await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.client.send(&json!({"jsonrpc": "2.0", "id": 2, "method": "prompts/list"})).await;
    rig.server.next().await;
    rig.server.next().await;
    drop(rig.server);
    let (mut answers, mut index) = (Vec::new(), 0);
    for _ in 0..2 {
        let answer = rig.client.next().await;
        if answer["id"] == 1 {
            assert!(text(&answer).contains("nobody knows"), "{answer}");
            index = receipt(&answer);
        } else {
            assert_eq!(answer["error"]["code"], -32603);
        }
        answers.push(answer["id"].clone());
    }
    assert!(answers.contains(&json!(1)) && answers.contains(&json!(2)));
    let ended = timeout(WAIT, rig.wrapper).await.unwrap().unwrap();
    assert!(matches!(ended, Err(WrapError::ServerEnded { in_flight: 2, .. })), "{ended:?}");
    assert_eq!(outcome(&rig.gate, index).await["status"], "unknown");
}

#[tokio::test]
async fn garbage_is_dropped_and_said_so() {
    let mut rig = Rig::new().await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    for line in [
        "listening on stdio…",
        "[]",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"result\":{}}",
        "{\"a\":",
        "null",
    ] {
        rig.server.raw(&format!("{line}\n")).await;
    }
    rig.client.silent().await;
    assert!(rig.noted("what is no message"));
    rig.server.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})).await;
    assert_eq!(rig.client.next().await["id"], 1);
}

#[tokio::test]
async fn an_endless_line_is_not_kept_and_nobody_waits_for_it() {
    let mut bounded = options();
    bounded.bounds.message_bytes = 64 * 1024;
    let mut rig = Rig::with(crate::rig::RULES, bounded).await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    let piece = "x".repeat(1 << 20);
    for _ in 0..32 {
        rig.server.raw(&piece).await;
    }
    rig.server.raw("\n").await;
    let answer = rig.client.next().await;
    assert!(text(&answer).contains("more than 65536 bytes"), "{answer}");
    assert_eq!(outcome(&rig.gate, receipt(&answer)).await["status"], "unknown");
    rig.server.send(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})).await;
    assert_eq!(rig.client.next().await["method"], "notifications/message");
}

#[tokio::test]
async fn answers_nobody_asked_for_are_dropped() {
    let mut rig = Rig::new().await;
    let answer = |id: u64| json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}});
    rig.server.send(&answer(5)).await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    rig.server.send(&answer(1)).await;
    rig.server.send(&answer(1)).await;
    assert_eq!(rig.client.next().await["id"], 1);
    rig.client.silent().await;
    assert!(rig.noted("nobody waits for"));
}

#[tokio::test]
async fn a_result_that_two_readers_could_take_differently_is_not_passed_on() {
    let mut rig = Rig::new().await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    rig.server.raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":true,\"isError\":false}}\n").await;
    assert!(text(&rig.client.next().await).contains("could not be read"));
}

#[tokio::test]
async fn an_id_in_use_cannot_be_used_again() {
    let mut rig = Rig::new().await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    rig.client.send(&json!({"jsonrpc": "2.0", "id": 1.0, "method": "ping"})).await;
    let answer = rig.client.next().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(null), &json!(-32600)));
    rig.server.silent().await;
    rig.server.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})).await;
    assert_eq!(rig.client.next().await["id"], 1);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused() {
    let mut few = options();
    few.bounds.in_flight = 3;
    let mut rig = Rig::with(crate::rig::RULES, few).await;
    for id in 0..4 {
        rig.client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).await;
    }
    let answer = rig.client.next().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(3), &json!(-32603)));
}

#[tokio::test]
async fn a_flood_to_a_client_that_does_not_read_stays_bounded_and_time_limits_hold() {
    let mut tight = options();
    tight.bounds.queued_bytes = 64 * 1024;
    let mut rig = Rig::with(crate::rig::RULES, tight).await;
    rig.call(1, "write", json!({"path": "/a"})).await;
    rig.server.next().await;
    let note = format!(
        "{}\n",
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": "x".repeat(1000)})
    );
    let mut sent: usize = 0;
    // Writing gets stuck once every buffer between is full, and not before the wrapper's is.
    let flood = async {
        loop {
            rig.server.raw(&note).await;
            sent += note.len();
        }
    };
    assert!(timeout(Duration::from_millis(800), flood).await.is_err());
    assert!(sent < 2 << 20, "{sent}");
    // The call's time was up meanwhile: the server is told, although nobody reads the other side.
    assert_eq!(rig.server.next().await["method"], "notifications/cancelled");
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_the_server_along() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    drop(rig.client);
    // Its input ends; this server ignores that and is left behind.
    rig.server.ended().await;
    let ended = timeout(WAIT, rig.wrapper).await.unwrap().unwrap();
    assert_eq!(ended.unwrap().forwarded, 1);
    assert_eq!(outcome(&rig.gate, before).await["status"], "unknown");
}
