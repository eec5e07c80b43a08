//! 64 at once for the last unit of every control: one wins, everybody is answered in time, and every
//! answer has its receipt.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_gate::{Asked, Bundle, Credential, Decided, Gate, OutcomeStatus, Said, approval_number};
use tokio::sync::Barrier;

use crate::common::{NOW, World};
use crate::kit::{call, replays, report, said, used, with};

const RACERS: u64 = 64;
const ROUNDS: u64 = 3;

/// Each control speaks of a tool of its own, and has room for three.
const LIMITS: &str = r#"
budgets:
  - {id: day, match: {tools: [files.day]}, unit: calls, limit: "3", per: [agent], over: day}
  - {id: roll, match: {tools: [files.roll]}, unit: usd, limit: "1.50", per: [user], over: 1h, estimate: "0.50"}
  - {id: tree, match: {tools: [files.tree]}, unit: usd, levels: {agent: "3", team: "3", tenant: "3"}, over: hour, estimate: "1"}
  - {id: chain, match: {tools: [files.chain]}, unit: calls, limit: "3", per: [chain], over: day}
  - {id: life, match: {tools: [files.life]}, unit: calls, limit: "3", per: [session], over: execution}
  - {id: ask, match: {tools: [files.ask]}, unit: calls, limit: "3", per: [agent], over: day, exceed: require_approval, approval: {reviewers: ["role:ops"]}}
  - {id: near, match: {tools: [files.near]}, unit: calls, limit: "100", per: [agent], over: day, near: {at: 4%, then: require_approval, approval: {reviewers: ["role:ops"]}}}
  - {id: month, match: {tools: [files.month]}, unit: calls, limit: "3", per: [agent], over: month}
  - {id: purse, match: {tools: [files.burn]}, unit: calls, limit: "6", per: [agent], over: day}
  - {id: wide, match: {tools: [files.wide]}, unit: calls, limit: "512", per: [], over: day, near: {at: 50%}}
throttles:
  - {id: bucket, match: {tools: [files.bucket]}, rate: 1/1h, burst: 3, per: [agent, tool]}
  - {id: slide, match: {tools: [files.slide]}, at_most: 3, within: 1h, per: [agent]}
breakers:
  - {id: often, match: {tools: [files.often]}, per: [agent], trip: {allowed: 3, within: 1h}}
  - {id: sum, match: {tools: [files.sum]}, per: [agent], trip: {sum: "3", unit: usd, estimate: "1", within: 1h}}
  - {id: distinct, match: {tools: [files.distinct]}, per: [agent], trip: {distinct: 3, of: args.n, within: 1h}}
  - {id: burn, trip: {burn: 50%, of: purse, within: 10m}}
  - {id: probe, match: {tools: [files.probe]}, per: [agent], trip: {failures: 100%, at_least: 2, within: 1h}, half_open: {after: 1m}}
"#;

const TOOLS: &str = r#"{"tools":[{"name":"refund","inputSchema":{"type":"object","properties":{}}}]}"#;
const DOGWOOD: &str = r#"@id("three") forbid (principal, action == Action::"shop.refund", resource)
when temporal { count_within(24h, Action::"shop.refund"::allowed{}) > 3 };"#;

fn policy() -> Bundle {
    with(LIMITS, &[("tools/shop.json", TOOLS), ("policies/p.dogwood", DOGWOOD)])
}

async fn decide(gate: &Gate, bytes: Vec<u8>) -> Decided {
    gate.decide(Asked::Bytes(bytes), Credential::Local).await.expect("an answer within the deadline")
}

/// What a control is raced with.
struct Control {
    tool: &'static str,
    /// What those hear that come too late.
    lost: &'static str,
    /// How many run before the race.
    before: u64,
}

const fn control(tool: &'static str, lost: &'static str) -> Control {
    Control { tool, lost, before: 2 }
}

const CONTROLS: [Control; 18] = [
    control("day", "BUDGET_EXCEEDED"),
    control("month", "BUDGET_EXCEEDED"),
    control("roll", "BUDGET_EXCEEDED"),
    control("tree", "BUDGET_EXCEEDED"),
    control("chain", "BUDGET_EXCEEDED"),
    control("life", "BUDGET_EXCEEDED"),
    control("ask", "APPROVAL_REQUIRED"),
    control("near", "APPROVAL_REQUIRED"),
    control("bucket", "RATE_EXCEEDED"),
    control("slide", "RATE_EXCEEDED"),
    control("often", "BREAKER_OPEN"),
    control("sum", "BREAKER_OPEN"),
    control("distinct", "BREAKER_OPEN"),
    control("burn", "BREAKER_OPEN"),
    control("shop.refund", "DENIED_BY_RULE"),
    Control { tool: "probe", lost: "BREAKER_OPEN", before: 2 },
    Control { tool: "nonce", lost: "REPLAY_NONCE", before: 0 },
    Control { tool: "move", lost: "APPROVAL_REQUIRED", before: 0 },
];

/// What racer `number` asks: as different from the others as the control lets it be.
fn question(tool: &str, round: u64, number: u64, now_ms: i64) -> Vec<u8> {
    // An open breaker stops everything its agent does.
    let bot = format!("bot-{}-{round}", tool.replace('.', "-"));
    let own = format!(r#""session":{{"id":"s{number}"}}"#);
    match tool {
        "tree" => {
            let agent = format!(r#"{{"id":"bot-{round}-{number}","team":"team-{round}"}}"#);
            format!(
                r#"{{"agent":{agent},"tenant":"tenant-{round}","tool":{{"server":"files","name":"tree"}},{own}}}"#
            )
            .into_bytes()
        }
        "chain" => {
            let agent = format!(r#"{{"id":"bot-{round}-{number}","chain":["boss-{round}"]}}"#);
            format!(r#"{{"agent":{agent},"tool":{{"server":"files","name":"chain"}}}}"#).into_bytes()
        }
        "roll" => {
            let agent = format!(r#"{{"id":"bot-{number}","on_behalf_of":"user-{round}"}}"#);
            format!(r#"{{"agent":{agent},"tool":{{"server":"files","name":"roll"}},{own}}}"#).into_bytes()
        }
        "nonce" => {
            let more = format!(r#""session":{{"id":"s"}},"nonce":"n-{round}","ts_ms":{now_ms}"#);
            call(&bot, tool, &more)
        }
        "distinct" => call(&bot, tool, &format!(r#"{own},"args":{{"n":"{number}"}}"#)),
        // What is asked must be the same for a grant, and the session for a session's budget.
        "move" => call(&bot, tool, ""),
        "life" => call(&bot, tool, &format!(r#""session":{{"id":"S-{round}"}}"#)),
        // Half of them without a session, where nothing else stands between them.
        _ if number.is_multiple_of(2) => call(&bot, tool, ""),
        _ => call(&bot, tool, &own),
    }
}

/// Uses up all but one.
async fn prepare(gate: &Gate, world: &World, control: &Control, round: u64, now_ms: &mut i64) {
    for number in 0..control.before {
        let decided = decide(gate, question(control.tool, round, 1_000 + number, *now_ms)).await;
        let permit = decided.permit.unwrap_or_else(|| panic!("{}: {:?}", control.tool, decided.reply));
        if control.tool == "probe" {
            report(gate, permit.ground().number(), OutcomeStatus::Failed, None).await.expect("reported");
        }
    }
    if control.tool == "probe" {
        let early = decide(gate, question("probe", round, 0, *now_ms)).await;
        assert_eq!(said(&early), "BREAKER_OPEN");
        *now_ms += 60_000;
        world.clock.set(*now_ms);
    }
    if control.tool == "move" {
        let held = decide(gate, question("move", round, 0, *now_ms)).await;
        let id = held.reply.approval.and_then(|approval| approval.id).expect("an approval");
        let ana = Credential::Person { id: "ana".into(), roles: vec!["ops".into()], tenant: None };
        let id = approval_number(&id).expect("a number");
        gate.approve(id, &ana, Said::default()).await.expect("approved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_that_race_for_the_last_unit_of_any_control_one_runs() {
    let world = World::new(510);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let mut now_ms = NOW;
    for control in &CONTROLS {
        for round in 0..ROUNDS {
            prepare(&gate, &world, control, round, &mut now_ms).await;
            let before = gate.size();
            let start = Arc::new(Barrier::new(usize::try_from(RACERS + 4).expect("few")));
            let racing: Vec<_> = (0..RACERS)
                .map(|number| {
                    let (gate, start) = (Arc::clone(&gate), Arc::clone(&start));
                    let bytes = question(control.tool, round, number, now_ms);
                    tokio::spawn(async move {
                        start.wait().await;
                        decide(&gate, bytes).await
                    })
                })
                .collect();
            // Whoever has nothing to do with it is not held up.
            let beside: Vec<_> = (0..4u64)
                .map(|number| {
                    let (gate, start) = (Arc::clone(&gate), Arc::clone(&start));
                    tokio::spawn(async move {
                        start.wait().await;
                        for _ in 0..8 {
                            let decided = decide(&gate, call(&format!("other-{number}"), "read", "")).await;
                            assert_eq!(said(&decided), "ALLOW");
                        }
                    })
                })
                .collect();
            let (mut ran, mut receipts) = (0, BTreeSet::new());
            for one in racing {
                let decided = one.await.expect("ends");
                receipts.insert(decided.reply.receipt_index.expect("a receipt"));
                if decided.permit.is_some() {
                    ran += 1;
                } else {
                    assert_eq!(said(&decided), control.lost, "{}: {:?}", control.tool, decided.reply.reason);
                }
            }
            for one in beside {
                one.await.expect("ends");
            }
            assert_eq!(ran, 1, "{} in round {round}", control.tool);
            assert_eq!(receipts.len(), 64, "every answer has its receipt");
            // A breaker that opens is announced by one more, in its own time.
            let more = gate.size() - before - RACERS - 32;
            assert!(more <= 2, "{more} receipts that nobody asked for");
        }
    }
    gate.close();
    let state = replays(&world, &gate);
    counts(&state, now_ms);
}

/// Nobody that lost took from any level of a tree.
fn counts(state: &callgate_core::state::State, now_ms: i64) {
    for (limit, most) in
        [("tree/team", "3"), ("tree/tenant", "3"), ("day", "3"), ("slide", "3"), ("life", "3")]
    {
        let found = used(state, limit, now_ms);
        assert_eq!(u64::try_from(found.len()).expect("few"), ROUNDS, "{limit}: {found:?}");
        assert!(found.values().all(|used| used == most), "{limit}: {found:?}");
    }
    let agents = used(state, "tree/agent", now_ms);
    assert_eq!(
        u64::try_from(agents.len()).expect("few"),
        3 * ROUNDS,
        "one meter for each that ran: {agents:?}"
    );
    let chain = used(state, "chain", now_ms);
    let bosses: Vec<_> = chain.iter().filter(|(key, _)| key.contains("boss")).collect();
    assert!(bosses.iter().all(|(_, used)| *used == "3") && bosses.len() == 3, "{chain:?}");
    assert_eq!(chain.len() - bosses.len(), 9, "{chain:?}");
}

/// 64 that all fit never hinder each other for long, and the number is exact at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_on_one_meter_gets_exactly_what_there_is() {
    let world = World::new(511);
    let gate = world.open(Some(&policy())).await.expect("opens");
    let start = Arc::new(Barrier::new(64));
    let crowd: Vec<_> = (0..RACERS)
        .map(|number| {
            let (gate, start) = (Arc::clone(&gate), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let mut ran = 0;
                for _ in 0..9 {
                    let decided = decide(&gate, call(&format!("bot-{number}"), "wide", "")).await;
                    match decided.permit {
                        Some(_) => ran += 1,
                        None => assert_eq!(said(&decided), "BUDGET_EXCEEDED"),
                    }
                }
                ran
            })
        })
        .collect();
    let mut ran = 0;
    for one in crowd {
        ran += one.await.expect("ends");
    }
    assert_eq!(ran, 512);
    gate.close();
    let state = replays(&world, &gate);
    assert_eq!(used(&state, "wide", NOW).into_values().collect::<Vec<_>>(), ["512"]);
}
