//! Two kinds of things at once for one last unit: heartbeats, outcomes, hand-ins, stops and people, each 64 times.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_gate::{
    Asked, BreakerFilter, Credential, Decided, FailWord, Gate, OutcomeStatus, ProgressReport, ResetRequest,
    StopFilter,
};
use callgate_log::{Body, Statement};
use tokio::sync::Barrier;

use crate::call::{Call, Scope, key};
use crate::common::{NOW, World};
use crate::journal::{LOW, asked, backlog, low, most};
use crate::kit::{call, level, policy, replays, report, said};
use crate::leases::Record;
use crate::numbers::{AWAY, NUMBERS};

const RACERS: usize = 64;
const ROUNDS: u64 = 8;
const ME: &Credential = &Credential::Local;

const LIMITS: &str = r#"
budgets:
  - {id: spend, match: {tools: [files.pay]}, unit: usd, limit: "3", per: [agent], over: day, estimate: "1"}
breakers:
  - {id: many, per: [agent], match: {tools: [files.many]}, trip: {allowed: 1, within: 1h}}
"#;

/// Does `what` so many times, all from the same moment on.
fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    times: usize,
    start: &Arc<Barrier>,
    what: impl Fn(usize) -> F,
) -> Vec<tokio::task::JoinHandle<T>> {
    let begun = |number| {
        let (start, doing) = (Arc::clone(start), what(number));
        tokio::spawn(async move {
            start.wait().await;
            doing.await
        })
    };
    (0..times).map(begun).collect()
}

async fn all<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("ends"));
    }
    done
}

async fn decide(gate: &Gate, bytes: Vec<u8>) -> Decided {
    gate.decide(Asked::Bytes(bytes), Credential::Local).await.expect("an answer")
}

async fn pays(gate: &Gate, agent: &str) -> u64 {
    decide(gate, call(agent, "pay", "")).await.permit.expect("it fits").ground().number()
}

fn spent(gate: &Gate, agent: &str) -> String {
    level(gate, "spend", &key("agent", agent)).unwrap_or_default()
}

/// How many receipts of an operation the log has.
fn acts(gate: &Gate, wanted: &str) -> usize {
    let all = gate.scan().map(|receipt| receipt.expect("readable"));
    let of = |payload: &[u8]| match Statement::parse(payload).expect("a statement").body() {
        Body::Admin(admin) => admin.operation == wanted,
        _ => false,
    };
    all.filter(|receipt| of(&receipt.payload)).count()
}

async fn opened(seed: u64) -> (World, Arc<Gate>) {
    let world = World::new(seed);
    let gate = world.open(Some(&policy(LIMITS))).await.expect("opens");
    (world, gate)
}

/// What runs says that it has spent the last unit while 64 ask for it: one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_and_64_decisions_share_one_last_unit() {
    let (world, gate) = opened(530).await;
    for round in 0..ROUNDS {
        let agent = format!("bot-{round}");
        let running = pays(&gate, &agent).await;
        pays(&gate, &agent).await;
        let start = Arc::new(Barrier::new(RACERS + 1));
        let asking = at_once(RACERS, &start, |_| {
            let (gate, bytes) = (Arc::clone(&gate), call(&agent, "pay", ""));
            async move { decide(&gate, bytes).await }
        });
        let beating = at_once(1, &start, |_| {
            let gate = Arc::clone(&gate);
            let mut report = ProgressReport::new(running);
            report.cost.insert("usd".to_owned(), "2".parse().expect("a decimal"));
            async move { gate.progress(&report, ME).await.expect("an answer") }
        });
        let goes_on = all(beating).await.iter().filter(|progress| progress.goes_on).count();
        let ran = all(asking).await.iter().filter(|decided| decided.permit.is_some()).count();
        assert_eq!(goes_on + ran, 1, "{goes_on} and {ran}");
        assert_eq!(spent(&gate, &agent), if ran == 1 { "4" } else { "3" });
    }
    gate.close();
    replays(&world, &gate);
}

/// 64 ask while an outcome gives back the last unit: nobody gets what was not given back, and it is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_outcome_gives_back_is_had_once() {
    let (world, gate) = opened(531).await;
    for round in 0..ROUNDS {
        let agent = format!("bot-{round}");
        let running = pays(&gate, &agent).await;
        pays(&gate, &agent).await;
        pays(&gate, &agent).await;
        let start = Arc::new(Barrier::new(RACERS + 1));
        let asking = at_once(RACERS, &start, |_| {
            let (gate, bytes) = (Arc::clone(&gate), call(&agent, "pay", ""));
            async move { decide(&gate, bytes).await }
        });
        let ending = at_once(1, &start, |_| {
            let gate = Arc::clone(&gate);
            async move { report(&gate, running, OutcomeStatus::NotRun, None).await.expect("taken") }
        });
        let ended = all(ending).await.remove(0);
        let ran = all(asking).await.into_iter().filter_map(|decided| decided.permit);
        let ran: Vec<u64> = ran.map(|permit| permit.ground().number()).collect();
        assert!(ran.len() <= 1 && ran.iter().all(|receipt| *receipt > ended), "{ran:?} and {ended}");
        let more = decide(&gate, call(&agent, "pay", "")).await.permit.is_some();
        assert_eq!(more, ran.is_empty(), "it is had once");
        assert_eq!(spent(&gate, &agent), "3");
    }
    gate.close();
    replays(&world, &gate);
}

/// 64 say how one action ended, each something else: one of them is believed, and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_outcomes_of_one_action_one_is_taken() {
    let (world, gate) = opened(532).await;
    for round in 0..ROUNDS {
        let agent = format!("bot-{round}");
        let running = pays(&gate, &agent).await;
        let start = Arc::new(Barrier::new(RACERS));
        let reports = at_once(RACERS, &start, |number| {
            let gate = Arc::clone(&gate);
            let cents = i64::try_from(number).expect("few") + 100;
            async move {
                let taken = report(&gate, running, OutcomeStatus::Succeeded, Some(cents)).await;
                taken.ok().map(|_| cents)
            }
        });
        let taken: Vec<i64> = all(reports).await.into_iter().flatten().collect();
        let [cents] = taken.as_slice() else { panic!("{taken:?}") };
        let counted: callgate_core::limit::Amount = crate::kit::usd(*cents).parse().expect("an amount");
        assert_eq!(spent(&gate, &agent), counted.to_string());
    }
    gate.close();
    replays(&world, &gate);
}

/// 64 people at once reset one breaker, and lift one stop; 64 heartbeats hear that their action must stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_64_do_at_once_is_done_once() {
    let (world, gate) = opened(533).await;
    let running = pays(&gate, "bot").await;
    assert!(decide(&gate, call("bot", "many", "")).await.permit.is_some());
    let breaker = gate.breakers(&BreakerFilter::default(), ME).0.remove(0);
    let start = Arc::new(Barrier::new(RACERS));
    let reset = at_once(RACERS, &start, |number| {
        let (gate, note) = (Arc::clone(&gate), Some(format!("seen by {number}")));
        let what = ResetRequest { name: breaker.name.clone(), note, through: breaker.through };
        async move { gate.reset_breaker(what, ME).await.is_ok() }
    });
    assert_eq!(all(reset).await.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(said(&decide(&gate, call("bot", "read", "")).await), "ALLOW");
    let stop = gate.stop(Scope::Tool("pay").request(), ME).await.expect("stopped").stop.id;
    let beats = at_once(RACERS, &start, |_| {
        let gate = Arc::clone(&gate);
        async move { gate.progress(&ProgressReport::new(running), ME).await.expect("an answer").goes_on }
    });
    assert!(all(beats).await.into_iter().all(|goes_on| !goes_on));
    let lifts = at_once(RACERS, &start, |_| {
        let (gate, stop) = (Arc::clone(&gate), stop.clone());
        async move { gate.lift_stop(&stop, Some("over"), ME).await.is_ok() }
    });
    assert_eq!(all(lifts).await.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(gate.stops(&StopFilter::default(), ME).1, 0);
    assert_eq!(["breaker.reset", "action.stop", "stop.lift"].map(|act| acts(&gate, act)), [1, 1, 1]);
    gate.close();
    replays(&world, &gate);
}

fn ran_away(number: usize) -> Record {
    let session = u8::try_from(number % 3).expect("few");
    let call = Call { agent: LOW, tool: "get", cents: None, chained: false, session, nonce: None };
    Record { call, at: NOW, lease: 0, end: None }
}

/// A point hands in what ran, 64 times at once, while 64 ask for leases and the agent is stopped and let go on:
/// each action is there once, no lease is for more than what is left at its place in the log, and none stands
/// between a stop and its lift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_is_for_what_ran_already_or_is_stopped() {
    let records: Vec<Record> = (0..usize::try_from(AWAY).expect("few")).map(ran_away).collect();
    let (mut granted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let world = World::new(540 + round);
        let gate = world.open(Some(&NUMBERS[0].bundle())).await.expect("opens");
        let start = Arc::new(Barrier::new(RACERS + RACERS + 1));
        let leases = at_once(RACERS, &start, |number| {
            let gate = Arc::clone(&gate);
            async move {
                for _ in 0..number % 4 {
                    tokio::task::yield_now().await;
                }
                gate.lease(asked(), &low()).await.expect("an answer")
            }
        });
        let handed = at_once(RACERS, &start, |number| {
            let (gate, whole) = (Arc::clone(&gate), number.is_multiple_of(2));
            let part = if whole { records.clone() } else { records[..1].to_vec() };
            async move { gate.reconcile(backlog(1, 0, &part, whole), &low()).await }
        });
        let stopped = at_once(1, &start, |_| {
            let gate = Arc::clone(&gate);
            async move {
                let stop = gate.stop(Scope::Agent(LOW).request(), ME).await.expect("stopped").stop;
                gate.lift_stop(&stop.id, Some("over"), ME).await.expect("lifted");
            }
        });
        all(stopped).await;
        for reply in all(leases).await {
            match reply.fail_mode {
                FailWord::Open => granted += 1,
                FailWord::Closed => refused += 1,
            }
        }
        let known: BTreeSet<u64> =
            all(handed).await.into_iter().flatten().flat_map(|it| it.receipts).collect();
        assert_eq!(known.len(), records.len(), "each is there once");
        assert_eq!(acts(&gate, "unchecked.window"), 1);
        in_order(&gate);
        gate.close();
        replays(&world, &gate);
    }
    assert!(granted > 0 && refused > 0, "{granted} and {refused}");
}

/// What each lease says fits what stands before it in the log.
fn in_order(gate: &Gate) {
    let (mut ran, mut stopped) = (0, false);
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match Statement::parse(&receipt.payload).expect("a statement").body() {
            Body::Decision(one) if one.unchecked.is_some() => ran += 1,
            Body::Admin(admin) => match admin.operation.as_str() {
                "stop.create" => stopped = true,
                "stop.lift" => stopped = false,
                "point.leased" => {
                    assert!(!stopped, "receipt {}: a lease for what is stopped", receipt.index);
                    assert_eq!(most(gate, receipt.index), AWAY - ran, "receipt {}", receipt.index);
                }
                _ => {}
            },
            _ => {}
        }
    }
}
