//! Very many sessions: whether memory follows what lives, whether the end is as fast as the start, and how long a
//! restart takes. `make bench-scale`; not part of `make bench`, since it writes gigabytes and takes minutes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use callgate_core::state::{Change, DecisionDelta, Delta, NonceUse, SessionKey, State};
use callgate_gate::clock::SystemClock;
use callgate_gate::{Asked, Credential, Gate, GateOptions, OutcomeReport, OutcomeStatus};
use callgate_policy::Bundle;
use callgate_store::{Fs, OsRandom, RealFs, Recovery};

use crate::stats::{Samples, load};

/// Tasks that each ask again as soon as they are answered.
const TASKS: usize = 256;
/// One call in so many is allowed, and its outcome reported; the others are denied, so that what stays are sessions.
const ALLOWED: usize = 4;
/// Decisions of the log from which a start without a saved state is extrapolated.
const PART: usize = 100_000;
const RULES: &str = "version: v1\nrules:\n  - {id: read, match: {tools: [\"files.read_*\"]}, decision: allow}\n  - {id: drop, match: {tools: [\"files.drop\"]}, decision: deny}\n";

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    decisions: usize,
    sessions: usize,
    agents: usize,
}

fn setting(at: usize, otherwise: usize) -> usize {
    std::env::args().nth(at).and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(otherwise)
}

pub(crate) fn run() {
    let size = Size {
        decisions: setting(2, 2_000_000),
        sessions: setting(3, 1_000_000),
        agents: setting(4, 100_000),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    let Ok(folder) = tempfile::tempdir_in(".") else { panic!("no folder") };
    println!("\n## Scale: {} decisions, {} sessions, {} agents", size.decisions, size.sessions, size.agents);
    memory(size);
    let per_second = runtime.block_on(folding(&folder.path().join("part")));
    runtime.block_on(scale(&folder.path().join("whole"), size, per_second));
    println!("load average after: {}", load());
}

/// Resident memory of this program in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes in the files of a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// What one of each costs in the state, measured by how this program grows.
fn memory(size: Size) {
    let mut state = State::default();
    let key = |n: usize| SessionKey {
        agent: format!("bot-{}", n % size.agents),
        session: format!("session-{n}"),
        tenant: "default".to_owned(),
    };
    let mut index = 0u64;
    let mut grow = |what: &str, make: &dyn Fn(usize, &mut DecisionDelta)| {
        let before = resident();
        for n in 0..size.sessions {
            let mut decision = DecisionDelta { key: Some(key(n)), slot: Some(n as u64), ..bare() };
            make(n, &mut decision);
            let delta = Delta { change: Change::Decision(decision), now_ms: 1 };
            state.apply(index, &[index.to_le_bytes()[0]; 32], &delta);
            index += 1;
        }
        let grown = resident().saturating_sub(before);
        println!("state: {:>6.0} bytes per {what}", grown as f64 / size.sessions as f64);
    };
    grow("session", &|_, _| {});
    grow("session that has one more receipt", &|_, _| {});
    grow("nonce that is remembered", &|n, decision| {
        decision.nonce = Some(NonceUse { until_ms: 300_000, value: format!("n-{n}") });
    });
    grow("open action", &|_, decision| decision.open_until_ms = Some(86_400_000));
    println!("state: {:.0} MiB in all, with {} of each", mib(resident()), size.sessions);
}

fn bare() -> DecisionDelta {
    let text = r#"{"epoch":0,"snapshot":1,"version":0}"#;
    match serde_json::from_str(text) {
        Ok(delta) => delta,
        Err(e) => panic!("{e}"),
    }
}

async fn open(folder: &Path, save_every: u64) -> (Arc<Gate>, Recovery, Duration) {
    let files = [("rules/r.yaml".to_owned(), RULES.to_owned())].into();
    let bundle = Bundle::new(files, std::collections::BTreeMap::new());
    let fs: Arc<dyn Fs> = match RealFs::new(folder) {
        Ok(fs) => Arc::new(fs),
        Err(e) => panic!("{e}"),
    };
    let options = GateOptions { save_every, deadline: Duration::from_secs(60), ..GateOptions::default() };
    let begun = Instant::now();
    match Gate::open(fs, Arc::new(SystemClock), Arc::new(OsRandom), Some(&bundle), options).await {
        Ok(opened) => (opened.gate, opened.recovery, begun.elapsed()),
        Err(e) => panic!("{e}"),
    }
}

/// How many receipts a start without a saved state folds in a second.
async fn folding(folder: &Path) -> f64 {
    let size = Size { decisions: PART, sessions: PART / 2, agents: PART / 20 };
    let (gate, ..) = open(folder, 0).await;
    Drive::new(size).run(&gate).await;
    gate.close();
    drop(gate);
    let (gate, recovery, took) = open(folder, 0).await;
    gate.close();
    let per_second = recovery.receipts as f64 / took.as_secs_f64();
    println!(
        "start without a saved state: {} receipts in {:.1} s, {per_second:.0}/s",
        recovery.receipts,
        took.as_secs_f64()
    );
    per_second
}

/// What the tasks share.
struct Drive {
    size: Size,
    next: AtomicUsize,
    done: AtomicUsize,
    /// Whether a state is being saved.
    saving: AtomicBool,
    ended: AtomicBool,
}

/// Latencies of the decisions of one tenth, and of those made while a state was saved.
#[derive(Default)]
struct Taken {
    tenths: [Samples; 10],
    saving: Samples,
    quiet: Samples,
}

impl Drive {
    fn new(size: Size) -> Arc<Self> {
        Arc::new(Self {
            size,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            saving: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    fn body(&self, n: usize) -> Vec<u8> {
        let session = n % self.size.sessions;
        let agent = session % self.size.agents;
        let tool = if n.is_multiple_of(ALLOWED) { "read_text_file" } else { "drop" };
        format!(
            r#"{{"agent":{{"id":"bot-{agent}"}},"session":{{"id":"session-{session}"}},"tool":{{"server":"files","name":"{tool}"}},"args":{{"path":"notes/{n}.txt","head":20}},"environment":"prod","pep":{{"id":"bench","enforces":["max_runtime_ms","max_retries"]}}}}"#
        )
        .into_bytes()
    }

    async fn ask(&self, gate: &Gate, taken: &mut Taken) -> bool {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n >= self.size.decisions {
            return false;
        }
        let begun = Instant::now();
        let decided = gate.decide(Asked::Bytes(self.body(n)), Credential::Development).await;
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let decided = match decided {
            Ok(decided) => decided,
            Err(e) => panic!("{e}"),
        };
        taken.tenths[n * 10 / self.size.decisions].push(took);
        let quiet = !self.saving.load(Ordering::Relaxed);
        if quiet { &mut taken.quiet } else { &mut taken.saving }.push(took);
        if let (Some(_), Some(index)) = (&decided.permit, decided.reply.receipt_index) {
            let report = OutcomeReport::new(index, OutcomeStatus::Succeeded);
            if let Err(e) = gate.report(report, &Credential::Development).await {
                panic!("{e}");
            }
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// All decisions; latencies, and seconds and memory at the end of each tenth.
    async fn run(self: &Arc<Self>, gate: &Arc<Gate>) -> (Taken, Vec<(f64, usize)>) {
        let watch = tokio::spawn(Arc::clone(self).watch(Arc::clone(gate)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (drive, gate) = (Arc::clone(self), Arc::clone(gate));
                tokio::spawn(async move {
                    let mut taken = Taken::default();
                    while drive.ask(&gate, &mut taken).await {}
                    taken
                })
            })
            .collect();
        let mut all = Taken::default();
        for task in tasks {
            let Ok(taken) = task.await else { panic!("a task ended early") };
            all.tenths.iter_mut().zip(&taken.tenths).for_each(|(all, taken)| all.extend(taken));
            all.saving.extend(&taken.saving);
            all.quiet.extend(&taken.quiet);
        }
        self.ended.store(true, Ordering::Relaxed);
        let Ok(ends) = watch.await else { panic!("the watch ended early") };
        (all, ends)
    }

    async fn watch(self: Arc<Self>, gate: Arc<Gate>) -> Vec<(f64, usize)> {
        let begun = Instant::now();
        let mut ends = Vec::new();
        loop {
            self.saving.store(gate.saved().busy, Ordering::Relaxed);
            let ended = self.ended.load(Ordering::Relaxed);
            while ends.len() < 10
                && (ended || self.done.load(Ordering::Relaxed) >= (ends.len() + 1) * self.size.decisions / 10)
            {
                ends.push((begun.elapsed().as_secs_f64(), resident()));
            }
            if ended {
                return ends;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn scale(folder: &Path, size: Size, per_second: f64) {
    let (gate, ..) = open(folder, 100_000).await;
    let before = resident();
    let (mut taken, ends) = Drive::new(size).run(&gate).await;
    println!("{:>6} {:>12} {:>18} {:>10}", "tenth", "decisions", "p50/p99", "resident");
    let mut from = 0.0;
    for (number, ((end, resident), samples)) in ends.iter().zip(&mut taken.tenths).enumerate() {
        let rate = samples.len() as f64 / (end - from);
        let tenth = number + 1;
        println!("{tenth:>6} {rate:>10.0}/s {:>15} ms {:>6.0} MiB", samples.p50_p99_ms(), mib(*resident));
        from = *end;
    }
    let longest = |samples: &mut Samples| samples.percentile(100) as f64 / 1e6;
    let most = longest(&mut taken.saving);
    println!("while a state is saved: {} ms, longest {most:.0} ms", taken.saving.p50_p99_ms());
    let most = longest(&mut taken.quiet);
    println!("otherwise:              {} ms, longest {most:.0} ms", taken.quiet.p50_p99_ms());
    drop(taken);
    while gate.saved().busy {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("saving: {:?}", gate.saved());
    let grown = resident().saturating_sub(before);
    println!(
        "resident: {:.0} MiB before, {:.0} MiB after, {:.0} bytes per session with all that belongs to the run",
        mib(before),
        mib(before + grown),
        grown as f64 / size.sessions as f64
    );
    let begun = Instant::now();
    gate.close();
    println!("close: {:.1} s", begun.elapsed().as_secs_f64());
    drop(gate);
    let log = bytes_in(&folder.join("log"));
    let keys = bytes_in(&folder.join("keyring"));
    println!("log {:.2} GiB, key ring {:.0} MiB", log as f64 / f64::from(1 << 30), mib(keys as usize));
    restarts(folder, per_second).await;
}

/// After a proper end; and after the program was killed, when the saved state is an older one.
async fn restarts(folder: &Path, per_second: f64) {
    for what in ["after close", "after a kill"] {
        let (gate, recovery, took) = open(folder, 0).await;
        let (file, held) = recovery.saved.clone().unwrap_or_default();
        let length = std::fs::metadata(folder.join(&file)).map_or(0, |data| data.len());
        println!(
            "restart {what}: {:.2} s for {} receipts, {} of them from `{file}` ({:.0} MiB); resident {:.0} MiB",
            took.as_secs_f64(),
            recovery.receipts,
            held,
            mib(length as usize),
            mib(resident())
        );
        gate.close();
        drop(gate);
        let _ = std::fs::remove_file(folder.join(&file));
        if what == "after a kill" {
            let whole = recovery.receipts as f64 / per_second;
            println!("restart without a saved state, extrapolated: {whole:.0} s");
        }
    }
}
