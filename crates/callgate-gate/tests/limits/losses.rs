//! The gate is lost at every call to the disk while an action says what it spent, what ran unchecked is handed in,
//! and an operator stops the agent: what was answered holds, and what is done again comes out as if nothing had been.

use std::sync::Arc;

use callgate_core::progress::Halt;
use callgate_gate::{Asked, Credential, Gate, ProgressReport, StopFilter};
use callgate_log::{Body, Statement};
use callgate_store::sim::Faults;

use crate::call::{Call, Scope};
use crate::common::{NOW, World};
use crate::journal::{LOW, asked, backlog, low};
use crate::kit::{chains, level, open, replays, report, said};
use crate::leases::Record;
use crate::life::status;
use crate::loss::Loss;
use crate::numbers::NUMBERS;
use crate::reference::End;

const ME: &Credential = &Credential::Local;

/// Three payments of 0.50, the second of which never began.
fn records() -> [Record; 3] {
    [Some(End::Succeeded), Some(End::NotRun), None].map(|end| {
        let call = Call { agent: LOW, tool: "pay", cents: None, chained: false, session: 1, nonce: None };
        Record { call, at: NOW, lease: 0, end }
    })
}

fn payment() -> Vec<u8> {
    Call { agent: 0, tool: "pay", cents: Some(100), chained: false, session: 1, nonce: None }.bytes(NOW)
}

/// What was answered.
#[derive(Default)]
struct Heard {
    running: Option<u64>,
    spent: bool,
    receipts: Vec<u64>,
    closed: bool,
    stop: Option<String>,
    halted: bool,
    lifted: bool,
}

impl Heard {
    /// A life, until the gate is lost.
    async fn live(&mut self, gate: &Arc<Gate>) -> Option<()> {
        let decided = gate.decide(Asked::Bytes(payment()), Credential::Local).await.ok()?;
        let running = decided.permit?.ground().number();
        self.running = Some(running);
        self.spent = spend(gate, running).await?;
        gate.lease(asked(), &low()).await.ok()?;
        let some = gate.reconcile(backlog(1, 0, &records()[..2], false), &low()).await.ok()?;
        self.receipts = some.receipts;
        self.closed = gate.reconcile(backlog(1, 0, &records(), true), &low()).await.ok()?.closed;
        self.stop = Some(gate.stop(Scope::Agent(0).request(), ME).await.ok()?.stop.id);
        let beat = gate.progress(&ProgressReport::new(running), ME).await.ok()?;
        self.halted = beat.code == Some(Halt::AgentKilled);
        gate.lift_stop(self.stop.as_ref()?, Some("over"), ME).await.ok()?;
        self.lifted = true;
        Some(())
    }
}

/// It says that it has spent 2.50; `None` where nobody answers.
async fn spend(gate: &Gate, running: u64) -> Option<bool> {
    let mut report = ProgressReport::new(running);
    report.cost.insert("usd".to_owned(), "2.50".parse().expect("a decimal"));
    Some(gate.progress(&report, ME).await.ok()?.goes_on)
}

/// What the log says happened.
#[derive(Debug, Default)]
struct Logged {
    running: Option<u64>,
    spent: usize,
    unchecked: Vec<u64>,
    windows: usize,
    halts: usize,
}

fn logged(gate: &Gate) -> Logged {
    let mut logged = Logged::default();
    for receipt in gate.scan() {
        let receipt = receipt.expect("readable");
        match Statement::parse(&receipt.payload).expect("a statement").body() {
            Body::Decision(one) if one.unchecked.is_some() => logged.unchecked.push(receipt.index),
            Body::Decision(one) if one.decision.permits() && one.agent.id == "bot-0" => {
                logged.running = logged.running.or(Some(receipt.index));
            }
            Body::Admin(admin) => match admin.operation.as_str() {
                "action.spend" => logged.spent += 1,
                "unchecked.window" => logged.windows += 1,
                "action.stop" => logged.halts += 1,
                _ => {}
            },
            _ => {}
        }
    }
    logged
}

/// What the gate counts of an agent's payments.
fn counted(gate: &Gate, agent: &str) -> Option<String> {
    level(gate, "spend/agent", agent)
}

/// What was answered holds.
fn holds(heard: &Heard, gate: &Gate, when: &str) -> Logged {
    let found = logged(gate);
    assert!(heard.running.is_none() || heard.running == found.running, "{when}: a permit is lost");
    assert!(!heard.spent || found.spent == 1, "{when}: what it spent is lost");
    assert!(found.unchecked.starts_with(&heard.receipts), "{when}: what ran unchecked is lost");
    assert!(!heard.closed || found.windows == 1, "{when}: a window is lost");
    let own = found.running.map(|_| if found.spent > 0 { "2.5" } else { "1" });
    assert_eq!(counted(gate, "agent=bot-o").as_deref(), own, "{when}");
    found
}

/// The agent is stopped or it is not, whoever asks; and it is told once.
async fn stops(heard: &Heard, found: &Logged, gate: &Gate, when: &str) {
    let stopped = gate.stops(&StopFilter::default(), ME).1 == 1;
    let lifting = found.halts > 0;
    let stays = heard.stop.is_some() && !lifting;
    assert!(stopped || !stays, "{when}: a stop is lost");
    assert!(!stopped || !heard.lifted, "{when}: a lift is lost");
    let call = Call { agent: 0, tool: "get", ..records()[0].call.clone() };
    let decided = gate.decide(Asked::Bytes(call.bytes(NOW)), Credential::Local).await.expect("a decision");
    assert_eq!(said(&decided) == "AGENT_KILLED", stopped, "{when}: {}", said(&decided));
    let Some(running) = found.running else { return };
    let beat = gate.progress(&ProgressReport::new(running), ME).await.expect("an answer");
    assert_eq!(beat.goes_on, !stopped, "{when}");
    assert_eq!(logged(gate).halts, usize::from(stopped || found.halts > 0), "{when}: told once");
    if !stopped {
        assert_eq!(spend(gate, running).await, Some(true));
        assert_eq!(logged(gate).spent, 1, "{when}");
        report(gate, running, status(End::Succeeded), Some(200)).await.expect("taken");
        assert_eq!(counted(gate, "agent=bot-o").as_deref(), Some("2"), "{when}");
    }
}

/// Everything that is handed in again is there once.
async fn once(heard: &Heard, gate: &Gate, when: &str) {
    gate.lease(asked(), &low()).await.expect("an answer");
    for _ in 0..2 {
        let again = gate.reconcile(backlog(1, 0, &records(), true), &low()).await.expect("taken in");
        assert!(again.closed && again.receipts.starts_with(&heard.receipts), "{when}");
        let found = logged(gate);
        assert_eq!((&found.unchecked, found.windows), (&again.receipts, 1), "{when}");
        assert_eq!(again.receipts.len(), records().len(), "{when}");
        assert_eq!(counted(gate, "agent=bot-2").as_deref(), Some("1"), "{when}: once each");
    }
}

#[tokio::test]
async fn a_loss_while_things_run_loses_nothing_that_was_answered() {
    let whole = World::new(521);
    whole.open(Some(&NUMBERS[0].bundle())).await.expect("opens").close();
    let mut lives = 0;
    for loss in [Loss::Power, Loss::Kill, Loss::Error] {
        for at in 1.. {
            let world = World { fs: whole.fs.fork(), clock: whole.clock.clone() };
            // Half of them begin again with a state that was saved.
            let save_every = if at % 2 == 0 { 2 } else { 100_000 };
            let gate = open(&world, None, save_every).await;
            let cut = world.fs.calls() + at;
            world.fs.set_faults(loss.at(cut));
            let mut heard = Heard::default();
            let done = heard.live(&gate).await;
            let reached = world.fs.calls() >= cut;
            assert!(reached || done.is_some());
            drop(gate);
            loss.befalls(&world);
            world.fs.set_faults(Faults::default());
            let gate = open(&world, None, save_every).await;
            let when = format!("{loss:?} at call {at}");
            let found = holds(&heard, &gate, &when);
            stops(&heard, &found, &gate, &when).await;
            once(&heard, &gate, &when).await;
            gate.close();
            chains(&gate, &replays(&world, &gate));
            lives += 1;
            if !reached {
                break;
            }
        }
    }
    assert!(lives > 60, "{lives}");
}
