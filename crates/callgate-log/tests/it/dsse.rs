//! Envelopes.

use callgate_log::dsse::{Envelope, EnvelopeError, PAYLOAD_TYPE, pae};

use crate::fixture::{key, other_key, pinned};

#[test]
fn pae_follows_the_specification() {
    assert_eq!(pae(b"hello"), b"DSSEv1 28 application/vnd.in-toto+json 5 hello");
    assert_eq!(PAYLOAD_TYPE.len(), 28);
}

#[test]
fn envelope_round_trips_and_verifies() {
    let envelope = Envelope::sign(&key(), b"{}".to_vec());
    let json = envelope.to_json();
    assert_eq!(Envelope::parse(json.as_bytes()).unwrap(), envelope);
    assert_eq!(envelope.verify(&pinned()).unwrap(), b"{}");
    let sorted =
        serde_json_canonicalizer::to_string(&serde_json::from_str::<serde_json::Value>(&json).unwrap());
    assert_eq!(sorted.unwrap(), json);
}

#[test]
fn envelope_is_verified_under_the_pinned_key_only() {
    let stranger = Envelope::sign(&other_key(), b"{}".to_vec());
    assert!(matches!(stranger.verify(&pinned()), Err(EnvelopeError::OtherKey(_))));
    // Claiming the pinned key's id does not help.
    let liar = Envelope::new(b"{}".to_vec(), key().key_id(), stranger.signatures()[0].signature);
    assert!(matches!(liar.verify(&pinned()), Err(EnvelopeError::Signature(_))));
}

#[test]
fn malformed_envelopes_are_refused() {
    let json = Envelope::sign(&key(), b"{}".to_vec()).to_json();
    let refused = [
        json.replace("in-toto", "in-tutu"),
        json.replace(r#""payload":"e30=""#, r#""payload":"e30""#),
        json.replace(r#""payload":"e30=""#, r#""payload":"e31=""#),
        json.replace(r#""payload":"#, r#""extra":1,"payload":"#),
        json.replace(r#"{"payload":"#, r#"{"payload":"","payload":"#),
        json.replace(r#""signatures":["#, r#""signatures":[],"x":["#),
        r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}"#.to_owned(),
        "x".repeat(callgate_log::dsse::MAX_ENVELOPE + 1),
    ];
    for text in refused {
        assert_ne!(text, json);
        assert!(Envelope::parse(text.as_bytes()).is_err(), "{text}");
    }
}
