//! Approvals under concurrent clients, publications, clocks, restarts and power cuts, held against a small
//! reference that reads only the log and what the clients asked.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{
    ApprovalFilter, Asked, Credential, Gate, Said, StandingAsk, StandingView, standing_number,
};
use callgate_log::{Body, Statement};
use callgate_policy::Bundle;
use callgate_store::sim::Faults;
use callgate_store::{Keyring, OsRandom};
use common::{NOW, World, bundle};

const RULES: &str = r#"
version: v1
rules:
  - id: one
    match: {tools: ["files.one"]}
    decision: require_approval
    approval: {reviewers: ["role:finance"], quorum: 1, expires: 10m}
  - id: two
    match: {tools: ["files.two"]}
    decision: require_approval
    approval: {reviewers: ["role:finance"], quorum: 2, expires: 10m}
"#;

fn policy(version: u64) -> Bundle {
    bundle(&[("rules/r.yaml", &format!("{RULES}# {version}\n"))])
}

/// Everything that a grant is bound to, beside the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    tool: &'static str,
    agent: u64,
    session: u64,
    path: u64,
    more: u64,
}

impl Call {
    fn bytes(&self) -> Vec<u8> {
        let Self { tool, agent, session, path, more } = self;
        format!(
            r#"{{"agent":{{"id":"bot-{agent}"}},"tool":{{"server":"files","name":"{tool}"}},"args":{{"path":"p{path}","more":{more}}},"session":{{"id":"s{session}"}}}}"#
        )
        .into_bytes()
    }

    /// What a standing approval that fixes `path` covers.
    fn covers(&self, other: &Self, all: bool) -> bool {
        let same = (self.tool, self.agent, self.path) == (other.tool, other.agent, other.path);
        same && (!all || self.more == other.more)
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn call(&mut self) -> Call {
        let tool = if self.roll(4) == 0 { "two" } else { "one" };
        Call { tool, agent: self.roll(2), session: self.roll(2), path: self.roll(2), more: self.roll(2) }
    }
}

type Asks = Arc<Mutex<BTreeMap<u64, Call>>>;

/// What a client or a reviewer does next; whatever comes of it is in the log.
async fn act(gate: &Gate, dice: &mut Dice, asks: &Asks) {
    match dice.roll(10) {
        0..=5 => {
            let call = dice.call();
            let asked = gate.decide(Asked::Bytes(call.bytes()), Credential::Local).await;
            let Ok(decided) = asked else { return };
            let index = decided.reply.receipt_index.expect("a receipt");
            assert_eq!(
                decided.permit.is_some(),
                decided.reply.grant.is_some(),
                "nothing runs without a grant"
            );
            asks.lock().expect("a lock").insert(index, call);
        }
        6 => {
            let listed = gate.standing_approvals(&ApprovalFilter::default(), &Credential::Local);
            if let Some(one) = listed.first().filter(|_| dice.roll(4) == 0) {
                let id = standing_number(&one.id).expect("a number");
                let _ = gate.revoke_standing(id, &Credential::Local).await;
            }
        }
        _ => {
            let listed = gate.approvals(&ApprovalFilter::default(), &Credential::Local);
            let Some(one) = listed.get(usize::try_from(dice.roll(4)).expect("small")) else { return };
            let id = callgate_gate::approval_number(&one.id).expect("a number");
            let id_of = ["ana", "ben", "cleo"][usize::try_from(dice.roll(3)).expect("small")];
            let roles = vec!["finance".to_owned()];
            let who = Credential::Person { id: id_of.to_owned(), roles, tenant: None };
            let _ = match dice.roll(8) {
                0 => gate.reject(id, &who, None).await,
                1 => gate.delegate(id, &who, "dan", None).await,
                2 | 3 => {
                    let fixed = (dice.roll(2) == 0).then(|| vec!["path".to_owned()]);
                    let standing = Some(StandingAsk { fixed, uses: Some(2), span_ms: Some(300_000) });
                    gate.approve(id, &who, Said { comment: None, standing }).await
                }
                _ => gate.approve(id, &who, Said::default()).await,
            };
        }
    }
}

/// One opened approval, as the reference knows it.
struct Opened {
    call: Call,
    snapshot: String,
    at_ms: i64,
    yes: BTreeSet<String>,
    granted_ms: Option<i64>,
    over: bool,
}

/// A standing approval, as the reference knows it.
struct Stands {
    from: u64,
    all: bool,
    given_ms: i64,
    used: u64,
    revoked: bool,
}

/// Reads the log in order, and holds every use against what was given before it.
#[derive(Default)]
struct Reference {
    opened: BTreeMap<u64, Opened>,
    standing: BTreeMap<u64, Stands>,
    uses: u64,
}

const TEN_MINUTES: i64 = 600_000;

impl Reference {
    fn decision(&mut self, index: u64, one: &callgate_log::statement::Decision, asks: &BTreeMap<u64, Call>) {
        let now = one.issued_at_ms.get();
        let version = one.snapshot.version.clone();
        if let Some(grant) = &one.grant {
            self.uses += 1;
            assert!(one.decision.permits(), "receipt {index}");
            let from = u64::try_from(grant.receipt.get()).expect("an index");
            // Without the clients' own account the log alone says little.
            let Some(opened) = self.opened.get_mut(&from).filter(|_| !asks.is_empty()) else {
                assert!(asks.is_empty(), "receipt {index}: nobody asked for {from}");
                return;
            };
            assert_eq!(opened.snapshot, version, "receipt {index}: another snapshot");
            let standing = grant.standing.map(|id| u64::try_from(id.get()).expect("an index"));
            match standing {
                None => {
                    let granted = opened.granted_ms.expect("it was granted");
                    assert!(!opened.over, "receipt {index}: used twice, or rejected");
                    let stands = self.standing.values().any(|stands| stands.from == from);
                    assert!(!stands, "receipt {index}: it was given as a standing approval");
                    assert!(now <= granted + TEN_MINUTES, "receipt {index}: too late");
                    if let Some(call) = asks.get(&index) {
                        assert_eq!(*call, opened.call, "receipt {index}: another call");
                    }
                    opened.over = true;
                }
                Some(id) => {
                    let call = opened.call.clone();
                    let stands = self.standing.get_mut(&id).expect("it was given");
                    assert_eq!(stands.from, from);
                    stands.used += 1;
                    assert!(stands.used <= 2 && !stands.revoked, "receipt {index}: more than was given");
                    assert!(now <= stands.given_ms + 300_000, "receipt {index}: too late");
                    if let Some(asked) = asks.get(&index) {
                        assert!(call.covers(asked, stands.all), "receipt {index}: {call:?} for {asked:?}");
                    }
                }
            }
            return;
        }
        assert!(!one.decision.permits(), "receipt {index}: nothing but a grant permits");
        let opens = one.approval.as_ref().is_some_and(|approval| approval.receipt.is_none());
        // An ask that nobody got an answer to is in the log, too, but what it asked is only sealed there.
        if opens && let Some(call) = asks.get(&index) {
            let fresh = Opened {
                call: call.clone(),
                snapshot: version,
                at_ms: now,
                yes: BTreeSet::new(),
                granted_ms: None,
                over: false,
            };
            self.opened.insert(index, fresh);
        }
    }

    fn admin(&mut self, index: u64, one: &callgate_log::statement::Admin) {
        let now = one.issued_at_ms.get();
        let of = |name: &str, prefix: &str| -> Option<u64> {
            one.details.get(name)?.strip_prefix(prefix)?.parse().ok()
        };
        match one.operation.as_str() {
            "approval.revoke" => {
                let id = of("standing", "std-").expect("an id");
                if let Some(stands) = self.standing.get_mut(&id) {
                    stands.revoked = true;
                }
            }
            "approval.approve" | "approval.reject" => {
                let id = of("approval", "apr-").expect("an id");
                let Some(opened) = self.opened.get_mut(&id) else { return };
                assert!(now <= opened.at_ms + TEN_MINUTES, "receipt {index}: voted too late");
                assert!(
                    opened.granted_ms.is_none() && !opened.over,
                    "receipt {index}: voted on what is closed"
                );
                if one.operation == "approval.reject" {
                    opened.over = true;
                    return;
                }
                assert!(opened.yes.insert(one.actor.clone()), "receipt {index}: voted twice");
                let quorum = if opened.call.tool == "two" { 2 } else { 1 };
                assert_eq!(
                    one.details.get("grants").map(|it| it == "true"),
                    Some(opened.yes.len() == quorum)
                );
                if opened.yes.len() == quorum {
                    opened.granted_ms = Some(now);
                }
            }
            _ => {}
        }
    }
}

/// Standing approvals are made by votes that all ask for the same; the gate's own list says which.
fn given(reference: &mut Reference, views: &[StandingView]) {
    for view in views {
        let id = standing_number(&view.id).expect("a number");
        let from = callgate_gate::approval_number(&view.approval).expect("a number");
        let all = view.fixed.is_none();
        reference
            .standing
            .insert(id, Stands { from, all, given_ms: view.given_at_ms, used: 0, revoked: false });
    }
}

fn verify(gate: &Gate, world: &World, asks: &Asks) -> u64 {
    let asks = asks.lock().expect("a lock");
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("a key ring");
    common::flips_nothing_of_its_own(gate, &keyring);
    let (mut replay, mut reference) = (Replay::new(), Reference::default());
    let filter = ApprovalFilter { include_resolved: true, ..ApprovalFilter::default() };
    given(&mut reference, &gate.standing_approvals(&filter, &Credential::Local));
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        let index = receipt.index;
        match replay.push(&receipt, &keyring) {
            Replayed::Same | Replayed::NotADecision => {}
            other => panic!("receipt {index}: {other:?}"),
        }
        match Statement::parse(&receipt.payload).expect("a statement").body() {
            Body::Decision(one) => {
                // What nobody was answered is told from the replayed request's approval alone.
                reference.decision(index, one, &asks);
            }
            Body::Admin(one) => reference.admin(index, one),
            _ => {}
        }
    }
    let shown = |state: &callgate_core::state::State| format!("{:?}", state.approvals());
    let live = gate.approvals(&filter, &Credential::Local).len();
    assert_eq!(replay.state().approvals().iter().count(), live, "{}", shown(replay.state()));
    reference.uses
}

async fn life(seed: u64) -> u64 {
    let world = World::new(7000 + seed);
    let mut dice = Dice(seed);
    let mut gate = world.open(Some(&policy(0))).await.expect("opens");
    let asks: Asks = Arc::default();
    for round in 0..12 {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let (gate, asks, mut dice) =
                    (gate.clone(), asks.clone(), Dice(dice.roll(u64::from(u32::MAX))));
                tokio::spawn(async move {
                    for _ in 0..12 {
                        act(&gate, &mut dice, &asks).await;
                    }
                })
            })
            .collect();
        if dice.roll(5) == 0 {
            gate.publish(&policy(round + 1), "operator").await.expect("published");
        }
        for client in clients {
            client.await.expect("ends");
        }
        match dice.roll(6) {
            0 => world.clock.set(NOW + i64::from(u32::try_from(round).expect("small")) * 240_000),
            1 => {
                gate.close();
                drop(gate);
                gate = world.open(None).await.expect("opens again");
            }
            2 => {
                world.fs.crash();
                drop(gate);
                gate = world.open(None).await.expect("opens after a power cut");
            }
            _ => {}
        }
    }
    let uses = verify(&gate, &world, &asks);
    gate.close();
    drop(gate);
    world.holds_without_saved_states().await;
    uses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_grant_serves_twice_nor_anything_else() {
    let mut uses = 0;
    for seed in 0..16 {
        uses += life(seed).await;
    }
    assert!(uses > 100, "only {uses} grants were used; the test shows nothing");
}

/// A power cut at any call to the disk between asking, approving and using: the grant is there, or it was
/// used, or it was never given; the next life agrees with the log, and nothing runs twice.
#[tokio::test]
async fn a_power_cut_leaves_one_of_the_two_states() {
    let call = Call { tool: "one", agent: 0, session: 0, path: 0, more: 0 };
    let whole = World::new(7100);
    whole.open(Some(&policy(0))).await.expect("opens").close();
    let (mut ran_before, mut ran_after, mut never) = (0, 0, 0);
    for power in [true, false] {
        for at in 1.. {
            let world = World { fs: whole.fs.fork(), clock: whole.clock.clone() };
            let gate = world.open(None).await.expect("opens");
            let cut = world.fs.calls() + at;
            let mut faults = Faults::default();
            faults.crash_at = Some(cut);
            world.fs.set_faults(faults);
            let ran = usize::from(story(&gate, &call).await.is_some());
            let reached = world.fs.calls() >= cut;
            drop(gate);
            if power {
                world.fs.crash();
            } else {
                world.fs.kill();
            }
            let gate = world.open(None).await.expect("opens after it");
            let again = gate.decide(Asked::Bytes(call.bytes()), Credential::Local).await.expect("a decision");
            let after = usize::from(again.permit.is_some());
            assert!(ran + after <= 1, "cut {at}: the grant ran {} times", ran + after);
            ran_before += ran;
            ran_after += after;
            never += usize::from(ran + after == 0);
            let asks = Asks::default();
            verify(&gate, &world, &asks);
            if !reached {
                break;
            }
        }
    }
    assert!(ran_before > 0 && ran_after > 0 && never > 0, "{ran_before} {ran_after} {never}");
}

/// Asks, approves, and uses; the permit, if it comes to that.
async fn story(gate: &Gate, call: &Call) -> Option<callgate_gate::Permit> {
    let ana = Credential::Person { id: "ana".into(), roles: vec!["finance".into()], tenant: None };
    let held = gate.decide(Asked::Bytes(call.bytes()), Credential::Local).await.ok()?;
    let id = callgate_gate::approval_number(&held.reply.approval?.id?).ok()?;
    gate.approve(id, &ana, Said::default()).await.ok()?;
    let used = gate.decide(Asked::Bytes(call.bytes()), Credential::Local).await.ok()?;
    used.permit
}
