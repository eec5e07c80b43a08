//! What a restart keeps, what publishing changes, and what many at once may do.

mod common;

use std::sync::Arc;

use callgate_gate::{Asked, Credential, Gate, GateOptions, OpenError};
use callgate_store::OsRandom;
use common::{World, ask, bundle, call, code, example};

#[tokio::test]
async fn state_survives_a_restart() {
    let world = World::new(11);
    let extra = format!(r#","session":{{"id":"s"}},"nonce":"once","ts_ms":{}"#, common::NOW);
    let step = |function: &str, action: &str| {
        format!(r#"{{"agent":{{"id":"bot"}},"session":{{"id":"loan","function":"{function}","action_type":"{action}"}}}}"#)
            .into_bytes()
    };
    {
        let gate = world.open(Some(&example())).await.expect("opens");
        assert_eq!(code(&gate, call("read", &extra)).await, "ALLOW");
        assert_eq!(code(&gate, step("intake", "READ_INPUT")).await, "ALLOW");
        gate.close();
    }
    // Without a bundle the snapshot in the log is in force.
    let gate = world.open(None).await.expect("opens again");
    assert_eq!(gate.snapshot().0, "v1");
    assert_eq!(code(&gate, call("read", &extra)).await, "REPLAY_NONCE");
    assert_eq!(code(&gate, step("settle", "SEAL_SEQUENCE")).await, "SEQUENCE_VIOLATION");
    assert_eq!(code(&gate, step("execution", "WRITE_DB")).await, "ALLOW");
    assert_eq!(code(&gate, step("settle", "SEAL_SEQUENCE")).await, "ALLOW");
    assert_eq!(code(&gate, step("settle", "SEAL_SEQUENCE")).await, "SEALED_SEQUENCE");
}

#[tokio::test]
async fn one_process_owns_a_data_folder() {
    let world = World::new(12);
    let _gate = world.open(Some(&example())).await.expect("opens");
    let second = world.open(Some(&example())).await.expect_err("is refused");
    assert!(second.to_string().contains("in use"), "{second}");
}

#[tokio::test]
async fn an_empty_folder_needs_a_bundle_and_a_broken_one_leaves_nothing() {
    let world = World::new(13);
    assert!(matches!(world.open(None).await, Err(OpenError::NoPolicy)));
    let broken = bundle(&[("rules/r.yaml", "version: v1\nrules: [{id: x, decison: allow}]\n")]);
    let world = World::new(14);
    assert!(matches!(world.open(Some(&broken)).await, Err(OpenError::Publish(_))));
    let gate = world.open(Some(&example())).await.expect("nothing was left behind");
    assert_eq!(gate.snapshot().0, "v1");
    assert!(gate.publish(&broken, "operator").await.is_err());
    assert_eq!(gate.snapshot().0, "v1", "the old snapshot stays");
}

/// Keys can be made before there is a policy; nothing is allowed by then.
#[tokio::test]
async fn a_folder_without_policy_keeps_keys_and_allows_nothing() {
    let world = World::new(20);
    let options = GateOptions { segment_bytes: 4 << 20, without_policy: true, ..GateOptions::default() };
    let opened = Gate::open(world.fs(), world.clock.clone(), Arc::new(OsRandom), None, options).await;
    let gate = opened.expect("opens without policy").gate;
    let (_, secret) = gate
        .create_key(
            callgate_core::state::Holder::Agent {
                agent: "bot".into(),
                owner: None,
                team: None,
                tenant: "default".into(),
            },
            "operator",
        )
        .await
        .expect("a key");
    assert_eq!(code(&gate, call("read", "")).await, "NO_POLICY_MATCH");
    gate.close();
    drop(gate);
    let gate = world.open(Some(&example())).await.expect("opens with policy");
    assert!(gate.authenticate(secret.reveal()).is_some());
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
}

#[tokio::test]
async fn a_log_without_its_key_does_not_open() {
    use callgate_store::Fs as _;
    let world = World::new(15);
    world.open(Some(&example())).await.expect("opens").close();
    world.fs.remove("keys/gate.key").expect("removed");
    let refused = world.open(None).await.expect_err("is refused");
    assert!(refused.to_string().contains("restore it"), "{refused}");
}

/// Every decision before a snapshot's place in the log used the old one, every one after it the new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_is_one_place_in_the_log() {
    let world = World::new(16);
    let gate = world.open(Some(&example())).await.expect("opens");
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let gate = gate.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let extra =
                        format!(r#","session":{{"id":"s{}"}},"labels":{{"round":"{round}"}}"#, task % 3);
                    ask(&gate, call("read", &extra)).await;
                }
            })
        })
        .collect();
    for version in 0..5 {
        let rules = common::RULES.replace("moves need", &format!("moves {version} need"));
        gate.publish(&bundle(&[("rules/r.yaml", &rules)]), "operator").await.expect("published");
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.expect("no decision failed");
    }
    let mut version = String::new();
    let mut decisions = 0;
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match callgate_log::Statement::parse(&receipt.payload).expect("a receipt").body() {
            callgate_log::Body::Admin(admin) if admin.operation == "snapshot.activate" => {
                version = admin.details.get("version").cloned().expect("a version");
            }
            callgate_log::Body::Decision(decision) => {
                assert_eq!(decision.snapshot.version, version, "receipt {}", receipt.index);
                decisions += 1;
            }
            _ => {}
        }
    }
    assert_eq!((decisions, version.as_str()), (320, "v6"));
}

/// Many at once on one session: each is decided on what the ones before it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nonce_is_accepted_once_among_many_at_once() {
    let world = World::new(17);
    let gate = world.open(Some(&example())).await.expect("opens");
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let gate = gate.clone();
            let extra = format!(r#","session":{{"id":"s"}},"nonce":"one","ts_ms":{}"#, common::NOW);
            tokio::spawn(async move { code(&gate, call("read", &extra)).await })
        })
        .collect();
    let mut allowed = 0;
    for task in tasks {
        match task.await.expect("decided").as_str() {
            "ALLOW" => allowed += 1,
            code => assert_eq!(code, "REPLAY_NONCE"),
        }
    }
    assert_eq!(allowed, 1);
}

/// The clock never goes back behind what was decided.
#[tokio::test]
async fn a_clock_that_jumps_back_does_not_reopen_the_past() {
    let world = World::new(18);
    let gate = world.open(Some(&example())).await.expect("opens");
    ask(&gate, call("read", "")).await;
    world.clock.set(common::NOW - 3_600_000);
    let extra = format!(r#","ts_ms":{},"nonce":"n""#, common::NOW - 3_600_000);
    assert_eq!(code(&gate, call("read", &extra)).await, "STALE_TIMESTAMP");
    // An enforcement point that takes the time from the gate goes on.
    let extra = format!(r#","ts_ms":{},"nonce":"m""#, gate.now_ms());
    assert_eq!(code(&gate, call("read", &extra)).await, "ALLOW");
}

/// After a failed sync nothing is decided any more, whatever is asked.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_allowed() {
    let world = World::new(19);
    let gate = world.open(Some(&example())).await.expect("opens");
    ask(&gate, call("read", "")).await;
    common::fail_syncs(&world);
    for _ in 0..3 {
        let refused = gate.decide(Asked::Bytes(call("read", "")), Credential::Development).await;
        let refused = refused.expect_err("no receipt, no action");
        assert!(!refused.retryable, "{refused}");
    }
    assert!(gate.trouble().is_some());
}
