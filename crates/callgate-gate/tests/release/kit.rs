//! Small policies that tell each other apart, and looks at the whole log.

use std::sync::Arc;

use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::simulate::Filter;
use callgate_gate::{
    Bundle, ControlError, Credential, Gate, PublishRequest, Released, RollbackRequest, RolloutMode,
    RolloutRequest, SnapshotRecord, StageRequest,
};
use callgate_log::{Body, Statement};
use callgate_store::{Keyring, OsRandom};

use crate::common::{World, bundle};

/// The operator's own socket.
pub(crate) const ME: &Credential = &Credential::Local;

const TESTS: &str = "version: v1
defaults: {agent: {id: bot}}
tests:
  - name: reading runs
    request: {tool: {server: files, name: read}}
    expect: {decision: ALLOW}
";

/// Allows `files.read`, denies `files.<denied>`, and says so by its own name.
pub(crate) fn policy(denied: &str) -> Bundle {
    with(denied, "", "")
}

/// The same with more rules and settings.
pub(crate) fn with(denied: &str, rules: &str, settings: &str) -> Bundle {
    let rules = format!(
        "version: v1\nrules:
  - {{id: read, match: {{tools: [files.read]}}, decision: allow}}
  - {{id: no-{denied}, match: {{tools: [files.{denied}]}}, decision: deny}}\n{rules}"
    );
    let settings = format!("version: v1\nname: {denied}\n{settings}");
    bundle(&[("callgate.yaml", &settings), ("rules/r.yaml", &rules), ("tests/t.yaml", TESTS)])
}

pub(crate) async fn stage(gate: &Arc<Gate>, bundle: &Bundle) -> Result<SnapshotRecord, ControlError> {
    gate.stage(bundle.clone(), StageRequest::default(), ME).await
}

pub(crate) async fn simulate(gate: &Arc<Gate>, name: &str) -> Result<(), ControlError> {
    gate.simulate_kept(name, Filter::default(), ME, Box::new(|_, _| {})).await.map(|_| ())
}

/// Stages and simulates: all that publishing asks for.
pub(crate) async fn ready(gate: &Arc<Gate>, bundle: &Bundle) -> String {
    let version = stage(gate, bundle).await.expect("staged").version;
    simulate(gate, &version).await.expect("simulated");
    version
}

pub(crate) async fn publish(gate: &Arc<Gate>, name: &str) -> Result<Released, ControlError> {
    let what = PublishRequest { snapshot: name.to_owned(), ..PublishRequest::default() };
    gate.publish_kept(what, ME).await
}

pub(crate) async fn roll_back(gate: &Arc<Gate>, name: &str) -> Result<Released, ControlError> {
    let what = RollbackRequest { target_snapshot: name.to_owned(), ..RollbackRequest::default() };
    gate.roll_back(what, ME).await
}

/// A shadow, to be changed into what is wanted.
pub(crate) fn shadow(name: &str) -> RolloutRequest {
    RolloutRequest {
        snapshot: name.to_owned(),
        mode: RolloutMode::Shadow,
        share_bp: None,
        by: None,
        agents: std::collections::BTreeSet::new(),
        tenants: std::collections::BTreeSet::new(),
        note: None,
        overriding: None,
    }
}

pub(crate) fn canary(name: &str, share_bp: u32) -> RolloutRequest {
    RolloutRequest { mode: RolloutMode::Canary, share_bp: Some(share_bp), ..shadow(name) }
}

/// All that people see of the gate's releases.
pub(crate) fn seen(gate: &Gate) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        gate.snapshot(),
        gate.snapshots(),
        gate.rollout(),
        gate.monitored(),
        gate.points()
    )
}

/// A receipt that is looked at.
pub(crate) enum Line {
    /// The snapshot that decided.
    Decided(String),
    /// What was done, and its details.
    Done(String, std::collections::BTreeMap<String, String>),
}

/// Decisions by snapshots and acts, in the log's order.
pub(crate) fn lines(gate: &Gate) -> Vec<Line> {
    let mut lines = Vec::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match Statement::parse(&receipt.payload).expect("a receipt").body() {
            Body::Decision(decision) => lines.push(Line::Decided(decision.snapshot.version.clone())),
            Body::Admin(admin) => lines.push(Line::Done(
                admin.operation.clone(),
                admin.details.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            )),
            _ => {}
        }
    }
    lines
}

/// The details of every act of that name.
pub(crate) fn acts(gate: &Gate, operation: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let of = |line| match line {
        Line::Done(name, details) if name == operation => Some(details),
        _ => None,
    };
    lines(gate).into_iter().filter_map(of).collect()
}

/// Law 4 over the whole log; gives the number of decisions.
pub(crate) fn replays(world: &World, gate: &Gate) -> usize {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    let mut decisions = 0;
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match replay.push(&receipt, &keyring) {
            Replayed::Same => decisions += 1,
            Replayed::NotADecision => {}
            other => panic!("receipt {}: {other:?}", receipt.index),
        }
    }
    decisions
}

/// Every decision names the snapshot of the newest activation before it. Gives how many there were.
pub(crate) fn ordered(gate: &Gate) -> usize {
    let (mut live, mut decisions) = (String::new(), 0);
    for (at, line) in lines(gate).into_iter().enumerate() {
        match line {
            Line::Done(name, details) if name == "snapshot.activate" => live.clone_from(&details["version"]),
            Line::Decided(version) if !version.starts_with('c') => {
                assert_eq!(version, live, "line {at}");
                decisions += 1;
            }
            _ => {}
        }
    }
    decisions
}
