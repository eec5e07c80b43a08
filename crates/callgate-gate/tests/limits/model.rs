//! Whole lives at random: several agents at once, outcomes true and false, heartbeats, nonces, grants, stops and
//! their lifts, publications that change the limits, actions that ran unchecked, restarts, power cuts and clocks,
//! held against the reference.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::call::{Call, Scope};
use crate::journal::LOW;
use crate::life::Life;
use crate::numbers::NUMBERS;
use crate::reference::End;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// All at once, and a stop among them.
    Ask(Vec<Call>, Option<Scope>),
    End {
        which: usize,
        end: End,
        cents: Option<i64>,
        twice: bool,
    },
    Beat {
        which: usize,
        cents: Option<i64>,
    },
    /// And it is asked again at once.
    Approve {
        which: usize,
        at_once: bool,
    },
    /// By somebody who has seen all of it, or not the last of it.
    Reset {
        which: usize,
        seen: bool,
    },
    Lift(usize),
    /// The point asks what it may do while the gate is away, does something, and hands in a part of what it did.
    Lease,
    RunAway {
        call: Call,
        end: Option<End>,
    },
    HandIn {
        from: usize,
        to: usize,
        complete: bool,
    },
    Publish(usize),
    Clock(i64),
    Restart,
    Crash,
}

const TOOLS: [&str; 7] = ["pay", "get", "buy", "drop", "move", "ask", "near"];

fn calls() -> impl Strategy<Value = Call> {
    let tools = prop_oneof![
        4 => Just("pay"),
        4 => Just("get"),
        3 => Just("buy"),
        2 => Just("ask"),
        1 => Just("near"),
        1 => Just("drop"),
        1 => Just("move")
    ];
    let nonce = prop_oneof![4 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let cents = proptest::option::of(0i64..500);
    (0u8..3, tools, cents, any::<bool>(), 0u8..3, nonce).prop_map(
        |(agent, tool, cents, chained, session, nonce)| {
            // A grant is for exactly what was asked.
            let plain = matches!(tool, "move" | "ask" | "near");
            let (cents, nonce) = (cents.filter(|_| !plain), nonce.filter(|_| !plain));
            Call { agent, tool, cents, chained: chained && !plain, session, nonce }
        },
    )
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![
        1 => Just(Scope::Everything),
        1 => prop_oneof![Just("default"), Just("acme")].prop_map(Scope::Tenant),
        1 => prop_oneof![Just("red"), Just("blue")].prop_map(Scope::Team),
        2 => (0u8..3).prop_map(Scope::Agent),
        1 => (0u8..3, 1u8..3).prop_map(|(agent, session)| Scope::Session(agent, session)),
        2 => (0..TOOLS.len()).prop_map(|tool| Scope::Tool(TOOLS[tool])),
    ]
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Succeeded),
        3 => Just(End::Failed),
        1 => Just(End::Cancelled),
        1 => Just(End::NotRun)
    ]
}

/// What the point does while the gate is away, and after it.
fn away() -> impl Strategy<Value = Op> {
    let run = (calls(), proptest::option::of(ends()))
        .prop_map(|(call, end)| Op::RunAway { call: Call { agent: LOW, nonce: None, ..call }, end });
    let hand_in = (any::<usize>(), any::<usize>(), any::<bool>());
    let hand_in = prop_oneof![
        2 => hand_in,
        1 => hand_in.prop_map(|(_, _, complete)| (0, usize::MAX, complete))
    ];
    prop_oneof![
        2 => Just(Op::Lease),
        3 => run,
        3 => hand_in.prop_map(|(from, to, complete)| Op::HandIn { from, to, complete }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ended = (any::<usize>(), ends(), proptest::option::of(0i64..700), any::<bool>());
    let beat = (any::<usize>(), proptest::option::of(0i64..900));
    // Whole seconds, forwards and back: a moment, a window, a day.
    let clock = prop_oneof![
        6 => 1i64..40,
        4 => 40i64..400,
        1 => 3_000i64..20_000,
        1 => 80_000i64..100_000,
        1 => -5_000i64..0
    ];
    let several = (proptest::collection::vec(calls(), 2..7), proptest::option::weighted(0.25, scopes()));
    let op = prop_oneof![
        10 => proptest::collection::vec(calls(), 1..2).prop_map(|calls| Op::Ask(calls, None)),
        4 => several.prop_map(|(calls, stop)| Op::Ask(calls, stop)),
        6 => ended.prop_map(|(which, end, cents, twice)| Op::End { which, end, cents, twice }),
        4 => beat.prop_map(|(which, cents)| Op::Beat { which, cents }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, at_once)| Op::Approve { which, at_once }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, seen)| Op::Reset { which, seen }),
        2 => any::<usize>().prop_map(Op::Lift),
        4 => away(),
        1 => (0..NUMBERS.len()).prop_map(Op::Publish),
        5 => clock.prop_map(|seconds| Op::Clock(seconds * 1_000)),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..80)
}

async fn live(seed: u64, ops: impl IntoIterator<Item = Op>) -> (usize, BTreeSet<String>) {
    let mut life = Life::begin(seed).await;
    for op in ops {
        life.play(op).await;
    }
    (life.verify(), life.reached)
}

fn run<T>(life: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(life)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_stays_within_its_limits_and_uses_them_up(seed in any::<u64>(), ops in ops()) {
        run(live(seed, ops));
    }
}

/// The lives above are worth something: long ones reach every refusal, every breaker and every turn.
#[test]
fn long_lives_reach_every_control() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut reached, mut ran) = (BTreeSet::new(), 0);
    let long = proptest::collection::vec(ops(), 3).prop_map(|parts| parts.concat()).boxed();
    // Of a point alone: among stops and breakers a lease is hardly ever used up.
    let alone = proptest::collection::vec(away(), 40..80).boxed();
    let lives = std::iter::repeat_n(long, 16).chain(std::iter::repeat_n(alone, 4));
    for (seed, ops) in (0..).zip(lives) {
        let ops = ops.new_tree(&mut runner).expect("ops").current();
        let (permitted, of_this) = run(live(seed, ops));
        ran += permitted;
        reached.extend(of_this);
    }
    let reached: Vec<String> = reached.into_iter().collect();
    let reached = reached.join("\n");
    for wanted in WANTED {
        assert!(reached.contains(wanted), "{wanted} was never reached in {ran} actions");
    }
}

const WANTED: [&str; 47] = [
    "BUDGET_EXCEEDED",
    "RATE_EXCEEDED",
    "BREAKER_OPEN",
    "REPLAY_NONCE",
    "AGENT_KILLED",
    "spend/agent",
    "spend/team",
    "\"up\"",
    "\"lent\"",
    "\"ask\"",
    "\"near\"",
    "roll",
    "often",
    "denied",
    "failing",
    "bucket",
    "slide",
    "near its limit",
    "a grant was used",
    "stop Everything",
    "stop Tenant",
    "stop Team",
    "stop Agent",
    "stop Session",
    "stop Tool",
    "approval stopped",
    "lifted",
    "beat goes on",
    "beat raised",
    "beat AGENT_KILLED",
    "beat BREAKER_OPEN",
    "beat RUNTIME_EXCEEDED",
    "beat BUDGET_EXCEEDED",
    "no lease: stopped",
    "no lease: used up",
    "no lease: a breaker",
    "beyond nothing",
    "beyond no_lease",
    "beyond time",
    "beyond tool",
    "beyond count",
    "handed in too early",
    "handed in again",
    "given back",
    "settled upward",
    "spent after it was given back",
    "counted although given back",
];
