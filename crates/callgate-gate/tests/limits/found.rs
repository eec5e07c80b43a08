//! What the lives of the model ran into once, each as a case of its own.

use std::sync::Arc;

use callgate_core::event::Kind;
use callgate_gate::{Asked, Credential, Gate};
use callgate_store::{Keyring, OsRandom};

use crate::call::Call;
use crate::common::{NOW, World, flips_nothing_of_its_own};
use crate::journal::{LOW, asked, backlog, low};
use crate::kit::{call, open, policy, replays, with};
use crate::leases::Record;
use crate::numbers::{NUMBERS, SETTINGS};

fn ran(tool: &'static str) -> Record {
    let call = Call { agent: LOW, tool, cents: None, chained: false, session: 1, nonce: None };
    Record { call, at: NOW, lease: 0, end: None }
}

/// What ran unchecked has no constraints in its receipt; the snapshot that would have decided it was said to change
/// them.
#[tokio::test]
async fn simulation_knows_nothing_of_the_constraints_of_what_ran_unchecked() {
    let world = World::new(551);
    let gate = world.open(Some(&NUMBERS[0].bundle())).await.expect("opens");
    gate.reconcile(backlog(1, 0, &[ran("get"), ran("drop")], true), &low()).await.expect("taken in");
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("a key ring");
    flips_nothing_of_its_own(&gate, &keyring);
}

const MANY: &str = "breakers:
  - {id: many, per: [agent], trip: {allowed: 2, within: 1h}}
";

/// The next event of that kind; nobody decides meanwhile.
async fn told(gate: &Arc<Gate>, kind: Kind) -> u64 {
    let mut events = gate.events(Some(0));
    loop {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), events.next()).await;
        let event = next.expect("it is told").expect("readable").expect("an event");
        if event.kind == kind {
            return event.id;
        }
    }
}

/// What was handed in opened a breaker, and only the next decision told of it.
#[tokio::test]
async fn a_breaker_that_a_hand_in_opens_is_told_of() {
    let world = World::new(552);
    let bundle = with(MANY, &[("callgate.yaml", SETTINGS)]);
    let gate = open(&world, Some(&bundle), 100_000).await;
    assert!(gate.lease(asked(), &low()).await.expect("an answer").receipt_index.is_some());
    gate.reconcile(backlog(1, 0, &[ran("get"), ran("get")], false), &low()).await.expect("taken in");
    told(&gate, Kind::BreakerOpened).await;
}

/// The power failed between the decision that opened a breaker and the receipt that tells of it: the next start
/// tells, once.
#[tokio::test]
async fn a_breaker_that_opened_before_a_crash_is_told_of_at_the_start() {
    let world = World::new(553);
    let gate = open(&world, Some(&policy(MANY)), 100_000).await;
    for _ in 0..2 {
        let decided = gate.decide(Asked::Bytes(call("bot", "read", "")), Credential::Local).await;
        assert!(decided.expect("decided").permit.is_some());
    }
    // This runtime has one thread: whatever tells of it has not begun.
    let opened = gate.size();
    world.fs.crash();
    drop(gate);
    let gate = open(&world, None, 100_000).await;
    assert_eq!(told(&gate, Kind::BreakerOpened).await, opened);
    let size = gate.size();
    gate.close();
    let gate = open(&world, None, 100_000).await;
    assert_eq!(gate.size(), size);
    gate.close();
    replays(&world, &gate);
}
