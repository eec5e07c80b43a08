//! What keeps a snapshot out of force, and what ends a trial.

use std::collections::BTreeSet;

use callgate_core::state::{Trial, Unit};
use callgate_gate::{
    Acknowledgement, ControlError, Credential, ModeRequest, PublishRequest, Said, StageRequest,
    approval_number,
};
use proptest::prelude::*;

use crate::common::{World, ask, bundle, call, code, parsed};
use crate::kit::{
    ME, acts, canary, policy, publish, ready, replays, roll_back, shadow, simulate, stage, with,
};

fn person(id: &str, role: &str) -> Credential {
    Credential::Person { id: id.to_owned(), roles: vec![role.to_owned()], tenant: None }
}

fn why(refused: Result<callgate_gate::Released, ControlError>) -> String {
    match refused.expect_err("is refused") {
        ControlError::Conflict(why) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_was_not_tested_or_simulated_is_not_published() {
    let world = World::new(500);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    for number in 0..10 {
        ask(&gate, call("read", &format!(r#","session":{{"id":"s{number}"}}"#))).await;
    }
    let rules = "version: v1\nrules:\n  - {id: read, match: {tools: [files.read]}, decision: allow}\n";
    let untested = stage(&gate, &bundle(&[("rules/r.yaml", rules)])).await.expect("staged").version;
    simulate(&gate, &untested).await.expect("simulated");
    assert!(why(publish(&gate, &untested).await).contains("no test that passes"));
    let wrong = "version: v1\ntests:\n  - {name: no, request: {agent: {id: b}, tool: {server: files, name: read}}, expect: {decision: DENY}}\n";
    let failing = bundle(&[("rules/r.yaml", rules), ("tests/t.yaml", wrong)]);
    let failing = ready(&gate, &failing).await;
    assert!(why(publish(&gate, &failing).await).contains("1 of its tests fail"));
    let version = stage(&gate, &policy("two")).await.expect("staged").version;
    assert!(why(publish(&gate, &version).await).contains("was not simulated"));
    simulate(&gate, &version).await.expect("simulated");
    let other = ready(&gate, &policy("three")).await;
    publish(&gate, &other).await.expect("published");
    assert!(why(publish(&gate, &version).await).contains("against another snapshot"));
    let strict = with("four", DENIES, "");
    let strict = stage(&gate, &strict).await.expect("staged").version;
    simulate(&gate, &strict).await.expect("simulated");
    let said = why(publish(&gate, &strict).await);
    assert!(
        said.contains("10 of 10 recorded decisions become stricter (100 %, and 20 % is the limit)"),
        "{said}"
    );
    assert!(why(roll_back(&gate, &strict).await).contains("never in force"));
    assert_eq!(gate.snapshot().0, other);
    replays(&world, &gate);
}

#[tokio::test]
async fn an_override_may_need_another_person_and_is_receipted() {
    let world = World::new(501);
    let careful = with("one", "", "rollout: {override: {second_person: true}}\n");
    let gate = world.open(Some(&careful)).await.expect("opens");
    let version = stage(&gate, &policy("two")).await.expect("staged").version;
    let what =
        PublishRequest { snapshot: version.clone(), note: None, overriding: Some("incident 7".to_owned()) };
    let (pia, ola) = (person("pia", "publisher"), person("ola", "operator"));
    let held = match gate.publish_kept(what.clone(), &pia).await {
        Err(ControlError::Held(reply)) => reply,
        other => panic!("{other:?}"),
    };
    let id = held.approval.and_then(|approval| approval.id).expect("an approval");
    let id = approval_number(&id).expect("a number");
    assert!(gate.approve(id, &pia, Said::default()).await.is_err(), "nobody approves their own");
    gate.approve(id, &ola, Said::default()).await.expect("another person agrees");
    let changed = PublishRequest { overriding: Some("another reason".to_owned()), ..what.clone() };
    assert!(matches!(gate.publish_kept(changed, &pia).await, Err(ControlError::Held(_))));
    let released = gate.publish_kept(what.clone(), &pia).await.expect("published");
    assert_eq!((released.snapshot.as_str(), released.overridden.len()), (version.as_str(), 1));
    let act = acts(&gate, "snapshot.activate").pop().expect("an act");
    assert_eq!(act["override"], "incident 7");
    assert!(act["overridden"].contains("was not simulated") && act.contains_key("authorised_by"), "{act:?}");
    roll_back(&gate, "v1").await.expect("back");
    assert!(matches!(gate.publish_kept(what, &pia).await, Err(ControlError::Held(_))), "the grant is spent");
    replays(&world, &gate);
}

#[tokio::test]
async fn a_point_that_cannot_enforce_blocks_and_versions_only_grow() {
    let world = World::new(502);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    let bounded = with(
        "two",
        "  - {id: w, match: {tools: [files.write]}, decision: allow_with_constraints, constraints: {max_rows: 5}}",
        "",
    );
    let version = ready(&gate, &bounded).await;
    let point = |enforces: &[&str]| Acknowledgement {
        id: "sidecar".to_owned(),
        enforces: enforces.iter().map(|word| (*word).to_owned()).collect(),
        snapshot: "v1".to_owned(),
    };
    gate.acknowledge(point(&["max_bytes"]), &person("sidecar", "point")).await.expect("known");
    assert!(why(publish(&gate, &version).await).contains("`sidecar` cannot enforce `max_rows`"));
    let refused = gate.acknowledge(point(&[]), &person("ida", "auditor")).await;
    assert!(matches!(refused, Err(ControlError::Forbidden { .. })));
    gate.acknowledge(point(&["max_bytes", "max_rows"]), ME).await.expect("known");
    publish(&gate, &version).await.expect("published");
    let named = |name: &str| StageRequest { version: Some(name.to_owned()), ..StageRequest::default() };
    let chosen = gate.stage(policy("five"), named("v42"), ME).await.expect("staged");
    assert_eq!(chosen.version, "v42");
    for name in ["v42", "v7", "42", "v042", "v", "v-1", "v18446744073709551616"] {
        assert!(gate.stage(policy("six"), named(name), ME).await.is_err(), "{name}");
    }
    assert_eq!(gate.stage(policy("five"), named("v42"), ME).await.expect("the same").version, "v42");
    assert_eq!(stage(&gate, &policy("six")).await.expect("staged").version, "v43");
}

const DENIES: &str =
    "  - {id: late, match: {tools: [files.read]}, when: \"args.path != 'none'\", decision: deny}";
const SOON: &str = "rollout: {max_drift: \"20%\", min_decisions: 10}\n";

#[tokio::test]
async fn a_shadow_is_never_obeyed_and_ends_when_it_drifts() {
    let world = World::new(503);
    let gate = world.open(Some(&with("one", "", SOON))).await.expect("opens");
    let version = stage(&gate, &with("two", DENIES, "")).await.expect("staged").version;
    gate.start_rollout(shadow(&version), ME).await.expect("begins");
    for number in 0..10 {
        assert_eq!(code(&gate, call("read", &format!(r#","session":{{"id":"s{number}"}}"#))).await, "ALLOW");
    }
    while gate.rollout().is_some() {
        tokio::task::yield_now().await;
    }
    let stop = acts(&gate, "rollout.stop").pop().expect("it ended");
    assert!(stop["reason"].contains("differs on 10 of 10 decisions"), "{stop:?}");
    assert_eq!((stop["drift_bp"].as_str(), stop["version"].as_str()), ("10000", version.as_str()));
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
    replays(&world, &gate);
}

#[tokio::test]
async fn a_canary_decides_for_its_share_and_takes_itself_back() {
    let world = World::new(504);
    let gate = world.open(Some(&with("one", "", SOON))).await.expect("opens");
    let version = stage(&gate, &with("two", DENIES, "")).await.expect("staged").version;
    assert!(gate.start_rollout(canary(&version, 5000), ME).await.is_err(), "what decides is simulated first");
    let mut what = canary(&version, 5000);
    what.overriding = Some("a drill".to_owned());
    gate.start_rollout(what, ME).await.expect("begins");
    let (mut denied, mut asked) = (BTreeSet::new(), 0);
    while gate.rollout().is_some() && asked < 400 {
        let session = format!(r#","session":{{"id":"s{}"}}"#, asked % 40);
        let reply = ask(&gate, call("read", &session)).await.reply;
        if !reply.decision.permits() {
            assert_eq!(reply.snapshot, version);
            denied.insert(asked % 40);
        }
        asked += 1;
        tokio::task::yield_now().await;
    }
    assert!(gate.rollout().is_none(), "it took itself back");
    assert!(!denied.is_empty() && denied.len() < 40, "{denied:?}");
    let stop = acts(&gate, "rollout.stop").pop().expect("it ended");
    assert!(stop["reason"].contains("DENY is 100 % of the candidate's"), "{stop:?}");
    for session in denied {
        let again = call("read", &format!(r#","session":{{"id":"s{session}"}}"#));
        assert_eq!(code(&gate, again).await, "ALLOW", "the snapshot in force decides again");
    }
    replays(&world, &gate);
}

#[tokio::test]
async fn a_trial_goes_on_after_a_restart() {
    let world = World::new(505);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    let version = stage(&gate, &with("two", DENIES, "")).await.expect("staged").version;
    gate.start_rollout(shadow(&version), ME).await.expect("begins");
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
    let before = gate.rollout();
    gate.close();
    drop(gate);
    let gate = world.open(None).await.expect("opens");
    assert_eq!(gate.rollout(), before);
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
    assert_eq!(gate.rollout().expect("goes on").differ, 2);
    replays(&world, &gate);
}

#[tokio::test]
async fn watching_everybody_lifts_nothing_that_guards_the_gate() {
    let world = World::new(506);
    let gate = world.open(Some(&policy("one"))).await.expect("opens");
    let watch = ModeRequest { monitor: true, agent: None, tenant: None, note: None };
    assert!(gate.set_mode(watch.clone(), ME).await.expect("set"));
    assert!(!gate.set_mode(watch, ME).await.expect("set already"));
    assert_eq!(code(&gate, call("one", "")).await, "ALLOW", "policy is only recorded");
    assert_eq!(code(&gate, b"{".to_vec()).await, "INVALID_REQUEST");
    assert_eq!(code(&gate, call("read", r#","ts_ms":1"#)).await, "STALE_TIMESTAMP");
    let twice = call("read", r#","nonce":"n","ts_ms":1750000000000,"session":{"id":"s"}"#);
    assert_eq!(code(&gate, twice.clone()).await, "ALLOW");
    assert_eq!(code(&gate, twice).await, "REPLAY_NONCE");
    let ida = person("ida", "auditor");
    let refused =
        gate.roll_back(callgate_gate::RollbackRequest { target_snapshot: "v1".to_owned(), note: None }, &ida);
    assert!(matches!(refused.await, Err(ControlError::Forbidden { .. })), "nor what people may do");
    replays(&world, &gate);
}

proptest! {
    /// Who is in a small share is in a larger one, and goes the same way every time.
    #[test]
    fn a_share_is_stable_and_grows(session in "[a-z0-9]{1,12}", small in 1u32..10_000, more in 0u32..10_000, version in 1u64..9) {
        let trial = |share_bp: u32, by| Trial::Canary {
            agents: BTreeSet::new(), by, share_bp: share_bp.min(10_000), tenants: BTreeSet::new(),
        };
        let request = parsed("read", &format!(r#","session":{{"id":"{session}"}}"#));
        for by in [Unit::Session, Unit::Agent, Unit::Tenant] {
            let (less, all) = (trial(small, by), trial(small + more, by));
            prop_assert_eq!(less.decides(version, &request), less.decides(version, &request));
            prop_assert!(!less.decides(version, &request) || all.decides(version, &request));
        }
        prop_assert!(trial(10_000, Unit::Session).decides(version, &request));
        let other = Trial::Canary { agents: BTreeSet::from(["else".to_owned()]), by: Unit::Agent, share_bp: 10_000, tenants: BTreeSet::new() };
        prop_assert!(!other.decides(version, &request));
    }
}

#[test]
fn a_share_is_about_as_large_as_it_says() {
    let trial = Trial::Canary {
        agents: BTreeSet::new(),
        by: Unit::Session,
        share_bp: 1000,
        tenants: BTreeSet::new(),
    };
    let drawn =
        |number: &u32| trial.decides(7, &parsed("read", &format!(r#","session":{{"id":"s{number}"}}"#)));
    let share = (0..10_000u32).filter(drawn).count();
    assert!((850..1150).contains(&share), "{share}");
}
