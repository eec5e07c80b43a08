//! Simulation: recorded decisions of the example bundle decided again by a candidate, from a log on disk.
//!
//! One thread does everything, reading, unsealing, parsing, deciding, counting; then two share the reading.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use callgate_core::decide::{Ask, decide};
use callgate_core::facts::Facts;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_gate::clock::{Clock as _, SystemClock};
use callgate_gate::simulate::{Library, Plan, Report, Simulation, SimulationInput};
use callgate_gate::{Asked, Credential, Gate, GateOptions};
use callgate_log::hash::sha256;
use callgate_policy::Bundle;
use callgate_store::{
    Fs, Keyring, LogReader, OsRandom, ReadOnlyFs, RealFs, SealedHeader, StoredReceipt, unseal,
};

use crate::stats::{load, nanos};

/// How many decisions are recorded, unless `CALLGATE_BENCH_DECISIONS` says otherwise.
const DECISIONS: usize = 200_000;
const CLIENTS: usize = 256;

const FILES: [(&str, &str); 4] = [
    ("callgate.yaml", include_str!("../../../examples/quickstart/callgate.yaml")),
    ("rules/files.yaml", include_str!("../../../examples/quickstart/rules/files.yaml")),
    ("rules/never.yaml", include_str!("../../../examples/quickstart/rules/never.yaml")),
    ("tools/files.json", include_str!("../../../examples/quickstart/tools/files.json")),
];

/// The example as it is, or one that asks people about every write.
fn bundle(changed: bool) -> Bundle {
    let text = |text: &str| {
        let written =
            "decision: allow_with_constraints\n    constraints: {max_runtime_sec: 10, max_retries: 1}";
        if changed { text.replace(written, "decision: require_approval") } else { text.to_owned() }
    };
    let files = FILES.map(|(path, file)| (path.to_owned(), text(file)));
    Bundle::new(BTreeMap::from(files), BTreeMap::new())
}

fn compile(bundle: &Bundle) -> Arc<Snapshot> {
    match callgate_policy::compile(bundle) {
        Ok(snapshot) => Arc::new(snapshot),
        Err(report) => panic!("{report}"),
    }
}

fn body(client: usize, call: usize) -> Vec<u8> {
    let tools = [
        ("read_text_file", r#""path":"notes/{}.txt","head":20"#),
        ("write_file", r#""path":"out/{}.txt","content":"a line of text, and another""#),
        ("move_file", r#""source":"a/{}","destination":"b/{}""#),
        ("directory_tree", r#""path":"src/{}""#),
    ];
    let (tool, args) = tools[if call.is_multiple_of(10) { call / 10 % 4 } else { call % 2 }];
    let args = args.replace("{}", &call.to_string());
    format!(
        r#"{{"agent":{{"id":"bot-{client}","team":"support"}},"session":{{"id":"session-{client}-{}"}},"tool":{{"server":"files","name":"{tool}"}},"args":{{{args}}},"environment":"prod","nonce":"n-{client}-{call}","ts_ms":{},"pep":{{"id":"bench","enforces":["max_runtime_ms","max_retries"]}}}}"#,
        call / 40,
        SystemClock.now_ms()
    )
    .into_bytes()
}

fn real(folder: &Path) -> Arc<dyn Fs> {
    match RealFs::new(folder) {
        Ok(fs) => Arc::new(fs),
        Err(e) => panic!("{e}"),
    }
}

async fn open(folder: &Path) -> Arc<Gate> {
    let options = GateOptions::default();
    let random = Arc::new(OsRandom);
    match Gate::open(real(folder), Arc::new(SystemClock), random, Some(&bundle(false)), options).await {
        Ok(opened) => opened.gate,
        Err(e) => panic!("{e}"),
    }
}

/// Decides for good until the log has that many decisions.
async fn record(gate: &Arc<Gate>, decisions: usize) {
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move {
                for call in 0..decisions / CLIENTS {
                    let decided =
                        gate.decide(Asked::Bytes(body(client, call)), Credential::Development).await;
                    assert!(decided.is_ok(), "{:?}", decided.err());
                }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.is_ok(), "a client failed");
    }
}

fn row(name: &str, count: usize, seconds: f64) {
    let micros = seconds * 1e6 / count.max(1) as f64;
    println!("{name:<58} {micros:>8.2} µs {:>9.0}/s", count as f64 / seconds);
}

/// How long this thread has run, in seconds: other programs on the machine do not count.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Runs `work` and says how long this thread ran for it, in seconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu();
    let out = work();
    (out, cpu() - before)
}

/// Everything, from the files: the processor time of this thread, and the time on the clock.
fn offline(folder: &Path, candidate: &Arc<Snapshot>, threads: usize) -> (Report, f64, f64) {
    let Ok(fs) = ReadOnlyFs::new(folder) else { panic!("no log") };
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let Ok(keyring) = Keyring::open(Arc::clone(&fs), Arc::new(OsRandom)) else { panic!("no key ring") };
    let begun = Instant::now();
    let (report, took) = timed(|| {
        let plan = Plan::new(Arc::clone(candidate));
        let mut simulation = Simulation::new(plan, Library::default(), true, &keyring).threads(threads);
        let mut reader = LogReader::new(fs);
        while reader.visit(|receipt| simulation.push(receipt)).is_ok_and(|more| more) {}
        simulation.finish()
    });
    (report, took, begun.elapsed().as_secs_f64())
}

/// Where the time of one decision goes, each part alone over the same receipts.
fn parts(folder: &Path, candidate: &Snapshot) {
    let Ok(fs) = ReadOnlyFs::new(folder) else { panic!("no log") };
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let Ok(keyring) = Keyring::open(Arc::clone(&fs), Arc::new(OsRandom)) else { panic!("no key ring") };
    let mut receipts: Vec<StoredReceipt> = Vec::new();
    let (count, took) = timed(|| {
        let mut reader = LogReader::new(Arc::clone(&fs));
        let mut count = 0;
        while reader.visit(|receipt| count += receipt.payload.len().min(1)).is_ok_and(|more| more) {}
        count
    });
    let mut reader = LogReader::new(Arc::clone(&fs));
    while let Ok(Some(group)) = reader.next_group() {
        receipts.extend(group);
        if receipts.len() > 20_000 {
            break;
        }
    }
    row("  of that: read segments, check sectors", count, took);
    receipts.retain(|receipt| receipt.delta.starts_with(br#"{"change":{"kind":"decision","#));
    let count = receipts.len();
    let bytes: usize = receipts.iter().map(|r| r.payload.len()).sum();
    let (hashes, took) =
        timed(|| receipts.iter().map(|r| sha256(&r.payload).into_bytes()).collect::<Vec<_>>());
    row(&format!("  of that: SHA-256 of the payload ({} bytes)", bytes / count), count, took);
    let slots = || receipts.iter().filter_map(|r| SealedHeader::read(&r.attachment[1..])).map(|h| h.slot);
    let (keys, took) = timed(|| slots().map(|slot| keyring.slot_key(slot)).collect::<Vec<_>>());
    row("  of that: read the key", count, took);
    let (plain, took) = timed(|| {
        let sealed = receipts.iter().zip(&hashes).zip(keys);
        let open = sealed.filter_map(|((r, hash), key)| unseal(&key.ok()??, hash, &r.attachment[1..]).ok());
        open.collect::<Vec<_>>()
    });
    let bytes: usize = plain.iter().map(|plain| plain.len()).sum();
    row(&format!("  of that: unseal ({} bytes)", bytes / count), count, took);
    let split = |plain: &[u8]| {
        let length = u32::from_be_bytes([plain[33], plain[34], plain[35], plain[36]]);
        37 + usize::try_from(length).unwrap_or(0)
    };
    let (requests, took) = timed(|| {
        let texts = plain.iter().map(|plain| &plain[37..split(plain)]);
        texts.filter_map(|text| Request::parse(text, &Limits::REQUEST).ok()).collect::<Vec<_>>()
    });
    row("  of that: parse the request", count, took);
    let (facts, took) = timed(|| {
        let texts = plain.iter().map(|plain| &plain[split(plain)..]);
        texts.filter_map(|text| serde_json::from_slice::<Facts>(text).ok()).collect::<Vec<_>>()
    });
    row("  of that: parse the facts", count, took);
    let (_, took) = timed(|| {
        for (request, facts) in requests.into_iter().zip(&facts) {
            std::hint::black_box(decide(candidate, Ask::Request(Box::new(request)), facts));
        }
    });
    row("  of that: decide", count, took);
}

pub(crate) fn run() {
    let decisions = std::env::var("CALLGATE_BENCH_DECISIONS").ok().and_then(|text| text.parse().ok());
    let decisions: usize = decisions.unwrap_or(DECISIONS) / CLIENTS * CLIENTS;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    let Ok(folder) = tempfile::tempdir_in(".") else { panic!("no folder") };
    let gate = runtime.block_on(open(folder.path()));
    let start = Instant::now();
    runtime.block_on(record(&gate, decisions));
    println!(
        "\n## Simulation: {decisions} recorded decisions of the example bundle, {} on disk, recorded in {:.1} s; one thread, its processor time (load {})",
        size(folder.path()),
        start.elapsed().as_secs_f64(),
        load()
    );
    let (same, other) = (compile(&bundle(false)), compile(&bundle(true)));
    for (name, candidate) in
        [("the snapshot that had decided", &same), ("one that asks people about writes", &other)]
    {
        let (report, seconds, _) = offline(folder.path(), candidate, 1);
        assert_eq!(
            report.totals.evaluated,
            u64::try_from(decisions).unwrap_or(0),
            "{:?}",
            report.not_evaluated
        );
        row(&format!("{name}: {} flips", report.totals.tightened), decisions, seconds);
    }
    for threads in [1, 2] {
        let (_, _, elapsed) = offline(folder.path(), &other, threads);
        row(&format!("the same by the clock, {threads} threads"), decisions, elapsed);
    }
    let (report, took) = nanos(|| {
        let input = SimulationInput::History(Plan::new(Arc::clone(&other)));
        runtime.block_on(gate.simulate(input, Box::new(|_, _| {})))
    });
    assert!(report.is_ok(), "{report:?}");
    row("the same inside the running gate, by the clock", decisions, took as f64 / 1e9);
    parts(folder.path(), &other);
    println!("load average after: {}", load());
    gate.close();
}

fn size(folder: &Path) -> String {
    let files = std::fs::read_dir(folder.join("log")).into_iter().flatten().flatten();
    let bytes: u64 = files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum();
    format!("{} MB", bytes >> 20)
}
