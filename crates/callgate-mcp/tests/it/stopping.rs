//! Calls that an operator stops: those that run are called off, those that wait never run.

use std::time::Duration;

use callgate_gate::{ApprovalFilter, Credential, StopRequest};
use serde_json::json;

use crate::rig::{RULES, Rig, options, outcome, receipt, text};

async fn stop(rig: &Rig, scope: &str, agent: Option<&str>) -> String {
    let what = StopRequest {
        scope: scope.to_owned(),
        agent: agent.map(str::to_owned),
        note: Some("it loops".to_owned()),
        ..StopRequest::default()
    };
    rig.gate.stop(what, &Credential::Local).await.unwrap().stop.id
}

/// A stop reaches what runs at once: long before the next heartbeat, which is an hour away here.
#[tokio::test]
async fn a_running_call_is_called_off_at_once_and_its_late_result_reaches_nobody() {
    let mut patient = options();
    patient.bounds.heartbeat = Duration::from_hours(1);
    let mut rig = Rig::with(RULES, patient).await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    let forwarded = rig.server.next().await;
    let id = stop(&rig, "agent", Some("bot")).await;
    let cancelled = rig.server.next().await;
    assert_eq!(cancelled["method"], "notifications/cancelled", "{cancelled}");
    assert_eq!(cancelled["params"]["requestId"], forwarded["id"]);
    let answer = rig.client.next().await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("AGENT_KILLED") && text(&answer).contains(&id), "{answer}");
    assert!(!text(&answer).contains("it loops"), "{answer}");
    let late = json!({"jsonrpc": "2.0", "id": forwarded["id"], "result": {"content": []}});
    rig.server.send(&late).await;
    rig.client.silent().await;
    let ended = outcome(&rig.gate, receipt(&answer)).await;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    // The next one does not run, until that is lifted.
    let answer = rig.refused(2, "read", json!({"path": "/a"})).await;
    assert_eq!(answer["result"]["_meta"]["callgate/code"], "AGENT_KILLED");
    rig.gate.lift_stop(&id, Some("fixed"), &Credential::Local).await.unwrap();
    let answer = rig.answered(3, "read", json!({"path": "/a"}), json!({"content": []})).await;
    assert_eq!(answer["id"], 3);
}

#[tokio::test]
async fn a_stop_of_another_agent_leaves_a_running_call_alone() {
    let mut rig = Rig::with(RULES, options()).await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    let forwarded = rig.server.next().await;
    stop(&rig, "agent", Some("other")).await;
    rig.server.silent().await;
    let result = json!({"jsonrpc": "2.0", "id": forwarded["id"], "result": {"content": []}});
    rig.server.send(&result).await;
    assert!(rig.client.next().await["result"]["isError"].is_null());
}

/// A gate that cannot tell any more is no leave to go on.
#[tokio::test]
async fn a_heartbeat_that_finds_its_action_closed_ends_the_call() {
    let mut quick = options();
    quick.bounds.heartbeat = Duration::from_millis(30);
    let mut rig = Rig::with(RULES, quick).await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    let decided = rig.gate.size() - 1;
    let closed = callgate_gate::OutcomeReport::new(decided, callgate_gate::OutcomeStatus::Unknown);
    rig.gate.report(closed, &Credential::Local).await.unwrap();
    assert_eq!(rig.server.next().await["method"], "notifications/cancelled");
    assert!(text(&rig.client.next().await).contains("no open action"));
}

#[tokio::test]
async fn a_held_call_that_is_stopped_never_runs() {
    let mut patient = options();
    patient.bounds.hold = Duration::from_secs(15);
    let mut rig = Rig::with(RULES, patient).await;
    rig.call(1, "move", json!({"a": 1})).await;
    while rig.gate.approvals(&ApprovalFilter::default(), &Credential::Local).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop(&rig, "everything", None).await;
    let answer = rig.client.next().await;
    assert_eq!(answer["result"]["_meta"]["callgate/code"], "AGENT_KILLED", "{answer}");
    rig.server.silent().await;
    assert!(rig.gate.approvals(&ApprovalFilter::default(), &Credential::Local).is_empty());
}
