//! The verification rules of the log, one by one: what holds, and what each violation is called.

use callgate_log::checkpoint::CheckpointSigner;
use callgate_log::segment::{Group, Receipt};
use callgate_log::statement::{
    Agent, Decision, DecisionKind, DecisionRef, Gate, Mode, Outcome, ParseError, Status,
};
use callgate_log::verify::TIME_TOLERANCE_MS;
use callgate_log::{Event, Hash, LogVerifier, Statement, VerifyError, dsse, sha256};

use crate::fixture::{
    Log, ORIGIN, Owned, START_MS, admin, decision, golden_log, int, key, note, other_key, outcome, pinned,
    verify_events,
};

fn verifier() -> LogVerifier {
    LogVerifier::new(&pinned(), Some(ORIGIN))
}

/// A log of these decisions and outcomes with a checkpoint at its end.
fn verdict(write: impl FnOnce(&mut Log)) -> Result<(), VerifyError> {
    let mut log = Log::new();
    write(&mut log);
    log.checkpoint();
    log.verify().map(|_| ())
}

fn allow(session: Option<&str>, prev: Option<Hash>) -> Decision {
    Decision { prev, ..decision(DecisionKind::Allow, session) }
}

#[test]
fn a_whole_log_verifies_with_a_pinned_key_only() {
    let report = golden_log().verify().unwrap();
    assert_eq!((report.receipts, report.checkpoints, report.sessions), (10, 4, 2));
    assert_eq!((report.outcomes, report.admin, report.without_outcome), (2, 3, 0));
    assert_eq!(report.decisions.values().sum::<u64>(), 5);
    assert_eq!(report.issued_ms, Some((START_MS, START_MS)));
    assert_eq!((report.origin.as_str(), report.key_id), (ORIGIN, key().key_id()));
    assert_eq!(report.root, golden_log().frontier.root());
    assert_eq!(verify_events(LogVerifier::new(&pinned(), None), &golden_log().events).unwrap(), report);
}

#[test]
fn signature_by_another_key_is_refused() {
    let stranger = LogVerifier::new(&other_key().verifying_key(), None);
    assert_eq!(verify_events(stranger, &golden_log().events), Err(VerifyError::Signature { index: 0 }));
    // Evidence that carries its own key convinces nobody: only one receipt was re-signed here.
    let mut log = golden_log();
    let Owned::Receipt { payload, signature, .. } = &mut log.events[3] else { panic!("a receipt") };
    *signature = dsse::sign(&other_key(), payload);
    assert_eq!(log.verify(), Err(VerifyError::Signature { index: 2 }));
}

#[test]
fn non_canonical_receipt_is_refused_even_if_signed() {
    let payload = String::from_utf8(golden_log().payloads[0].clone()).unwrap().replacen(":", ": ", 1);
    let verdict = verdict(|log| {
        log.put_raw(payload.into_bytes(), b"");
    });
    assert_eq!(verdict, Err(VerifyError::Payload { index: 0, source: ParseError::NotCanonical }));
}

#[test]
fn delta_must_match_the_effects_digest() {
    let verdict = verdict(|log| {
        log.put(&Statement::admin(admin("log.start")), b"something else");
    });
    assert_eq!(verdict, Err(VerifyError::Effects { index: 0 }));
}

#[test]
fn receipt_of_another_log_is_refused() {
    let moved =
        Decision { gate: Gate { origin: "other".to_owned(), version: String::new() }, ..allow(None, None) };
    let verdict = verdict(|log| {
        log.decide(moved);
    });
    assert!(matches!(verdict, Err(VerifyError::Origin { index: 0, .. })));
}

#[test]
fn origin_stays_the_same_throughout() {
    let mut log = Log::new();
    log.put(&Statement::admin(admin("log.start")), b"");
    let other = CheckpointSigner::new("other.example/log", key()).unwrap();
    log.events.push(Owned::Checkpoint(other.sign(1, &log.frontier.root()).unwrap()));
    let verdict = verify_events(LogVerifier::new(&pinned(), None), &log.events);
    assert!(matches!(verdict, Err(VerifyError::Checkpoint { index: 1, .. })), "{verdict:?}");
}

#[test]
fn time_may_step_back_by_the_tolerance_only() {
    let tolerance = i64::try_from(TIME_TOLERANCE_MS).unwrap();
    let at = |ms: i64| Decision { issued_at_ms: int(START_MS + ms), ..allow(None, None) };
    let log = |times: [i64; 3]| verdict(|log| times.into_iter().for_each(|ms| _ = log.decide(at(ms))));
    assert_eq!(log([0, 5, -tolerance + 5]), Ok(()));
    // Small steps do not add up to a big one: the latest time so far counts.
    let too_far = log([0, -tolerance + 1, -tolerance - 1]);
    assert!(matches!(too_far, Err(VerifyError::Time { index: 2, behind_ms: 300_001, .. })), "{too_far:?}");
}

#[test]
fn prev_chains_the_receipts_of_a_session() {
    let two = |first: Option<Hash>, second: &dyn Fn(Hash) -> Option<Hash>| {
        verdict(|log| {
            let start = log.decide(allow(Some("s"), first));
            log.decide(Decision { tenant: "other".to_owned(), ..allow(Some("s"), None) });
            log.decide(Decision {
                agent: Agent { id: "x".to_owned(), ..allow(None, None).agent },
                ..allow(Some("s"), None)
            });
            log.decide(allow(Some("s"), second(start.payload_sha256)));
        })
    };
    assert_eq!(two(None, &Some), Ok(()));
    assert_eq!(two(Some(sha256(b"lost")), &Some), Err(VerifyError::MissingStart { index: 0 }));
    assert_eq!(two(None, &|_| None), Err(VerifyError::Restarted { index: 3 }));
    assert_eq!(two(None, &|_| Some(sha256(b"lost"))), Err(VerifyError::Broken { index: 3 }));
}

#[test]
fn prev_without_a_session_is_refused() {
    let verdict = verdict(|log| {
        log.decide(allow(None, Some(sha256(b""))));
    });
    assert_eq!(verdict, Err(VerifyError::StrayPrev { index: 0 }));
}

/// A log of one decision and the outcomes made from it.
fn with_outcomes(
    first: Decision,
    outcomes: impl FnOnce(DecisionRef) -> Vec<Outcome>,
) -> Result<(), VerifyError> {
    verdict(|log| {
        let decided = log.decide(first);
        for one in outcomes(decided) {
            log.put(&Statement::outcome(one), b"");
        }
    })
}

#[test]
fn outcome_refers_to_an_earlier_decision() {
    let done = |of| outcome(of, Status::Succeeded, None);
    assert_eq!(with_outcomes(allow(None, None), |of| vec![done(of)]), Ok(()));
    for index in [1, 7, -1] {
        let wrong =
            with_outcomes(allow(None, None), |of| vec![done(DecisionRef { index: int(index), ..of })]);
        assert_eq!(wrong, Err(VerifyError::NoDecision { index: 1, decision: int(index) }));
    }
    let wrong =
        with_outcomes(allow(None, None), |of| vec![done(DecisionRef { payload_sha256: sha256(b""), ..of })]);
    assert_eq!(wrong, Err(VerifyError::NoDecision { index: 1, decision: int(0) }));
    let of_outcome = verdict(|log| {
        let decided = log.decide(allow(None, None));
        let first = log.put(&Statement::outcome(done(decided)), b"");
        log.put(&Statement::outcome(done(first)), b"");
    });
    assert_eq!(of_outcome, Err(VerifyError::NoDecision { index: 2, decision: int(1) }));
}

#[test]
fn outcome_belongs_to_the_decision_s_owner() {
    let wrong = with_outcomes(allow(None, None), |of| {
        vec![Outcome { tenant: "other".to_owned(), ..outcome(of, Status::Succeeded, None) }]
    });
    assert_eq!(wrong, Err(VerifyError::OtherOwner { index: 1, decision: int(0) }));
    // A session without a name is still a session.
    for session in ["s", ""] {
        let wrong =
            with_outcomes(allow(Some(session), None), |of| vec![outcome(of, Status::Succeeded, None)]);
        assert_eq!(wrong, Err(VerifyError::OtherOwner { index: 1, decision: int(0) }));
    }
}

#[test]
fn decision_has_one_outcome() {
    let done = |of| outcome(of, Status::Unknown, None);
    let wrong = with_outcomes(allow(None, None), |of| vec![done(of), done(of)]);
    assert_eq!(wrong, Err(VerifyError::SecondOutcome { index: 2, decision: int(0) }));
}

#[test]
fn action_that_was_not_permitted_must_not_have_run() {
    use DecisionKind::{Allow, AllowWithConstraints, Deny, RequireApproval, Throttle};
    for (kind, permits) in [
        (Allow, true),
        (AllowWithConstraints, true),
        (Throttle, false),
        (RequireApproval, false),
        (Deny, false),
    ] {
        for status in
            [Status::Succeeded, Status::Failed, Status::TimedOut, Status::Cancelled, Status::Unknown]
        {
            let ran = with_outcomes(decision(kind, None), |of| vec![outcome(of, status, None)]);
            assert_eq!(ran.is_ok(), permits, "{kind} {status:?}: {ran:?}");
        }
        assert_eq!(with_outcomes(decision(kind, None), |of| vec![outcome(of, Status::NotRun, None)]), Ok(()));
        let monitored = Decision { mode: Mode::Monitor, ..decision(kind, None) };
        let ran = with_outcomes(monitored, |of| vec![outcome(of, Status::Succeeded, None)]);
        assert_eq!(ran.is_ok(), permits, "what is only monitored is recorded as permitted: {kind} {ran:?}");
    }
}

#[test]
fn checkpoint_must_cover_exactly_the_receipts_before_it() {
    let with_note = |note: String| {
        let mut log = golden_log();
        log.events.push(Owned::Checkpoint(note));
        log.verify()
    };
    let root = golden_log().frontier.root();
    assert!(with_note(note(10, &root)).is_ok());
    assert_eq!(with_note(note(11, &root)), Err(VerifyError::Size { receipts: 10, stated: 11 }));
    assert_eq!(with_note(note(9, &root)), Err(VerifyError::Size { receipts: 10, stated: 9 }));
    assert_eq!(with_note(note(10, &sha256(b"other"))), Err(VerifyError::Root { receipts: 10 }));
    let stranger = CheckpointSigner::new(ORIGIN, other_key()).unwrap();
    assert!(matches!(
        with_note(stranger.sign(10, &root).unwrap()),
        Err(VerifyError::Checkpoint { index: 10, .. })
    ));
}

#[test]
fn removed_or_swapped_receipts_are_found() {
    let count = golden_log().events.len();
    for position in 0..count {
        let mut log = golden_log();
        let removed = log.events.remove(position);
        if matches!(removed, Owned::Receipt { .. }) || position == count - 1 {
            assert!(log.verify().is_err(), "without event {position}");
        }
    }
    for position in 1..count {
        let mut log = golden_log();
        log.events.swap(position - 1, position);
        assert!(log.verify().is_err(), "events {} and {position} swapped", position - 1);
    }
}

#[test]
fn receipts_after_the_last_checkpoint_are_refused() {
    let mut log = golden_log();
    log.put(&Statement::admin(admin("key.revoke")), b"");
    assert_eq!(log.verify(), Err(VerifyError::Uncovered { index: 10, receipts: 11 }));
}

#[test]
fn log_without_a_checkpoint_proves_nothing() {
    assert_eq!(verifier().finish(), Err(VerifyError::NoCheckpoint { receipts: 0 }));
}

#[test]
fn held_checkpoint_finds_a_cut_tail() {
    let log = golden_log();
    let held = note(10, &log.frontier.root());
    let verifier = || verifier().with_checkpoint(held.as_bytes()).unwrap();
    assert!(verify_events(verifier(), &log.events).is_ok());
    // Cut behind the third checkpoint the log is whole in itself; only the held checkpoint tells.
    let cut = &log.events[..log.events.len() - 4];
    assert_eq!(verify_events(LogVerifier::new(&pinned(), None), cut).unwrap().receipts, 7);
    assert_eq!(verify_events(verifier(), cut), Err(VerifyError::Shorter { receipts: 7, held: 10 }));
}

#[test]
fn held_checkpoint_finds_a_rewrite() {
    let mut honest = Log::new();
    honest.put(&Statement::admin(admin("log.start")), b"");
    honest.decide(allow(None, None));
    let held = honest.checkpoint();
    // The gate itself, with its own key, tells another story later.
    let mut rewritten = Log::new();
    rewritten.put(&Statement::admin(admin("log.start")), b"");
    rewritten.decide(decision(DecisionKind::Deny, None));
    rewritten.checkpoint();
    assert!(rewritten.verify().is_ok());
    let verifier = verifier().with_checkpoint(held.as_bytes()).unwrap();
    assert_eq!(verify_events(verifier, &rewritten.events), Err(VerifyError::Differs { size: 2 }));
}

#[test]
fn held_checkpoint_must_be_genuine() {
    let root = golden_log().frontier.root();
    let stranger = CheckpointSigner::new(ORIGIN, other_key()).unwrap().sign(10, &root).unwrap();
    assert!(matches!(verifier().with_checkpoint(stranger.as_bytes()), Err(VerifyError::Held { .. })));
    let of_other_log = CheckpointSigner::new("other.example/log", key()).unwrap().sign(10, &root).unwrap();
    assert!(matches!(verifier().with_checkpoint(of_other_log.as_bytes()), Err(VerifyError::Held { .. })));
    let not_empty = note(0, &root);
    assert!(matches!(
        verifier().with_checkpoint(not_empty.as_bytes()),
        Err(VerifyError::Differs { size: 0 })
    ));
}

#[test]
fn receipts_and_checkpoints_may_have_separate_keys() {
    let mut log = Log::new();
    log.put(&Statement::admin(admin("log.start")), b"");
    let signer = CheckpointSigner::new(ORIGIN, other_key()).unwrap();
    log.events.push(Owned::Checkpoint(signer.sign(1, &log.frontier.root()).unwrap()));
    assert!(log.verify().is_err());
    let both = verifier().with_checkpoint_key(&other_key().verifying_key());
    assert!(verify_events(both, &log.events).is_ok());
}

#[test]
fn groups_of_a_segment_verify_like_their_events() {
    let log = golden_log();
    let groups = || {
        let (mut receipts, mut first, mut groups) = (Vec::new(), 0, Vec::new());
        for event in &log.events {
            match event {
                Owned::Receipt { payload, signature, delta } => {
                    receipts.push(Receipt { payload, signature, delta, attachment: b"sealed" });
                }
                Owned::Checkpoint(note) => {
                    let count = u64::try_from(receipts.len()).unwrap();
                    let receipts = std::mem::take(&mut receipts);
                    groups.push(Group { offset: 0, end: 0, first, receipts, note: note.as_bytes() });
                    first += count;
                }
            }
        }
        groups
    };
    let verdict = |groups: &[Group<'_>]| {
        let mut verifier = verifier();
        groups.iter().try_for_each(|group| verifier.push_group(group))?;
        verifier.finish()
    };
    assert_eq!(verdict(&groups()), log.verify());
    let mut changed = groups();
    changed[1].receipts[0].delta = b"other";
    assert_eq!(verdict(&changed), Err(VerifyError::Effects { index: 2 }));
    let mut missing = groups();
    missing.remove(1);
    assert!(verdict(&missing).is_err());
}

#[test]
fn nothing_verifies_after_an_error() {
    let mut verifier = verifier();
    let log = golden_log();
    assert!(verifier.push(Event::Checkpoint { note: b"" }).is_err());
    assert_eq!(verifier.push(log.events[0].event()), Err(VerifyError::AlreadyFailed));
    assert_eq!(verifier.finish(), Err(VerifyError::AlreadyFailed));
}
