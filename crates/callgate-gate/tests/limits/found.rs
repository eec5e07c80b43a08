//! What the lives of the model ran into once, each as a case of its own.

use std::sync::Arc;

use callgate_store::{Keyring, OsRandom};

use crate::call::Call;
use crate::common::{NOW, World, flips_nothing_of_its_own};
use crate::journal::{LOW, backlog, low};
use crate::leases::Record;
use crate::numbers::NUMBERS;

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
