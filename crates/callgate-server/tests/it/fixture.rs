//! A gate, a server in front of it, and what the operator was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::state::Holder;
use callgate_gate::clock::ManualClock;
use callgate_gate::{Gate, GateOptions};
use callgate_policy::Bundle;
use callgate_server::{Listener, Log, ServeError, ServerLimits, ServerOptions, bind, serve};
use callgate_store::OsRandom;
use callgate_store::sim::SimFs;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, Response, get, post};
use crate::held::{HeldFs, Latch};

pub(crate) const NOW: i64 = 1_750_000_000_000;

const RULES: &str = r#"
version: v1
rules:
  - id: read
    match: {tools: ["files.read"]}
    decision: allow
  - id: write
    match: {tools: ["files.write"]}
    decision: allow_with_constraints
    constraints: {max_runtime_sec: 5, max_retries: 1}
  - id: move
    match: {tools: ["files.move"]}
    decision: require_approval
    reason: "moves need a person"
    approval: {reviewers: ["role:ops"], quorum: 1, expires: 30m}
  - id: list
    match: {tools: ["files.list"]}
    decision: throttle
    throttle: {retry_after: 2s}
  - id: drop
    match: {tools: ["files.drop"]}
    decision: deny
"#;

const CONTRACT: &str = r#"
version: v1
contracts:
  - id: loan
    steps: "intake,execution,settle"
    actions: {intake: [READ_INPUT], execution: [WRITE_DB], settle: [SEAL_SEQUENCE]}
    seal_at: settle
"#;

/// What a test may change before the server starts.
pub(crate) struct Setup {
    pub(crate) dev: bool,
    pub(crate) limits: ServerLimits,
    pub(crate) deadline: Duration,
    /// What an earlier gate left, for a restart.
    pub(crate) disk: Option<SimFs>,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self { dev: false, limits, deadline: Duration::from_secs(10), disk: None }
    }
}

pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) address: SocketAddr,
    pub(crate) disk: SimFs,
    pub(crate) latch: Latch,
    lines: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

pub(crate) async fn gate(disk: &SimFs, latch: &Latch, deadline: Duration) -> Arc<Gate> {
    let files = [("rules/r.yaml", RULES), ("contracts/c.yaml", CONTRACT)];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let bundle = Bundle::new(files.into(), BTreeMap::new());
    let options = GateOptions { deadline, segment_bytes: 4 << 20, ..GateOptions::default() };
    let fs = Arc::new(HeldFs { disk: disk.clone(), latch: latch.clone() });
    let clock = Arc::new(ManualClock::new(NOW));
    Gate::open(fs, clock, Arc::new(OsRandom), Some(&bundle), options).await.expect("opens").gate
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn dev() -> Self {
        Self::with(Setup { dev: true, ..Setup::default() }).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        Self::behind(setup, Vec::new()).await
    }

    /// With more listeners beside TCP.
    pub(crate) async fn behind(setup: Setup, mut listeners: Vec<Listener>) -> Self {
        let (disk, latch) = (setup.disk.unwrap_or_else(|| SimFs::new(7)), Latch::default());
        let gate = gate(&disk, &latch, setup.deadline).await;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            dev: setup.dev,
            limits: setup.limits,
            log: Log::new(move |line| sink.lock().push(line.to_owned())),
            workers: Some(2),
        };
        let listener = bind(&options).await.expect("binds");
        let Listener::Tcp(tcp) = &listener else { panic!("TCP") };
        let address = tcp.local_addr().expect("an address");
        listeners.push(listener);
        let (stop, stopping) = oneshot::channel();
        let shutdown = async {
            let _ = stopping.await;
        };
        let serving = tokio::spawn(serve(Arc::clone(&gate), listeners, options, shutdown));
        Self { gate, address, disk, latch, lines, stop: Some(stop), serving: Some(serving) }
    }

    pub(crate) async fn key(&self, agent: &str) -> String {
        let (_, secret) = self.gate.create_key(holder(agent), "test").await.expect("a key");
        secret.reveal().to_owned()
    }

    pub(crate) async fn client(&self) -> Client<tokio::net::TcpStream> {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.client().await;
        client.send(request).await;
        client.response().await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Response {
        self.exchange(post(path, headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &str) -> Response {
        self.exchange(get(path, headers)).await
    }

    pub(crate) async fn decide(&self, headers: &str, body: impl AsRef<[u8]>) -> Value {
        let response = self.post("/api/v1/decide", headers, body).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// What the operator was told.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().join("\n")
    }

    pub(crate) fn tell_to_stop(&mut self) {
        let _ = self.stop.take().expect("told once").send(());
    }

    pub(crate) async fn stopped(&mut self) {
        let serving = self.serving.take().expect("waited for once");
        tokio::time::timeout(Duration::from_secs(20), serving)
            .await
            .expect("stops")
            .expect("ends")
            .expect("served");
    }

    /// Waits until the log has `size` receipts.
    pub(crate) async fn grows_to(&self, size: u64) {
        let growth = async {
            while self.gate.size() < size {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let grown = tokio::time::timeout(Duration::from_secs(10), growth).await;
        assert!(grown.is_ok(), "the log has {} receipts, not {size}", self.gate.size());
    }
}

/// An agent as the holder of a key.
pub(crate) fn holder(agent: &str) -> Holder {
    Holder::Agent { agent: agent.into(), owner: None, team: None, tenant: "default".into() }
}

/// A call of a tool of the server `files`, with an enforcement point that enforces what the rules ask for.
pub(crate) fn call(agent: &str, tool: &str) -> String {
    call_with(agent, tool, "")
}

pub(crate) fn call_with(agent: &str, tool: &str, more: &str) -> String {
    format!(
        r#"{{"agent":{{"id":"{agent}"}},"tool":{{"server":"files","name":"{tool}"}},"pep":{{"id":"test","enforces":["max_runtime_ms","max_retries"]}}{more}}}"#
    )
}
