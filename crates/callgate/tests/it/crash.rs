//! Kill -9 at any moment: whatever was answered is in the log, provable, and nothing else is needed to go on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use callgate_log::export::verify_receipt;
use callgate_log::note::NoteVerifier;
use callgate_log::{TlogProof, VerifyingKey};
use serde_json::Value;

use crate::program::{Server, ask, folder, http, public_key, request, succeed};

const ROUNDS: u64 = 5;
const THREADS: u64 = 4;

/// Asks until the server is gone; gives every answer that came whole.
fn hammer(address: &str, round: u64, thread: u64, stop: &AtomicBool) -> Vec<Value> {
    let mut answers = Vec::new();
    for number in 0_u64.. {
        let tool = ["read", "write", "drop", "move"][usize::try_from(number % 4).unwrap()];
        let session = format!("r{round}-t{thread}-{}", number % 3);
        match ask(address, &request(tool, &session)) {
            Some((200, answer)) => answers.push(answer),
            Some((status, answer)) => panic!("{status}: {answer}"),
            None if stop.load(Ordering::SeqCst) => break,
            None => {}
        }
    }
    answers
}

#[test]
fn kill_9_loses_nothing_that_was_answered() {
    let dir = folder();
    let mut answered: Vec<Value> = Vec::new();
    for round in 0..ROUNDS {
        let mut server = Server::start(dir.path(), &["--dev"]);
        let stop = Arc::new(AtomicBool::new(false));
        let hammers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (address, stop) = (server.address.clone(), Arc::clone(&stop));
                thread::spawn(move || hammer(&address, round, thread, &stop))
            })
            .collect();
        thread::sleep(Duration::from_millis(150 + 97 * round));
        // From here on, no answer is no surprise.
        stop.store(true, Ordering::SeqCst);
        server.kill();
        let before = answered.len();
        hammers.into_iter().for_each(|one| answered.extend(one.join().unwrap()));
        assert!(answered.len() > before, "round {round} answered nothing");
    }
    check(dir.path(), &answered);
}

/// Every answer, against the log of the restarted gate.
fn check(dir: &Path, answered: &[Value]) {
    let mut server = Server::start(dir, &["--dev"]);
    let key = VerifyingKey::from_spki_pem(&std::fs::read_to_string(public_key(&dir.join("data"))).unwrap())
        .unwrap();
    let log = NoteVerifier::new(&callgate_gate::Identity::origin_of(&key), key).unwrap();
    let mut newest: Option<(u64, String)> = None;
    for answer in answered {
        let index = answer["receipt_index"].as_u64().unwrap();
        let (status, found) =
            http(&server.address, "GET", &format!("/api/v1/receipts/{index}"), None, "").unwrap();
        assert_eq!((status, &found["receipt"]), (200, &answer["receipt"]), "receipt {index}");
        // The proof that left before the crash holds by itself.
        let (envelope, proof) = (answer["receipt"].to_string(), answer["proof"].as_str().unwrap());
        let (_, checkpoint) = verify_receipt(envelope.as_bytes(), proof.as_bytes(), &key, &log).unwrap();
        if newest.as_ref().is_none_or(|(size, _)| *size < checkpoint.size) {
            newest = Some((checkpoint.size, TlogProof::parse(proof.as_bytes()).unwrap().checkpoint));
        }
    }
    let mut indices: Vec<u64> =
        answered.iter().map(|answer| answer["receipt_index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert!(indices.is_sorted_by(|a, b| a < b), "two answers share a receipt");
    assert_eq!(server.stop().0, 0);
    // The log contains the newest checkpoint that left, and every decision comes out the same again.
    std::fs::write(dir.join("held.note"), newest.unwrap().1).unwrap();
    let key = public_key(&dir.join("data")).display().to_string();
    succeed(dir, &["log", "verify", "--data", "data", "--key", &key, "--checkpoint", "held.note"]);
    let replayed = succeed(dir, &["log", "replay", "--data", "data", "--key", &key, "--format", "json"]);
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    assert_eq!(replayed["differing"], serde_json::json!([]));
    assert!(replayed["same"].as_u64().unwrap() >= u64::try_from(answered.len()).unwrap());
}
