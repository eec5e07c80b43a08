//! Publishing and rolling back while agents decide: how long until the new snapshot decides, and whether any
//! decision failed or named a snapshot that was not in force.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use callgate_gate::clock::SystemClock;
use callgate_gate::simulate::Filter;
use callgate_gate::{Asked, Credential, Gate, GateOptions, PublishRequest, RollbackRequest, StageRequest};
use callgate_log::{Body, Statement};
use callgate_policy::Bundle;
use callgate_store::{OsRandom, RealFs};

use crate::stats::{Samples, load};

const ROUNDS: usize = 30;
const AGENTS: usize = 64;
const ME: &Credential = &Credential::Local;

/// One rule that counts, among `rules` that cannot match.
fn bundle(rules: usize, name: &str) -> Bundle {
    let mut text =
        "version: v1\nrules:\n  - {id: read, match: {tools: [files.read]}, decision: allow}\n".to_owned();
    for number in 1..rules {
        text.push_str(&format!(
            "  - {{id: r{number}, match: {{tools: [other{number}.x]}}, decision: deny}}\n"
        ));
    }
    let tests = "version: v1\ntests:\n  - {name: reading, request: {agent: {id: b}, tool: {server: files, name: read}}, expect: {decision: ALLOW}}\n";
    let files = BTreeMap::from([
        ("callgate.yaml".to_owned(), format!("version: v1\nname: {name}\n")),
        ("rules/r.yaml".to_owned(), text),
        ("tests/t.yaml".to_owned(), tests.to_owned()),
    ]);
    Bundle::new(files, BTreeMap::new())
}

fn ask(agent: usize) -> Asked {
    let text = format!(
        r#"{{"agent":{{"id":"a{agent}"}},"session":{{"id":"s"}},"tool":{{"server":"files","name":"read"}}}}"#
    );
    Asked::Bytes(text.into_bytes())
}

/// Decides until it is told to stop; gives how many decisions failed.
async fn agent(gate: Arc<Gate>, number: usize, stop: Arc<AtomicBool>, decided: Arc<AtomicU64>) -> u64 {
    let mut failed = 0;
    while !stop.load(Ordering::Relaxed) {
        match gate.decide(ask(number), Credential::Local).await {
            Ok(reply) if reply.permit.is_some() => {
                decided.fetch_add(1, Ordering::Relaxed);
            }
            _ => failed += 1,
        }
    }
    failed
}

/// Decisions that name another snapshot than the newest activation before them.
fn out_of_order(gate: &Gate) -> u64 {
    let (mut live, mut wrong) = (String::new(), 0);
    for receipt in gate.scan() {
        let receipt = receipt.unwrap_or_else(|e| panic!("{e}"));
        match Statement::parse(&receipt.payload).unwrap_or_else(|e| panic!("{e}")).body() {
            Body::Admin(admin) if admin.operation == "snapshot.activate" => {
                live = admin.details.get("version").cloned().unwrap_or_default();
            }
            Body::Decision(decision) if !decision.snapshot.version.starts_with('c') => {
                wrong += u64::from(decision.snapshot.version != live);
            }
            _ => {}
        }
    }
    wrong
}

/// From the call to the first decision by `version`, asked for after the answer.
async fn effect(gate: &Arc<Gate>, version: &str, back: bool) -> u64 {
    let begun = Instant::now();
    let released = if back {
        let what = RollbackRequest { target_snapshot: version.to_owned(), note: None };
        gate.roll_back(what, ME).await
    } else {
        let what = PublishRequest { snapshot: version.to_owned(), note: None, overriding: None };
        gate.publish_kept(what, ME).await
    };
    released.unwrap_or_else(|e| panic!("{e}"));
    let reply = gate.decide(ask(999), Credential::Local).await.unwrap_or_else(|e| panic!("{e}")).reply;
    assert_eq!(reply.snapshot, version, "the first decision after the answer is by the new snapshot");
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

async fn measure(folder: &Path, rules: usize) {
    let fs = RealFs::new(folder.join(format!("gate-{rules}"))).unwrap_or_else(|e| panic!("{e}"));
    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
    let first = bundle(rules, "one");
    let opened = Gate::open(Arc::new(fs), clock, random, Some(&first), GateOptions::default()).await;
    let gate = opened.unwrap_or_else(|e| panic!("{e}")).gate;
    let staged = gate.stage(bundle(rules, "two"), StageRequest::default(), ME).await;
    let version = staged.unwrap_or_else(|e| panic!("{e}")).version;
    let simulated = gate.simulate_kept(&version, Filter::default(), ME, Box::new(|_, _| {})).await;
    simulated.unwrap_or_else(|e| panic!("{e}"));
    let (stop, decided) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let agents: Vec<_> = (0..AGENTS)
        .map(|number| tokio::spawn(agent(Arc::clone(&gate), number, Arc::clone(&stop), Arc::clone(&decided))))
        .collect();
    let (mut publish, mut back, start) = (Samples::default(), Samples::default(), Instant::now());
    for _ in 0..ROUNDS {
        publish.push(effect(&gate, &version, false).await);
        back.push(effect(&gate, "v1", true).await);
    }
    let rate = decided.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for agent in agents {
        failed += agent.await.unwrap_or_else(|e| panic!("{e}"));
    }
    println!(
        "{rules:>8} {:>16} ms {:>16} ms {rate:>12.0}/s {failed:>8} {:>12}",
        publish.p50_p99_ms(),
        back.p50_p99_ms(),
        out_of_order(&gate)
    );
    gate.close();
}

pub(crate) fn run() {
    println!(
        "\nreleases under {AGENTS} agents that decide all the while, to the first decision by the new snapshot; load {}",
        load()
    );
    println!(
        "{:>8} {:>19} {:>19} {:>14} {:>8} {:>12}",
        "rules", "publish p50 / p99", "roll back p50 / p99", "decisions", "failed", "misversioned"
    );
    let folder = tempfile::tempdir_in(".").unwrap_or_else(|e| panic!("{e}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|e| panic!("{e}"));
    for rules in [10, 10_000] {
        runtime.block_on(measure(folder.path(), rules));
    }
}
