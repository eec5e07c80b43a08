//! A gate on a simulated disk, and a wrapper whose client and server are both the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::name::Name;
use callgate_core::request::Agent;
use callgate_gate::clock::SystemClock;
use callgate_gate::{Credential, Gate, GateOptions};
use callgate_mcp::{Ended, WrapError, WrapOptions, relay};
use callgate_policy::Bundle;
use callgate_store::OsRandom;
use callgate_store::sim::SimFs;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, duplex,
    split,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const RULES: &str = r#"
version: v1
rules:
  - {id: read, match: {tools: ["files.read*"]}, decision: allow}
  - {id: no-secrets, match: {tools: ["files.read*"]}, when: 'args.path.endsWith(".env")', decision: deny, reason: "secrets stay"}
  - {id: small, match: {tools: [files.small]}, decision: allow_with_constraints, constraints: {max_bytes: 100}}
  - {id: write, match: {tools: [files.write]}, decision: allow_with_constraints, constraints: {max_runtime_ms: 300, max_retries: 1}}
  - {id: once, match: {tools: [files.once]}, decision: allow_with_constraints, constraints: {max_retries: 0}}
  - {id: ro, match: {tools: [files.ro]}, decision: allow_with_constraints, constraints: {read_only: true}}
  - {id: move, match: {tools: [files.move]}, decision: require_approval, reason: "moves need a person", approval: {reviewers: ["role:files"], quorum: 1, expires: 30m}}
  - {id: tree, match: {tools: [files.tree]}, decision: throttle, throttle: {retry_after: 2s}}
  - {id: drop, match: {tools: [files.drop]}, decision: deny, reason: "no deleting"}
  - {id: maybe, match: {tools: [files.maybe]}, when: 'has(args.ok) && args.ok == true', decision: allow}
  - {id: resources, match: {tools: ["files.resources/read"]}, when: 'args.uri.startsWith("file:///ok/")', decision: allow}
"#;

pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// What stands before the limits, in a text of both.
pub(crate) const LIMITS: &str = "\n# limits\n";

/// A gate with these rules, and with the limits that follow them after [`LIMITS`].
pub(crate) async fn gate(rules: &str) -> Arc<Gate> {
    let (rules, limits) = rules.split_once(LIMITS).map_or((rules, None), |(rules, it)| (rules, Some(it)));
    let mut files = BTreeMap::from([("rules/r.yaml".to_owned(), rules.to_owned())]);
    files.extend(limits.map(|limits| ("limits/l.yaml".to_owned(), limits.to_owned())));
    let bundle = Bundle::new(files, BTreeMap::new());
    let opened = Gate::open(
        Arc::new(SimFs::new(1)),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
        Some(&bundle),
        GateOptions { segment_bytes: 4 << 20, ..GateOptions::default() },
    );
    match opened.await {
        Ok(opened) => opened.gate,
        Err(problem) => panic!("{problem}: {:?}", callgate_policy::check(&bundle)),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn options() -> WrapOptions {
    let agent = Agent { id: name("bot"), team: None, chain: Vec::new(), on_behalf_of: None };
    let mut options = WrapOptions::new(name("files"), agent, name("default"), "none".into(), Vec::new());
    options.session = Some(name("s1"));
    options.bounds.grace = Duration::from_millis(300);
    options.bounds.hold = Duration::ZERO;
    options
}

/// One side as the test plays it.
pub(crate) struct Wire {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    out: WriteHalf<DuplexStream>,
}

impl Wire {
    fn new(stream: DuplexStream) -> Self {
        let (read, out) = split(stream);
        Self { lines: BufReader::new(read).lines(), out }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.raw(&format!("{message}\n")).await;
    }

    pub(crate) async fn raw(&mut self, text: &str) {
        timeout(WAIT, self.out.write_all(text.as_bytes())).await.unwrap().unwrap();
    }

    /// The next line, as written.
    pub(crate) async fn line(&mut self) -> String {
        timeout(WAIT, self.lines.next_line()).await.expect("a line in time").unwrap().expect("a line")
    }

    pub(crate) async fn next(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Nothing more arrives for a while.
    pub(crate) async fn silent(&mut self) {
        if let Ok(line) = timeout(Duration::from_millis(60), self.lines.next_line()).await {
            panic!("{line:?}");
        }
    }

    /// The other side ends this stream without another line.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(timeout(WAIT, self.lines.next_line()).await.unwrap().unwrap(), None);
    }

    pub(crate) async fn close_input(&mut self) {
        self.out.shutdown().await.unwrap();
    }
}

pub(crate) struct Rig {
    pub(crate) client: Wire,
    pub(crate) server: Wire,
    pub(crate) gate: Arc<Gate>,
    pub(crate) notes: Arc<Mutex<Vec<String>>>,
    pub(crate) wrapper: JoinHandle<Result<Ended, WrapError>>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(RULES, options()).await
    }

    pub(crate) async fn with(rules: &str, options: WrapOptions) -> Self {
        let gate = gate(rules).await;
        let ((client, theirs), (server, its)) = (duplex(1 << 16), duplex(1 << 16));
        let notes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&notes);
        let write = Arc::new(move |note: &str| into.lock().push(note.to_owned()));
        let wrapper = tokio::spawn(relay(Arc::clone(&gate), options, split(theirs), split(its), write));
        Self { client: Wire::new(client), server: Wire::new(server), gate, notes, wrapper }
    }

    /// Sends a call; the id is its number.
    pub(crate) async fn call(&mut self, id: u64, tool: &str, args: Value) {
        self.client.send(&call(id, tool, args)).await;
    }

    /// A call that does not reach the server; its answer.
    pub(crate) async fn refused(&mut self, id: u64, tool: &str, args: Value) -> Value {
        self.call(id, tool, args).await;
        let answer = self.client.next().await;
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        self.server.silent().await;
        answer
    }

    /// A call that the server answers with `result`; the client's answer.
    pub(crate) async fn answered(&mut self, id: u64, tool: &str, args: Value, result: Value) -> Value {
        self.call(id, tool, args).await;
        let seen = self.server.next().await;
        assert_eq!((&seen["id"], &seen["params"]["name"]), (&json!(id), &json!(tool)));
        self.server.send(&json!({"jsonrpc": "2.0", "id": id, "result": result})).await;
        self.client.next().await
    }

    /// Both leave; how the wrapper ended.
    pub(crate) async fn leave(mut self) -> (Result<Ended, WrapError>, Arc<Gate>) {
        self.client.close_input().await;
        self.server.ended().await;
        self.server.close_input().await;
        drop(self.server);
        let ended = timeout(WAIT, self.wrapper).await.unwrap().unwrap();
        (ended, self.gate)
    }

    pub(crate) fn noted(&self, part: &str) -> bool {
        self.notes.lock().iter().any(|note| note.contains(part))
    }
}

pub(crate) fn call(id: u64, tool: &str, args: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": args}})
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap()
}

pub(crate) fn receipt(answer: &Value) -> u64 {
    answer["result"]["_meta"]["callgate/receipt_index"].as_u64().unwrap()
}

/// The signed statement of a receipt.
pub(crate) fn statement(gate: &Gate, index: u64) -> Value {
    gate.receipt(index, &Credential::Local).unwrap().statement
}

/// The outcome of a decision, once it is in the log.
pub(crate) async fn outcome(gate: &Gate, decision: u64) -> Value {
    for _ in 0..400 {
        let found = (0..gate.size())
            .map(|index| statement(gate, index))
            .find(|statement| statement["predicate"]["decision_receipt"]["index"].as_u64() == Some(decision));
        if let Some(found) = found {
            return found["predicate"].clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no outcome of receipt {decision}");
}
