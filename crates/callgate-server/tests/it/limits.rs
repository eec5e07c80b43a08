//! Every limit, from both sides.

use std::time::{Duration, Instant};

use callgate_server::{Listener, ServeError, ServerLimits, ServerOptions, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};

use crate::client::{Client, get, post};
use crate::fixture::{Setup, World, call};

async fn dev(limits: ServerLimits) -> World {
    World::with(Setup { dev: true, limits, ..Setup::default() }).await
}

#[tokio::test]
async fn a_body_may_have_as_many_bytes_and_no_more() {
    let world = World::dev().await;
    let padded = |length: usize| {
        let body = call("bot", "read");
        let spaces = length - body.len();
        format!("{body}{}", " ".repeat(spaces))
    };
    assert_eq!(world.decide("", padded(256 * 1024)).await["decision"], "ALLOW");
    let before = world.gate.size();
    // The answer comes before the body.
    let announced = "POST /api/v1/decide HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                     content-length: 262145\r\nexpect: 100-continue\r\n\r\n";
    for announced in [announced.to_owned(), announced.replace("262145", "9223372036854775807")] {
        let response = world.exchange(announced).await;
        assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    }
    assert_eq!(world.gate.size(), before);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let world = dev(ServerLimits { body_bytes: 1024, ..ServerLimits::default() }).await;
    let head = "POST /api/v1/decide HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    let response = world.exchange(format!("{head}{chunk}1\r\n \r\n0\r\n\r\n")).await;
    assert_eq!(response.status, 413);
    let body = call("bot", "read");
    let response = world.exchange(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).await;
    assert_eq!(response.json()["decision"], "ALLOW");
}

#[tokio::test]
async fn headers_may_be_as_many_and_as_long() {
    let world = World::dev().await;
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    assert_eq!(world.get("/healthz", &many(63)).await.status, 200);
    assert_eq!(world.get("/healthz", &many(64)).await.status, 431);
    let long = |length: usize| format!("x-long: {}\r\n", "a".repeat(length));
    assert_eq!(world.get("/healthz", &long(16 * 1024 - 200)).await.status, 200);
    assert_eq!(world.get("/healthz", &long(16 * 1024)).await.status, 431);
    assert_eq!(world.get(&format!("/{}", "a".repeat(16 * 1024)), "").await.status, 431);
}

/// A byte now and then keeps no connection open (the slow loris).
#[tokio::test]
async fn headers_must_come_in_time() {
    let world =
        dev(ServerLimits { header_time: Duration::from_millis(200), ..ServerLimits::default() }).await;
    for first_answered in [false, true] {
        let mut client = world.client().await;
        if first_answered {
            client.send(get("/healthz", "")).await;
            assert_eq!(client.response().await.unwrap().status, 200);
        }
        let began = began();
        for byte in b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            if client.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.closed().await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(190), "{took:?}");
        assert_eq!(world.get("/healthz", "").await.status, 200);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of time limits measures time")]
fn began() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_body_must_come_in_time() {
    let world = dev(ServerLimits { body_time: Duration::from_millis(150), ..ServerLimits::default() }).await;
    let before = world.gate.size();
    let whole = post("/api/v1/decide", "", call("bot", "read"));
    let (most, rest) = whole.split_at(whole.len() - 20);
    let mut client = world.client().await;
    client.send(most).await;
    for byte in rest {
        if client.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let response = client.response().await.expect("an answer");
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    assert_eq!(world.gate.size(), before);
}

#[tokio::test]
async fn a_connection_may_rest_so_long() {
    let limits = ServerLimits {
        header_time: Duration::from_millis(50),
        idle_time: Duration::from_millis(400),
        ..ServerLimits::default()
    };
    let world = dev(limits).await;
    let mut client = world.client().await;
    for _ in 0..3 {
        client.send(get("/healthz", "")).await;
        assert_eq!(client.response().await.expect("still open").status, 200);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    client.closed().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let world = dev(ServerLimits { connections: 2, ..ServerLimits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = world.client().await;
        client.send(get("/healthz", "")).await;
        assert_eq!(client.response().await.unwrap().status, 200);
        open.push(client);
    }
    let mut refused = world.client().await;
    refused.send(post("/api/v1/decide", "", call("bot", "read"))).await;
    let response = refused.response().await.expect("an answer");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(
        (&response.json()["decision"], &response.json()["code"]),
        (&"DENY".into(), &"GATE_UNAVAILABLE".into())
    );
    refused.closed().await;
    drop(open.pop());
    let served = async {
        loop {
            if world.get("/healthz", "").await.status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("a place became free");
}

/// Whoever takes every place must not make the gate look gone: enforcement points may go on without one that is.
#[tokio::test]
async fn however_many_connections_are_too_many_each_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gate.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
    let setup = Setup { dev: true, limits, ..Setup::default() };
    let world = World::behind(setup, vec![Listener::Unix(listener)]).await;
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(world.client().await);
    }
    // The first two have the places. More wait for a refusal than are seen to their end at once.
    for client in all.iter_mut().skip(2) {
        let refused = client.response().await.expect("an answer");
        assert_eq!(refused.status, 503);
        assert_eq!(refused.json()["type"], "urn:callgate:problem:busy");
    }
    let mut local = Client::over(UnixStream::connect(&socket).await.unwrap());
    local.send(get("/readyz", "")).await;
    assert_eq!(local.response().await.unwrap().status, 200, "the socket has places of its own");
}

#[tokio::test]
async fn limits_that_cannot_serve_are_refused() {
    let world = World::dev().await;
    let options = || ServerOptions { listen: "127.0.0.1:0".parse().unwrap(), ..ServerOptions::default() };
    for (limits, name) in [
        (ServerLimits { connections: 0, ..ServerLimits::default() }, "connections"),
        (ServerLimits { header_bytes: 10, ..ServerLimits::default() }, "header_bytes"),
        (ServerLimits { in_flight: 10, ..ServerLimits::default() }, "in_flight"),
    ] {
        let options = ServerOptions { limits, ..options() };
        let listener = callgate_server::bind(&options).await.unwrap();
        let served = serve(world.gate.clone(), vec![listener], options, std::future::pending()).await;
        assert!(matches!(served, Err(ServeError::Limit { name: found, .. }) if found == name), "{name}");
    }
    let none: Vec<Listener> = Vec::new();
    let served = serve(world.gate.clone(), none, options(), std::future::pending()).await;
    assert!(matches!(served, Err(ServeError::NoListener)));
}
