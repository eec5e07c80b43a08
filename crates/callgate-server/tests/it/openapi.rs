//! The document is the committed one, and says of the wire what the gate does.

use std::path::Path;

use callgate_core::decision::{Code, Decision};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_server::{openapi_json, wire};
use serde_json::{Value, json};

use crate::fixture::{World, call_with};
use crate::schema::Schemas;

#[test]
#[expect(clippy::disallowed_methods, reason = "compares the committed file, or writes it when told to")]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, openapi_json()).expect("writes");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "docs/openapi.json is out of date; run this test with UPDATE_OPENAPI=1"
    );
}

#[tokio::test]
async fn it_is_served_and_lists_every_route() {
    let world = World::new().await;
    let response = world.get("/openapi.json", "").await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    let document = response.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, method) in [
        ("/api/v1/decide", "post"),
        ("/api/v1/decide/batch", "post"),
        ("/api/v1/outcomes", "post"),
        ("/api/v1/receipts/{id}", "get"),
        ("/api/v1/checkpoint", "get"),
        ("/api/v1/events", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
    ] {
        let operation = &document["paths"][path][method];
        assert!(operation["responses"]["200"].is_object(), "{path}");
        assert_eq!(operation["security"].is_array(), path.starts_with("/api/"), "{path}");
    }
    let paths = document["paths"].as_object().unwrap();
    for path in paths.keys() {
        let concrete = path.replace("{id}", "0");
        assert_ne!(world.get(&concrete, "").await.status, 404, "{path} is described and not served");
    }
}

#[test]
fn words_are_the_gates_words() {
    let document: Value = serde_json::from_str(openapi_json()).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Decision"]["enum"], json!(Decision::ALL));
    assert_eq!(schemas["Code"]["enum"], json!(Code::ALL));
}

/// What the gate's parser accepts, the shapes on the wire accept, and back; both mean the same by it.
#[test]
fn a_request_is_the_same_to_the_gate_and_to_the_document() {
    let schemas = Schemas::load();
    let full = json!({
        "tenant": "default",
        "agent": {"id": "bot", "team": "support", "chain": ["planner"], "on_behalf_of": "user:ana"},
        "session": {"id": "s", "step": "execution", "function": "execution", "action_type": "WRITE_DB"},
        "tool": {"server": "postgres", "name": "query"}, "args": {"sql": "select 1", "deep": [{"n": 1.5}]},
        "topic": "job.write", "risk_tags": ["prod", "write"], "labels": {"mcp.server": "jira"},
        "environment": "prod", "cost": {"usd": "0.02", "tokens": 1200}, "confidence": 0.82,
        "nonce": "n", "ts_ms": 1_715_508_000_000_i64, "pep": {"id": "mcp", "enforces": ["max_runtime_ms", "redact"]},
    });
    for (name, _) in full.as_object().unwrap() {
        let mut request = full.clone();
        if name != "agent" && name != "ts_ms" {
            request.as_object_mut().unwrap().remove(name);
        }
        schemas.check("Request", &request);
        let typed: wire::Request = serde_json::from_value(request.clone()).expect("typed");
        let again = serde_json::to_vec(&typed).expect("text");
        let parsed = Request::parse(&again, &Limits::REQUEST).expect("parses");
        assert_eq!(
            Request::parse(request.to_string().as_bytes(), &Limits::REQUEST),
            Ok(parsed),
            "without {name}"
        );
    }
    for (at, wrong) in [
        ("/agent", json!({"id": "bot", "name": "x"})),
        ("/agent", json!({})),
        ("/session", json!({"id": 7})),
        ("/tool", json!({"server": "s"})),
        ("/args", json!([])),
        ("/risk_tags", json!("prod")),
        ("/labels", json!({"a": 1})),
        ("/cost", json!({"usd": 0.5})),
        ("/confidence", json!("high")),
        ("/ts_ms", json!("now")),
        ("/pep", json!({"enforces": []})),
    ] {
        let mut request = full.clone();
        *request.pointer_mut(at).unwrap() = wrong.clone();
        assert!(!schemas.fits_named("Request", &request), "the schema accepts {at} = {wrong}");
        assert!(
            serde_json::from_value::<wire::Request>(request.clone()).is_err(),
            "the type accepts {at} = {wrong}"
        );
        let text = request.to_string();
        assert!(
            Request::parse(text.as_bytes(), &Limits::REQUEST).is_err(),
            "the gate accepts {at} = {wrong}"
        );
    }
}

#[tokio::test]
async fn a_reply_is_the_same_to_the_gate_and_to_a_typed_client() {
    let world = World::dev().await;
    for tool in ["read", "write", "move", "list", "drop"] {
        let reply = world.decide("", call_with("bot", tool, r#","session":{"id":"s"}"#)).await;
        let typed: wire::Reply = serde_json::from_value(reply.clone()).expect("typed");
        assert_eq!(serde_json::to_value(&typed).unwrap(), reply, "{tool}");
    }
}
