//! What limits cost: one decision from a parsed request with its meters read, decided, checked and
//! counted, by how many limits there are and how many of them the request meets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use callgate_core::decide::{Ask, decide, levels};
use callgate_core::facts::Credential;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, DecisionDelta, Delta, SnapshotRef, State};
use callgate_policy::Bundle;

use crate::stats::{Samples, load, nanos};

const ROUNDS: u32 = 20_000;
/// How many agents ask in turn; each has meters of its own.
const AGENTS: u32 = 10_000;
const BEGIN_MS: i64 = 1_767_225_600_000;

const RULES: &str = "version: v1\nrules:\n  - {id: pay, match: {tools: [bank.pay]}, decision: allow}\n";

/// `met` kinds of limits that the request meets, and `others` that are about other tools.
fn snapshot(met: usize, others: usize) -> Snapshot {
    let kinds = [
        (
            "budgets",
            r#"{id: spend, match: {tools: [bank.pay]}, unit: usd, amount: dec(args.amount), limit: "1000000.00", per: [agent], over: day}"#,
        ),
        (
            "throttles",
            r"{id: bucket, match: {tools: [bank.pay]}, rate: 100000/1s, burst: 100000, per: [agent]}",
        ),
        (
            "breakers",
            r"{id: often, match: {tools: [bank.pay]}, per: [agent], trip: {allowed: 90000, within: 1h}}",
        ),
        (
            "budgets",
            r#"{id: shared, match: {tools: [bank.pay]}, unit: usd, amount: dec(args.amount), levels: {tenant: "1000000000.00", team: "1000000000.00"}, over: 24h}"#,
        ),
        (
            "throttles",
            r"{id: window, match: {tools: [bank.pay]}, at_most: 100000, within: 1m, per: [chain, tool]}",
        ),
    ];
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for (list, text) in kinds.iter().take(met) {
        let _ = writeln!(lists.entry(*list).or_default(), "  - {text}");
    }
    for other in 0..others {
        let _ = writeln!(
            lists.entry("budgets").or_default(),
            "  - {{id: other-{other}, match: {{tools: [other.tool{other}]}}, unit: usd, limit: \"5\", estimate: \"1\", per: [agent], over: day}}"
        );
    }
    let mut files = BTreeMap::from([("rules/pay.yaml".to_owned(), RULES.to_owned())]);
    if !lists.is_empty() {
        let lists: String = lists.iter().map(|(list, text)| format!("{list}:\n{text}")).collect();
        files.insert("limits/all.yaml".to_owned(), format!("version: v1\n{lists}"));
    }
    match callgate_policy::compile(&Bundle::new(files, BTreeMap::new())) {
        Ok(snapshot) => snapshot,
        Err(report) => panic!("the bench's own limits have problems: {report:?}"),
    }
}

fn requests() -> Vec<Request> {
    let one = |agent: u32| {
        let text = format!(
            r#"{{"agent":{{"id":"agent-{agent}","team":"team-{}","chain":["planner"]}},"tool":{{"server":"bank","name":"pay"}},"args":{{"amount":"75.00","to":"c-1001"}}}}"#,
            agent % 100
        );
        match Request::parse(text.as_bytes(), &Limits::REQUEST) {
            Ok(request) => request,
            Err(problem) => panic!("the bench's own request is refused: {problem}"),
        }
    };
    (0..AGENTS).map(one).collect()
}

/// A log in which the snapshot has come into force.
fn begin(snapshot: &Snapshot) -> State {
    let digest = snapshot.digest.to_string();
    let activated = SnapshotRef { blind: None, digest, monitors: Vec::new(), version: 1 };
    let delta = Delta { now_ms: BEGIN_MS, change: Change::SnapshotActivated(activated) };
    let mut state = State::default();
    assert!(state.check(&delta).is_ok(), "the first snapshot");
    state.apply(0, &[0; 32], &delta);
    state
}

/// The whole of it without evidence: read the meters, decide, check, count.
fn measure(snapshot: &Snapshot, requests: &[Request]) -> (Samples, usize, usize) {
    let mut state = begin(snapshot);
    let mut samples = Samples::with_capacity(ROUNDS as usize);
    let (mut takes, mut index) = (0, 1u64);
    // Once around so that every meter is there.
    for (round, asked) in (0..ROUNDS + AGENTS).zip(requests.iter().cycle()) {
        let now_ms = BEGIN_MS + i64::from(round / 20);
        let ask = Ask::Request(Box::new(asked.clone()));
        let (taken, took) = nanos(|| {
            let credential = Credential::Development;
            let asks = levels(snapshot, &ask, &credential);
            let facts = state.facts_of(Some(asked), credential, now_ms, asks.as_deref());
            let decided = decide(snapshot, ask, &facts);
            assert!(decided.settled.decision.permits(), "{:?}", decided.settled.reasons);
            let taken = decided.effects.charged.as_ref().map_or(0, |charged| charged.takes.len());
            let effects = DecisionDelta { snapshot: 1, epoch: 1, ..decided.effects };
            let delta = Delta { now_ms, change: Change::Decision(effects) };
            assert!(state.check(&delta).is_ok(), "nobody else is there");
            state.apply(index, &[0; 32], black_box(&delta));
            taken
        });
        index += 1;
        if round >= AGENTS {
            takes = taken;
            samples.push(took);
        }
    }
    (samples, takes, state.meters().len())
}

pub(crate) fn run() {
    println!(
        "\n## Limits: read the meters, decide, check and count (p50/p99 ns, one thread, {AGENTS} agents; load {})",
        load()
    );
    println!("{:>12} {:>12} {:>12} {:>12}   {:>16}", "limits met", "others", "takes", "meters", "decision");
    let requests = requests();
    for (met, others) in [(0, 0), (1, 0), (3, 0), (5, 0), (5, 1000)] {
        let (mut samples, takes, meters) = measure(&snapshot(met, others), &requests);
        println!("{met:>12} {others:>12} {takes:>12} {meters:>12}   {:>16}", samples.p50_p99());
    }
}
