//! tlog-proof files.

use callgate_log::proof::TlogProofError;
use callgate_log::{TlogProof, sha256};

use crate::fixture::{ORIGIN, golden_log, note, other_key, pinned};

#[test]
fn every_receipt_has_a_proof_that_verifies() {
    let log = golden_log();
    for (payload, index) in log.payloads.iter().zip(0..) {
        let text = log.proof(index).to_text();
        let proof = TlogProof::parse(text.as_bytes()).unwrap();
        assert_eq!(proof, log.proof(index));
        assert_eq!(proof.verify(payload, &pinned(), Some(ORIGIN)).unwrap().size, log.frontier.size());
        assert!(matches!(proof.verify(b"{}", &pinned(), None), Err(TlogProofError::Merkle(_))));
        assert!(proof.verify(payload, &other_key().verifying_key(), None).is_err());
        let moved = TlogProof { index: index + 1, ..proof };
        assert!(moved.verify(payload, &pinned(), None).is_err());
    }
}

#[test]
fn proof_text_follows_the_specification() {
    let checkpoint = note(2, &sha256(b"root"));
    let proof =
        TlogProof { extra: None, index: 0, hashes: vec![sha256(b"sibling")], checkpoint: checkpoint.clone() };
    let sibling = sha256(b"sibling").to_base64();
    assert_eq!(proof.to_text(), format!("c2sp.org/tlog-proof@v1\nindex 0\n{sibling}\n\n{checkpoint}"));
    let extra = TlogProof { extra: Some(b"more".to_vec()), hashes: Vec::new(), ..proof };
    assert_eq!(extra.to_text(), format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 0\n\n{checkpoint}"));
    assert_eq!(TlogProof::parse(extra.to_text().as_bytes()).unwrap(), extra);
}

#[test]
fn malformed_proofs_are_refused() {
    let good = golden_log().proof(3).to_text();
    let refused = [
        good.replace("@v1", "@v2"),
        good.replace("index 3", "index 03"),
        good.replace("index 3", "index"),
        good.replace("index 3", "index 3 "),
        good.replace("index 3", "extra e30\nindex 3"),
        good.replace("index 3", "index 3\nextra e30="),
        good.replace("index 3", &format!("index 3{}", format!("\n{}", sha256(b"").to_base64()).repeat(64))),
        good.replacen("=\n", "\n", 1),
        good.replace("\n\n", "\n"),
        "x".repeat(callgate_log::proof::MAX_PROOF + 1),
        String::new(),
    ];
    for text in refused {
        assert_ne!(text, good);
        assert!(TlogProof::parse(text.as_bytes()).is_err(), "{text}");
    }
}
