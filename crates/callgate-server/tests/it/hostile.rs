//! Bytes that are no request, and requests that two readers might read differently.

use callgate_store::sim::Rng;
use tokio::io::AsyncWriteExt as _;

use crate::client::post;
use crate::fixture::{World, call};

const HEAD: &str = "POST /api/v1/decide HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn garbage_is_refused_and_decides_nothing() {
    let world = World::dev().await;
    let before = world.gate.size();
    let body = call("bot", "read");
    let length = body.len();
    let requests: Vec<Vec<u8>> = vec![
        b"\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /healthz\r\n\r\n".to_vec(),
        b"GET  HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n folded: yes\r\n\r\n".to_vec(),
        format!("{HEAD}content-length: {length}\r\ncontent-length: 1\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}content-length: -1\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}content-length: +{length}\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}content-length: {length}, {length}0\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}transfer-encoding: gzip\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}transfer-encoding: chunked, identity\r\n\r\n{body}").into_bytes(),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{body}").into_bytes(),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n-1\r\n{body}").into_bytes(),
        format!("{HEAD}content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes(),
    ];
    for request in requests {
        let text = String::from_utf8_lossy(&request).into_owned();
        let mut client = world.client().await;
        client.send(&request).await;
        // A reset is an answer, too.
        let _ = client.stream.shutdown().await;
        if let Some(response) = client.response().await {
            assert!(response.status >= 400, "{text}: {response:?}");
        }
    }
    assert_eq!(world.gate.size(), before);
}

/// A length and chunks together are how one request is smuggled inside another.
#[tokio::test]
async fn two_lengths_are_one_request_at_most() {
    let world = World::dev().await;
    let before = world.gate.size();
    let inner = String::from_utf8(post("/api/v1/decide", "", call("bot", "read"))).unwrap();
    let smuggled = format!(
        "{HEAD}transfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n0\r\n\r\n{inner}",
        inner.len() + 5
    );
    let mut client = world.client().await;
    client.send(smuggled).await;
    let response = client.response().await.expect("an answer");
    assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    assert_eq!(response.json()["code"], "INVALID_REQUEST", "the chunks say that there is no body");
    assert!(client.response().await.is_none(), "what followed was not read as a request");
    assert_eq!(world.gate.size(), before + 1);
}

#[tokio::test]
async fn random_bytes_harm_nothing() {
    let world = World::dev().await;
    let before = world.gate.size();
    let whole = post("/api/v1/decide", "", call("bot", "read"));
    let head = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut random = Rng::new(42);
    for _ in 0..100 {
        // One byte of the head becomes one that no head may have.
        let mut request = whole.clone();
        *request.get_mut(random.below(head)).unwrap() = 0;
        let mut client = world.client().await;
        client.send(&request).await;
        let _ = client.stream.shutdown().await;
        let refused = client.response().await;
        assert!(refused.is_none_or(|response| response.status >= 400));
    }
    assert_eq!(world.gate.size(), before);
    assert_eq!(world.decide("", call("bot", "read")).await["decision"], "ALLOW");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let world = World::dev().await;
    let tools = ["read", "drop", "write", "list"];
    let row: Vec<u8> = tools.iter().flat_map(|tool| post("/api/v1/decide", "", call("bot", tool))).collect();
    let mut client = world.client().await;
    client.send(row).await;
    for expected in ["ALLOW", "DENY", "ALLOW_WITH_CONSTRAINTS", "THROTTLE"] {
        assert_eq!(client.response().await.expect("an answer").json()["decision"], expected);
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let world = World::dev().await;
    for (line, status) in [
        ("GET / HTTP/1.1", 404),
        ("GET /api/v1/decide HTTP/1.1", 405),
        ("DELETE /api/v1/receipts/0 HTTP/1.1", 405),
        ("GET /api/v1/decide/ HTTP/1.1", 404),
        ("GET //api/v1/receipts/0 HTTP/1.1", 404),
        ("GET /api/v1/../v1/receipts/0 HTTP/1.1", 404),
        ("GET /API/V1/RECEIPTS/0 HTTP/1.1", 404),
        ("CONNECT localhost:80 HTTP/1.1", 400),
        ("TRACE /healthz HTTP/1.1", 405),
    ] {
        let response = world.exchange(format!("{line}\r\nhost: localhost\r\n\r\n")).await;
        assert_eq!(response.status, status, "{line}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{line}");
        assert_eq!(response.header("allow").is_some(), status == 405, "{line}");
    }
}
