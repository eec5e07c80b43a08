//! Approvals per second: ask (held), approve, ask again (runs). Three durable receipts each, one after the
//! other, beside what one sync costs on this disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use callgate_gate::clock::SystemClock;
use callgate_gate::{Asked, Credential, Gate, GateOptions, Said, approval_number};
use callgate_policy::Bundle;
use callgate_store::{Fs, OsRandom, RealFs};

use crate::stats::{Samples, load};

const SECONDS: f64 = 3.0;
const CLIENTS: [usize; 3] = [1, 16, 64];
const RULES: &str = "version: v1
rules:
  - id: refunds-need-a-human
    match: {tools: [stripe.refund]}
    decision: require_approval
    approval: {reviewers: [\"role:finance\"], quorum: 1, expires: 30m}
";

/// What a write and a sync of one receipt's size take.
fn one_sync(folder: &Path) -> Samples {
    let fs = RealFs::new(folder).unwrap_or_else(|e| panic!("{e}"));
    let file = fs.create("sync.seg").unwrap_or_else(|e| panic!("{e}"));
    let written = file.write_at(&vec![0; 4 << 20], 0).and_then(|()| file.sync_data());
    assert!(written.is_ok(), "{written:?}");
    let (mut samples, start, mut at) = (Samples::default(), Instant::now(), 0u64);
    while start.elapsed().as_secs_f64() < 1.0 {
        let begun = Instant::now();
        let written = file.write_at(&[7; 4096], at % (4 << 20)).and_then(|()| file.sync_data());
        assert!(written.is_ok(), "{written:?}");
        samples.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        at += 4096;
    }
    samples
}

fn refund(client: usize, call: usize) -> Asked {
    let text = format!(
        r#"{{"agent":{{"id":"bot-{client}"}},"session":{{"id":"s-{client}"}},"tool":{{"server":"stripe","name":"refund"}},"args":{{"charge":"ch-{call}","amount":"120.00"}}}}"#
    );
    Asked::Bytes(text.into_bytes())
}

/// One life of an approval, to the permit.
async fn life(gate: &Gate, client: usize, call: usize, ana: &Credential) {
    let decide = || gate.decide(refund(client, call), Credential::Local);
    let held = decide().await.unwrap_or_else(|e| panic!("{e}"));
    let id = held.reply.approval.and_then(|approval| approval.id).unwrap_or_default();
    let id = approval_number(&id).unwrap_or_else(|e| panic!("{e}"));
    gate.approve(id, ana, Said::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let used = decide().await.unwrap_or_else(|e| panic!("{e}"));
    assert!(used.permit.is_some(), "an approved call runs");
}

async fn measure(gate: &Arc<Gate>, clients: usize) -> (usize, f64, Samples) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move {
                let roles = vec!["finance".to_owned()];
                let ana = Credential::Person { id: "ana".to_owned(), roles, tenant: None };
                let (mut samples, mut call) = (Samples::default(), clients * 10_000_000);
                while start.elapsed().as_secs_f64() < SECONDS {
                    call += 1;
                    let begun = Instant::now();
                    life(&gate, client, call, &ana).await;
                    samples.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                samples
            })
        })
        .collect();
    let mut all = Samples::default();
    for task in tasks {
        match task.await {
            Ok(samples) => all.extend(&samples),
            Err(e) => panic!("a client failed: {e}"),
        }
    }
    (all.len(), start.elapsed().as_secs_f64(), all)
}

async fn all(folder: &Path) {
    let mut sync = one_sync(folder);
    println!("{:>8} {:<34} {:>12} {:>16} ms", "", "one write and sync of 4 KiB", "", sync.p50_p99_ms());
    let bundle = Bundle::new([("rules/r.yaml".to_owned(), RULES.to_owned())].into(), BTreeMap::new());
    let fs = RealFs::new(folder.join("gate")).unwrap_or_else(|e| panic!("{e}"));
    let opened = Gate::open(
        Arc::new(fs),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
        Some(&bundle),
        GateOptions::default(),
    )
    .await;
    let gate = opened.unwrap_or_else(|e| panic!("{e}")).gate;
    for clients in CLIENTS {
        let (count, seconds, mut samples) = measure(&gate, clients).await;
        println!(
            "{clients:>8} {:<34} {:>10.0}/s {:>16} ms",
            "ask, approve, use",
            count as f64 / seconds,
            samples.p50_p99_ms()
        );
    }
    gate.close();
}

pub(crate) fn run() {
    println!("\napprovals: three durable receipts each; load {}", load());
    println!("{:>8} {:<34} {:>12} {:>16}", "clients", "", "lives", "p50 / p99");
    let folder = tempfile::tempdir_in(".").unwrap_or_else(|e| panic!("{e}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap_or_else(|e| panic!("{e}")).block_on(all(folder.path()));
}
