//! One flipped bit anywhere in the evidence is found.

use callgate_log::dsse::Envelope;
use callgate_log::export::verify_receipt;
use callgate_log::note::NoteVerifier;
use callgate_log::{LogVerifier, VerifyingKey};

use crate::fixture::{Log, ORIGIN, Owned, decision, key, pinned, signer, verify_events};
use callgate_log::statement::DecisionKind;

/// Bytes with one bit of each byte flipped in turn.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).map(|position| {
        let mut changed = bytes.to_vec();
        changed[position] ^= 1 << (position % 8);
        changed
    })
}

fn changed(event: &Owned) -> Vec<Owned> {
    match event {
        Owned::Checkpoint(note) => flips(note.as_bytes())
            .filter_map(|bytes| String::from_utf8(bytes).ok())
            .map(Owned::Checkpoint)
            .collect(),
        Owned::Receipt { payload, signature, delta } => {
            let receipt = |payload: &[u8], signature: &[u8], delta: &[u8]| Owned::Receipt {
                payload: payload.to_vec(),
                signature: signature.try_into().unwrap(),
                delta: delta.to_vec(),
            };
            let payloads = flips(payload).map(|bytes| receipt(&bytes, signature, delta));
            let signatures = flips(signature).map(|bytes| receipt(payload, &bytes, delta));
            let deltas = flips(delta).map(|bytes| receipt(payload, signature, &bytes));
            payloads.chain(signatures).chain(deltas).collect()
        }
    }
}

#[test]
fn every_flipped_byte_of_a_log_is_found() {
    let mut log = Log::new();
    let effects_digest = callgate_log::sha256(b"some delta");
    let decision =
        callgate_log::statement::Decision { effects_digest, ..decision(DecisionKind::Allow, Some("s")) };
    log.put(&callgate_log::Statement::decision(decision, effects_digest), b"some delta");
    log.checkpoint();
    assert!(log.verify().is_ok());
    for position in 0..log.events.len() {
        for event in changed(&log.events[position]) {
            let mut events = log.events.clone();
            events[position] = event;
            let verdict = verify_events(LogVerifier::new(&pinned(), Some(ORIGIN)), &events);
            assert!(verdict.is_err(), "{:?}", events[position]);
        }
    }
}

#[test]
fn every_flipped_byte_of_an_exported_receipt_is_found() {
    let mut log = Log::new();
    for session in ["a", "b", "c"] {
        log.decide(decision(DecisionKind::Allow, Some(session)));
    }
    let envelope = Envelope::sign(&key(), log.payloads[1].clone()).to_json();
    let proof = log.proof(1).to_text();
    let verdict = |envelope: &[u8], proof: &[u8], key: &VerifyingKey, log: &NoteVerifier| {
        verify_receipt(envelope, proof, key, log).is_ok()
    };
    let vkey = signer().verifier();
    assert!(verdict(envelope.as_bytes(), proof.as_bytes(), &pinned(), &vkey));
    for bytes in flips(envelope.as_bytes()) {
        assert!(!verdict(&bytes, proof.as_bytes(), &pinned(), &vkey), "{}", String::from_utf8_lossy(&bytes));
    }
    for bytes in flips(proof.as_bytes()) {
        assert!(
            !verdict(envelope.as_bytes(), &bytes, &pinned(), &vkey),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
    let text = vkey.to_vkey();
    for bytes in flips(text.as_bytes()) {
        let other = String::from_utf8(bytes).ok().and_then(|text| NoteVerifier::parse(&text).ok());
        assert!(other.is_none_or(|other| !verdict(envelope.as_bytes(), proof.as_bytes(), &pinned(), &other)));
    }
}
