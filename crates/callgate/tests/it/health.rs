//! How a gate and an enforcement point are, as monitoring sees it: `/readyz` and `/metrics` of real programs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::away::{Point, SOCKET, place};
use crate::program::{Server, run, succeed};

const OPEN: &str = "version: v1
tiers: {low: [helper], high: [payer]}
fail_open: {tiers: [low], max_actions: 2, window: 10m, deadline: 1s}
";

/// An address where nobody listens yet.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Status, head and body of what is at a path.
fn page(address: &str, path: &str, key: Option<&str>) -> (u16, String, String) {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{key}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

/// The series of a page of metrics. Each has a type and a sentence, and nothing else is there: only numbers and words
/// of ours, whatever agents and gates say.
fn series(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'), "{text}");
    let mut all = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(help) = lines.next() {
        let (name, said) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(name.starts_with("callgate_") && said.ends_with('.'), "{help}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{help}");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
        assert!(kind == "counter" || kind == "gauge", "{name} {kind}");
        let value = lines.next().unwrap().strip_prefix(&format!("{name} ")).unwrap();
        assert!(all.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
    }
    all
}

/// A point and what it tells of itself.
struct Told<'a> {
    address: &'a str,
}

impl Told<'_> {
    fn ready(&self) -> (u16, Value) {
        let (status, head, body) = page(self.address, "/readyz", None);
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str(&body).unwrap())
    }

    fn metric(&self, name: &str) -> f64 {
        let (status, head, body) = page(self.address, "/metrics", None);
        assert!(status == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        series(&body)[&format!("callgate_point_{name}")]
    }

    /// Waits until it says so.
    fn comes_to(&self, status: &str) -> Value {
        for _ in 0..150 {
            let (_, told) = self.ready();
            if told["status"] == status {
                return told;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("never {status}: {:?}", self.ready());
    }
}

/// With a lease: ready, then unchecked while the gate is away, and ready again once it has the journal.
#[test]
fn a_leased_point_tells_how_it_is_while_its_gate_goes_and_comes_back() {
    let dir = place(OPEN);
    let mut gate = Server::start(dir.path(), &[]);
    let address = free();
    let mut point = Point::start(dir.path(), "helper", SOCKET, &["--journal", "low", "--health", &address]);
    let told = Told { address: &address };
    let (status, ready) = told.ready();
    assert_eq!((status, &ready["status"], &ready["tier"]), (200, &"ready".into(), &"low".into()), "{ready}");
    assert_eq!((&ready["unchecked"], &ready["backlog"]), (&0.into(), &0.into()), "{ready}");
    let until = ready["lease_until_ms"].as_f64().unwrap();
    assert!((told.metric("lease_until_timestamp_seconds") - until / 1000.0).abs() < 0.01);
    assert_eq!((told.metric("ready"), told.metric("gate_reachable")), (1.0, 1.0));
    let since = told.metric("gate_since_timestamp_seconds");
    gate.kill();
    // Nobody calls, and it notices all the same.
    assert_eq!(told.comes_to("unchecked")["backlog"], 0);
    assert_eq!((told.ready().0, told.metric("ready"), told.metric("gate_reachable")), (200, 1.0, 0.0));
    assert!(told.metric("gate_since_timestamp_seconds") > since);
    // What runs now waits in the journal.
    assert_eq!(point.write("one.txt")["_meta"]["callgate/decision"], "UNCHECKED");
    let (_, away) = told.ready();
    assert_eq!((&away["unchecked"], &away["backlog"]), (&1.into(), &1.into()), "{away}");
    assert_eq!((told.metric("unchecked_actions_total"), told.metric("backlog_actions")), (1.0, 1.0));
    let mut gate = Server::start(dir.path(), &[]);
    told.comes_to("ready");
    assert!((0..100).any(|_| {
        thread::sleep(Duration::from_millis(100));
        told.metric("backlog_actions") == 0.0
    }));
    assert_eq!(told.metric("unchecked_actions_total"), 1.0, "it ran all the same");
    assert_eq!(page(&address, "/healthz", None).2, r#"{"status":"alive"}"#);
    for path in ["/", "/api/v1/stops", "/metrics/"] {
        assert_eq!(page(&address, path, None).0, 404, "{path}");
    }
    point.leave();
    assert_eq!(gate.stop().0, 0);
}

/// Without a lease nothing can run while the gate is away, and `/readyz` says so to whoever balances load.
#[test]
fn a_point_that_fails_closed_is_not_ready_while_its_gate_is_away() {
    let dir = place(OPEN);
    let mut gate = Server::start(dir.path(), &[]);
    let address = free();
    let mut point = Point::start(dir.path(), "payer", SOCKET, &["--journal", "high", "--health", &address]);
    let told = Told { address: &address };
    let (status, ready) = told.ready();
    assert_eq!((status, &ready["status"]), (200, &"ready".into()), "{ready}");
    assert!(ready["fails_closed"].is_string() && ready["lease_until_ms"].is_null(), "{ready}");
    assert!(told.metric("lease_until_timestamp_seconds").is_nan());
    gate.kill();
    assert_eq!(told.comes_to("closed")["gate_reachable"], false);
    assert_eq!((told.ready().0, told.metric("ready"), told.metric("gate_reachable")), (503, 0.0, 0.0));
    assert_eq!(point.write("high.txt")["_meta"]["callgate/code"], "GATE_UNAVAILABLE");
    assert!(told.ready().1["problem"].is_string());
    let mut gate = Server::start(dir.path(), &[]);
    told.comes_to("ready");
    point.leave();
    assert_eq!(gate.stop().0, 0);
}

/// Whoever holds a connection open and says nothing keeps no probe waiting.
#[test]
fn a_silent_caller_keeps_no_probe_from_its_answer() {
    let dir = place(OPEN);
    let _gate = Server::start(dir.path(), &[]);
    let address = free();
    let point = Point::start(dir.path(), "helper", SOCKET, &["--journal", "low", "--health", &address]);
    let silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let began = std::time::Instant::now();
    assert_eq!(page(&address, "/readyz", None).0, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(silent);
    point.leave();
}

#[test]
fn a_port_that_cannot_be_had_is_said_before_anything_runs() {
    let dir = place(OPEN);
    let _gate = Server::start(dir.path(), &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let key = crate::program::public_key(&dir.path().join("data"));
    for (address, says) in [
        (taken.as_str(), "another program listens there"),
        ("0.0.0.0:8091", "not on this machine"),
        ("localhost", "write it like `127.0.0.1:8091`"),
    ] {
        let refused = run(
            dir.path(),
            &[
                "mcp",
                "--gate",
                SOCKET,
                "--gate-key",
                key.to_str().unwrap(),
                "--health",
                address,
                "--",
                "touch",
                "ran",
            ],
        );
        assert_eq!(refused.code, 2, "{address}: {}", refused.err);
        assert!(
            refused.err.contains(&format!("--health {address}")) && refused.err.contains(says),
            "{}",
            refused.err
        );
        assert!(!dir.path().join("ran").exists(), "{address}");
    }
}

/// Of the gate itself: for people's keys alone, as it tells how much is asked.
#[test]
fn a_gate_tells_people_how_it_is() {
    let dir = place(OPEN);
    let key = |args: &[&str]| {
        let mut all = vec!["keys", "create", "--data", "data", "--bundle", "bundle"];
        all.extend(args);
        succeed(dir.path(), &all).trim().to_owned()
    };
    let agent = key(&["--agent", "x\"} 1"]);
    let person = key(&["--person", "ana", "--role", "auditor"]);
    let mut gate = Server::start(dir.path(), &[]);
    let status = |key: Option<&str>| page(&gate.address, "/metrics", key).0;
    assert_eq!((status(None), status(Some(&agent)), status(Some(&person))), (401, 403, 200));
    let metric = |name: &str| {
        let (_, head, body) = page(&gate.address, "/metrics", Some(&person));
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        series(&body)[&format!("callgate_{name}")]
    };
    assert_eq!((metric("ready"), metric("failed"), metric("unchecked_actions_total")), (1.0, 0.0, 0.0));
    let before = metric("receipts_total");
    let body = r#"{"agent":{"id":"x\"} 1"},"tool":{"server":"files","name":"read_text_file"}}"#;
    let (asked, _) =
        crate::program::http(&gate.address, "POST", "/api/v1/decide", Some(&agent), body).unwrap();
    assert_eq!((asked, metric("receipts_total")), (200, before + 1.0));
    assert!((0.0..60.0).contains(&metric("last_commit_age_seconds")));
    assert_eq!(gate.stop().0, 0);
}
