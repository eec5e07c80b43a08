//! The outbox: in order, until it is taken, across failures of the receiver, the disk and the gate.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callgate_core::event::{Courier, Delivering, Delivery, Letter};
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::state::Holder;
use callgate_gate::{Addressee, Gate, Outbox, OutboxOptions};
use callgate_store::sim::Faults;
use common::{NOW, World, ask, call, example};
use tokio::time::Instant;

/// What a courier does next; beyond the list, the last.
#[derive(Debug, Clone)]
enum Does {
    Takes,
    Fails,
    SaysGone,
    Panics,
    Hangs,
    /// Takes it, and then the power fails before anything more is written.
    TakesAndBreaksTheDisk,
}

/// A courier that keeps what it was given: id, what happened to whom, and when.
#[derive(Debug)]
struct Scripted {
    script: Mutex<VecDeque<Does>>,
    given: Mutex<Vec<(String, String, Instant)>>,
    broken: Mutex<Option<callgate_store::sim::SimFs>>,
}

impl Scripted {
    fn new(script: &[Does]) -> Arc<Self> {
        let script = Mutex::new(script.iter().cloned().collect());
        Arc::new(Self { script, given: Mutex::default(), broken: Mutex::default() })
    }

    fn next(&self) -> Does {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        if script.len() > 1 { script.pop_front().unwrap() } else { script.front().unwrap().clone() }
    }

    /// Id, and agent or snapshot.
    fn given(&self) -> Vec<(String, String)> {
        self.given.lock().unwrap().iter().map(|(id, what, _)| (id.clone(), what.clone())).collect()
    }

    fn names(&self) -> Vec<String> {
        self.given().into_iter().map(|(_, what)| what).collect()
    }

    async fn has_been_given(&self, count: usize) {
        let growth = async {
            while self.given().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let grown = tokio::time::timeout(Duration::from_secs(20), growth).await;
        assert!(grown.is_ok(), "{:?}, not {count}", self.given());
    }
}

impl Courier for Scripted {
    fn deliver<'a>(&'a self, letter: &'a Letter<'a>) -> Delivering<'a> {
        Box::pin(async move {
            assert!(letter.id.starts_with("msg_") && letter.id.len() == 36, "{}", letter.id);
            let what = letter.event.text("agent").or(letter.event.text("snapshot")).unwrap_or("?");
            let given = (letter.id.to_owned(), what.to_owned(), Instant::now());
            self.given.lock().unwrap().push(given);
            match self.next() {
                Does::Takes => Delivery::Taken,
                Does::Fails => Delivery::Failed { why: "it answered 500".to_owned(), wait: None },
                Does::SaysGone => Delivery::Gone,
                Does::Panics => panic!("a courier fell over"),
                Does::Hangs => std::future::pending().await,
                Does::TakesAndBreaksTheDisk => {
                    let fs = self.broken.lock().unwrap().clone().unwrap();
                    let mut faults = Faults::default();
                    faults.crash_at = Some(fs.calls().saturating_add(1));
                    fs.set_faults(faults);
                    Delivery::Taken
                }
            }
        })
    }
}

struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn options() -> (OutboxOptions, Said) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&said);
    let options = OutboxOptions {
        first_wait: Duration::from_millis(8),
        longest_wait: Duration::from_millis(64),
        log: Arc::new(move |line| sink.lock().unwrap().push(line.to_owned())),
        ..OutboxOptions::default()
    };
    (options, Said(said))
}

fn addressee(id: &str, wants: &str, courier: &Arc<Scripted>) -> Addressee {
    Addressee {
        id: Name::new(id).unwrap(),
        wants: vec![Pattern::new(wants).unwrap()],
        give_up: Duration::from_secs(60),
        courier: Arc::clone(courier) as Arc<dyn Courier>,
    }
}

async fn start(gate: &Arc<Gate>, courier: &Arc<Scripted>) -> (Outbox, Said) {
    let (options, said) = options();
    let outbox = Outbox::start(gate, vec![addressee("ops", "key.*", courier)], &options).await;
    (outbox.expect("starts"), said)
}

async fn register(gate: &Gate, agent: &str) {
    let holder =
        Holder::Agent { agent: agent.to_owned(), owner: None, team: None, tenant: "default".to_owned() };
    gate.create_key(holder, "ana").await.expect("a key");
}

fn operations(gate: &Gate) -> Vec<String> {
    let payloads = gate.scan().map(|receipt| String::from_utf8(receipt.unwrap().payload).unwrap());
    let operation = |payload: String| {
        let rest = payload.split_once(r#""operation":""#)?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    payloads.filter_map(operation).filter(|operation| operation.starts_with("webhook.")).collect()
}

async fn settled(gate: &Gate, expected: &[&str]) {
    let growth = async {
        while operations(gate).len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), growth).await;
    assert_eq!(operations(gate), expected);
}

#[tokio::test]
async fn events_are_delivered_once_in_order_and_only_those_wanted() {
    let world = World::new(1);
    let gate = world.open(Some(&example())).await.unwrap();
    register(&gate, "before").await;
    let courier = Scripted::new(&[Does::Takes]);
    let (outbox, said) = start(&gate, &courier).await;
    for agent in ["a", "b", "c"] {
        register(&gate, agent).await;
        ask(&gate, call("files.read", "")).await;
    }
    gate.publish(&common::bundle(&[("rules/r.yaml", common::RULES)]), "ana").await.unwrap();
    courier.has_been_given(3).await;
    let deliveries = ["webhook.begin", "webhook.deliver", "webhook.deliver", "webhook.deliver"];
    settled(&gate, &deliveries).await;
    outbox.close().await;
    assert_eq!(courier.names(), ["a", "b", "c"], "nothing from before it was known, nothing else");
    let ids: std::collections::BTreeSet<String> = courier.given().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(said.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_is_tried_again_under_the_same_id_and_said_once() {
    let world = World::new(2);
    let gate = world.open(Some(&example())).await.unwrap();
    let courier = Scripted::new(&[Does::Fails, Does::Panics, Does::Fails, Does::Fails, Does::Takes]);
    let (outbox, said) = start(&gate, &courier).await;
    register(&gate, "a").await;
    register(&gate, "b").await;
    courier.has_been_given(6).await;
    settled(&gate, &["webhook.begin", "webhook.deliver", "webhook.deliver"]).await;
    outbox.close().await;
    assert_eq!(courier.names(), ["a", "a", "a", "a", "a", "b"], "in order: `b` waits for `a`");
    let given = courier.given();
    assert!(given.iter().take(5).all(|(id, _)| *id == given.first().unwrap().0));
    let times: Vec<Instant> = courier.given.lock().unwrap().iter().map(|(_, _, at)| *at).collect();
    let spans: Vec<Duration> =
        times.windows(2).map(|two| two.last().unwrap().duration_since(two[0])).collect();
    for (span, least) in spans.iter().zip([4, 8, 16, 32]) {
        assert!(*span >= Duration::from_millis(least), "{spans:?}");
    }
    let [first, again] = said.lines().try_into().unwrap();
    assert!(first.contains("webhook `ops`: it answered 500"), "{first}");
    assert!(again.contains("takes events again"), "{again}");
}

#[tokio::test]
async fn what_is_not_taken_in_time_is_given_up_together_and_later_events_go_on() {
    let world = World::new(3);
    let gate = world.open(Some(&example())).await.unwrap();
    let courier = Scripted::new(&[Does::Fails]);
    let (outbox, said) = start(&gate, &courier).await;
    for agent in ["a", "b", "c"] {
        register(&gate, agent).await;
    }
    courier.has_been_given(2).await;
    world.clock.set(NOW + 60_000);
    settled(&gate, &["webhook.begin", "webhook.give_up"]).await;
    *courier.script.lock().unwrap() = VecDeque::from([Does::Takes]);
    register(&gate, "d").await;
    settled(&gate, &["webhook.begin", "webhook.give_up", "webhook.deliver"]).await;
    outbox.close().await;
    let tried = courier.names();
    assert!(!tried.contains(&"b".to_owned()) && tried.last().unwrap() == "d", "{tried:?}");
    let lines = said.lines();
    assert!(lines.iter().any(|line| line.contains("3 of its events are given up")), "{lines:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_the_next_start() {
    let world = World::new(4);
    let gate = world.open(Some(&example())).await.unwrap();
    let courier = Scripted::new(&[Does::SaysGone]);
    let (outbox, said) = start(&gate, &courier).await;
    register(&gate, "a").await;
    register(&gate, "b").await;
    settled(&gate, &["webhook.begin", "webhook.stop"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(courier.names(), ["a"]);
    assert!(said.lines().concat().contains("gone for good"), "{:?}", said.lines());
    outbox.close().await;
    gate.close();
    drop(gate);
    let gate = world.open(None).await.unwrap();
    let courier = Scripted::new(&[Does::Takes]);
    let (outbox, _) = start(&gate, &courier).await;
    courier.has_been_given(2).await;
    outbox.close().await;
    assert_eq!(courier.names(), ["a", "b"]);
}

#[tokio::test]
async fn a_restart_goes_on_with_what_came_while_nobody_delivered() {
    let world = World::new(5);
    let gate = world.open(Some(&example())).await.unwrap();
    let courier = Scripted::new(&[Does::Takes]);
    let (outbox, _) = start(&gate, &courier).await;
    register(&gate, "a").await;
    settled(&gate, &["webhook.begin", "webhook.deliver"]).await;
    outbox.close().await;
    register(&gate, "b").await;
    gate.close();
    drop(gate);
    let gate = world.open(None).await.unwrap();
    register(&gate, "c").await;
    let (outbox, _) = start(&gate, &courier).await;
    courier.has_been_given(3).await;
    outbox.close().await;
    assert_eq!(courier.names(), ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_receiver_that_hangs() {
    let world = World::new(6);
    let gate = world.open(Some(&example())).await.unwrap();
    let (hanging, taking) = (Scripted::new(&[Does::Hangs]), Scripted::new(&[Does::Takes]));
    let (options, _) = options();
    let addressees = vec![addressee("hangs", "**", &hanging), addressee("takes", "**", &taking)];
    let outbox = Outbox::start(&gate, addressees, &options).await.unwrap();
    for number in 0..20 {
        register(&gate, &format!("bot-{number}")).await;
        assert!(ask(&gate, call("files.read", "")).await.permit.is_some());
    }
    taking.has_been_given(20).await;
    assert_eq!(hanging.names(), ["bot-0"]);
    drop(outbox);
}

/// The receiver has it, and the gate cannot write that down.
#[tokio::test]
async fn a_crash_after_a_delivery_delivers_again_under_the_same_id() {
    let world = World::new(7);
    let gate = world.open(Some(&example())).await.unwrap();
    let courier = Scripted::new(&[Does::TakesAndBreaksTheDisk, Does::Takes]);
    *courier.broken.lock().unwrap() = Some(world.fs.clone());
    let (outbox, said) = start(&gate, &courier).await;
    register(&gate, "a").await;
    courier.has_been_given(1).await;
    outbox.close().await;
    assert!(said.lines().concat().contains("told again"), "{:?}", said.lines());
    gate.close();
    drop(gate);
    world.fs.set_faults(Faults::default());
    world.fs.crash();
    let gate = world.open(None).await.expect("opens");
    let (outbox, _) = start(&gate, &courier).await;
    courier.has_been_given(2).await;
    register(&gate, "b").await;
    courier.has_been_given(3).await;
    outbox.close().await;
    assert_eq!(courier.names(), ["a", "a", "b"]);
    let given = courier.given();
    assert_eq!(given.first(), given.get(1), "the same id");
}

/// A power cut at any call to the disk: every event that is in the log is delivered, in order.
#[tokio::test]
async fn no_power_cut_loses_an_event_or_its_order() {
    let mut at = 0_u64;
    loop {
        at += 1_u64;
        let world = World::new(100 + at);
        let gate = world.open(Some(&example())).await.unwrap();
        let courier = Scripted::new(&[Does::Takes, Does::Fails, Does::Takes]);
        let (options, _) = options();
        let mut faults = Faults::default();
        faults.crash_at = Some(world.fs.calls() + at);
        world.fs.set_faults(faults);
        let outbox = Outbox::start(&gate, vec![addressee("ops", "key.*", &courier)], &options).await;
        let holder = |agent: &str| Holder::Agent {
            agent: agent.to_owned(),
            owner: None,
            team: None,
            tenant: "default".to_owned(),
        };
        let mut acknowledged = Vec::new();
        if outbox.is_ok() {
            for agent in ["a", "b", "c"] {
                if gate.create_key(holder(agent), "ana").await.is_ok() {
                    acknowledged.push(agent);
                }
            }
        }
        let whole = acknowledged.len() == 3;
        if whole {
            // Some cuts hit the deliveries alone.
            let _ = tokio::time::timeout(Duration::from_millis(40), courier.has_been_given(4)).await;
        }
        let spared = gate.failure().is_none();
        drop(outbox);
        gate.close();
        drop(gate);
        world.fs.set_faults(Faults::default());
        world.fs.crash();
        let gate = world.open(None).await.expect("opens after a power cut");
        let outbox = Outbox::start(&gate, vec![addressee("ops", "key.*", &courier)], &options).await.unwrap();
        // Without a place in the log nothing from before is told.
        register(&gate, "last").await;
        let last = async {
            while courier.names().last().is_none_or(|last| last != "last") {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), last).await.expect("the last is told");
        outbox.close().await;
        let mut told: Vec<(String, String)> = courier.given();
        told.dedup();
        let names: Vec<&str> = told.iter().map(|(_, name)| name.as_str()).collect();
        let expected: Vec<&str> = acknowledged.iter().copied().chain(["last"]).collect();
        // A key whose creation was not acknowledged may be in the log all the same.
        assert!(names.iter().filter(|name| expected.contains(name)).eq(&expected), "cut {at}: {names:?}");
        assert!(names.is_sorted(), "cut {at}: {names:?}");
        if spared && whole {
            break;
        }
    }
    assert!(at > 10, "only {at} calls");
}
