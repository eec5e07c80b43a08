//! A gate over a simulated disk, with a clock set by hand.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test target uses a part")]
#![allow(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_gate::clock::ManualClock;
use callgate_gate::simulate::{Filter, Library, Plan, Reason, Simulation};
use callgate_gate::{Asked, Credential, Decided, Gate, GateOptions, OpenError};
use callgate_policy::Bundle;
use callgate_store::sim::{Faults, SimFs};
use callgate_store::{Fs, Keyring, OsRandom};

pub const NOW: i64 = 1_750_000_000_000;

pub const RULES: &str = r#"
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
  - id: list
    match: {tools: ["files.list"]}
    decision: throttle
    throttle: {retry_after: 2s}
  - id: drop
    match: {tools: ["files.drop"]}
    decision: deny
"#;

pub const CONTRACT: &str = r#"
version: v1
contracts:
  - id: loan
    steps: "intake,execution,settle"
    actions: {intake: [READ_INPUT], execution: [WRITE_DB], settle: [SEAL_SEQUENCE]}
"#;

pub fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    Bundle::new(files, BTreeMap::new())
}

pub fn example() -> Bundle {
    bundle(&[("rules/r.yaml", RULES), ("contracts/c.yaml", CONTRACT)])
}

pub struct World {
    pub fs: SimFs,
    pub clock: Arc<ManualClock>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self { fs: SimFs::new(seed), clock: Arc::new(ManualClock::new(NOW)) }
    }

    pub fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(self.fs.clone())
    }

    pub async fn open(&self, bundle: Option<&Bundle>) -> Result<Arc<Gate>, OpenError> {
        // The state is saved at every end, so that every start after one goes on from it.
        let options = GateOptions { segment_bytes: 4 << 20, save_every: 1, ..GateOptions::default() };
        let opened = Gate::open(self.fs(), self.clock.clone(), Arc::new(OsRandom), bundle, options).await?;
        Ok(opened.gate)
    }

    /// Once the gate is closed: the state that was saved, whatever starts it went through, is byte for byte the one
    /// that the log alone comes to.
    pub async fn holds_without_saved_states(&self) {
        let (name, saved) = newest_state(&self.fs).expect("a saved state");
        let fs = self.fs.fork();
        fs.files().iter().filter(|name| name.starts_with("state/")).for_each(|name| fs.lose(name));
        let world = Self { fs, clock: self.clock.clone() };
        world.open(None).await.expect("opens without").close();
        let (again, folded) = newest_state(&world.fs).expect("a state saved again");
        assert_eq!(name, again, "as many receipts");
        assert!(saved == folded, "the saved state is not the fold of the log");
    }
}

fn newest_state(fs: &SimFs) -> Option<(String, Vec<u8>)> {
    let name = fs.files().into_iter().rfind(|name| name.ends_with(".state"))?;
    let bytes = fs.edit(&name, |bytes| bytes.clone())?;
    Some((name, bytes))
}

/// A request of agent `bot` for a tool, which enforces what an MCP wrapper does.
pub fn call(tool: &str, extra: &str) -> Vec<u8> {
    let (server, name) = tool.split_once('.').unwrap_or(("files", tool));
    format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"{server}","name":"{name}"}},"args":{{"path":"secret-path-7"}},"pep":{{"id":"test","enforces":["max_runtime_ms","max_retries"]}}{extra}}}"#
    )
    .into_bytes()
}

pub fn parsed(tool: &str, extra: &str) -> Request {
    Request::parse(&call(tool, extra), &Limits::REQUEST).expect("a request")
}

pub async fn ask(gate: &Gate, bytes: Vec<u8>) -> Decided {
    gate.decide(Asked::Bytes(bytes), Credential::Development).await.expect("a decision")
}

pub async fn code(gate: &Gate, bytes: Vec<u8>) -> String {
    let decided = ask(gate, bytes).await;
    decided.reply.code.map_or_else(|| decided.reply.decision.to_string(), |code| code.to_string())
}

/// From now on the next sync fails.
pub fn fail_syncs(world: &World) {
    let next = world.fs.syncs().saturating_add(1);
    let mut faults = Faults::default();
    faults.fail_sync_at = Some(next);
    world.fs.set_faults(faults);
}

/// Every snapshot decides what it had decided as it did, with the facts it had; only what was erased is
/// not decided again.
pub fn flips_nothing_of_its_own(gate: &Gate, keyring: &Keyring) {
    let mut library = Library::read(gate.scan()).expect("snapshots");
    for number in 1u64.. {
        let version = format!("v{number}");
        let Ok(candidate) = library.get(&version) else { break };
        let filter = Filter { snapshot: Some(version), ..Filter::default() };
        let plan = Plan { filter, ..Plan::new(candidate) };
        let mut simulation = Simulation::new(plan, Library::default(), true, keyring);
        gate.scan().for_each(|receipt| simulation.push(receipt.expect("readable").view()));
        let report = simulation.finish();
        assert_eq!(report.totals.same, report.totals.evaluated, "{report:?}");
        assert!(report.not_evaluated.iter().all(|one| one.reason == Reason::Erased), "{report:?}");
    }
}
