//! The laws that need the whole path: permits, replay, and a gate that guards itself.

mod common;

use callgate_core::state::SessionKey;
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{Asked, Credential, OutcomeReport, OutcomeStatus, PermitRefused};
use callgate_log::Statement;
use callgate_log::dsse::Envelope;
use callgate_log::proof::TlogProof;
use callgate_store::{Keyring, OsRandom};
use common::{World, ask, call, code, example, parsed};
use std::sync::Arc;

/// Law 1: only an allow gives a permit, its receipt is durable by then, and it covers that action alone.
#[tokio::test]
async fn law_1_a_permit_comes_only_with_a_durable_allow_of_this_very_action() {
    let world = World::new(1);
    let gate = world.open(Some(&example())).await.expect("opens");
    for (tool, permitted) in
        [("read", true), ("write", true), ("move", false), ("list", false), ("drop", false), ("other", false)]
    {
        let decided = ask(&gate, call(tool, "")).await;
        assert_eq!(decided.permit.is_some(), permitted, "{tool}");
        assert_eq!(decided.reply.decision.permits(), permitted, "{tool}");
        let index = decided.reply.receipt_index.expect("every decision is receipted");
        assert!(index < gate.size(), "durable before the reply");
        let envelope = decided.reply.receipt.expect("an envelope").to_string();
        let envelope = Envelope::parse(envelope.as_bytes()).expect("DSSE");
        let payload = envelope.verify(&gate.verifying_key()).expect("signed by the gate");
        let proof = TlogProof::parse(decided.reply.proof.expect("a proof").as_bytes()).expect("a proof");
        proof.verify(payload, &gate.verifying_key(), Some(gate.identity().origin())).expect("in the log");
        assert!(
            !String::from_utf8_lossy(payload).contains("secret-path-7"),
            "arguments stay out of the tree"
        );
        if let Some(permit) = decided.permit {
            let mut changed = parsed(tool, "");
            changed.args = callgate_core::value::Map::default();
            assert!(matches!(permit.redeem(&changed, common::NOW), Err(PermitRefused::ActionChanged)));
        }
    }
}

/// Law 1: a permit expires, and carries its constraints to whoever redeems it.
#[tokio::test]
async fn law_1_a_permit_is_spent_in_time_and_with_its_constraints() {
    let world = World::new(2);
    let gate = world.open(Some(&example())).await.expect("opens");
    let permit = ask(&gate, call("write", "")).await.permit.expect("allowed");
    let enforcement = permit.redeem(&parsed("write", ""), common::NOW + 60_000).expect("in time");
    assert_eq!(enforcement.max_runtime(), Some(std::time::Duration::from_secs(5)));
    assert_eq!(enforcement.max_retries(), 1);
    let permit = ask(&gate, call("write", "")).await.permit.expect("allowed");
    assert!(matches!(permit.redeem(&parsed("write", ""), common::NOW + 60_001), Err(PermitRefused::Expired)));
}

/// Law 4: replay equals live, for a session with everything in it.
#[tokio::test]
async fn law_4_replay_equals_live() {
    let world = World::new(3);
    let gate = world.open(Some(&example())).await.expect("opens");
    for (round, tool) in ["read", "write", "move", "list", "drop", "other"].iter().enumerate() {
        let extra = format!(r#","session":{{"id":"s"}},"nonce":"n{round}","ts_ms":{}"#, common::NOW);
        let decided = ask(&gate, call(tool, &extra)).await;
        assert_eq!(code(&gate, call(tool, &extra)).await, "REPLAY_NONCE");
        if decided.permit.is_some() {
            let index = decided.reply.receipt_index.expect("receipted");
            let report = OutcomeReport::new(index, OutcomeStatus::Succeeded);
            gate.report(report, &Credential::Development).await.expect("reported");
        }
    }
    for (step, action) in [
        ("intake", "READ_INPUT"),
        ("settle", "SEAL_SEQUENCE"),
        ("execution", "WRITE_DB"),
        ("settle", "SEAL_SEQUENCE"),
        ("intake", "READ_INPUT"),
    ] {
        let request = format!(
            r#"{{"agent":{{"id":"bot"}},"session":{{"id":"loan","function":"{step}","action_type":"{action}"}}}}"#
        );
        ask(&gate, request.into_bytes()).await;
    }
    ask(&gate, b"{not json".to_vec()).await;
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    let (mut same, mut others) = (0, 0);
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match replay.push(&receipt, &keyring) {
            Replayed::Same => same += 1,
            Replayed::NotADecision => others += 1,
            other => panic!("receipt {}: {other:?}", receipt.index),
        }
    }
    assert_eq!((same, others), (18, 4));
}

/// Law 4: what a receipt recorded cannot be exchanged: a replay of changed bytes says so.
#[tokio::test]
async fn law_4_a_changed_record_does_not_replay() {
    let world = World::new(4);
    let gate = world.open(Some(&example())).await.expect("opens");
    ask(&gate, call("read", "")).await;
    ask(&gate, call("drop", "")).await;
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let receipts: Vec<_> = gate.scan().map(|r| r.expect("readable")).collect();
    let mut replay = Replay::new();
    for receipt in &receipts[..receipts.len() - 1] {
        replay.push(receipt, &keyring);
    }
    let mut forged = receipts[receipts.len() - 1].clone();
    forged.attachment = receipts[receipts.len() - 2].attachment.clone();
    assert!(matches!(replay.push(&forged, &keyring), Replayed::Unreadable(_)));
}

/// Nothing of the arguments reaches the tree, not even through what an error says of them.
#[tokio::test]
async fn receipts_do_not_quote_arguments() {
    let rules = "version: v1\nrules:\n  - id: r\n    match: {tools: ['**']}\n    when: dec(args.amount) > dec('5')\n    decision: deny\n";
    let world = World::new(8);
    let gate = world.open(Some(&common::bundle(&[("rules/r.yaml", rules)]))).await.expect("opens");
    let secret = "sk-live-4242";
    let request =
        format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"pay"}},"args":{{"amount":"{secret}"}}}}"#);
    let denied = ask(&gate, request.into_bytes()).await.reply;
    assert_eq!(denied.code.map(|code| code.to_string()).as_deref(), Some("POLICY_ERROR"));
    assert!(denied.reason.expect("a reason").contains(secret), "the caller sees its own argument");
    ask(&gate, format!(r#"{{"{secret}":1,"{secret}":2}}"#).into_bytes()).await;
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        for bytes in [&receipt.payload, &receipt.delta, &receipt.attachment] {
            assert!(!String::from_utf8_lossy(bytes).contains(secret), "receipt {}", receipt.index);
        }
    }
}

/// Erasing a session makes its requests unreadable and leaves every receipt valid.
#[tokio::test]
async fn erasing_a_session_leaves_its_receipts_valid() {
    let world = World::new(5);
    let gate = world.open(Some(&example())).await.expect("opens");
    let mine =
        ask(&gate, call("read", r#","session":{"id":"mine"}"#)).await.reply.receipt_index.expect("receipted");
    ask(&gate, call("read", r#","session":{"id":"other"}"#)).await;
    let key = SessionKey { agent: "bot".into(), session: "mine".into(), tenant: "default".into() };
    gate.erase_session(key.clone(), "operator").await.expect("erased");
    assert!(gate.erase_session(key, "operator").await.is_err(), "nothing is left to erase");
    // The session goes on under a new key.
    ask(&gate, call("read", r#","session":{"id":"mine"}"#)).await;
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        let replayed = replay.push(&receipt, &keyring);
        Statement::parse(&receipt.payload).expect("still a receipt");
        assert_eq!(replayed == Replayed::Erased, receipt.index == mine, "{}: {replayed:?}", receipt.index);
    }
}

/// Law 10: what changes the gate is authenticated and receipted like any other action.
#[tokio::test]
async fn law_10_changes_of_the_gate_are_receipted() {
    let world = World::new(6);
    let gate = world.open(Some(&example())).await.expect("opens");
    let (record, secret) = gate
        .create_key(
            callgate_core::state::Holder::Agent {
                agent: "bot".into(),
                owner: None,
                team: Some("support".into()),
                tenant: "default".into(),
            },
            "operator",
        )
        .await
        .expect("a key");
    let credential = gate.authenticate(secret.reveal()).expect("the key is known");
    assert_eq!(
        credential,
        Credential::Agent { agent: "bot".into(), tenant: "default".into(), team: Some("support".into()) }
    );
    let mut wrong = secret.reveal().to_owned();
    let last = if wrong.ends_with('0') { "1" } else { "0" };
    wrong.replace_range(wrong.len() - 1.., last);
    for bad in [wrong.as_str(), "", "cg_", "cg_x_y", &record.id] {
        assert_eq!(gate.authenticate(bad), None);
    }
    gate.revoke_key(&record.id, "operator").await.expect("revoked");
    assert_eq!(gate.authenticate(secret.reveal()), None);
    let other = common::bundle(&[(
        "rules/r.yaml",
        "version: v1\nrules: [{id: all, match: {tools: ['**']}, decision: deny}]\n",
    )]);
    assert!(gate.publish(&other, "operator").await.expect("published"));
    assert!(!gate.publish(&other, "operator").await.expect("the same is in force"));
    let operations: Vec<String> = gate
        .scan()
        .filter_map(|receipt| {
            match Statement::parse(&receipt.expect("readable").payload).expect("a receipt").body() {
                callgate_log::Body::Admin(admin) => Some(admin.operation.clone()),
                _ => None,
            }
        })
        .collect();
    assert_eq!(
        operations,
        ["log.start", "snapshot.activate", "key.create", "key.revoke", "snapshot.activate"]
    );
    // An agent's credential sees none of these.
    for index in 0..gate.size() {
        assert!(gate.receipt(index, &credential).is_err());
    }
}

/// Law 7 at the gate: another agent's key neither decides for nor reports on this one.
#[tokio::test]
async fn law_7_a_key_speaks_for_its_agent_alone() {
    let world = World::new(7);
    let gate = world.open(Some(&example())).await.expect("opens");
    let other = Credential::Agent { agent: "other".into(), tenant: "default".into(), team: None };
    let decided = gate.decide(Asked::Bytes(call("read", "")), other.clone()).await.expect("decided");
    assert_eq!(decided.reply.code.map(|c| c.to_string()).as_deref(), Some("INVALID_REQUEST"));
    assert!(decided.permit.is_none());
    let allowed = ask(&gate, call("read", "")).await.reply.receipt_index.expect("receipted");
    let report = OutcomeReport::new(allowed, OutcomeStatus::Succeeded);
    assert!(gate.report(report.clone(), &other).await.is_err());
    gate.report(report.clone(), &Credential::Development).await.expect("its own");
    assert!(gate.report(report, &Credential::Development).await.is_err(), "an outcome comes once");
}
