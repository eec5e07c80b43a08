//! Calls that people must agree to: they wait, go on by themselves, and never run without a grant.

use std::time::Duration;

use callgate_gate::{ApprovalFilter, Credential, Said};
use serde_json::json;

use crate::rig::{LIMITS, RULES, Rig, options, receipt, text};

fn patient() -> callgate_mcp::WrapOptions {
    let mut options = options();
    options.bounds.hold = Duration::from_secs(15);
    options
}

fn reviewer(roles: &[&str]) -> Credential {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Credential::Person { id: "ana".to_owned(), roles, tenant: None }
}

/// The approval that a call waits for, once there is one.
async fn open(rig: &Rig) -> u64 {
    for _ in 0..400 {
        let waiting = rig.gate.approvals(&ApprovalFilter::default(), &Credential::Local);
        if let Some(view) = waiting.first() {
            return view.id.trim_start_matches("apr-").parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no call waits");
}

#[tokio::test]
async fn a_held_call_goes_on_by_itself_when_people_agree() {
    let mut rig = Rig::with(RULES, patient()).await;
    rig.call(1, "move", json!({"a": 1})).await;
    let id = open(&rig).await;
    rig.server.silent().await;
    // Other calls do not wait for it.
    rig.call(2, "read", json!({"path": "/a"})).await;
    let other = rig.server.next().await;
    assert_eq!(other["params"]["name"], "read");
    rig.gate.approve(id, &reviewer(&["files"]), Said::default()).await.unwrap();
    let forwarded = rig.server.next().await;
    assert_eq!(forwarded["params"], json!({"name": "move", "arguments": {"a": 1}}));
    let result = json!({"jsonrpc": "2.0", "id": forwarded["id"], "result": {"content": []}});
    rig.server.send(&result).await;
    let answered = rig.client.next().await;
    assert_eq!(answered["id"], 1);
    assert!(answered["result"]["isError"].is_null(), "{answered}");
    // The grant is spent: the same call waits again.
    rig.call(3, "move", json!({"a": 1})).await;
    assert_ne!(open(&rig).await, id);
    rig.server.silent().await;
}

#[tokio::test]
async fn a_rejected_call_is_denied_and_never_runs() {
    let mut rig = Rig::with(RULES, patient()).await;
    rig.call(1, "move", json!({"a": 1})).await;
    let id = open(&rig).await;
    rig.gate.reject(id, &reviewer(&["files"]), None).await.unwrap();
    let answer = rig.client.next().await;
    assert_eq!(answer["result"]["_meta"]["callgate/code"], "APPROVAL_REJECTED", "{answer}");
    assert!(receipt(&answer) > id);
    rig.server.silent().await;
}

#[tokio::test]
async fn a_call_that_waited_too_long_gets_a_reference_to_come_back_with() {
    let mut options = options();
    options.bounds.hold = Duration::from_millis(200);
    let mut rig = Rig::with(RULES, options).await;
    rig.call(1, "move", json!({"a": 1})).await;
    let id = open(&rig).await;
    let answer = rig.client.next().await;
    assert!(text(&answer).contains(&format!("apr-{id}")), "{answer}");
    assert_eq!(answer["result"]["_meta"]["callgate/approval"]["id"], format!("apr-{id}"));
    // It comes back with the same call, after people agreed, and runs at once.
    rig.gate.approve(id, &reviewer(&["files"]), Said::default()).await.unwrap();
    rig.call(2, "move", json!({"a": 1})).await;
    assert_eq!(rig.server.next().await["params"]["name"], "move");
}

#[tokio::test]
async fn a_call_that_was_called_off_while_it_waited_never_runs() {
    let mut rig = Rig::with(RULES, patient()).await;
    rig.call(1, "move", json!({"a": 1})).await;
    let id = open(&rig).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    rig.client.send(&cancel).await;
    rig.call(2, "read", json!({"path": "/a"})).await;
    assert_eq!(rig.server.next().await["params"]["name"], "read", "the cancellation was read before");
    rig.gate.approve(id, &reviewer(&["files"]), Said::default()).await.unwrap();
    rig.server.silent().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_not_waited_for() {
    let mut rig = Rig::with(RULES, patient()).await;
    rig.call(1, "move", json!({"a": 1})).await;
    let id = open(&rig).await;
    rig.client.close_input().await;
    let answer = rig.client.next().await;
    assert!(text(&answer).contains(&format!("apr-{id}")), "{answer}");
}

#[tokio::test]
async fn a_client_that_gave_a_token_hears_of_the_waiting() {
    let mut options = patient();
    options.bounds.progress = Duration::from_millis(50);
    let mut rig = Rig::with(RULES, options).await;
    let params = json!({"name": "move", "arguments": {"a": 1}, "_meta": {"progressToken": "t\"1"}});
    rig.client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await;
    let told = rig.client.next().await;
    assert_eq!(told["method"], "notifications/progress", "{told}");
    assert_eq!(told["params"]["progressToken"], "t\"1");
    assert_eq!(told["params"]["progress"], 1);
    assert!(told["params"]["message"].as_str().unwrap().contains("apr-"));
}

const OFTEN: &str = "version: v1\nthrottles: [{id: often, rate: 1/400ms, per: [agent]}]";

#[tokio::test]
async fn a_throttled_call_waits_for_its_turn_where_there_is_time() {
    let mut options = options();
    options.bounds.throttle = Duration::from_secs(5);
    let mut rig = Rig::with(&format!("{RULES}{LIMITS}{OFTEN}"), options).await;
    let read = json!({"path": "/a"});
    for id in 1..=3 {
        rig.call(id, "read", read.clone()).await;
    }
    for _ in 1..=3 {
        let seen = rig.server.next().await;
        rig.server.send(&json!({"jsonrpc": "2.0", "id": seen["id"], "result": {"content": []}})).await;
        let answered = rig.client.next().await;
        assert!(answered["result"]["isError"].is_null(), "{answered}");
    }
    let (ended, gate) = rig.leave().await;
    assert_eq!(ended.unwrap().forwarded, 3);
    assert!(gate.size() > 7, "every time it was asked about has a receipt");
}

#[tokio::test]
async fn a_throttled_call_whose_turn_comes_too_late_is_told_when() {
    let mut options = options();
    options.bounds.throttle = Duration::from_millis(50);
    let mut rig = Rig::with(&format!("{RULES}{LIMITS}{OFTEN}"), options).await;
    rig.answered(1, "read", json!({"path": "/a"}), json!({"content": []})).await;
    let refused = rig.refused(2, "read", json!({"path": "/a"})).await;
    assert_eq!(refused["result"]["_meta"]["callgate/code"], "RATE_EXCEEDED", "{refused}");
    // The turn of this one never comes: the rule throttles it whenever it is asked about.
    rig.refused(3, "tree", json!({})).await;
}
