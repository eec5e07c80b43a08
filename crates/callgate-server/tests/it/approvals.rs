//! Approvals over HTTP: who sees what, who may what, and what is answered otherwise.

use std::collections::BTreeSet;

use callgate_core::state::Holder;
use callgate_server::wire;
use serde_json::{Value, json};

use crate::client::{Client, Response, get, key};
use crate::fixture::{World, call_with};

/// What the held call says beside its tool.
const HELD: &str = r#","session":{"id":"s"},"args":{"path":"a"}"#;

async fn person(world: &World, id: &str, roles: &[&str], tenant: Option<&str>) -> String {
    let roles: BTreeSet<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let tenant = tenant.map(str::to_owned);
    let holder = Holder::Person { person: id.to_owned(), public_key: None, roles, tenant };
    let (_, secret) = world.gate.create_key(holder, "operator").await.expect("a key");
    secret.reveal().to_owned()
}

async fn say(world: &World, secret: &str, path: &str, body: &Value) -> Response {
    world.post(path, &key(secret), body.to_string()).await
}

async fn see(world: &World, secret: &str, path: &str) -> Response {
    world.get(path, &key(secret)).await
}

/// A held call of `agent`, and the id of its approval.
async fn held(world: &World, secret: &str, agent: &str) -> String {
    let reply = world.decide(&key(secret), call_with(agent, "move", HELD)).await;
    assert_eq!(reply["decision"], "REQUIRE_APPROVAL", "{reply}");
    reply["approval"]["id"].as_str().expect("an id").to_owned()
}

fn problem(response: &Response) -> (u16, String) {
    let document = response.json();
    let kind = document["type"].as_str().unwrap_or_default().replace("urn:callgate:problem:", "");
    (response.status, kind)
}

#[tokio::test]
async fn a_call_is_held_approved_and_runs_once() {
    let world = World::new().await;
    let bot = world.key("bot").await;
    let ana = person(&world, "ana", &["ops"], None).await;
    let id = held(&world, &bot, "bot").await;
    let list = see(&world, &ana, "/api/v1/approvals?include_resolved=false").await.json();
    let typed: wire::ApprovalList = serde_json::from_value(list.clone()).expect("typed");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), list);
    assert_eq!(typed.approvals[0].id, id);
    let detail = see(&world, &ana, &format!("/api/v1/approvals/{id}")).await.json();
    let typed: wire::ApprovalDetail = serde_json::from_value(detail.clone()).expect("typed");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), detail);
    assert!(typed.session_so_far.is_some() && typed.not_by_you.is_none());
    let waiting = {
        let path = format!("/api/v1/approvals/{id}?wait=30s");
        let (address, bot) = (world.address, bot.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            client.send(get(&path, &key(&bot))).await;
            client.response().await.expect("an answer").json()
        })
    };
    tokio::task::yield_now().await;
    let voted =
        say(&world, &ana, &format!("/api/v1/approvals/{id}/approve"), &json!({"comment": "fine"})).await;
    assert_eq!((voted.status, voted.json()["status"].clone()), (200, json!("granted")));
    let seen = waiting.await.expect("ends");
    assert_eq!(seen["approval"]["status"], "granted");
    assert!(seen.get("similar").is_none() && !seen.to_string().contains("fine"), "{seen}");
    let reply = world.decide(&key(&bot), call_with("bot", "move", HELD)).await;
    assert_eq!((reply["decision"].clone(), reply["grant"]["by"].clone()), (json!("ALLOW"), json!(["ana"])));
    let typed: wire::Reply = serde_json::from_value(reply.clone()).expect("typed");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), reply);
    assert_ne!(held(&world, &bot, "bot").await, id);
}

#[tokio::test]
async fn whoever_may_not_is_told_so_and_nothing_more() {
    let world = World::new().await;
    let (bot, bob) = (world.key("bot").await, world.key("bob").await);
    let ana = person(&world, "ana", &["ops"], None).await;
    let other = person(&world, "fay", &["ops"], Some("elsewhere")).await;
    let reader = person(&world, "dan", &["auditor"], None).await;
    let point = person(&world, "edge", &["point"], None).await;
    let id = held(&world, &bot, "bot").await;
    let path = format!("/api/v1/approvals/{id}/approve");
    assert_eq!(problem(&say(&world, &bot, &path, &json!({})).await), (403, "not-yours-to-decide".into()));
    assert_eq!(problem(&say(&world, &reader, &path, &json!({})).await), (403, "not-yours-to-decide".into()));
    for (secret, told) in [(&bob, 403), (&other, 404), (&point, 404)] {
        // An agent is told the same of an approval that is not there.
        assert_eq!(say(&world, secret, &path, &json!({})).await.status, told);
        assert_eq!(say(&world, secret, "/api/v1/approvals/apr-7777/approve", &json!({})).await.status, told);
        assert_eq!(see(&world, secret, "/api/v1/approvals").await.json(), json!({"approvals": []}));
        assert_eq!(see(&world, secret, &format!("/api/v1/approvals/{id}")).await.status, 404);
    }
    assert_eq!(problem(&say(&world, "cg_1_2", &path, &json!({})).await), (401, "unauthenticated".into()));
    for (body, expected) in [
        (json!({"comment": ""}), 400),
        (json!({"standing": {"uses": 0}}), 400),
        (json!({"standing": {"fixed": []}}), 400),
        (json!({"standing": {"uses": -1}}), 400),
        (json!({"vote": "yes"}), 400),
        (json!([]), 400),
        (json!({"standing": []}), 400),
    ] {
        assert_eq!(say(&world, &ana, &path, &body).await.status, expected, "{body}");
    }
    for bad in ["apr-01", "apr-x", "..%2f..", "12", "std-1", "apr-99999"] {
        let path = format!("/api/v1/approvals/{bad}/approve");
        assert_eq!(say(&world, &ana, &path, &json!({})).await.status, 404, "{bad}");
    }
    for query in ["?include_resolved=1", "?tenant=a&tenant=b", "?limit=5"] {
        assert_eq!(see(&world, &ana, &format!("/api/v1/approvals{query}")).await.status, 400, "{query}");
    }
    let reject = format!("/api/v1/approvals/{id}/reject");
    assert_eq!(say(&world, &ana, &reject, &json!({"comment": "no"})).await.status, 200);
    assert_eq!(problem(&say(&world, &ana, &path, &json!({})).await), (409, "not-open".into()));
    let reply = world.decide(&key(&bot), call_with("bot", "move", HELD)).await;
    assert_eq!(
        (reply["decision"].clone(), reply["code"].clone()),
        (json!("DENY"), json!("APPROVAL_REJECTED"))
    );
}

#[tokio::test]
async fn a_standing_approval_is_listed_and_taken_back() {
    let world = World::new().await;
    let (bot, ana) = (world.key("bot").await, person(&world, "ana", &["ops"], None).await);
    let id = held(&world, &bot, "bot").await;
    let body = json!({"standing": {"uses": 3, "span_ms": 60_000}});
    let voted = say(&world, &ana, &format!("/api/v1/approvals/{id}/approve"), &body).await.json();
    let standing = voted["standing"].as_str().expect("an id").to_owned();
    let list = see(&world, &ana, "/api/v1/standing-approvals").await.json();
    let typed: wire::StandingList = serde_json::from_value(list.clone()).expect("typed");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), list);
    assert_eq!((typed.standing_approvals[0].id.as_str(), typed.standing_approvals[0].uses), (&*standing, 3));
    let path = format!("/api/v1/standing-approvals/{standing}/revoke");
    assert_eq!(say(&world, &bot, &path, &json!({})).await.status, 403);
    assert_eq!(say(&world, &ana, &path, &json!({})).await.json()["status"], "revoked");
    assert_eq!(say(&world, &ana, &path, &json!({})).await.status, 409);
    held(&world, &bot, "bot").await;
    let suggestions = see(&world, &ana, "/api/v1/approvals/suggestions").await.json();
    assert_eq!(suggestions, json!({"suggestions": []}));
}
