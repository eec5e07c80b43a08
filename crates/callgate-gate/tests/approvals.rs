//! Approvals at the gate: a grant is used once, by the call it was given for, and by no other.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use callgate_core::state::Holder;
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{
    ApprovalError, ApprovalFilter, Asked, Credential, Gate, Said, StandingAsk, approval_number,
    standing_number,
};
use callgate_policy::Bundle;
use callgate_store::{Keyring, OsRandom};
use common::{NOW, World, bundle, code};

const RULES: &str = r#"
version: v1
rules:
  - id: read
    match: {tools: ["files.read"]}
    decision: allow
  - id: move
    match: {tools: ["files.move"]}
    decision: require_approval
    reason: "moves need a person"
    approval: {reviewers: ["role:finance"], quorum: 1, expires: 30m}
    constraints: {max_runtime_sec: 5}
  - id: wipe
    match: {tools: ["files.wipe"]}
    decision: require_approval
    approval: {reviewers: ["role:finance"], quorum: 2, expires: 30m}
  - id: drop
    match: {tools: ["files.drop"]}
    decision: deny
"#;

fn policy() -> Bundle {
    bundle(&[("rules/r.yaml", RULES)])
}

fn person(id: &str, roles: &[&str]) -> Credential {
    Credential::Person {
        id: id.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        tenant: None,
    }
}

fn fin(id: &str) -> Credential {
    person(id, &["finance"])
}

struct Call {
    tool: &'static str,
    agent: &'static str,
    session: &'static str,
    path: String,
    more: &'static str,
}

fn moving() -> Call {
    Call { tool: "move", agent: "bot", session: "s", path: "a".into(), more: "" }
}

impl Call {
    fn bytes(&self) -> Vec<u8> {
        let Self { tool, agent, session, path, more } = self;
        format!(
            r#"{{"agent":{{"id":"{agent}"}},"tool":{{"server":"files","name":"{tool}"}},"args":{{"path":"{path}","token":"hunter2"}},"session":{{"id":"{session}"}},"pep":{{"id":"test","enforces":["max_runtime_ms"]}}{more}}}"#
        )
        .into_bytes()
    }
}

async fn ask(gate: &Gate, call: &Call) -> callgate_gate::Decided {
    gate.decide(Asked::Bytes(call.bytes()), Credential::Local).await.expect("a decision")
}

/// What was held, and the number of its approval.
async fn held(gate: &Gate, call: &Call) -> u64 {
    let decided = ask(gate, call).await;
    assert_eq!(decided.reply.decision.as_str(), "REQUIRE_APPROVAL", "{:?}", decided.reply.reasons);
    assert!(decided.permit.is_none());
    let id = decided.reply.approval.and_then(|approval| approval.id).expect("an id");
    approval_number(&id).expect("a number")
}

async fn answer(gate: &Gate, call: &Call) -> String {
    let reply = ask(gate, call).await.reply;
    reply.code.map_or_else(|| reply.decision.to_string(), |code| code.to_string())
}

async fn grant(gate: &Gate, call: &Call) -> u64 {
    let id = held(gate, call).await;
    gate.approve(id, &fin("ana"), Said::default()).await.expect("approved");
    id
}

/// Replays the whole log, and holds what it folds to against the gate's own view.
fn replays(gate: &Gate, world: &World) {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("a key ring");
    common::flips_nothing_of_its_own(gate, &keyring);
    let mut replay = Replay::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        let index = receipt.index;
        match replay.push(&receipt, &keyring) {
            Replayed::Same | Replayed::NotADecision | Replayed::Erased => {}
            other => panic!("receipt {index}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_grant_runs_the_call_once() {
    let world = World::new(300);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let id = held(&gate, &moving()).await;
    assert_eq!(held(&gate, &moving()).await, id, "asking again meets the same");
    let view = gate.approve(id, &fin("ana"), Said::default()).await.expect("approved");
    assert_eq!((view.status, view.by), ("granted", vec!["ana".to_owned()]));
    let decided = ask(&gate, &moving()).await;
    assert_eq!(decided.reply.decision.as_str(), "ALLOW_WITH_CONSTRAINTS");
    assert_eq!(decided.reply.constraints["max_runtime_ms"], 5000);
    let used = decided.reply.grant.expect("a grant");
    assert_eq!((used.approval, used.by), (format!("apr-{id}"), vec!["ana".to_owned()]));
    assert!(decided.permit.is_some());
    let again = held(&gate, &moving()).await;
    assert_ne!(again, id, "used once, so it is asked anew");
    replays(&gate, &world);
}

#[tokio::test]
async fn a_grant_serves_nothing_else() {
    let world = World::new(301);
    let gate = world.open(Some(&policy())).await.expect("opens");
    grant(&gate, &moving()).await;
    let others = [
        Call { path: "b".into(), ..moving() },
        Call { session: "t", ..moving() },
        Call { agent: "bob", ..moving() },
        Call { more: r#","environment":"prod""#, ..moving() },
        Call { more: r#","risk_tags":["write"]"#, ..moving() },
        Call { more: r#","cost":{"usd":"5"}"#, ..moving() },
        Call { more: r#","tenant":"other""#, ..moving() },
        Call { tool: "wipe", ..moving() },
    ];
    for other in &others {
        held(&gate, other).await;
    }
    let chained = br#"{"agent":{"id":"bot","chain":["planner"],"on_behalf_of":"user:eve"},"tool":{"server":"files","name":"move"},"args":{"path":"a","token":"hunter2"},"session":{"id":"s"},"pep":{"id":"test","enforces":["max_runtime_ms"]}}"#;
    assert_eq!(code(&gate, chained.to_vec()).await, "APPROVAL_REQUIRED");
    assert_eq!(answer(&gate, &Call { tool: "drop", ..moving() }).await, "DENIED_BY_RULE");
    assert_eq!(
        answer(&gate, &moving()).await,
        "ALLOW_WITH_CONSTRAINTS",
        "it is still there for its own call"
    );
    replays(&gate, &world);
}

#[tokio::test]
async fn another_snapshot_needs_another_grant() {
    let world = World::new(302);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let (granted, open) =
        (grant(&gate, &moving()).await, held(&gate, &Call { path: "b".into(), ..moving() }).await);
    let changed = bundle(&[("rules/r.yaml", &RULES.replace("moves need", "all moves need"))]);
    gate.publish(&changed, "operator").await.expect("published");
    let who = fin("ben");
    assert_eq!(gate.approval(granted, &who).expect("known").approval.status, "lapsed");
    let closed = gate.approve(open, &who, Said::default()).await.expect_err("is over");
    assert!(matches!(closed, ApprovalError::Closed { status: "lapsed", .. }), "{closed}");
    assert_ne!(held(&gate, &moving()).await, granted);
    assert_eq!(gate.expire_approvals().await.expect("written"), 2);
    assert_eq!(gate.expire_approvals().await.expect("written"), 0, "once");
    replays(&gate, &world);
}

#[tokio::test]
async fn time_ends_requests_and_grants_alike() {
    let world = World::new(303);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let open = held(&gate, &moving()).await;
    let granted = grant(&gate, &Call { path: "b".into(), ..moving() }).await;
    world.clock.set(NOW + 30 * 60_000 + 1);
    let closed = gate.approve(open, &fin("ana"), Said::default()).await.expect_err("is over");
    assert!(matches!(closed, ApprovalError::Closed { status: "expired", .. }), "{closed}");
    assert_ne!(held(&gate, &Call { path: "b".into(), ..moving() }).await, granted);
    assert_ne!(held(&gate, &moving()).await, open);
    assert_eq!(gate.expire_approvals().await.expect("written"), 2);
    replays(&gate, &world);
}

#[tokio::test]
async fn a_rejection_denies_until_its_time_is_over() {
    let world = World::new(304);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let id = held(&gate, &moving()).await;
    let view = gate.reject(id, &fin("ana"), Some("not today".into())).await.expect("rejected");
    assert_eq!(view.status, "rejected");
    assert_eq!(answer(&gate, &moving()).await, "APPROVAL_REJECTED");
    let late = gate.approve(id, &fin("ben"), Said::default()).await.expect_err("is over");
    assert!(matches!(late, ApprovalError::Closed { .. }));
    world.clock.set(NOW + 30 * 60_000 + 1);
    assert_ne!(held(&gate, &moving()).await, id);
    replays(&gate, &world);
}

#[tokio::test]
async fn nobody_decides_on_their_own() {
    let world = World::new(305);
    let gate = world.open(Some(&policy())).await.expect("opens");
    for (agent, owner) in [("bot", "Gil"), ("planner", "hal"), ("other", "cleo")] {
        let (agent, owner, tenant) = (agent.to_owned(), Some(owner.to_owned()), "default".to_owned());
        let holder = Holder::Agent { agent, owner, team: None, tenant };
        gate.create_key(holder, "operator").await.expect("a key");
    }
    let request = br#"{"agent":{"id":"bot","chain":["planner"],"on_behalf_of":"user:Ana"},"tool":{"server":"files","name":"move"},"session":{"id":"s"},"pep":{"id":"test","enforces":["max_runtime_ms"]}}"#;
    let decided = gate.decide(Asked::Bytes(request.to_vec()), Credential::Local).await.expect("a decision");
    let id = approval_number(&decided.reply.approval.and_then(|it| it.id).expect("an id")).expect("a number");
    for own in ["ana", "Ana", "аna", "bot", "planner", "user:ana", "gil", "hal"] {
        let refused = gate.approve(id, &fin(own), Said::default()).await.expect_err(own);
        assert!(matches!(refused, ApprovalError::Refused(_)), "{own}: {refused}");
        assert!(gate.delegate(id, &fin("cleo"), own, None).await.is_err(), "{own} takes no vote over");
    }
    let refused =
        gate.approve(id, &person("dan", &["reviewer"]), Said::default()).await.expect_err("is none of them");
    assert!(refused.to_string().contains("role:finance"), "{refused}");
    let elsewhere =
        Credential::Person { id: "fay".into(), roles: vec!["finance".into()], tenant: Some("other".into()) };
    let refused = gate.approve(id, &elsewhere, Said::default()).await.expect_err("is of another tenant");
    assert!(matches!(refused, ApprovalError::Unknown(_)), "{refused}");
    let agent = Credential::Agent { agent: "bot".into(), tenant: "default".into(), team: None };
    let refused = gate.approve(id, &agent, Said::default()).await.expect_err("is an agent");
    assert!(refused.to_string().contains("agent"), "{refused}");
    gate.approve(id, &fin("cleo"), Said::default()).await.expect("somebody else may");
}

#[tokio::test]
async fn a_quorum_is_of_different_people_and_a_vote_can_be_handed_over() {
    let world = World::new(306);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let call = Call { tool: "wipe", ..moving() };
    let id = held(&gate, &call).await;
    let view = gate.approve(id, &fin("ana"), Said::default()).await.expect("approved");
    assert_eq!((view.status, view.stages[0].agreed.len()), ("open", 1));
    assert!(gate.approve(id, &fin("ana"), Said::default()).await.is_err(), "a person counts once");
    assert!(gate.delegate(id, &fin("ana"), "eve", None).await.is_err(), "and cannot hand on what is given");
    gate.delegate(id, &fin("ben"), "cleo", Some("away".into())).await.expect("handed over");
    assert!(gate.approve(id, &fin("ben"), Said::default()).await.is_err(), "it is not his any more");
    assert!(gate.delegate(id, &person("cleo", &[]), "dan", None).await.is_err(), "nor handed on again");
    assert!(gate.approve(id, &person("dan", &[]), Said::default()).await.is_err());
    let view = gate.approve(id, &person("cleo", &[]), Said::default()).await.expect("in his place");
    assert_eq!((view.status, view.by), ("granted", vec!["ana".to_owned(), "cleo".to_owned()]));
    assert_eq!(answer(&gate, &call).await, "ALLOW");
    replays(&gate, &world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_that_race_for_a_grant_one_runs() {
    let world = World::new(307);
    let gate = world.open(Some(&policy())).await.expect("opens");
    // Without a session nothing but the grant itself stands between them.
    for (round, session) in (0..8).flat_map(|round| [(2 * round, "s"), (2 * round + 1, "")]) {
        let start = Arc::new(tokio::sync::Barrier::new(64));
        let text = format!(
            r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"files","name":"move"}},"args":{{"round":{round}}},{}"pep":{{"id":"test","enforces":["max_runtime_ms"]}}}}"#,
            if session.is_empty() { String::new() } else { format!(r#""session":{{"id":"{session}"}},"#) }
        );
        let decided =
            gate.decide(Asked::Bytes(text.clone().into_bytes()), Credential::Local).await.expect("held");
        let id =
            approval_number(&decided.reply.approval.and_then(|it| it.id).expect("an id")).expect("a number");
        gate.approve(id, &fin("ana"), Said::default()).await.expect("approved");
        let racing: Vec<_> = (0..64)
            .map(|_| {
                let (gate, text, start) = (gate.clone(), text.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    gate.decide(Asked::Bytes(text.into_bytes()), Credential::Local).await.expect("a decision")
                })
            })
            .collect();
        let (mut ran, mut waiting) = (0, std::collections::BTreeSet::new());
        for one in racing {
            let decided = one.await.expect("ends");
            ran += usize::from(decided.permit.is_some());
            waiting.extend(decided.reply.approval.and_then(|approval| approval.id));
        }
        assert_eq!(ran, 1, "exactly one");
        assert_eq!(waiting.len(), 1, "all others wait for one new approval");
    }
    replays(&gate, &world);
}

#[tokio::test]
async fn a_standing_approval_is_narrow_and_counted() {
    let world = World::new(308);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let id = held(&gate, &moving()).await;
    let standing = Some(StandingAsk { fixed: Some(vec!["path".into()]), uses: Some(2), span_ms: None });
    let wrong = Some(StandingAsk { fixed: Some(vec!["nothing".into()]), ..StandingAsk::default() });
    let refused =
        gate.approve(id, &fin("ana"), Said { comment: None, standing: wrong }).await.expect_err("no such");
    assert!(refused.to_string().contains("nothing"), "{refused}");
    let endless = Some(StandingAsk { span_ms: Some(u64::MAX), ..StandingAsk::default() });
    assert!(gate.approve(id, &fin("ana"), Said { comment: None, standing: endless }).await.is_err());
    let view = gate.approve(id, &fin("ana"), Said { comment: None, standing }).await.expect("approved");
    assert_eq!(view.status, "standing");
    let other = Call { path: "b".into(), ..moving() };
    held(&gate, &other).await;
    held(&gate, &Call { agent: "bob", ..moving() }).await;
    let filter = ApprovalFilter { include_resolved: true, ..ApprovalFilter::default() };
    for (session, used) in [("s", 1), ("t", 2)] {
        assert_eq!(answer(&gate, &Call { session, ..moving() }).await, "ALLOW_WITH_CONSTRAINTS");
        assert_eq!(gate.standing_approvals(&filter, &Credential::Local)[0].used, used);
    }
    held(&gate, &Call { session: "u", ..moving() }).await;
    assert_eq!(gate.standing_approvals(&filter, &Credential::Local)[0].status, "spent");
    replays(&gate, &world);
}

#[tokio::test]
async fn a_standing_approval_can_be_taken_back() {
    let world = World::new(309);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let id = held(&gate, &moving()).await;
    let said = Said { comment: None, standing: Some(StandingAsk::default()) };
    let view = gate.approve(id, &fin("ana"), said).await.expect("approved");
    let standing = standing_number(&view.standing.expect("an id")).expect("a number");
    assert!(gate.revoke_standing(standing, &person("dan", &[])).await.is_err());
    let agent = Credential::Agent { agent: "bot".into(), tenant: "default".into(), team: None };
    assert!(gate.revoke_standing(standing, &agent).await.is_err());
    gate.revoke_standing(standing, &fin("ana")).await.expect("revoked");
    assert!(gate.revoke_standing(standing, &fin("ana")).await.is_err(), "once");
    held(&gate, &moving()).await;
    replays(&gate, &world);
}

#[tokio::test]
async fn what_reviewers_see_hides_secrets_and_agents_see_no_comments() {
    let world = World::new(310);
    let gate = world.open(Some(&policy())).await.expect("opens");
    assert_eq!(answer(&gate, &Call { tool: "read", ..moving() }).await, "ALLOW");
    let id = held(&gate, &moving()).await;
    gate.comment(id, &fin("ben"), "who is this for?".into()).await.expect("said");
    for bad in [String::new(), "x".repeat(1001), "\u{202e}evil".to_owned()] {
        assert!(gate.comment(id, &fin("ben"), bad).await.is_err());
    }
    let seen = gate.approval(id, &fin("ana")).expect("a detail");
    let text = serde_json::to_string(&seen).expect("JSON");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(seen.masked, 1);
    assert_eq!(seen.request.expect("a request")["args"]["path"], "a");
    assert_eq!(seen.rule_detail.source.as_deref().and_then(|at| at.split(':').next()), Some("rules/r.yaml"));
    assert_eq!(seen.comments[0].comment.as_deref(), Some("who is this for?"));
    let so_far = seen.session_so_far.expect("the session");
    assert_eq!((so_far.receipts.len(), so_far.complete), (1, true));
    assert_eq!(seen.not_by_you, None);
    let agent = |name: &str| Credential::Agent { agent: name.into(), tenant: "default".into(), team: None };
    let own = serde_json::to_string(&gate.approval(id, &agent("bot")).expect("its own")).expect("JSON");
    assert!(!own.contains("who is this for"), "{own}");
    assert!(gate.approval(id, &agent("bob")).is_err());
    assert_eq!(gate.approvals(&ApprovalFilter::default(), &agent("bob")).len(), 0);
    for receipt in gate.scan() {
        let payload = receipt.expect("readable").payload;
        let text = String::from_utf8_lossy(&payload);
        assert!(!text.contains("who is this for") && !text.contains("hunter2"), "{text}");
    }
    let key = callgate_core::state::SessionKey {
        agent: "bot".into(),
        session: "s".into(),
        tenant: "default".into(),
    };
    gate.erase_session(key, "operator").await.expect("erased");
    let seen = gate.approval(id, &fin("ana")).expect("a detail");
    assert!(seen.request.is_none() && seen.comments[0].comment.is_none());
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let world = World::new(311);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let id = held(&gate, &moving()).await;
    let soon = tokio::time::Instant::now() + Duration::from_millis(20);
    assert_eq!(gate.await_approval(id, &Credential::Local, soon).await.expect("known").status, "open");
    let waiting = {
        let gate = gate.clone();
        let long = tokio::time::Instant::now() + Duration::from_secs(30);
        tokio::spawn(async move { gate.await_approval(id, &Credential::Local, long).await })
    };
    tokio::task::yield_now().await;
    gate.approve(id, &fin("ana"), Said::default()).await.expect("approved");
    assert_eq!(waiting.await.expect("ends").expect("known").status, "granted");
}

#[tokio::test]
async fn repeated_approvals_suggest_a_rule_that_check_accepts() {
    let world = World::new(312);
    let gate = world.open(Some(&policy())).await.expect("opens");
    for session in ["1", "2", "3", "4"] {
        grant(&gate, &Call { session, ..moving() }).await;
    }
    assert!(gate.suggestions(&Credential::Local).is_empty(), "four are not enough");
    grant(&gate, &Call { session: "5", ..moving() }).await;
    let all = gate.suggestions(&Credential::Local);
    assert_eq!(all.len(), 1);
    let one = &all[0];
    assert_eq!((one.evidence.granted, one.evidence.reviewers.as_slice()), (5, ["ana".to_owned()].as_slice()));
    assert!(!one.text.contains("hunter2"), "{}", one.text);
    assert!(one.text.contains("path"), "{}", one.text);
    let with = bundle(&[("rules/r.yaml", RULES), (one.file.as_str(), one.text.as_str())]);
    gate.publish(&with, "operator").await.expect("it is a policy");
    assert_eq!(answer(&gate, &moving()).await, "ALLOW_WITH_CONSTRAINTS");
    held(&gate, &Call { path: "b".into(), ..moving() }).await;
    let id = held(&gate, &Call { path: "c".into(), ..moving() }).await;
    gate.reject(id, &fin("ana"), None).await.expect("rejected");
    assert!(gate.suggestions(&Credential::Local).is_empty(), "one rejection ends it");
}

/// The agent that fills the queue is put off; the others are not.
#[tokio::test]
async fn too_many_waiting_requests_are_put_off() {
    let world = World::new(313);
    let gate = world.open(Some(&policy())).await.expect("opens");
    for number in 0..1000 {
        held(&gate, &Call { path: format!("p{number}"), ..moving() }).await;
    }
    assert_eq!(answer(&gate, &Call { path: "one more".into(), ..moving() }).await, "RATE_EXCEEDED");
    assert_eq!(answer(&gate, &Call { path: "p1".into(), ..moving() }).await, "APPROVAL_REQUIRED");
    held(&gate, &Call { agent: "bob", ..moving() }).await;
    world.clock.set(NOW + 31 * 60_000);
    held(&gate, &Call { path: "later".into(), ..moving() }).await;
    replays(&gate, &world);
}
