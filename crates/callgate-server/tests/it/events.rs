//! Server-sent events: from a place in the log on, live, across a restart, and never for ever.

use std::time::Duration;

use callgate_core::state::Holder;
use callgate_gate::Credential;
use callgate_server::{Listener, ServerLimits};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::client::{get, key};
use crate::fixture::{Setup, World, call, holder};

const PATIENCE: Duration = Duration::from_secs(20);

/// A subscriber that reads what it is told.
struct Subscriber<S> {
    stream: S,
    /// What came and was not read yet, chunks and all.
    raw: Vec<u8>,
    text: String,
}

/// An event as a client reads it.
#[derive(Debug, PartialEq)]
struct Told {
    id: u64,
    kind: String,
    data: Value,
}

impl Subscriber<TcpStream> {
    async fn to(world: &World, query: &str, headers: &str) -> Self {
        Self::over(TcpStream::connect(world.address).await.expect("connects"), query, headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Subscriber<S> {
    async fn over(mut stream: S, query: &str, headers: &str) -> Self {
        let request = get(&format!("/api/v1/events{query}"), headers);
        stream.write_all(&request).await.expect("sends");
        let mut subscriber = Self { stream, raw: Vec::new(), text: String::new() };
        let head = subscriber.until_raw(b"\r\n\r\n").await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        let opening = subscriber.block().await.expect("an opening");
        assert_eq!(opening, ": callgate events\nretry: 2000");
        subscriber
    }

    /// Bytes up to an end; `None` when the server closed before.
    async fn until_raw(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.raw.windows(end.len()).position(|window| window == end) {
                let piece = self.raw.drain(..at + end.len()).collect();
                return Some(String::from_utf8(piece).expect("text"));
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.raw)).await;
            if read.expect("in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next block of lines; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let length = self.until_raw(b"\r\n").await?;
            let length = usize::from_str_radix(length.trim(), 16).expect("a chunk's length");
            while self.raw.len() < length + 2 {
                if self.stream.read_buf(&mut self.raw).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
            let chunk: Vec<u8> = self.raw.drain(..length + 2).take(length).collect();
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
            if length == 0 {
                return None;
            }
        }
    }

    /// The next event; heartbeats are passed over.
    async fn told(&mut self) -> Option<Told> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let lines: Vec<&str> = block.lines().collect();
            let [id, kind, data] = lines.as_slice() else { panic!("{block}") };
            return Some(Told {
                id: id.strip_prefix("id: ").expect("an id").parse().expect("a number"),
                kind: kind.strip_prefix("event: ").expect("a kind").to_owned(),
                data: serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON"),
            });
        }
    }

    async fn hears(&mut self, agent: &str) -> u64 {
        let told = self.told().await.expect("an event");
        assert_eq!((told.kind.as_str(), &told.data["type"]), ("key.created", &Value::from("key.created")));
        assert_eq!(told.data["data"]["agent"], agent);
        assert_eq!(told.data["timestamp"], "2025-06-15T15:06:40.000Z");
        told.id
    }
}

fn quick() -> Setup {
    let limits = ServerLimits {
        request_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(300),
        heartbeat_time: Duration::from_millis(100),
        write_time: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    Setup { dev: true, limits, ..Setup::default() }
}

#[tokio::test]
async fn a_subscriber_is_told_what_was_and_what_comes() {
    let world = World::dev().await;
    world.key("a").await;
    let mut all = Subscriber::to(&world, "?after=0", "").await;
    let first = all.told().await.unwrap();
    assert_eq!((first.id, first.kind.as_str()), (1, "snapshot.activated"));
    assert_eq!(all.hears("a").await, 2);
    let mut live = Subscriber::to(&world, "", "").await;
    world.decide("", call("bot", "drop")).await;
    world.key("b").await;
    assert_eq!((all.hears("b").await, live.hears("b").await), (4, 4));
}

#[tokio::test]
async fn a_client_goes_on_where_it_was_cut_though_the_gate_was_started_again() {
    let mut world = World::dev().await;
    for agent in ["a", "b"] {
        world.key(agent).await;
    }
    let mut before = Subscriber::to(&world, "?after=1", "").await;
    let last = before.hears("a").await;
    world.tell_to_stop();
    world.stopped().await;
    world.gate.close();
    // The next one may have been on its way; then the stream ends.
    while before.told().await.is_some() {}
    let again = World::with(Setup { disk: Some(world.disk.clone()), ..quick() }).await;
    let mut after = Subscriber::to(&again, "?after=0", &format!("last-event-id: {last}\r\n")).await;
    assert_eq!(after.hears("b").await, last + 1);
    again.key("c").await;
    assert_eq!(after.hears("c").await, last + 2);
}

#[tokio::test]
async fn no_limit_of_a_request_cuts_a_stream_and_a_heart_beats() {
    let world = World::with(quick()).await;
    let mut subscriber = Subscriber::to(&world, "", "").await;
    for _ in 0..12 {
        assert_eq!(subscriber.block().await.as_deref(), Some(": here"));
    }
    world.key("late").await;
    subscriber.hears("late").await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_subscribers() {
    let limits = ServerLimits { drain_time: Duration::from_secs(600), ..ServerLimits::default() };
    let mut world = World::with(Setup { dev: true, limits, ..Setup::default() }).await;
    let mut subscriber = Subscriber::to(&world, "", "").await;
    world.tell_to_stop();
    world.stopped().await;
    assert_eq!(subscriber.told().await, None);
}

#[tokio::test]
async fn events_are_for_who_may_see_them_and_only_so_long() {
    let world = World::with(Setup { dev: false, ..quick() }).await;
    let (id, shown) = {
        let (record, secret) = world.gate.create_key(holder("bot"), "test").await.unwrap();
        (record.id, secret.reveal().to_owned())
    };
    assert_eq!(world.get("/api/v1/events", "").await.status, 401);
    let mut agent = Subscriber::to(&world, "?after=0", &key(&shown)).await;
    // Two heartbeats, and nothing of the snapshot or the key before them.
    for _ in 0..2 {
        assert_eq!(agent.block().await.as_deref(), Some(": here"));
    }
    world.gate.revoke_key(&id, "test").await.unwrap();
    while let Some(block) = agent.block().await {
        assert_eq!(block, ": here");
    }
    assert_eq!(world.get("/api/v1/events", &key(&shown)).await.status, 401);
}

#[tokio::test]
async fn a_reviewer_hears_of_policy_and_not_of_keys() {
    let world = World::with(Setup { dev: false, ..quick() }).await;
    let (ana, roles) = ("ana".to_owned(), ["reviewer".to_owned()].into());
    let ana = Holder::Person { person: ana, public_key: None, roles, tenant: None };
    let (_, secret) = world.gate.create_key(ana, "test").await.unwrap();
    let mut reviewer = Subscriber::to(&world, "?after=0", &key(secret.reveal())).await;
    assert_eq!(reviewer.told().await.unwrap().kind, "snapshot.activated");
    assert_eq!(reviewer.block().await.as_deref(), Some(": here"), "and not of the key");
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let world = World::dev().await;
    for query in ["?after=x", "?after=-1", "?after=1&after=1", "?before=1", "?after=99999"] {
        let refused = world.get(&format!("/api/v1/events{query}"), "").await;
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.json()["detail"].is_string(), "{query}");
    }
    assert_eq!(world.get("/api/v1/events", "last-event-id: no\r\n").await.status, 400);
}

#[tokio::test]
async fn so_many_subscribers_and_no_more() {
    let limits = ServerLimits { subscribers: 2, ..quick().limits };
    let world = World::with(Setup { limits: limits.clone(), ..quick() }).await;
    let first = Subscriber::to(&world, "", "").await;
    let _second = Subscriber::to(&world, "", "").await;
    let refused = world.get("/api/v1/events", "").await;
    assert_eq!((refused.status, &refused.json()["type"]), (503, &Value::from("urn:callgate:problem:busy")));
    drop(first);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut client = world.client().await;
        client.send(get("/api/v1/events", "")).await;
        let mut head = [0; 12];
        client.stream.read_exact(&mut head).await.unwrap();
        if head == *b"HTTP/1.1 200" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the place is never free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Agents leave places for people.
    let world = World::with(Setup { dev: false, limits, ..quick() }).await;
    let shown = key(&world.key("bot").await);
    let _agent = Subscriber::to(&world, "", &shown).await;
    assert_eq!(world.get("/api/v1/events", &shown).await.status, 503);
}

/// A reader that takes nothing is cut, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let limits = ServerLimits { subscribers: 1, ..quick().limits };
    let setup = Setup { dev: false, limits, ..quick() };
    let world = World::behind(setup, vec![Listener::Unix(listener)]).await;
    let silent = Subscriber::over(UnixStream::connect(&path).await.unwrap(), "?after=0", "").await;
    let flood = async {
        loop {
            let many: Vec<_> = (0..200)
                .map(|number| {
                    let gate = std::sync::Arc::clone(&world.gate);
                    let agent = format!("{}-{number}", "bot".repeat(60));
                    tokio::spawn(async move { gate.create_key(holder(&agent), "test").await })
                })
                .collect();
            for one in many {
                one.await.unwrap().unwrap();
            }
            let asked = world
                .gate
                .decide(callgate_gate::Asked::Bytes(call("bot", "read").into_bytes()), Credential::Local);
            assert!(asked.await.unwrap().permit.is_some(), "decisions go on");
            let mut other = UnixStream::connect(&path).await.unwrap();
            other.write_all(&get("/api/v1/events", "")).await.unwrap();
            let mut head = [0; 12];
            other.read_exact(&mut head).await.unwrap();
            if head == *b"HTTP/1.1 200" {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flood).await.expect("its place is free again");
    drop(silent);
}
