//! Whole lives of a gate at random: requests, outcomes, publishing, restarts and power cuts. Whatever
//! happens, what was answered is in the log, the log verifies, and replaying it gives the same.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::decision::{Code, Decision};
use callgate_core::snapshot::Snapshot;
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::simulate::{Filter, Library, Plan, Simulation};
use callgate_gate::{Asked, Credential, Gate, OutcomeReport, OutcomeStatus};
use callgate_log::{Event, LogVerifier};
use callgate_store::{Fs, Keyring, OsRandom, StoredReceipt};
use common::{World, bundle, call};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    /// A tool call in a session with a nonce.
    Call { tool: u8, session: u8, nonce: u8 },
    /// A step of a contract.
    Step { session: u8, step: u8 },
    /// Bytes that are no request.
    Garbage(Vec<u8>),
    /// The outcome of the latest open action.
    Outcome,
    /// Another bundle comes into force.
    Publish(u8),
    /// The clock moves, also back.
    Clock(i32),
    /// The process ends in order and starts again.
    Restart,
    /// The power is cut.
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0u8..6, 0u8..3, 0u8..8).prop_map(|(tool, session, nonce)| Op::Call { tool, session, nonce }),
        4 => (0u8..2, 0u8..3).prop_map(|(session, step)| Op::Step { session, step }),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Op::Garbage),
        2 => Just(Op::Outcome),
        1 => (0u8..3).prop_map(Op::Publish),
        1 => (-400_000i32..400_000).prop_map(Op::Clock),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..40)
}

fn version(number: u8) -> callgate_policy::Bundle {
    let rules = common::RULES.replace("moves need", &format!("moves {number} need"));
    bundle(&[("rules/r.yaml", &rules), ("contracts/c.yaml", common::CONTRACT)])
}

/// What the world outside remembers.
#[derive(Default)]
struct Outside {
    /// Receipt index → payload text, as replied.
    replied: BTreeMap<u64, String>,
    /// Nonces that were accepted, by session, with the time after which they may come again.
    nonces: BTreeMap<(u8, u8), i64>,
    sealed: BTreeSet<u8>,
    open: Vec<u64>,
    now: i64,
}

impl Outside {
    async fn ask(&mut self, gate: &Gate, bytes: Vec<u8>) -> (Decision, Option<Code>) {
        let decided = gate.decide(Asked::Bytes(bytes), Credential::Development).await.expect("a decision");
        let index = decided.reply.receipt_index.expect("receipted");
        assert!(index < gate.size());
        let envelope = decided.reply.receipt.expect("an envelope");
        let envelope: serde_json::Value = serde_json::from_str(envelope.get()).expect("JSON");
        self.replied.insert(index, envelope["payload"].as_str().expect("a payload").to_owned());
        if decided.permit.is_some() {
            self.open.push(index);
        }
        (decided.reply.decision, decided.reply.code)
    }

    async fn call(&mut self, gate: &Gate, tool: u8, session: u8, nonce: u8) {
        let name = ["read", "write", "move", "list", "drop", "other"][usize::from(tool)];
        let extra = format!(r#","session":{{"id":"s{session}"}},"nonce":"n{nonce}","ts_ms":{}"#, self.now);
        let (_, code) = self.ask(gate, call(name, &extra)).await;
        let fresh = code != Some(Code::ReplayNonce) && code != Some(Code::StaleTimestamp);
        if fresh {
            let until = self.nonces.insert((session, nonce), self.now + 300_000);
            assert!(until.is_none_or(|until| until < self.now), "a nonce was accepted twice in its time");
        }
    }

    async fn step(&mut self, gate: &Gate, session: u8, step: u8) {
        let (function, action) =
            [("intake", "READ_INPUT"), ("execution", "WRITE_DB"), ("settle", "SEAL_SEQUENCE")]
                [usize::from(step)];
        let text = format!(
            r#"{{"agent":{{"id":"bot"}},"session":{{"id":"loan{session}","function":"{function}","action_type":"{action}"}}}}"#
        );
        let (decision, code) = self.ask(gate, text.into_bytes()).await;
        if self.sealed.contains(&session) {
            assert_eq!(code, Some(Code::SealedSequence));
        } else if function == "settle" && decision.permits() {
            self.sealed.insert(session);
        }
    }
}

async fn play(seed: u64, ops: Vec<Op>) {
    let world = World::new(seed);
    let mut gate = world.open(Some(&version(0))).await.expect("opens");
    let mut outside = Outside { now: common::NOW, ..Outside::default() };
    for op in ops {
        match op {
            Op::Call { tool, session, nonce } => outside.call(&gate, tool, session, nonce).await,
            Op::Step { session, step } => outside.step(&gate, session, step).await,
            Op::Garbage(bytes) => drop(outside.ask(&gate, bytes).await),
            Op::Outcome => {
                if let Some(index) = outside.open.pop() {
                    let report = OutcomeReport::new(index, OutcomeStatus::Failed);
                    gate.report(report.clone(), &Credential::Development).await.expect("recorded");
                    gate.report(report, &Credential::Development).await.expect_err("an outcome comes once");
                }
            }
            Op::Publish(number) => drop(gate.publish(&version(number), "operator").await.expect("published")),
            Op::Clock(by) => {
                let at = outside.now + i64::from(by);
                world.clock.set(at);
                // The gate's clock never goes back.
                outside.now = outside.now.max(at);
            }
            Op::Restart => {
                gate.close();
                drop(gate);
                gate = world.open(None).await.expect("opens again");
            }
            Op::Crash => {
                world.fs.crash();
                drop(gate);
                gate = world.open(None).await.expect("opens after a power cut");
            }
        }
    }
    audit(&world, &gate, &outside);
    drop(gate);
    world.holds_without_saved_states().await;
}

/// What an auditor with the log, the public key and the key ring finds.
fn audit(world: &World, gate: &Gate, outside: &Outside) {
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut verifier = LogVerifier::new(&gate.verifying_key(), Some(gate.identity().origin()));
    let mut replay = Replay::new();
    let mut found = BTreeMap::new();
    let receipts: Vec<_> = gate.scan().map(|r| r.expect("readable")).collect();
    for (at, receipt) in receipts.iter().enumerate() {
        let event = Event::Receipt {
            payload: &receipt.payload,
            signature: &receipt.signature,
            delta: &receipt.delta,
        };
        verifier.push(event).expect("the receipt verifies");
        if receipts.get(at + 1).is_none_or(|next| next.size != receipt.size) {
            verifier.push(Event::Checkpoint { note: &receipt.checkpoint }).expect("the checkpoint verifies");
        }
        let replayed = replay.push(receipt, &keyring);
        assert!(
            matches!(replayed, Replayed::Same | Replayed::NotADecision),
            "{}: {replayed:?}",
            receipt.index
        );
        found.insert(receipt.index, receipt.payload.clone());
    }
    let report = verifier.finish().expect("the log verifies");
    assert_eq!(report.receipts, gate.size());
    simulated(world, &receipts, &keyring);
    for (index, payload) in &outside.replied {
        let kept = found.get(index).expect("what was answered is kept");
        assert_eq!(&base64(kept), payload, "receipt {index} is the one that was answered");
    }
}

/// Whatever the life was: every snapshot decides what it had decided as it did, any other gives the same
/// report twice, and nothing of the log changes.
fn simulated(world: &World, receipts: &[StoredReceipt], keyring: &Keyring) {
    let before = everything(world.fs().as_ref());
    let mut library = Library::read(receipts.iter().cloned().map(Ok::<_, String>)).expect("snapshots");
    let report = |candidate: &Arc<Snapshot>, filter: Filter, threads: usize| {
        let plan = Plan { filter, ..Plan::new(Arc::clone(candidate)) };
        let mut simulation = Simulation::new(plan, Library::default(), true, keyring).threads(threads);
        receipts.iter().for_each(|receipt| simulation.push(receipt.view()));
        simulation.finish()
    };
    for number in 1u64.. {
        let version = format!("v{number}");
        let Ok(candidate) = library.get(&version) else { break };
        let own = report(&candidate, Filter { snapshot: Some(version), ..Filter::default() }, 1);
        assert_eq!((own.totals.same, own.totals.not_evaluated), (own.totals.decisions, 0), "{own:?}");
        let all = report(&candidate, Filter::default(), 1);
        assert_eq!(all.to_json(), report(&candidate, Filter::default(), 1).to_json());
        assert_eq!(all.to_json(), report(&candidate, Filter::default(), 3).to_json());
        assert_eq!(all.totals.evaluated + all.totals.not_evaluated, all.totals.decisions);
    }
    assert!(everything(world.fs().as_ref()) == before, "nothing on the disk changed");
}

/// Every file with its bytes.
fn everything(fs: &dyn Fs) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["log", "keyring", "keys"] {
        for name in fs.list(folder).expect("a folder") {
            let path = format!("{folder}/{name}");
            let file = fs.open(&path).expect("a file");
            let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("short")];
            file.read_at(&mut bytes, 0).expect("readable");
            files.insert(path, bytes);
        }
    }
    files
}

/// Base64 (RFC 4648 section 4), as DSSE writes payloads.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for letter in 0..4 {
            let at = usize::try_from((word >> (18 - 6 * letter)) & 63).expect("six bits");
            out.push(if letter <= chunk.len() { char::from(LETTERS[at]) } else { '=' });
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Law 4, and everything an answer promises, over random lives.
    #[test]
    fn law_4_any_life_replays_verifies_and_keeps_what_it_answered(seed in any::<u64>(), ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(seed, ops));
    }
}
