//! Arbitrary bytes, and pieces of real evidence glued together, never make a parser panic.

use callgate_log::checkpoint::Checkpoint;
use callgate_log::dsse::Envelope;
use callgate_log::json::Decimal;
use callgate_log::note::{Note, NoteVerifier};
use callgate_log::tile::Tile;
use callgate_log::{Event, Frontier, Hash, LogVerifier, SigningKey, Statement, TlogProof, VerifyingKey};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fixture::{golden_log, key, pinned, signer};

/// Feeds bytes to everything that reads bytes; returns what it accepted.
fn feed(bytes: &[u8], signature: &[u8; 64]) -> usize {
    let mut accepted = usize::from(Statement::parse(bytes).is_ok());
    accepted += usize::from(Envelope::parse(bytes).is_ok_and(|envelope| envelope.verify(&pinned()).is_ok()));
    accepted += usize::from(Note::parse(bytes).is_ok_and(|note| note.verify(&signer().verifier()).is_ok()));
    accepted += usize::from(Checkpoint::open(bytes, &pinned(), None).is_ok());
    accepted +=
        usize::from(TlogProof::parse(bytes).is_ok_and(|proof| proof.verify(bytes, &pinned(), None).is_ok()));
    accepted +=
        usize::from(Frontier::from_bytes(bytes).is_ok_and(|frontier| frontier.root() == Hash::new([0; 32])));
    if let Ok(text) = std::str::from_utf8(bytes) {
        accepted += usize::from(Checkpoint::parse_text(text).is_ok());
        accepted += usize::from(Tile::parse(text).is_some_and(|tile| tile.path() != text));
        accepted += usize::from(NoteVerifier::parse(text).is_ok());
        accepted += usize::from(VerifyingKey::from_spki_pem(text).is_ok());
        accepted += usize::from(SigningKey::from_pkcs8_pem(text).is_ok());
        accepted += usize::from(Decimal::parse(text).is_ok_and(|decimal| decimal.as_str() != text));
        accepted += usize::from(Hash::from_hex(text).is_some_and(|hash| hash.to_hex() != text));
        accepted += usize::from(Hash::from_base64(text).is_some_and(|hash| hash.to_base64() != text));
    }
    for event in
        [Event::Checkpoint { note: bytes }, Event::Receipt { payload: bytes, signature, delta: bytes }]
    {
        accepted += usize::from(LogVerifier::new(&pinned(), None).push(event).is_ok());
    }
    accepted
}

/// Pieces that get far into each parser.
fn pieces() -> Vec<String> {
    let log = golden_log();
    let mut pieces = vec![
        log.proof(3).to_text(),
        Envelope::sign(&key(), log.payloads[4].clone()).to_json(),
        signer().verifier().to_vkey(),
        pinned().to_spki_pem().unwrap(),
        "tile/0/x001/234.p/5".to_owned(),
    ];
    pieces.extend(log.payloads.iter().map(|payload| String::from_utf8(payload.clone()).unwrap()));
    pieces
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..300), signature in any::<[u8; 64]>()) {
        prop_assert_eq!(feed(&bytes, &signature), 0);
    }

    #[test]
    fn arbitrary_text_is_refused(text in "[-0-9a-zA-Z+/=.— \n{}\\[\\]\":,]{0,120}") {
        prop_assert_eq!(feed(text.as_bytes(), &[0; 64]), 0);
    }

    #[test]
    fn glued_pieces_do_not_panic(
        first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let pieces = pieces();
        let (first, second) = (first.get(&pieces).as_bytes(), second.get(&pieces).as_bytes());
        let glued = [&first[..cut.index(first.len())], &[byte], &second[from.index(second.len())..]].concat();
        // What a glued text may legitimately be is not known here; that nothing panics is the point, and that the
        // verifier, which demands a signature, takes none of it.
        feed(&glued, &[0; 64]);
        let mut verifier = LogVerifier::new(&pinned(), None);
        let verdict = verifier.push(Event::Receipt { payload: &glued, signature: &[0; 64], delta: b"" });
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn deep_nesting_is_refused(depth in 1_usize..30_000) {
        prop_assert!(Statement::parse("[".repeat(depth).as_bytes()).is_err());
        let nested = format!(r#"{{"predicateType":"urn:callgate:admin:v1","x":{}"#, "[".repeat(depth));
        prop_assert!(Statement::parse(nested.as_bytes()).is_err());
    }
}
