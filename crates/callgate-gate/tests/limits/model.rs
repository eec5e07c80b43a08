//! Whole lives at random: several agents at once, outcomes true and false, nonces, grants, publications
//! that change the limits, restarts, power cuts and clocks, held against the reference.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_core::limit::Amount;
use callgate_gate::{
    ApprovalFilter, Asked, BreakerFilter, Credential, Decided, Gate, LimitFilter, OutcomeStatus,
    ResetRequest, Said, approval_number,
};
use callgate_log::{Body, Statement};
use callgate_store::{Keyring, OsRandom};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::common::{NOW, World, flips_nothing_of_its_own};
use crate::kit::{open, policy, replays, report, usd, used};
use crate::reference::{Call, End, NUMBERS, Numbers, Reference};

#[derive(Debug, Clone)]
enum Op {
    /// All at once.
    Ask(Vec<Call>),
    End {
        which: usize,
        end: End,
        cents: Option<i64>,
        twice: bool,
    },
    Approve(usize),
    /// By somebody who has seen all of it, or not the last of it.
    Reset {
        which: usize,
        seen: bool,
    },
    Publish(usize),
    Clock(i64),
    Restart,
    Crash,
}

fn calls() -> impl Strategy<Value = Call> {
    let tools = prop_oneof![4 => Just("pay"), 4 => Just("get"), 1 => Just("drop"), 1 => Just("move")];
    let nonce = prop_oneof![4 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let cents = proptest::option::of(0i64..500);
    (0u8..3, tools, cents, any::<bool>(), 0u8..3, nonce).prop_map(
        |(agent, tool, cents, chained, session, nonce)| {
            // A grant is for exactly what was asked.
            let plain = tool == "move";
            let (cents, nonce) = (cents.filter(|_| !plain), nonce.filter(|_| !plain));
            Call { agent, tool, cents, chained: chained && !plain, session, nonce }
        },
    )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let end = prop_oneof![
        4 => Just(End::Succeeded),
        3 => Just(End::Failed),
        1 => Just(End::Cancelled),
        1 => Just(End::NotRun)
    ];
    let ended = (any::<usize>(), end, proptest::option::of(0i64..700), any::<bool>());
    // Whole seconds, forwards and back: a moment, a window, a day.
    let clock = prop_oneof![
        6 => 1i64..40,
        4 => 40i64..400,
        1 => 3_000i64..20_000,
        1 => 80_000i64..100_000,
        1 => -5_000i64..0
    ];
    let op = prop_oneof![
        10 => proptest::collection::vec(calls(), 1..2).prop_map(Op::Ask),
        3 => proptest::collection::vec(calls(), 2..7).prop_map(Op::Ask),
        6 => ended.prop_map(|(which, end, cents, twice)| Op::End { which, end, cents, twice }),
        1 => any::<usize>().prop_map(Op::Approve),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, seen)| Op::Reset { which, seen }),
        1 => (0..NUMBERS.len()).prop_map(Op::Publish),
        5 => clock.prop_map(|seconds| Op::Clock(seconds * 1_000)),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..70)
}

struct Life {
    world: World,
    gate: Arc<Gate>,
    numbers: &'static Numbers,
    reference: Reference,
    clock: i64,
    /// After how many receipts the state is saved: often, or never in a life this short.
    save_every: u64,
    permitted: BTreeSet<u64>,
}

fn codes(decided: &Decided) -> Vec<String> {
    decided.reply.reasons.iter().filter_map(|reason| reason.code).map(|code| code.to_string()).collect()
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let world = World::new(seed);
        let numbers = &NUMBERS[0];
        let save_every = if seed.is_multiple_of(2) { 4 } else { 100_000 };
        let gate = open(&world, Some(&policy(&numbers.text())), save_every).await;
        let reference = Reference::default();
        Self { world, gate, numbers, reference, clock: NOW, save_every, permitted: BTreeSet::new() }
    }

    fn now(&self) -> i64 {
        self.gate.now_ms()
    }

    async fn ask(&mut self, calls: Vec<Call>) {
        let now = self.now();
        let asking: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let gate = Arc::clone(&self.gate);
                tokio::spawn(async move {
                    let asked = Asked::Bytes(call.bytes(now));
                    (call, gate.decide(asked, Credential::Local).await.expect("a decision"))
                })
            })
            .collect();
        let mut answers = Vec::new();
        for one in asking {
            let (call, decided) = one.await.expect("ends");
            answers.push((decided.reply.receipt_index.expect("a receipt"), call, decided));
        }
        answers.sort_by_key(|(receipt, ..)| *receipt);
        for (receipt, call, decided) in answers {
            let ran = decided.permit.is_some();
            self.reference.decided(&call, self.numbers, now, (receipt, ran, &codes(&decided)));
            if ran {
                assert!(self.permitted.insert(receipt), "one receipt for two");
            }
        }
    }

    async fn end(&mut self, which: usize, end: End, cents: Option<i64>, twice: bool) {
        let running = self.reference.running();
        let Some(receipt) = running.get(which.checked_rem(running.len()).unwrap_or(0)).copied() else {
            return;
        };
        let status = match end {
            End::Succeeded => OutcomeStatus::Succeeded,
            End::Failed => OutcomeStatus::Failed,
            End::Cancelled => OutcomeStatus::Cancelled,
            End::NotRun => OutcomeStatus::NotRun,
        };
        let now = self.now();
        let taken = report(&self.gate, receipt, status, cents).await.is_ok();
        assert!(self.reference.expects(receipt, now).is_none_or(|expected| taken == expected), "{receipt}");
        if taken {
            self.reference.ended(receipt, end, cents, now);
            if twice {
                report(&self.gate, receipt, OutcomeStatus::NotRun, Some(0)).await.expect_err("it came");
            }
        }
    }

    async fn approve(&mut self, which: usize) {
        let open = self.gate.approvals(&ApprovalFilter::default(), &Credential::Local);
        let Some(one) = open.get(which.checked_rem(open.len()).unwrap_or(0)) else { return };
        let id = approval_number(&one.id).expect("a number");
        let ana = Credential::Person { id: "ana".into(), roles: vec!["ops".into()], tenant: None };
        if self.gate.approve(id, &ana, Said::default()).await.is_ok() {
            self.reference.granted += 1;
        }
    }

    async fn reset(&mut self, which: usize, seen: bool) {
        let (open, _) = self.gate.breakers(&BreakerFilter::default(), &Credential::Local);
        let Some(one) = open.get(which.checked_rem(open.len()).unwrap_or(0)) else { return };
        let through = if seen { one.through } else { one.through - 1 };
        let what = ResetRequest { name: one.name.clone(), note: Some("looked at it".into()), through };
        let agent = Credential::Agent { agent: "bot-0".into(), tenant: "default".into(), team: None };
        self.gate.reset_breaker(what.clone(), &agent).await.expect_err("an agent");
        let done = self.gate.reset_breaker(what, &Credential::Local).await;
        assert_eq!(done.is_ok(), seen, "{done:?}");
        if seen {
            // Names of meters are folded.
            let key = match one.blocks.split_once('=').expect("a key").1 {
                "bot-o" => "0",
                "bot-l" => "1",
                "bot-2" => "2",
                tool if one.limit == "failing" => tool.rsplit('.').next().expect("a name"),
                team => team,
            };
            self.reference.reset(&one.limit, key);
        }
    }

    async fn play(&mut self, op: Op) {
        match op {
            Op::Ask(calls) => self.ask(calls).await,
            Op::End { which, end, cents, twice } => self.end(which, end, cents, twice).await,
            Op::Approve(which) => self.approve(which).await,
            Op::Reset { which, seen } => self.reset(which, seen).await,
            Op::Publish(number) => {
                self.numbers = &NUMBERS[number];
                let bundle = policy(&self.numbers.text());
                self.gate.publish(&bundle, "operator").await.expect("published");
            }
            Op::Clock(by) => {
                self.clock = (self.clock + by).max(NOW);
                self.world.clock.set(self.clock);
            }
            Op::Restart => {
                self.gate.close();
                self.gate = open(&self.world, None, self.save_every).await;
            }
            Op::Crash => {
                self.world.fs.crash();
                self.gate = open(&self.world, None, self.save_every).await;
            }
        }
    }

    /// What the log says at the end.
    fn verify(&self) -> usize {
        let now = self.now();
        let live = self.gate.meters(&LimitFilter::default(), &Credential::Local);
        let live: Vec<_> = live.into_iter().map(|view| (view.name, view.used)).collect();
        self.gate.close();
        let mut permitted = BTreeSet::new();
        for receipt in self.gate.scan() {
            let receipt = receipt.expect("readable");
            match Statement::parse(&receipt.payload).expect("a statement").body() {
                Body::Decision(one) if one.decision.permits() && one.snapshot.version.starts_with('v') => {
                    permitted.insert(receipt.index);
                }
                _ => {}
            }
        }
        assert_eq!(permitted, self.permitted, "what may run is what the log has");
        let state = replays(&self.world, &self.gate);
        let folded =
            state.meters().list("").map(|(name, meter)| (name.to_owned(), meter.used(now).to_string()));
        assert_eq!(live, folded.collect::<Vec<_>>(), "the meters are those that the log folds to");
        let keyring = Keyring::open(self.world.fs(), Arc::new(OsRandom)).expect("a key ring");
        flips_nothing_of_its_own(&self.gate, &keyring);
        let found = used(&state, "spend/agent", now);
        for agent in 0..3u8 {
            let spent: Amount = usd(self.reference.spent(agent, now)).parse().expect("an amount");
            let found =
                found.get(&format!("agent=bot-{agent}").replace("bot-0", "bot-o").replace("bot-1", "bot-l"));
            assert_eq!(found.cloned().unwrap_or_else(|| "0".to_owned()), spent.to_string(), "{agent}");
        }
        let mut open: Vec<String> =
            state.meters().opened().map(|(_, opened)| opened.id().to_owned()).collect();
        open.sort();
        assert_eq!(open, self.reference.open());
        permitted.len()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_stays_within_its_limits_and_uses_them_up(seed in any::<u64>(), ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut life = Life::begin(seed).await;
            for op in ops {
                life.play(op).await;
            }
            life.verify();
        });
    }
}

/// The lives above are worth something: long ones reach every refusal and every breaker.
#[test]
fn long_lives_reach_every_control() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut reached, mut ran) = (BTreeSet::new(), 0);
    for seed in 0..16 {
        let ops = proptest::collection::vec(ops(), 3).new_tree(&mut runner).expect("ops").current();
        runtime.block_on(async {
            let mut life = Life::begin(seed).await;
            for op in ops.into_iter().flatten() {
                life.play(op).await;
            }
            ran += life.verify();
            for receipt in life.gate.scan() {
                let receipt = receipt.expect("readable");
                if let Body::Decision(one) = Statement::parse(&receipt.payload).expect("a statement").body() {
                    reached.extend(one.reasons.iter().map(|reason| format!("{reason:?}")));
                }
            }
        });
    }
    let reached: String = reached.into_iter().collect();
    for wanted in [
        "BUDGET_EXCEEDED",
        "RATE_EXCEEDED",
        "BREAKER_OPEN",
        "REPLAY_NONCE",
        "spend/agent",
        "spend/team",
        "roll",
        "often",
        "denied",
        "failing",
        "bucket",
        "slide",
    ] {
        assert!(reached.contains(wanted), "{wanted} was never reached in {ran} actions");
    }
}
