//! When the gate cannot decide, or not in time: a denial, and the reason is for the operator.

use std::time::Duration;

use callgate_server::ServerLimits;
use callgate_store::sim::Faults;
use serde_json::json;

use crate::client::{key, post};
use crate::fixture::{Setup, World, call};
use crate::schema::Schemas;

#[tokio::test]
async fn a_gate_that_is_too_slow_denies() {
    let world = World::with(Setup { deadline: Duration::from_millis(80), ..Setup::default() }).await;
    let headers = key(&world.key("bot").await);
    let held = world.latch.hold();
    let response = world.post("/api/v1/decide", &headers, call("bot", "read")).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    Schemas::load().check("Problem", &problem);
    assert_eq!(problem["decision"], "DENY");
    assert_eq!(problem["code"], "GATE_UNAVAILABLE");
    assert_eq!(problem["retryable"], true);
    let number = problem["instance"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert!(world.log().contains(&format!("incident {number}: no decision within 80 ms")), "{}", world.log());

    let batch = format!("[{},{}]", call("bot", "read"), call("bot", "drop"));
    let response = world.post("/api/v1/decide/batch", &headers, batch).await;
    assert_eq!(response.status, 200);
    Schemas::load().check("BatchReply", &response.json());
    for reply in response.json()["replies"].as_array().unwrap() {
        assert_eq!((&reply["decision"], &reply["code"]), (&json!("DENY"), &json!("GATE_UNAVAILABLE")));
    }
    drop(held);
}

#[tokio::test]
async fn a_gate_that_stopped_for_good_denies_and_is_not_ready() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    assert_eq!(world.get("/readyz", "").await.json(), json!({"status": "ready"}));
    let allowed = world.decide(&headers, call("bot", "read")).await["receipt_index"].clone();
    let mut faults = Faults::default();
    faults.fail_sync_at = Some(world.disk.syncs() + 1);
    world.disk.set_faults(faults);
    for _ in 0..2 {
        let response = world.post("/api/v1/decide", &headers, call("bot", "read")).await;
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), None, "asking again cannot help");
        assert_eq!(response.json()["decision"], "DENY");
        assert_eq!(response.json()["retryable"], false);
    }
    let outcome = format!(r#"{{"receipt_index":{allowed},"status":"succeeded"}}"#);
    let response = world.post("/api/v1/outcomes", &headers, outcome).await;
    assert_eq!(response.status, 503);
    Schemas::load().check("Problem", &response.json());

    let (stranger, known) = (world.get("/readyz", "").await, world.get("/readyz", &headers).await);
    assert_eq!((stranger.status, known.status), (503, 503));
    Schemas::load().check("Health", &stranger.json());
    let trouble = world.gate.trouble().expect("stopped");
    assert_eq!(known.json()["reason"], trouble.as_str());
    assert!(!stranger.text().contains(&trouble), "{stranger:?}");
    assert!(world.log().contains(&trouble), "{}", world.log());
    assert_eq!(world.get("/healthz", "").await.status, 200, "the program still lives");
}

#[tokio::test]
async fn a_request_beyond_its_time_is_a_denial_and_its_receipt_is_kept() {
    let limits = ServerLimits { request_time: Duration::from_millis(80), ..ServerLimits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let headers = key(&world.key("bot").await);
    let before = world.gate.size();
    let held = world.latch.hold();
    let response = world.post("/api/v1/decide", &headers, call("bot", "read")).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["code"], "GATE_UNAVAILABLE");
    drop(held);
    world.grows_to(before + 1).await;
}

#[tokio::test]
async fn a_gate_with_enough_to_do_says_so() {
    let limits = ServerLimits { in_flight: 2, batch: 2, ..ServerLimits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let headers = key(&world.key("bot").await);
    let before = world.gate.size();
    let held = world.latch.hold();
    let batch = format!("[{},{}]", call("bot", "read"), call("bot", "drop"));
    let mut busy = world.client().await;
    busy.send(post("/api/v1/decide/batch", &headers, batch)).await;
    held.reached().await;
    drop(busy);
    // The client is gone, its two decisions are not.
    for (path, body) in [
        ("/api/v1/decide", call("bot", "read")),
        ("/api/v1/decide/batch", format!("[{}]", call("bot", "read"))),
        ("/api/v1/outcomes", r#"{"receipt_index":0,"status":"failed"}"#.to_owned()),
    ] {
        let response = world.post(path, &headers, body).await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{path}");
        assert_eq!(response.json()["decision"].as_str(), path.contains("decide").then_some("DENY"), "{path}");
    }
    drop(held);
    world.grows_to(before + 2).await;
    while world.post("/api/v1/decide", &headers, call("bot", "read")).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
