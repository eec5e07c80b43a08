//! Stopping: nothing new, and what is under way comes to its end.

use std::time::Duration;

use callgate_server::ServerLimits;
use tokio::net::TcpStream;

use crate::client::{get, post};
use crate::fixture::{Setup, World, call};

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let mut world = World::dev().await;
    let held = world.latch.hold();
    let mut client = world.client().await;
    client.send(post("/api/v1/decide", "", call("bot", "read"))).await;
    held.reached().await;
    world.tell_to_stop();
    while TcpStream::connect(world.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(held);
    let response = client.response().await.expect("an answer");
    assert_eq!(response.json()["decision"], "ALLOW");
    assert_eq!(response.header("connection"), Some("close"));
    client.closed().await;
    world.stopped().await;
}

#[tokio::test]
async fn resting_connections_do_not_hold_it_up() {
    let limits = ServerLimits { drain_time: Duration::from_secs(600), ..ServerLimits::default() };
    let mut world = World::with(Setup { dev: true, limits, ..Setup::default() }).await;
    let mut client = world.client().await;
    client.send(get("/healthz", "")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    world.tell_to_stop();
    world.stopped().await;
    client.closed().await;
}

#[tokio::test]
async fn it_does_not_wait_for_ever() {
    let limits = ServerLimits { drain_time: Duration::from_millis(100), ..ServerLimits::default() };
    let mut world = World::with(Setup { dev: true, limits, ..Setup::default() }).await;
    let before = world.gate.size();
    let held = world.latch.hold();
    let mut client = world.client().await;
    client.send(post("/api/v1/decide", "", call("bot", "read"))).await;
    held.reached().await;
    world.tell_to_stop();
    world.stopped().await;
    assert!(world.log().contains("connections were cut"), "{}", world.log());
    assert!(world.log().contains("still under way"), "{}", world.log());
    assert!(client.response().await.is_none(), "no answer without a receipt");
    drop(held);
    world.grows_to(before + 1).await;
}
