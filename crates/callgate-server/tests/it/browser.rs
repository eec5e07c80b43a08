//! Pages that try to reach the gate through a browser on its machine.

use crate::client::{get, post};
use crate::fixture::{World, call};

fn to(host: &str, headers: &str) -> Vec<u8> {
    let body = call("bot", "read");
    format!(
        "POST /api/v1/decide HTTP/1.1\r\n{host}content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn development_mode_answers_to_loopback_names_only() {
    let world = World::dev().await;
    let before = world.gate.size();
    // A page of evil.example whose name was pointed at 127.0.0.1: its requests carry that name.
    for host in
        ["host: evil.example\r\n", "host: evil.example:8081\r\n", "host: 192.168.0.7\r\n", "host: \r\n"]
    {
        let response = world.exchange(to(host, "")).await;
        assert_eq!(response.status, 421, "{host}");
    }
    for host in ["", "host: localhost\r\nhost: evil.example\r\n", "host: localhost\r\nhost: localhost\r\n"] {
        assert_eq!(world.exchange(to(host, "")).await.status, 400, "{host}");
    }
    assert_eq!(world.gate.size(), before);
    for host in ["host: localhost\r\n", "host: 127.0.0.1:8081\r\n", "host: [::1]:8081\r\n"] {
        assert_eq!(world.exchange(to(host, "")).await.status, 200, "{host}");
    }
    let absolute = b"GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(world.exchange(absolute).await.status, 400, "the target is another host");
    let absolute = b"GET http://evil.example/healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n";
    assert_eq!(world.exchange(absolute).await.status, 421);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    for world in [World::dev().await, World::new().await] {
        let before = world.gate.size();
        for headers in [
            "origin: http://evil.example\r\n",
            "origin: null\r\n",
            "origin: http://localhost:3000\r\n",
            "origin: http://localhost.evil.example\r\n",
            "sec-fetch-site: cross-site\r\n",
        ] {
            for request in [
                post("/api/v1/decide", headers, call("bot", "read")),
                get("/api/v1/receipts/0", headers),
                get("/readyz", headers),
            ] {
                assert_eq!(world.exchange(request).await.status, 403, "{headers}");
            }
        }
        let twice = "origin: http://localhost\r\norigin: http://evil.example\r\n";
        assert_eq!(world.get("/readyz", twice).await.status, 400);
        assert_eq!(world.gate.size(), before);
        assert_eq!(
            world.get("/readyz", "origin: http://localhost\r\n").await.status,
            200,
            "the gate's own page"
        );
    }
}

#[tokio::test]
async fn a_form_cannot_post_and_no_page_is_told_it_may() {
    let world = World::dev().await;
    let before = world.gate.size();
    let body = call("bot", "read");
    for kind in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        for path in ["/api/v1/decide", "/api/v1/decide/batch", "/api/v1/outcomes"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {}\r\n\r\n{body}",
                body.len()
            );
            assert_eq!(world.exchange(request).await.status, 415, "{kind} {path}");
        }
    }
    assert_eq!(world.gate.size(), before);
    let preflight = "OPTIONS /api/v1/decide HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
                     access-control-request-method: POST\r\n\r\n";
    let response = world.exchange(preflight).await;
    assert_eq!(response.status, 405);
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn no_answer_is_kept_or_guessed_at() {
    let world = World::dev().await;
    for request in [
        post("/api/v1/decide", "", call("bot", "read")),
        get("/api/v1/receipts/0", ""),
        get("/api/v1/checkpoint", ""),
        get("/nothing", ""),
        get("/healthz", "origin: http://evil.example\r\n"),
    ] {
        let response = world.exchange(request).await;
        assert_eq!(response.header("cache-control"), Some("no-store"), "{response:?}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{response:?}");
    }
}
