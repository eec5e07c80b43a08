//! Bodies are objects: no array in the place of one, no member twice, none that nobody knows.

use serde_json::{Value, json};

use crate::fixture::{World, call};

/// Every route that reads an object, with a body of its shape; `N` stands for an open action.
const BODIES: [(&str, &str); 20] = [
    ("/api/v1/outcomes", r#"{"receipt_index":N,"status":"failed"}"#),
    ("/api/v1/progress", r#"{"receipt_index":N}"#),
    ("/api/v1/stops", r#"{"scope":"everything","note":"n"}"#),
    ("/api/v1/stops/stop-1/lift", r#"{"note":"n"}"#),
    ("/api/v1/breakers/reset", r#"{"name":"b@1:","note":"n","through":1}"#),
    ("/api/v1/enforcement-points", r#"{"id":"p","snapshot":"v1"}"#),
    ("/api/v1/enforcement-points/lease", r#"{"agent":"bot","nonce":"n","point":"p"}"#),
    ("/api/v1/unchecked", r#"{"agent":"bot","journal":"j","point":"p","records":[]}"#),
    ("/api/v1/policy/simulate", r#"{"job":{}}"#),
    ("/api/v1/policy/snapshots", r#"{"bundle":{"files":{}}}"#),
    ("/api/v1/policy/publish", r#"{"snapshot":"v1"}"#),
    ("/api/v1/policy/rollback", r#"{"target_snapshot":"v1"}"#),
    ("/api/v1/policy/rollout", r#"{"snapshot":"v1","mode":"shadow"}"#),
    ("/api/v1/policy/rollout/stop", r#"{"note":"n"}"#),
    ("/api/v1/policy/mode", r#"{"monitor":true}"#),
    ("/api/v1/keys", r#"{"agent":"x"}"#),
    ("/api/v1/approvals/apr-1/approve", r#"{"comment":"c"}"#),
    ("/api/v1/approvals/apr-1/reject", r#"{"comment":"c"}"#),
    ("/api/v1/approvals/apr-1/comment", r#"{"comment":"c"}"#),
    ("/api/v1/approvals/apr-1/delegate", r#"{"to":"bo"}"#),
];

/// The body in other words, which no reader may take for it.
fn twisted(body: &str) -> Vec<(&'static str, String)> {
    let inside = body.strip_prefix('{').and_then(|body| body.strip_suffix('}')).expect("an object");
    let first = inside.split(':').next().unwrap_or_default();
    let values: Vec<Value> = serde_json::from_str::<Value>(body)
        .expect("JSON")
        .as_object()
        .expect("an object")
        .values()
        .cloned()
        .collect();
    vec![
        ("object", "[]".to_owned()),
        ("object", format!("[{body}]")),
        ("object", Value::from(values).to_string()),
        ("object", "null".to_owned()),
        ("object", "7".to_owned()),
        ("twice", format!("{{{first}:null,{inside}}}")),
        ("surprise", format!("{{{inside},\"surprise\":1}}")),
    ]
}

#[tokio::test]
async fn a_body_is_an_object_of_known_members_each_once() {
    let world = World::dev().await;
    let open = world.decide("", call("bot", "read")).await["receipt_index"].to_string();
    let before = world.gate.size();
    for (path, body) in BODIES {
        let body = body.replace('N', &open);
        for (names, wrong) in twisted(&body) {
            let response = world.post(path, "", &wrong).await;
            let detail = response.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert_eq!(response.status, 400, "{path} {wrong}: {detail}");
            assert!(detail.contains(names), "{path} {wrong}: {detail}");
        }
    }
    assert_eq!(world.gate.size(), before, "nothing of it was done");
}

/// What the derived reader would take: the very fields, in order, in an array.
#[tokio::test]
async fn fields_in_order_are_no_object() {
    let world = World::dev().await;
    let open = world.decide("", call("bot", "read")).await["receipt_index"].clone();
    let before = world.gate.size();
    let request: Value = serde_json::from_str(&call("bot", "read")).expect("JSON");
    let record = |outcome: &Value| json!({"at_ms": 1, "lease": 1, "outcome": outcome, "request": request, "sequence": 0});
    let backlog = |records: Value| json!({"agent": "bot", "journal": "j", "point": "p", "records": records});
    for (path, body) in [
        ("/api/v1/outcomes", json!([open, "failed", null, null, null, {}, null, null])),
        ("/api/v1/progress", json!([open, {}])),
        ("/api/v1/unchecked", backlog(json!([[1, 1, null, request, 0]]))),
        ("/api/v1/unchecked", backlog(json!([record(&json!([null, null, "failed"]))]))),
        ("/api/v1/policy/snapshots", json!({"bundle": [{"rules/r.yaml": "version: v1"}, {}]})),
        ("/api/v1/policy/snapshots", json!({"bundle": {"files": {}}, "git": [null, "abc", false]})),
        ("/api/v1/policy/simulate", json!({"job": {}, "bundle": [{}, {}]})),
        ("/api/v1/policy/simulate", json!({"history": [null, null, null, null, null]})),
        ("/api/v1/approvals/apr-1/approve", json!({"standing": [1, 1, {}]})),
    ] {
        let response = world.post(path, "", body.to_string()).await;
        let detail = response.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(response.status, 400, "{path} {body}: {detail}");
        assert!(detail.contains("an object, such as `{}`"), "{path} {body}: {detail}");
    }
    assert_eq!(world.gate.size(), before, "nothing of it was done");
    // The same as objects gets further.
    let outcome = json!({"receipt_index": open, "status": "failed"});
    assert_eq!(world.post("/api/v1/outcomes", "", outcome.to_string()).await.status, 200);
}
