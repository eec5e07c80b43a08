//! Policies with limits, requests that cost, and looks at what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::state::{SessionKey, State};
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{
    Bundle, Credential, Decided, Gate, GateOptions, LimitFilter, OutcomeError, OutcomeReport, OutcomeStatus,
};
use callgate_log::{Body, Hash, Statement, sha256};
use callgate_store::{Keyring, OsRandom};

use crate::common::{World, bundle};

const RULES: &str = r#"
version: v1
rules:
  - {id: any, scope: {agents: ["*"]}, match: {tools: ["files.*", "shop.*"]}, decision: allow}
  - {id: none, match: {tools: ["files.drop"]}, decision: deny}
  - {id: move, match: {tools: ["files.move"]}, decision: require_approval, approval: {reviewers: ["role:ops"]}}
"#;

/// Permits `files.*` and `shop.*` but for `files.drop`, asks people about `files.move`, and has these limits.
pub(crate) fn policy(limits: &str) -> Bundle {
    with(limits, &[])
}

/// The same with more files.
pub(crate) fn with(limits: &str, more: &[(&str, &str)]) -> Bundle {
    let limits = format!("version: v1\n{limits}");
    let own = [("rules/r.yaml", RULES), ("limits/l.yaml", limits.as_str())];
    bundle(&[&own, more].concat())
}

/// Opens a gate that saves its state after so many receipts, and whenever it is closed.
pub(crate) async fn open(world: &World, bundle: Option<&Bundle>, save_every: u64) -> Arc<Gate> {
    let options = GateOptions { segment_bytes: 4 << 20, save_every, ..GateOptions::default() };
    let opened = Gate::open(world.fs(), world.clock.clone(), Arc::new(OsRandom), bundle, options).await;
    opened.expect("opens").gate
}

/// A call of `tool`, of the server `files` unless it names one, by `agent`; `more` are members of the request.
pub(crate) fn call(agent: &str, tool: &str, more: &str) -> Vec<u8> {
    let (server, tool) = tool.split_once('.').unwrap_or(("files", tool));
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"agent":{{"id":"{agent}"}},"tool":{{"server":"{server}","name":"{tool}"}}{comma}{more}}}"#)
        .into_bytes()
}

/// An amount in cents as a decimal.
pub(crate) fn usd(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The code, or the decision where there is none.
pub(crate) fn said(decided: &Decided) -> String {
    decided.reply.code.map_or_else(|| decided.reply.decision.to_string(), |code| code.to_string())
}

pub(crate) async fn report(
    gate: &Gate,
    receipt: u64,
    status: OutcomeStatus,
    cents: Option<i64>,
) -> Result<u64, OutcomeError> {
    let mut outcome = OutcomeReport::new(receipt, status);
    if let Some(cents) = cents {
        outcome.cost.insert("usd".to_owned(), usd(cents).parse().expect("a decimal"));
    }
    gate.report(outcome, &Credential::Local).await.map(|reply| reply.receipt_index)
}

/// Law 4 over the whole log; gives what it folds to.
pub(crate) fn replays(world: &World, gate: &Gate) -> State {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        let replayed = replay.push(&receipt, &keyring);
        assert!(
            matches!(replayed, Replayed::Same | Replayed::NotADecision),
            "receipt {}: {replayed:?}",
            receipt.index
        );
    }
    replay.state().clone()
}

/// What is used on every meter of `limit`, by whom it counts.
pub(crate) fn used(state: &State, limit: &str, now_ms: i64) -> BTreeMap<String, String> {
    let id = |name: &str| name.split_once('@').is_some_and(|(id, _)| id == limit);
    let meters = state.meters().list("").filter(|(name, _)| id(name));
    let key = |name: &str| name.split_once(':').map_or_else(String::new, |(_, key)| key.to_owned());
    meters.map(|(name, meter)| (key(name), meter.used(now_ms).to_string())).collect()
}

/// Every session's receipts follow one another from the first without a gap, and all are one agent's; the state has
/// as many as the log.
pub(crate) fn chains(gate: &Gate, state: &State) {
    let mut last: BTreeMap<SessionKey, (u64, Hash)> = BTreeMap::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        let statement = Statement::parse(&receipt.payload).expect("a statement");
        let (agent, tenant, session, prev) = match statement.body() {
            Body::Decision(one) => (&one.agent, &one.tenant, &one.session, one.prev),
            Body::Outcome(one) => (&one.agent, &one.tenant, &one.session, one.prev),
            _ => continue,
        };
        let Some(session) = session else {
            assert_eq!(prev, None, "receipt {} has no session", receipt.index);
            continue;
        };
        let key = SessionKey { agent: agent.id.clone(), session: session.id.clone(), tenant: tenant.clone() };
        let (count, before) = last.get(&key).map_or((0, None), |(count, last)| (*count, Some(*last)));
        assert_eq!(prev, before, "receipt {} of {key:?}", receipt.index);
        last.insert(key, (count + 1, sha256(&receipt.payload)));
    }
    for (key, (count, last)) in last {
        let session = state.session(&key).expect("a session of the log");
        assert_eq!((session.version, session.last), (count, Some(last.into_bytes())), "{key:?}");
    }
}

/// A part of what the receipt `index` says, by its path in the predicate.
pub(crate) fn says(gate: &Gate, index: u64, path: &str) -> Option<String> {
    let receipt = gate.receipt(index, &Credential::Local).expect("a receipt");
    let found = receipt.statement["predicate"].pointer(path)?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// What the gate says is used of the meter of `limit` for `key`, if there is one.
pub(crate) fn level(gate: &Gate, limit: &str, key: &str) -> Option<String> {
    let filter = LimitFilter { prefix: Some(format!("{limit}@")), ..LimitFilter::default() };
    let all = gate.meters(&filter, &Credential::Local).into_iter();
    all.filter(|view| view.name.split_once(':').is_some_and(|(_, of)| of == key)).map(|view| view.used).next()
}
