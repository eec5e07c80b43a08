//! The gate is lost at every call to the disk, in every way: afterwards every permit that was handed out is
//! counted, nothing is counted twice, and nothing that the log does not have.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_gate::{Asked, BreakerFilter, Credential, Gate, OutcomeStatus, Permit, ResetRequest};
use callgate_log::{Body, Statement};
use callgate_store::sim::Faults;

use crate::common::{NOW, World};
use crate::kit::{call, open, policy, replays, report, said, usd, used};

/// The same meters at another height.
fn limits(dollars: u32) -> String {
    format!(
        r#"
budgets:
  - {{id: spend, match: {{tools: [files.pay]}}, unit: usd, limit: "{dollars}", per: [agent], over: day, estimate: "0.01"}}
  - {{id: all, match: {{tools: [files.pay]}}, unit: usd, limit: "100", per: [], over: 1h, estimate: "0.01"}}
breakers:
  - {{id: flaky, match: {{tools: [files.flaky]}}, per: [tool], trip: {{failures: 100%, at_least: 1, within: 1h}}, half_open: {{after: 1m}}}}
  - {{id: many, per: [agent], match: {{tools: [files.many]}}, trip: {{allowed: 1, within: 1h}}}}
"#
    )
}

/// What the client knows: what it asked for, what it was given, what it reported.
#[derive(Default)]
struct Client {
    /// Cents by receipt of what may run.
    given: BTreeMap<u64, i64>,
    /// Cents that were asked for last, and how long the log was, until there is an answer.
    asking: Option<(u64, i64)>,
    /// Cents by decision of what was reported and answered.
    settled: BTreeMap<u64, i64>,
    reporting: Option<(u64, i64)>,
    breaker: Breaker,
}

/// How far the client came with the breaker of `files.many`: what was tried, and what was answered.
#[derive(Default)]
enum Breaker {
    #[default]
    Closed,
    Opening,
    Open,
    Closing,
}

impl Client {
    async fn pay(&mut self, gate: &Gate, cents: i64) -> Option<Option<Permit>> {
        self.asking = Some((gate.size(), cents));
        let bytes = call("bot", "pay", &format!(r#""cost":{{"usd":"{}"}}"#, usd(cents)));
        let decided = gate.decide(Asked::Bytes(bytes), Credential::Local).await.ok()?;
        self.asking = None;
        if let Some(permit) = &decided.permit {
            self.given.insert(permit.ground().number(), cents);
        }
        Some(decided.permit)
    }

    async fn settle(&mut self, gate: &Gate, receipt: u64, cents: i64) -> Option<()> {
        self.reporting = Some((receipt, cents));
        report(gate, receipt, OutcomeStatus::Succeeded, Some(cents)).await.ok()?;
        self.settled.insert(receipt, cents);
        self.reporting = None;
        Some(())
    }

    async fn flaky(&mut self, gate: &Gate, status: OutcomeStatus) -> Option<()> {
        let decided = gate.decide(Asked::Bytes(call("bot", "flaky", "")), Credential::Local).await.ok()?;
        let permit = decided.permit?;
        report(gate, permit.ground().number(), status, None).await.ok().map(|_| ())
    }

    /// A life, until the gate is lost.
    async fn live(&mut self, gate: &Arc<Gate>, world: &World) -> Option<()> {
        let first = self.pay(gate, 200).await??.ground().number();
        self.settle(gate, first, 150).await?;
        let _unsettled = self.pay(gate, 100).await??;
        self.flaky(gate, OutcomeStatus::Failed).await?;
        world.clock.set(NOW + 60_000);
        self.flaky(gate, OutcomeStatus::Succeeded).await?;
        gate.publish(&policy(&limits(3)), "operator").await.ok()?;
        assert!(self.pay(gate, 100).await?.is_none(), "3.50 do not fit into 3");
        let last = self.pay(gate, 50).await??.ground().number();
        self.settle(gate, last, 75).await?;
        self.breaker = Breaker::Opening;
        let decided = gate.decide(Asked::Bytes(call("crowd", "many", "")), Credential::Local).await.ok()?;
        assert!(decided.permit.is_some());
        self.breaker = Breaker::Open;
        let open = gate.breakers(&BreakerFilter::default(), &Credential::Local).0.remove(0);
        let what = ResetRequest { name: open.name.clone(), note: Some("seen".into()), through: open.through };
        self.breaker = Breaker::Closing;
        gate.reset_breaker(what, &Credential::Local).await.ok()?;
        self.breaker = Breaker::Closed;
        Some(())
    }

    /// Whether the breaker of `files.many` must be open, if that can be told.
    fn open(&self) -> Option<bool> {
        match self.breaker {
            Breaker::Closed => Some(false),
            Breaker::Open => Some(true),
            Breaker::Opening | Breaker::Closing => None,
        }
    }

    /// What must be counted, by the log's own account of what it has.
    fn counted(&self, gate: &Gate) -> i64 {
        let mut counts: BTreeMap<u64, i64> = BTreeMap::new();
        for receipt in gate.scan() {
            let receipt = receipt.expect("readable");
            match Statement::parse(&receipt.payload).expect("a statement").body() {
                Body::Decision(one) if one.decision.permits() => {
                    let pays = self.given.get(&receipt.index).copied();
                    // What was asked last may have come into the log although nobody heard of it.
                    let unheard = self.asking.filter(|(size, _)| receipt.index >= *size);
                    let cents = pays.or(unheard.map(|(_, cents)| cents));
                    counts.extend(cents.map(|cents| (receipt.index, cents)));
                }
                Body::Outcome(one) => {
                    let decision = u64::try_from(one.decision_receipt.index.get()).expect("an index");
                    let reported = self.settled.get(&decision).copied();
                    let reported = reported.or_else(|| {
                        self.reporting.filter(|(index, _)| *index == decision).map(|(_, cents)| cents)
                    });
                    if let (Some(cents), Some(count)) = (reported, counts.get_mut(&decision)) {
                        *count = cents;
                    }
                }
                _ => {}
            }
        }
        for given in self.given.keys() {
            assert!(counts.contains_key(given), "receipt {given} was given and is lost");
        }
        for (decision, cents) in &self.settled {
            assert_eq!(counts.get(decision), Some(cents), "what was reported is lost");
        }
        counts.values().sum()
    }
}

impl Client {
    /// What must be counted of what was answered.
    fn heard(&self) -> i64 {
        self.given.iter().map(|(one, cents)| self.settled.get(one).unwrap_or(cents)).sum()
    }
}

/// What the gate itself says is used, in a denial.
async fn told(gate: &Gate) -> String {
    let bytes = call("bot", "pay", r#""cost":{"usd":"1000000"}"#);
    let decided = gate.decide(Asked::Bytes(bytes), Credential::Local).await.expect("a decision");
    assert_eq!(said(&decided), "BUDGET_EXCEEDED");
    let reasons = decided.reply.reasons.iter().filter(|reason| reason.rule.as_deref() == Some("spend"));
    let message = reasons.map(|reason| reason.message.clone()).next().expect("a reason");
    let used = message.split_once("fit: ").and_then(|(_, rest)| rest.split_once(" of "));
    used.unwrap_or_else(|| panic!("{message}")).0.to_owned()
}

/// How a gate is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    Power,
    Kill,
    Error,
}

impl Loss {
    /// The fault that it begins with.
    pub(crate) fn at(self, cut: u64) -> Faults {
        let mut faults = Faults::default();
        match self {
            Self::Error => faults.fail_at = Some(cut),
            Self::Power | Self::Kill => faults.crash_at = Some(cut),
        }
        faults
    }

    /// What it leaves on the disk.
    pub(crate) fn befalls(self, world: &World) {
        match self {
            Self::Power => world.fs.crash(),
            Self::Kill | Self::Error => world.fs.kill(),
        }
    }
}

#[tokio::test]
async fn a_loss_at_any_moment_neither_leaks_nor_loses_a_unit() {
    let whole = World::new(520);
    whole.open(Some(&policy(&limits(4)))).await.expect("opens").close();
    let (mut seen, mut unheard, mut lives) = (std::collections::BTreeSet::new(), 0, 0);
    for loss in [Loss::Power, Loss::Kill, Loss::Error] {
        for at in 1.. {
            whole.clock.set(NOW);
            let world = World { fs: whole.fs.fork(), clock: whole.clock.clone() };
            // Half of them begin again with a state that was saved.
            let save_every = if at % 2 == 0 { 2 } else { 100_000 };
            let gate = open(&world, None, save_every).await;
            let cut = world.fs.calls() + at;
            world.fs.set_faults(loss.at(cut));
            let mut client = Client::default();
            let done = client.live(&gate, &world).await;
            let reached = world.fs.calls() >= cut;
            assert!(reached || done.is_some());
            drop(gate);
            loss.befalls(&world);
            world.fs.set_faults(Faults::default());
            let gate = open(&world, None, save_every).await;
            let expected = client.counted(&gate);
            unheard += usize::from(expected != client.heard());
            let now = gate.now_ms();
            let state = replays(&world, &gate);
            let open = |name: &str| name.starts_with("many@");
            let opened = state.meters().opened().any(|(name, _)| open(name));
            let (live, _) = gate.breakers(&BreakerFilter::default(), &Credential::Local);
            assert_eq!(live.iter().any(|view| open(&view.name)), opened);
            assert!(client.open().is_none_or(|must| opened == must), "{loss:?} at call {at}");
            let folded = used(&state, "spend", now);
            let folded = folded.get("agent=bot").cloned().unwrap_or_else(|| "0".to_owned());
            let live = told(&gate).await;
            let shown: callgate_core::limit::Amount = usd(expected).parse().expect("an amount");
            assert_eq!((&live, &folded), (&shown.to_string(), &shown.to_string()), "{loss:?} at call {at}");
            // What is left can be had to the last cent, and not one more.
            let most = if gate.snapshot().0 == "v1" { 400 } else { 300 };
            if expected < most {
                assert!(client.pay(&gate, most - expected).await.expect("answers").is_some());
            }
            assert!(client.pay(&gate, 1).await.expect("answers").is_none(), "{loss:?} at call {at}");
            seen.insert(expected);
            lives += 1;
            gate.close();
            replays(&world, &gate);
            if !reached {
                break;
            }
        }
    }
    assert!(seen.len() >= 5 && unheard > 0 && lives > 60, "{seen:?} {unheard} {lives}");
}
