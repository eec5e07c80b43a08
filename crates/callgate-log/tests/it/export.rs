//! Exported receipts.

use callgate_log::dsse;
use callgate_log::export::{Bundle, ExportError, KEY, VKEY, verify_receipt};
use callgate_log::note::NoteVerifier;
use callgate_log::statement::{Body, Decision, DecisionKind, Gate};

use crate::fixture::{Log, decision, golden_log, key, other_key, pinned, signer};

#[test]
fn exported_receipt_verifies_from_its_files() {
    let log = golden_log();
    let payload = &log.payloads[4];
    let signature = dsse::sign(&key(), payload);
    let bundle = Bundle::new(payload, signature, &log.proof(4), &pinned(), &signer().verifier()).unwrap();
    let file = |name: &str| bundle.files().iter().find(|(file, _)| *file == name).unwrap().1.clone();
    let vkey = NoteVerifier::parse(String::from_utf8(file(VKEY)).unwrap().trim_end()).unwrap();
    assert_eq!(file(KEY), pinned().to_spki_pem().unwrap().into_bytes());
    let (statement, checkpoint) =
        verify_receipt(&file("receipt.dsse.json"), &file("receipt.tlog-proof"), &pinned(), &vkey).unwrap();
    assert_eq!(checkpoint.size, 10);
    let Body::Decision(decision) = statement.body() else { panic!("a decision") };
    assert_eq!(decision.decision, DecisionKind::AllowWithConstraints);
}

#[test]
fn what_does_not_verify_is_not_exported() {
    let log = golden_log();
    let payload = &log.payloads[4];
    let signature = dsse::sign(&key(), payload);
    let export = |signature, index, log_key: &NoteVerifier| {
        Bundle::new(payload, signature, &log.proof(index), &pinned(), log_key).err()
    };
    let vkey = signer().verifier();
    assert_eq!(export(signature, 4, &vkey), None);
    let stranger = dsse::sign(&other_key(), payload);
    assert!(matches!(export(stranger, 4, &vkey), Some(ExportError::Envelope(_))));
    assert!(matches!(export(signature, 5, &vkey), Some(ExportError::Proof(_))));
    let other_log = NoteVerifier::new("other.example/log", pinned()).unwrap();
    assert!(matches!(export(signature, 4, &other_log), Some(ExportError::Proof(_))));
}

#[test]
fn receipt_of_another_log_is_not_exported() {
    // The same key signs for two logs, and a receipt of one was put into the other.
    let mut log = Log::new();
    let gate = Gate { origin: "other.example/log".to_owned(), version: "0.1.0".to_owned() };
    log.decide(Decision { gate, ..decision(DecisionKind::Allow, None) });
    let payload = &log.payloads[0];
    let exported =
        Bundle::new(payload, dsse::sign(&key(), payload), &log.proof(0), &pinned(), &signer().verifier());
    assert!(matches!(exported, Err(ExportError::Origin { .. })), "{exported:?}");
}
