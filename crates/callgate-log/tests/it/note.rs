//! Signed notes, verifier keys and checkpoints.

use callgate_log::checkpoint::{Checkpoint, CheckpointError};
use callgate_log::note::{MAX_NOTE, Note, NoteError, NoteSigner, NoteVerifier};
use callgate_log::sha256;

use crate::fixture::{ORIGIN, key, note, other_key, pinned, signer};

/// The example of the signed-note specification.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn note_of_the_specification_verifies() {
    let verifier = NoteVerifier::parse(VKEY).unwrap();
    assert_eq!(verifier.to_vkey(), VKEY);
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(note.verify(&verifier).unwrap(), "This is an example message.\n");
}

#[test]
fn changed_vkey_is_refused() {
    let other_id = VKEY.replace("530d903a", "530d903b");
    let other_type = VKEY.replace("AekyeRrm", "BOkyeRrm");
    for vkey in
        [other_id.as_str(), &other_type, "example.com/foo", "+530d903a+AekyeRrm", "", &VKEY[..VKEY.len() - 1]]
    {
        assert!(NoteVerifier::parse(vkey).is_err(), "{vkey}");
    }
}

#[test]
fn unknown_signatures_are_ignored_and_known_ones_must_verify() {
    let own = NoteSigner::new(ORIGIN, key()).unwrap();
    let witness = NoteSigner::new("witness.example/w", other_key()).unwrap();
    let text = "first\n\nlast\n";
    let signed = own.sign(text).unwrap();
    let cosigned = witness.sign(text).unwrap();
    let second = cosigned.rsplit_once("\n\n").unwrap().1;
    let both = format!("{signed}{second}");
    assert_eq!(Note::parse(both.as_bytes()).unwrap().verify(&own.verifier()).unwrap(), text);
    assert_eq!(Note::parse(both.as_bytes()).unwrap().verify(&witness.verifier()).unwrap(), text);

    let alone = Note::parse(cosigned.as_bytes()).unwrap().verify(&own.verifier());
    assert!(matches!(alone, Err(NoteError::Unsigned(_))));
    let changed = both.replace("first", "fiRst");
    assert!(matches!(
        Note::parse(changed.as_bytes()).unwrap().verify(&own.verifier()),
        Err(NoteError::Signature(_))
    ));
}

#[test]
fn malformed_notes_are_refused() {
    let good = note(1, &sha256(b""));
    let refused = [
        good.replace('—', "-"),
        good.replace("\n\n", "\n"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!("{good}— name AAAA\n"),
        format!("{good}— na+me AAAAAAAA\n"),
        format!("{good}{}", "— name AAAAAAAA\n".repeat(64)),
        good.replace(ORIGIN, "callgate.example\t/golden"),
        good.replace("=\n", "\n"),
        good.replacen("\n1\n", "\n\u{7}1\n", 1),
        "x".repeat(MAX_NOTE + 1),
        String::new(),
    ];
    for text in refused {
        assert_ne!(text, good);
        assert!(Note::parse(text.as_bytes()).is_err(), "{text}");
    }
    let sixteen = format!("{good}{}", "— name AAAAAAAA\n".repeat(15));
    assert!(Note::parse(sixteen.as_bytes()).is_ok(), "a reader must take at least 16 signatures");
}

#[test]
fn text_that_a_note_cannot_carry_is_not_signed() {
    let signer = NoteSigner::new(ORIGIN, key()).unwrap();
    assert!(signer.sign("plain\n").is_ok());
    for text in ["", "no newline", "tab\there\n", "return\r\n"] {
        assert_eq!(signer.sign(text), Err(NoteError::NotText), "{text:?}");
    }
}

#[test]
fn names_that_a_note_cannot_carry_are_refused() {
    let long = "x".repeat(256);
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", &long] {
        assert!(NoteVerifier::new(name, pinned()).is_err(), "{name:?}");
    }
}

#[test]
fn checkpoint_has_three_lines_and_round_trips() {
    let root = sha256(b"root");
    let text = note(42, &root);
    assert!(text.starts_with(&format!("{ORIGIN}\n42\n{}\n\n— {ORIGIN} ", root.to_base64())), "{text}");
    let opened = Checkpoint::open(text.as_bytes(), &pinned(), Some(ORIGIN)).unwrap();
    assert_eq!(opened, Checkpoint { origin: ORIGIN.to_owned(), size: 42, root });
    assert_eq!(Checkpoint::open(text.as_bytes(), &pinned(), None).unwrap(), opened);
    assert_eq!(Checkpoint::open_with(text.as_bytes(), &signer().verifier()).unwrap(), opened);
}

#[test]
fn checkpoint_of_another_log_or_key_is_refused() {
    let text = note(42, &sha256(b"root"));
    let other = Checkpoint::open(text.as_bytes(), &pinned(), Some("other.example/log"));
    assert!(matches!(other, Err(CheckpointError::Origin { .. })));
    assert!(Checkpoint::open(text.as_bytes(), &other_key().verifying_key(), None).is_err());
}

#[test]
fn malformed_checkpoint_is_refused() {
    let root = sha256(b"root").to_base64();
    let texts = [
        format!("{ORIGIN}\n042\n{root}\n"),
        format!("{ORIGIN}\n-1\n{root}\n"),
        format!("{ORIGIN}\n+1\n{root}\n"),
        format!("{ORIGIN}\n\n{root}\n"),
        format!("{ORIGIN}\n18446744073709551615\n{root}\n"),
        format!("{ORIGIN}\n1\n{}\n", &root[4..]),
        format!("{ORIGIN}\n1\n{root}\nextension\n"),
        format!("{ORIGIN}\n1\n{root}"),
        format!("\n1\n{root}\n"),
        String::new(),
    ];
    for text in texts {
        assert_eq!(Checkpoint::parse_text(&text), Err(CheckpointError::Shape), "{text}");
    }
}
