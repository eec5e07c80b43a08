//! Outcomes: recorded once, by the agent whose action it was.

use serde_json::json;

use crate::client::key;
use crate::fixture::{World, call, call_with};
use crate::schema::Schemas;

#[tokio::test]
async fn an_outcome_closes_its_action_once() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let index =
        world.decide(&headers, call_with("bot", "read", r#","session":{"id":"s"}"#)).await["receipt_index"]
            .clone();
    let body = json!({
        "receipt_index": index, "status": "succeeded", "attempts": 2, "cost": {"usd": "0.02"},
        "started_at_ms": 1_750_000_000_000_u64, "detail": "done", "result_sha256": "0".repeat(64),
    });
    let before = world.gate.size();
    let response = world.post("/api/v1/outcomes", &headers, body.to_string()).await;
    assert_eq!(response.status, 200, "{response:?}");
    Schemas::load().check("OutcomeReply", &response.json());
    assert_eq!(response.json()["receipt_index"], before);
    let again = world.post("/api/v1/outcomes", &headers, body.to_string()).await;
    assert_eq!(again.status, 409);
    Schemas::load().check("Problem", &again.json());
    assert_eq!(world.gate.size(), before + 1);
}

#[tokio::test]
async fn the_outcome_of_another_agents_action_is_refused_as_if_there_were_none() {
    let world = World::new().await;
    let (ours, theirs) = (key(&world.key("bot").await), key(&world.key("other").await));
    let allowed = world.decide(&ours, call("bot", "read")).await["receipt_index"].as_u64().unwrap();
    let report = |index: u64| format!(r#"{{"receipt_index":{index},"status":"failed"}}"#);
    let foreign = world.post("/api/v1/outcomes", &theirs, report(allowed)).await;
    let absent = world.post("/api/v1/outcomes", &theirs, report(999_999)).await;
    assert_eq!((foreign.status, absent.status), (409, 409));
    assert_eq!(
        foreign.text().replace(&format!("receipt {allowed} "), "N "),
        absent.text().replace("receipt 999999 ", "N ")
    );
    assert_eq!(world.post("/api/v1/outcomes", &ours, report(allowed)).await.status, 200, "it is still open");
    let denied = world.decide(&ours, call("bot", "drop")).await["receipt_index"].as_u64().unwrap();
    assert_eq!(
        world.post("/api/v1/outcomes", &ours, report(denied)).await.status,
        409,
        "a denial has no outcome"
    );
}

#[tokio::test]
async fn what_is_no_outcome_is_refused_with_a_reason() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let allowed = world.decide(&headers, call("bot", "read")).await["receipt_index"].clone();
    let before = world.gate.size();
    for (body, names) in [
        (String::new(), "expected"),
        ("[]".to_owned(), "outcome"),
        (r#"{"receipt_index":-1,"status":"failed"}"#.to_owned(), "outcome"),
        (format!(r#"{{"receipt_index":{allowed}}}"#), "status"),
        (format!(r#"{{"receipt_index":{allowed},"status":"great"}}"#), "great"),
        (format!(r#"{{"receipt_index":{allowed},"status":"failed","statuss":1}}"#), "statuss"),
        (format!(r#"{{"receipt_index":{allowed},"status":"failed","status":"succeeded"}}"#), "twice"),
        (
            format!(r#"{{"receipt_index":{allowed},"status":"failed","cost":{{"usd":"1","usd":"2"}}}}"#),
            "twice",
        ),
        (format!(r#"{{"receipt_index":{allowed},"status":"failed","cost":{{"usd":"-1"}}}}"#), "negative"),
        (format!(r#"{{"receipt_index":{allowed},"status":"failed","result_sha256":"xyz"}}"#), "hex"),
        (
            format!(r#"{{"receipt_index":{allowed},"status":"failed","detail":"{}"}}"#, "x".repeat(1025)),
            "1024",
        ),
    ] {
        let response = world.post("/api/v1/outcomes", &headers, &body).await;
        assert_eq!(response.status, 400, "{body}");
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(names), "{body}: {detail}");
    }
    assert_eq!(world.gate.size(), before);
}
