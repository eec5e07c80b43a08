//! Constraints are enforced, and every permitted call's outcome is recorded.

use serde_json::json;

use crate::rig::{Rig, outcome, receipt, text};

fn result(id: u64, result: serde_json::Value) -> serde_json::Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

#[tokio::test]
async fn a_call_over_its_time_is_called_off_and_its_late_answer_is_dropped() {
    let mut rig = Rig::new().await;
    rig.call(1, "write", json!({"path": "/a"})).await;
    assert_eq!(rig.server.next().await["method"], "tools/call");
    let cancel = rig.server.next().await;
    assert_eq!(
        (&cancel["method"], &cancel["params"]["requestId"]),
        (&json!("notifications/cancelled"), &json!(1))
    );
    let answer = rig.client.next().await;
    assert_eq!(answer["result"]["isError"], true);
    assert!(text(&answer).contains("300 ms"), "{}", text(&answer));
    assert_eq!(outcome(&rig.gate, receipt(&answer)).await["status"], "timed_out");
    // The id is not free before the server is done with it.
    rig.call(1, "read", json!({"path": "/a"})).await;
    assert_eq!(rig.client.next().await["error"]["code"], -32600);
    rig.server.send(&result(1, json!({"content": [{"type": "text", "text": "late"}]}))).await;
    rig.client.silent().await;
    assert_eq!(rig.answered(2, "read", json!({"path": "/a"}), json!({"content": []})).await["id"], 2);
}

#[tokio::test]
async fn a_failed_action_runs_again_as_often_as_permitted_and_no_more() {
    let mut rig = Rig::new().await;
    let failed = json!({"content": [], "isError": true});
    for id in [1, 2] {
        let answer = rig.answered(id, "write", json!({"path": "/a"}), failed.clone()).await;
        assert_eq!(outcome(&rig.gate, receipt(&answer)).await["status"], "failed");
    }
    let answer = rig.refused(3, "write", json!({"path": "/a"})).await;
    assert!(text(&answer).contains("failed 2 time(s)"), "{}", text(&answer));
    let not_run = outcome(&rig.gate, receipt(&answer)).await;
    assert_eq!((&not_run["status"], &not_run["attempts"]), (&json!("not_run"), &json!(0)));
    // Another action is another count, and a success starts anew.
    rig.answered(4, "write", json!({"path": "/b"}), failed.clone()).await;
    rig.answered(5, "write", json!({"path": "/b"}), json!({"content": []})).await;
    rig.answered(6, "write", json!({"path": "/b"}), failed.clone()).await;
    rig.answered(7, "write", json!({"path": "/b"}), failed.clone()).await;
    rig.refused(8, "write", json!({"path": "/b"})).await;
    // Without the constraint there is no count.
    for id in 10..15 {
        rig.answered(id, "read", json!({"path": "/c"}), failed.clone()).await;
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_a_failure_too() {
    let mut rig = Rig::new().await;
    rig.call(1, "once", json!({})).await;
    rig.server.next().await;
    let error =
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "boom", "data": {"x": 1}}});
    rig.server.send(&error).await;
    assert_eq!(rig.client.next().await, error);
    let answer = rig.refused(2, "once", json!({})).await;
    assert!(text(&answer).contains("failed 1 time(s)"));
}

#[tokio::test]
async fn a_result_over_its_size_is_withheld() {
    let mut rig = Rig::new().await;
    let small = rig.answered(1, "small", json!({}), json!({"content": []})).await;
    assert!(small["result"].get("isError").is_none());
    let secret = "s".repeat(200);
    let large =
        rig.answered(2, "small", json!({}), json!({"content": [{"type": "text", "text": secret}]})).await;
    assert!(text(&large).contains("100 are permitted") && !text(&large).contains(&secret));
    assert_eq!(outcome(&rig.gate, receipt(&large)).await["status"], "succeeded");
}

#[tokio::test]
async fn a_call_that_may_go_on_as_a_task_is_not_under_the_wrappers_limits() {
    let mut rig = Rig::new().await;
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let legacy = json!({"name": "write", "arguments": {"path": "/a"}, "task": {"ttl": 1}});
    let modern = json!({"name": "write", "arguments": {"path": "/a"}, "_meta": meta});
    for (id, params) in [(1, legacy), (2, modern)] {
        rig.client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
        let answer = rig.client.next().await;
        assert_eq!(answer["result"]["_meta"]["callgate/code"], "CONSTRAINT_UNENFORCEABLE", "{answer}");
    }
    rig.server.silent().await;
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_in_the_log() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "x"}});
    rig.client.send(&cancel).await;
    assert_eq!(rig.server.next().await, cancel);
    assert_eq!(outcome(&rig.gate, before).await["status"], "cancelled");
    rig.server.send(&result(1, json!({"content": []}))).await;
    rig.client.silent().await;
}

#[tokio::test]
async fn a_call_that_is_called_off_before_it_runs_does_not_run() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    let cancel =
        |id: u64| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    let call = |id: u64| crate::rig::call(id, "read", json!({"path": format!("/{id}")}));
    // Both arrive in one piece, so the second is still waiting when it is called off.
    rig.client.raw(&format!("{}\n{}\n{}\n", call(1), call(2), cancel(2))).await;
    assert_eq!(rig.server.next().await["id"], 1);
    rig.server.send(&result(1, json!({}))).await;
    assert_eq!(rig.client.next().await["id"], 1);
    rig.server.silent().await;
    rig.client.silent().await;
    let gate = rig.gate.clone();
    let (ended, _) = rig.leave().await;
    assert_eq!(ended.unwrap().forwarded, 1);
    // Every decision that was made is closed.
    let all: Vec<_> = (before..gate.size()).map(|index| crate::rig::statement(&gate, index)).collect();
    let count =
        |kind: &str| all.iter().filter(|s| s["predicateType"].as_str().unwrap().contains(kind)).count();
    assert_eq!(count("decision"), count("outcome"));
}
