//! The golden files of the first format: they must verify for ever, and the same inputs must give the same bytes.
//!
//! `cargo test -p callgate-log --test it write_golden_files -- --ignored` writes them. Once a format is released its
//! files never change; a new format gets a new folder.
#![expect(clippy::disallowed_methods, reason = "golden files are files; library code never touches any")]

use std::path::PathBuf;

use callgate_log::export::{Bundle, verify_receipt};
use callgate_log::note::NoteVerifier;
use callgate_log::{Hash, LogVerifier, VerifyingKey, dsse};
use serde_json::{Value, json};

use crate::fixture::{Log, ORIGIN, Owned, golden_log, key, pinned, signer, verify_events};

/// The receipt that is exported.
const EXPORTED: usize = 4;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn to_line(event: &Owned) -> String {
    match event {
        Owned::Receipt { payload, signature, delta } => {
            let receipt =
                json!({"delta": base64(delta), "payload": base64(payload), "signature": base64(signature)});
            json!({ "receipt": receipt }).to_string()
        }
        Owned::Checkpoint(note) => json!({"checkpoint": base64(note.as_bytes())}).to_string(),
    }
}

fn from_line(line: &str) -> Owned {
    let value: Value = serde_json::from_str(line).unwrap();
    if let Some(note) = value.get("checkpoint") {
        return Owned::Checkpoint(String::from_utf8(unbase64(note)).unwrap());
    }
    let receipt = &value["receipt"];
    Owned::Receipt {
        payload: unbase64(&receipt["payload"]),
        signature: unbase64(&receipt["signature"]).try_into().unwrap(),
        delta: unbase64(&receipt["delta"]),
    }
}

fn bundle(log: &Log) -> Bundle {
    let index = u64::try_from(EXPORTED).unwrap();
    let payload = &log.payloads[EXPORTED];
    Bundle::new(payload, dsse::sign(&key(), payload), &log.proof(index), &pinned(), &signer().verifier())
        .unwrap()
}

/// Every golden file with the content the current code gives it.
fn files() -> Vec<(String, String)> {
    let log = golden_log();
    let lines: String = log.events.iter().map(|event| to_line(event) + "\n").collect();
    let mut files = vec![
        ("log.jsonl".to_owned(), lines),
        ("key.pub.pem".to_owned(), pinned().to_spki_pem().unwrap()),
        ("root.hex".to_owned(), format!("{}\n", log.frontier.root())),
    ];
    let receipt = bundle(&log);
    files.extend(
        receipt
            .files()
            .iter()
            .map(|(name, bytes)| (format!("receipt/{name}"), String::from_utf8(bytes.clone()).unwrap())),
    );
    files
}

#[test]
fn golden_log_verifies_for_ever() {
    let pinned = VerifyingKey::from_spki_pem(&read("key.pub.pem")).unwrap();
    let events: Vec<Owned> = read("log.jsonl").lines().map(from_line).collect();
    let report = verify_events(LogVerifier::new(&pinned, Some(ORIGIN)), &events).unwrap();
    assert_eq!((report.receipts, report.checkpoints), (10, 4));
    assert_eq!(Some(report.root), Hash::from_hex(read("root.hex").trim_end()));
}

#[test]
fn golden_receipt_verifies_for_ever() {
    let pinned = VerifyingKey::from_spki_pem(&read("key.pub.pem")).unwrap();
    let log = NoteVerifier::parse(read("receipt/vkey.txt").trim_end()).unwrap();
    let (envelope, proof) = (read("receipt/receipt.dsse.json"), read("receipt/receipt.tlog-proof"));
    let (_, checkpoint) = verify_receipt(envelope.as_bytes(), proof.as_bytes(), &pinned, &log).unwrap();
    assert_eq!(checkpoint.size, 10);
}

#[test]
fn golden_bytes_are_what_the_code_writes() {
    for (name, content) in files() {
        assert_eq!(read(&name), content, "{name} would change; released formats never do");
    }
}

#[test]
#[ignore = "writes the golden files; run it by name when a new format is made"]
fn write_golden_files() {
    for (name, content) in files() {
        let path = folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
