//! The kill switch and the heartbeat: what is stopped does not run, whoever is quicker and whatever breaks.
#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callgate_core::event::Kind;
use callgate_core::progress::Halt;
use callgate_core::state::Holder;
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{
    Asked, ControlError, Credential, Gate, OutcomeReport, OutcomeStatus, ProgressError, ProgressReport, Said,
    StopFilter, StopRequest, Stopped, approval_number,
};
use callgate_log::{Body, Statement};
use callgate_store::sim::Faults;
use callgate_store::{Keyring, OsRandom};
use common::{World, ask, call, code, example};

const ME: &Credential = &Credential::Local;

fn stop(scope: &str, names: &[(&str, &str)]) -> StopRequest {
    let name = |field: &str| names.iter().find(|(of, _)| *of == field).map(|(_, name)| (*name).to_owned());
    StopRequest {
        scope: scope.to_owned(),
        agent: name("agent"),
        session: name("session"),
        team: name("team"),
        tenant: name("tenant"),
        tool: name("tool"),
        note: Some("it loops".to_owned()),
    }
}

async fn stops(gate: &Arc<Gate>, scope: &str, names: &[(&str, &str)]) -> Stopped {
    gate.stop(stop(scope, names), ME).await.expect("stopped")
}

async fn lift(gate: &Arc<Gate>, id: &str) {
    gate.lift_stop(id, Some("looked into it"), ME).await.expect("lifted");
}

async fn open(seed: u64) -> (World, Arc<Gate>) {
    let world = World::new(seed);
    let gate = world.open(Some(&example())).await.expect("opens");
    (world, gate)
}

/// Law 4 over the whole log.
fn replays(world: &World, gate: &Gate) {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut replay = Replay::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match replay.push(&receipt, &keyring) {
            Replayed::Same | Replayed::NotADecision => {}
            other => panic!("receipt {}: {other:?}", receipt.index),
        }
    }
    let view = |gate: &Gate| gate.stops(&StopFilter::default(), ME);
    let folded: Vec<u64> = replay.state().stops().iter().rev().map(|stop| stop.id).collect();
    let live: Vec<u64> = view(gate).0.iter().map(|stop| stop.receipt_index).collect();
    assert_eq!(folded, live);
}

/// The acts of that name, with where they are and what they say.
fn acts(gate: &Gate, operation: &str) -> Vec<(u64, callgate_log::json::Map<String>)> {
    let mut acts = Vec::new();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        if let Body::Admin(admin) = Statement::parse(&receipt.payload).expect("a receipt").body()
            && admin.operation == operation
        {
            acts.push((receipt.index, admin.details.clone()));
        }
    }
    acts
}

#[tokio::test]
async fn every_scope_hits_what_it_names_and_nothing_else() {
    let (world, gate) = open(900).await;
    let request = |extra: &str| {
        format!(r#"{{"tool":{{"server":"files","name":"read"}},"args":{{}},{extra}}}"#).into_bytes()
    };
    let bot =
        r#""agent":{"id":"bot","team":"support","chain":["planner"]},"tenant":"acme","session":{"id":"s1"}"#;
    type Row = (&'static str, &'static [(&'static str, &'static str)], bool);
    let table: [Row; 24] = [
        ("everything", &[], true),
        ("tenant", &[("tenant", "acme")], true),
        ("tenant", &[("tenant", "ACME")], true),
        ("tenant", &[("tenant", "other")], false),
        ("team", &[("team", "support")], true),
        ("team", &[("team", "support"), ("tenant", "acme")], true),
        ("team", &[("team", "support"), ("tenant", "other")], false),
        ("team", &[("team", "bot")], false),
        ("agent", &[("agent", "bot")], true),
        ("agent", &[("agent", "B\u{43e}T")], true),
        ("agent", &[("agent", "b0t"), ("tenant", "acme")], true),
        ("agent", &[("agent", "bot"), ("tenant", "default")], false),
        ("agent", &[("agent", "planner")], true),
        ("agent", &[("agent", "bot2")], false),
        ("session", &[("agent", "bot"), ("session", "s1"), ("tenant", "acme")], true),
        ("session", &[("agent", "bot"), ("session", "S1"), ("tenant", "acme")], true),
        ("session", &[("agent", "bot"), ("session", "s2"), ("tenant", "acme")], false),
        ("session", &[("agent", "planner"), ("session", "s1"), ("tenant", "acme")], false),
        ("tool", &[("tool", "files.read")], true),
        ("tool", &[("tool", "FILES.Read"), ("tenant", "acme")], true),
        ("tool", &[("tool", "files.read"), ("tenant", "other")], false),
        ("tool", &[("tool", "Read")], true),
        ("tool", &[("tool", "files")], false),
        ("tool", &[("tool", "ead")], false),
    ];
    for (scope, names, hit) in table {
        assert_eq!(code(&gate, request(bot)).await, "ALLOW");
        let stopped = stops(&gate, scope, names).await;
        assert!(stopped.created);
        let expected = if hit { "AGENT_KILLED" } else { "ALLOW" };
        assert_eq!(code(&gate, request(bot)).await, expected, "{scope} {names:?}");
        lift(&gate, &stopped.stop.id).await;
    }
    // A request without a tool is stopped by what it is called.
    stops(&gate, "tool", &[("tool", "job.mail")]).await;
    let topic = br#"{"agent":{"id":"bot"},"topic":"job.mail"}"#.to_vec();
    assert_eq!(code(&gate, topic).await, "AGENT_KILLED");
    gate.close();
    replays(&world, &gate);
}

/// An agent is told that it was stopped and by which stop; people are told who did it and why.
#[tokio::test]
async fn an_agent_is_told_no_more_than_it_needs() {
    let (_world, gate) = open(901).await;
    let stopped = stops(&gate, "agent", &[("agent", "bot")]).await;
    let reply = ask(&gate, call("read", "")).await.reply;
    let text = serde_json::to_string(&reply).expect("a form");
    assert!(text.contains(&stopped.stop.id), "{text}");
    assert!(!text.contains("it loops") && !text.contains("operator`") && !text.contains("\"by\""), "{text}");
    let (listed, count) = gate.stops(&StopFilter::default(), ME);
    assert_eq!(count, 1);
    assert_eq!((listed[0].by.as_str(), listed[0].note.as_deref()), ("operator", Some("it loops")));
    let agent = Credential::Agent { agent: "bot".to_owned(), tenant: "default".to_owned(), team: None };
    for tried in [
        gate.stop(stop("agent", &[("agent", "rival")]), &agent).await.map(|_| ()),
        gate.lift_stop(&stopped.stop.id, Some("please"), &agent).await.map(|_| ()),
    ] {
        assert!(matches!(tried, Err(ControlError::Agent(_))), "{tried:?}");
    }
    let reviewer =
        Credential::Person { id: "rea".to_owned(), roles: vec!["reviewer".to_owned()], tenant: None };
    let tried = gate.lift_stop(&stopped.stop.id, Some("please"), &reviewer).await;
    assert!(matches!(tried, Err(ControlError::Forbidden { .. })), "{tried:?}");
    assert!(matches!(gate.lift_stop(&stopped.stop.id, None, ME).await, Err(ControlError::Invalid(_))));
    assert!(matches!(gate.lift_stop("stop-1", Some("x"), ME).await, Err(ControlError::Unknown(_))));
}

/// Neither the gate's own mode nor an agent's lifts a stop, and the team that only a key knows counts.
#[tokio::test]
async fn no_mode_lifts_it_and_no_silence_escapes_it() {
    let (_world, gate) = open(902).await;
    let monitor = callgate_gate::ModeRequest { monitor: true, agent: None, tenant: None, note: None };
    assert!(gate.set_mode(monitor, ME).await.expect("set"));
    assert_eq!(code(&gate, call("drop", "")).await, "ALLOW", "monitored");
    stops(&gate, "team", &[("team", "support")]).await;
    let key = |team: Option<&str>| Credential::Agent {
        agent: "bot".to_owned(),
        tenant: "default".to_owned(),
        team: team.map(str::to_owned),
    };
    for (team, permits) in [(Some("Support"), false), (Some("sales"), true), (None, true)] {
        let decided = gate.decide(Asked::Bytes(call("read", "")), key(team)).await.expect("decided");
        assert_eq!(decided.permit.is_some(), permits, "{team:?}");
    }
    // Everything is stopped, and people still act on the gate.
    let all = stops(&gate, "everything", &[]).await;
    assert_eq!(code(&gate, call("read", "")).await, "AGENT_KILLED");
    gate.create_key_as(
        Holder::Agent { agent: "a".to_owned(), owner: None, team: None, tenant: "default".to_owned() },
        ME,
    )
    .await
    .expect("people act");
    lift(&gate, &all.stop.id).await;
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
}

#[tokio::test]
async fn stopping_again_is_the_same_stop() {
    let (_world, gate) = open(903).await;
    let first = stops(&gate, "agent", &[("agent", "bot")]).await;
    let again = stops(&gate, "agent", &[("agent", "BOT")]).await;
    assert!(first.created && !again.created);
    assert_eq!(first.stop, again.stop);
    let together = (0..16).map(|_| {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move { stops(&gate, "tool", &[("tool", "files.read")]).await.created })
    });
    let mut created = 0;
    for task in together.collect::<Vec<_>>() {
        created += usize::from(task.await.expect("answered"));
    }
    assert_eq!(created, 1);
    assert_eq!(gate.stops(&StopFilter::default(), ME).1, 2);
}

/// 64 agents decide while stops come and go: whatever is allowed has its place before the stop's, or after its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_permit_has_its_place_after_the_stop() {
    let (world, gate) = open(904).await;
    let over = Arc::new(AtomicBool::new(false));
    let deciders: Vec<_> = (0..64)
        .map(|agent| {
            let (gate, over) = (Arc::clone(&gate), Arc::clone(&over));
            tokio::spawn(async move {
                let mut allowed = Vec::new();
                while !over.load(Ordering::Acquire) {
                    let id = format!("bot-{agent}");
                    let session = format!(r#","session":{{"id":"s{agent}"}}"#);
                    let bytes = String::from_utf8(call("read", &session)).expect("text");
                    let bytes = bytes.replace(r#""id":"bot""#, &format!(r#""id":"{id}""#));
                    let decided = ask(&gate, bytes.into_bytes()).await;
                    if let Some(permit) = decided.permit {
                        allowed.push(permit.ground().number());
                    }
                }
                allowed
            })
        })
        .collect();
    let mut spans = Vec::new();
    for _ in 0..12 {
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        let stopped = stops(&gate, "tool", &[("tool", "files.read")]).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        lift(&gate, &stopped.stop.id).await;
        spans.push(stopped.stop.receipt_index);
    }
    over.store(true, Ordering::Release);
    let lifted: Vec<u64> = acts(&gate, "stop.lift").into_iter().map(|(index, _)| index).collect();
    assert_eq!(lifted.len(), spans.len());
    let mut allowed = 0;
    for decider in deciders {
        for receipt in decider.await.expect("no decision failed") {
            allowed += 1;
            let inside = |(from, to): (&u64, &u64)| receipt > *from && receipt < *to;
            assert!(!spans.iter().zip(&lifted).any(inside), "receipt {receipt} of {spans:?} {lifted:?}");
        }
    }
    assert!(allowed > 100, "{allowed}");
    gate.close();
    replays(&world, &gate);
}

/// With thousands of stops a decision looks up its own names, and one of them is found among the others.
#[tokio::test]
async fn thousands_of_stops_do_not_slow_a_decision() {
    let (_world, gate) = open(905).await;
    let spawned = (0..2_000).map(|agent| {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move { stops(&gate, "agent", &[("agent", &format!("rogue-{agent}"))]).await })
    });
    for task in spawned.collect::<Vec<_>>() {
        assert!(task.await.expect("stopped").created);
    }
    assert_eq!(code(&gate, call("read", "")).await, "ALLOW");
    stops(&gate, "agent", &[("agent", "bot")]).await;
    assert_eq!(code(&gate, call("read", "")).await, "AGENT_KILLED");
    let (listed, count) = gate.stops(&StopFilter { limit: Some(3), ..StopFilter::default() }, ME);
    assert_eq!((listed.len(), count), (3, 2_001));
}

async fn held(gate: &Gate, session: &str) -> u64 {
    let extra = format!(r#","session":{{"id":"{session}"}}"#);
    let reply = ask(gate, call("move", &extra)).await.reply;
    let id = reply.approval.and_then(|approval| approval.id).expect("an approval");
    approval_number(&id).expect("a number")
}

fn status(gate: &Gate, approval: u64) -> &'static str {
    gate.approval(approval, ME).expect("known").approval.status
}

/// What waits for people when its agent is stopped is over, granted or not, and is asked anew afterwards.
#[tokio::test]
async fn a_stop_ends_what_waits_for_people() {
    let (world, gate) = open(906).await;
    let (open, granted) = (held(&gate, "s1").await, held(&gate, "s2").await);
    gate.approve(granted, ME, Said::default()).await.expect("granted");
    let stopped = stops(&gate, "agent", &[("agent", "bot")]).await;
    assert_eq!((status(&gate, open), status(&gate, granted)), ("stopped", "stopped"));
    assert!(gate.approve(open, ME, Said::default()).await.is_err(), "there is nothing left to decide");
    let again = |session: &str| call("move", &format!(r#","session":{{"id":"{session}"}}"#));
    assert_eq!(code(&gate, again("s2")).await, "AGENT_KILLED");
    lift(&gate, &stopped.stop.id).await;
    assert_ne!(held(&gate, "s2").await, granted, "the grant does not come back");
    assert_eq!(gate.expire_approvals().await.expect("written down"), 2);
    // Another tool's stop leaves it alone.
    let other = held(&gate, "s3").await;
    stops(&gate, "tool", &[("tool", "files.read")]).await;
    assert_eq!(status(&gate, other), "open");
    stops(&gate, "tool", &[("tool", "files.move")]).await;
    assert_eq!(status(&gate, other), "stopped");
    gate.close();
    replays(&world, &gate);
}

async fn beat(gate: &Gate, receipt: u64) -> callgate_gate::Progress {
    gate.progress(&ProgressReport::new(receipt), &Credential::Development).await.expect("an answer")
}

/// A heartbeat writes nothing, until it has to say stop; that is written once, and told.
#[tokio::test]
async fn a_running_action_hears_of_a_stop_and_the_log_says_so_once() {
    let (world, gate) = open(907).await;
    let receipt = ask(&gate, call("read", "")).await.permit.expect("allowed").ground().number();
    let size = gate.size();
    for _ in 0..10 {
        let progress = beat(&gate, receipt).await;
        assert_eq!((progress.goes_on, progress.next_ms, progress.code), (true, Some(5000), None));
    }
    assert_eq!(gate.size(), size);
    let mut halts = gate.halts();
    halts.mark_unchanged();
    let stopped = stops(&gate, "tool", &[("tool", "files.read")]).await;
    assert!(halts.has_changed().expect("open"));
    let size = gate.size();
    for _ in 0..3 {
        let progress = beat(&gate, receipt).await;
        assert_eq!((progress.goes_on, progress.code), (false, Some(Halt::AgentKilled)));
        assert!(progress.reason.expect("why").contains(&stopped.stop.id));
    }
    assert_eq!(gate.size(), size + 1);
    let told = acts(&gate, "action.stop");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.get("decision").map(String::as_str), Some(receipt.to_string().as_str()));
    let mut events = gate.events(Some(0));
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Kind::ActionStopped) {
        let event = events.next().await.expect("readable").expect("an event");
        if event.kind == Kind::ActionStopped {
            assert_eq!(event.text("agent"), Some("bot"));
            assert_eq!(event.text("code"), Some("AGENT_KILLED"));
        }
        if event.kind == Kind::StopCreated {
            assert_eq!(
                (event.text("tool"), event.text("stop")),
                (Some("files.read"), Some(&*stopped.stop.id))
            );
        }
        kinds.push(event.kind);
    }
    assert!(kinds.contains(&Kind::StopCreated));
    // How it ended can be told, and after that there is nothing to ask about.
    let report = OutcomeReport::new(receipt, OutcomeStatus::Cancelled);
    gate.report(report, &Credential::Development).await.expect("recorded");
    let gone = gate.progress(&ProgressReport::new(receipt), &Credential::Development).await;
    assert!(matches!(gone, Err(ProgressError::NotOpen(_))), "{gone:?}");
    gate.close();
    replays(&world, &gate);
}

#[tokio::test]
async fn a_running_action_hears_that_its_time_is_over() {
    let (world, gate) = open(908).await;
    let receipt = ask(&gate, call("write", "")).await.permit.expect("allowed").ground().number();
    assert_eq!(beat(&gate, receipt).await.next_ms, Some(5000), "no later than its time is over");
    world.clock.set(common::NOW + 4_000);
    assert_eq!(beat(&gate, receipt).await.next_ms, Some(1001));
    world.clock.set(common::NOW + 5_000);
    assert!(beat(&gate, receipt).await.goes_on, "to the millisecond");
    world.clock.set(common::NOW + 5_001);
    assert_eq!(beat(&gate, receipt).await.code, Some(Halt::RuntimeExceeded));
}

/// Nobody learns of, or keeps alive, what is not theirs; and no answer never means go on.
#[tokio::test]
async fn a_heartbeat_without_a_right_to_it_is_refused() {
    let (world, gate) = open(909).await;
    let key = |agent: &str, tenant: &str| Credential::Agent {
        agent: agent.to_owned(),
        tenant: tenant.to_owned(),
        team: None,
    };
    let decided = gate.decide(Asked::Bytes(call("read", "")), key("bot", "default")).await.expect("decided");
    let receipt = decided.permit.expect("allowed").ground().number();
    let denied = ask(&gate, call("drop", "")).await.reply.receipt_index.expect("a receipt");
    let beat = async |receipt: u64, who: Credential| gate.progress(&ProgressReport::new(receipt), &who).await;
    assert!(beat(receipt, key("bot", "default")).await.expect("an answer").goes_on);
    for who in [key("other", "default"), key("bot", "other"), key("Bot", "default")] {
        assert!(matches!(beat(receipt, who).await, Err(ProgressError::NotYours(_))));
    }
    for unknown in [denied, 0, u64::MAX] {
        assert!(matches!(beat(unknown, key("bot", "default")).await, Err(ProgressError::NotOpen(_))));
    }
    let mut report = ProgressReport::new(receipt);
    report.cost.insert("usd".to_owned(), "-1".parse().expect("a decimal"));
    let refused = gate.progress(&report, &key("bot", "default")).await;
    assert!(matches!(refused, Err(ProgressError::Invalid(_))), "{refused:?}");
    common::fail_syncs(&world);
    let undecided = gate.decide(Asked::Bytes(call("read", "")), Credential::Development).await;
    assert!(undecided.is_err());
    let answer = beat(receipt, key("bot", "default")).await;
    assert!(matches!(answer, Err(ProgressError::Unavailable(_))), "{answer:?}");
}

fn seen(gate: &Gate) -> String {
    let all = gate.stops(&StopFilter::default(), ME).0;
    let view = |stop: &callgate_gate::StopView| format!("{:?} {} {:?}", stop.scope, stop.by, stop.note);
    all.iter().map(view).collect()
}

/// A power cut, or a kill, at every call of the file system: it is stopped or it is not, what was answered holds,
/// and doing it again works.
#[tokio::test]
async fn a_stop_that_breaks_is_whole_or_not_at_all() {
    let world = World::new(910);
    let gate = world.open(Some(&example())).await.expect("opens");
    let kept = stops(&gate, "agent", &[("agent", "rogue")]).await.stop.id;
    drop(gate);
    for lifting in [false, true] {
        for power in [true, false] {
            let (mut old, mut new) = (0, 0);
            for at in 1.. {
                let broken = World { fs: world.fs.fork(), clock: world.clock.clone() };
                let gate = broken.open(None).await.expect("opens");
                let before = seen(&gate);
                let mut faults = Faults::default();
                faults.crash_at = Some(broken.fs.calls() + at);
                broken.fs.set_faults(faults);
                let done = act(&gate, lifting, &kept).await;
                if power {
                    broken.fs.crash();
                } else {
                    broken.fs.kill();
                }
                drop(gate);
                let gate = broken.open(None).await.expect("opens after it");
                let found = seen(&gate);
                if found == before {
                    old += 1;
                    assert!(done.is_err(), "what was answered holds");
                    act(&gate, lifting, &kept).await.expect("done again");
                } else {
                    new += 1;
                }
                let expected = if lifting { "ALLOW" } else { "AGENT_KILLED" };
                assert_eq!(code(&gate, call("read", "")).await, expected);
                gate.close();
                replays(&broken, &gate);
                if done.is_ok() {
                    break;
                }
            }
            assert!(old > 2 && new > 0, "{old} and {new}");
        }
    }
}

async fn act(gate: &Arc<Gate>, lifting: bool, kept: &str) -> Result<(), ControlError> {
    if lifting {
        gate.lift_stop(kept, Some("over"), ME).await.map(|_| ())
    } else {
        gate.stop(stop("agent", &[("agent", "bot")]), ME).await.map(|_| ())
    }
}
