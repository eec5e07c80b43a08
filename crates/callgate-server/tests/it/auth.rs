//! Who may ask, and as whom.

use callgate_server::{Listener, ServeError, ServerOptions, bind, serve};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::client::{Client, get, key, post};
use crate::fixture::{Setup, World, call, call_with};

#[tokio::test]
async fn without_a_registered_key_nothing_is_decided() {
    let world = World::new().await;
    let good = world.key("bot").await;
    let (id, secret) = good.strip_prefix("cg_").unwrap().split_once('_').unwrap();
    let before = world.gate.size();
    let mut wrong = secret.to_owned();
    wrong.replace_range(63..64, if secret.ends_with('0') { "1" } else { "0" });
    for headers in [
        String::new(),
        key(""),
        key("cg_"),
        key(&format!("cg_{id}_")),
        key(&format!("cg_{id}_{wrong}")),
        key(&format!("cg_{}_{secret}", "0".repeat(16))),
        key(&good.to_uppercase()),
        key(&format!("{good}0")),
        format!("authorization: Basic {good}\r\n"),
        format!("authorization: {good}\r\n"),
        format!("x-api-key: {good}\r\n"),
        format!("{}{}", key(&good), key(&good)),
        "authorization: Bearer \u{e9}\r\n".to_owned(),
    ] {
        for response in [
            world.post("/api/v1/decide", &headers, call("bot", "read")).await,
            world.post("/api/v1/decide/batch", &headers, format!("[{}]", call("bot", "read"))).await,
            world.post("/api/v1/outcomes", &headers, r#"{"receipt_index":1,"status":"failed"}"#).await,
            world.get("/api/v1/receipts/0", &headers).await,
            world.get("/api/v1/checkpoint", &headers).await,
        ] {
            assert_eq!(response.status, 401, "{headers}");
            assert!(response.header("www-authenticate").unwrap().starts_with("Bearer"), "{headers}");
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
            assert!(!response.text().contains(secret), "the answer echoes a key");
        }
    }
    assert_eq!(world.gate.size(), before, "strangers write nothing");
    assert!(!world.log().contains(secret), "the log has a key");
    assert_eq!(world.decide(&key(&good), call("bot", "read")).await["decision"], "ALLOW");
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let world = World::new().await;
    let shown = world.key("bot").await;
    let id = shown.split('_').nth(1).unwrap().to_owned();
    let mut client = world.client().await;
    client.send(post("/api/v1/decide", &key(&shown), call("bot", "read"))).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    world.gate.revoke_key(&id, "test").await.unwrap();
    client.send(post("/api/v1/decide", &key(&shown), call("bot", "read"))).await;
    assert_eq!(client.response().await.unwrap().status, 401, "also on a connection that was good");
}

#[tokio::test]
async fn a_request_for_another_agent_is_a_receipted_denial() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    for body in [call("other", "read"), call_with("bot", "read", r#","tenant":"other""#)] {
        let before = world.gate.size();
        let reply = world.decide(&headers, body).await;
        assert_eq!((&reply["decision"], &reply["code"]), (&json!("DENY"), &json!("INVALID_REQUEST")));
        assert_eq!(world.gate.size(), before + 1);
    }
}

#[tokio::test]
async fn health_and_the_description_need_no_key() {
    let world = World::new().await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        let response = world.get(path, "").await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("callgate-mode"), None);
    }
}

#[tokio::test]
async fn development_mode_says_so_in_every_response() {
    let world = World::dev().await;
    for request in [
        post("/api/v1/decide", "", call("anyone", "read")),
        post("/api/v1/decide", &key("cg_nonsense"), call("anyone", "drop")),
        post("/api/v1/outcomes", "", "{}"),
        get("/healthz", ""),
        get("/nothing", ""),
        get("/api/v1/decide", ""),
        get("/healthz", "origin: http://evil.example\r\n"),
    ] {
        let response = world.exchange(request).await;
        assert_eq!(response.header("callgate-mode"), Some("development"), "{response:?}");
        assert_ne!(response.status, 401);
    }
    assert!(world.log().contains("no authentication"), "{}", world.log());
}

#[tokio::test]
async fn development_mode_refuses_to_leave_loopback() {
    let options =
        ServerOptions { listen: "0.0.0.0:0".parse().unwrap(), dev: true, ..ServerOptions::default() };
    let refused = bind(&options).await.unwrap_err();
    assert!(matches!(refused, ServeError::DevelopmentOffLoopback(_)), "{refused}");
    // Not by way of a listener that somebody else bound, either.
    let world = World::new().await;
    let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served = serve(world.gate.clone(), vec![Listener::Tcp(open)], options, std::future::pending()).await;
    assert!(matches!(served, Err(ServeError::DevelopmentOffLoopback(_))));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = World::new().await;
    let options = ServerOptions { listen: world.address, ..ServerOptions::default() };
    let refused = bind(&options).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("`{}`", world.address)), "{refused}");
}

#[tokio::test]
async fn a_unix_socket_speaks_for_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let world = World::behind(Setup::default(), vec![Listener::Unix(listener)]).await;
    let shown = world.key("bot").await;
    let mut client = Client::over(UnixStream::connect(&path).await.unwrap());
    let mut ask = async |request: Vec<u8>| {
        client.send(request).await;
        client.response().await.expect("an answer")
    };
    let response = ask(post("/api/v1/decide", "", call("anyone", "read"))).await;
    assert_eq!(response.json()["decision"], "ALLOW");
    let index = response.json()["receipt_index"].as_u64().unwrap();
    assert_eq!(ask(get(&format!("/api/v1/receipts/{index}"), "")).await.status, 200);
    // Whoever shows a key speaks for its agent only, and a bad key is no key.
    let response = ask(post("/api/v1/decide", &key(&shown), call("anyone", "read"))).await;
    assert_eq!(response.json()["code"], "INVALID_REQUEST");
    assert_eq!(ask(post("/api/v1/decide", &key("cg_0_0"), call("bot", "read"))).await.status, 401);
}
