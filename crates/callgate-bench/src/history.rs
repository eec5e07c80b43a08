//! Policies about the past by the number of events they look back on: ours from a parsed request (plan,
//! read, decide), beside the in-memory engines that Dogwood itself has, over the same events.
//!
//! The events are spread over the day that the policies look back on, so that all of them count.

use std::collections::BTreeMap;
use std::hint::black_box;

use callgate_core::decide::{Ask, decide, plan};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts};
use callgate_core::history::{History, HistoryFacts, Occurrence};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_policy::Bundle;
use dogwood_language::{
    Authorizer, Event, LoweredPolicySet, PolicySchema, ServiceSchema, TemporalEngine, Value,
};
use dogwood_local_engine::LocalTemporalEngine;

use crate::stats::{Samples, load, nanos};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const USERS: i64 = 50;
const ROUNDS: usize = 2_000;
/// How many events the peers are given: they decide at every event, in time that grows.
const PEER_SIZES: [i64; 2] = [0, 2_000];

const TOOLS: &str = r#"{"tools": [
  {"name": "login", "inputSchema": {"type": "object", "required": ["user", "amount"], "properties": {"user": {"type": "string"}, "amount": {"type": "integer"}}}},
  {"name": "logout", "inputSchema": {"type": "object", "required": ["user", "amount"], "properties": {"user": {"type": "string"}, "amount": {"type": "integer"}}}},
  {"name": "refund", "inputSchema": {"type": "object", "required": ["user", "amount"], "properties": {"user": {"type": "string"}, "amount": {"type": "integer"}}}}
]}"#;

const SCHEMA: &str = r#"
entity Agent;
entity Tool;
type In = { user: String, amount: Long };
action "s.login" appliesTo { principal: [Agent], resource: [Tool], context: { input: In } };
action "s.logout" appliesTo { principal: [Agent], resource: [Tool], context: { input: In } };
action "s.refund" appliesTo { principal: [Agent], resource: [Tool], context: { input: In } };
"#;

const FORMS: [(&str, &str); 4] = [
    ("formerly", r#"formerly within 24h Action::"s.login"::request{ input.user: context.input.user }"#),
    ("count", r#"count_within(24h, Action::"s.login"::request{ input.user: context.input.user }) > 3"#),
    (
        "sum",
        r#"sum_within(n, 24h, Action::"s.login"::request{ input.amount: n, input.user: context.input.user }) > 9"#,
    ),
    (
        "since",
        r#"!Action::"s.logout"::request{ input.user: context.input.user } since within 24h Action::"s.login"::request{ input.user: context.input.user }"#,
    ),
];

fn policy(clause: &str) -> String {
    format!("permit(principal, action == Action::\"s.refund\", resource) when temporal {{ {clause} }};")
}

fn snapshot(clause: &str) -> Snapshot {
    let files = [("tools/s.json", TOOLS.to_owned()), ("policies/p.dogwood", policy(clause))];
    let files: BTreeMap<String, String> =
        files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    callgate_policy::compile(&Bundle::new(files, BTreeMap::new())).unwrap_or_else(|report| panic!("{report}"))
}

fn request(tool: &str, user: i64) -> Request {
    let text = format!(
        r#"{{"agent":{{"id":"bot"}},"session":{{"id":"s"}},"tool":{{"server":"s","name":"{tool}"}},"args":{{"user":"u{user}","amount":7}}}}"#
    );
    Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A history of `size` logins over one day.
fn history(snapshot: &Snapshot, size: i64, blind: Digest) -> History {
    let mut history = History::default();
    history.enforce(&snapshot.monitors());
    let logins: Vec<Request> = (0..USERS).map(|user| request("login", user)).collect();
    let nothing = HistoryFacts { as_of: 0, blind, readings: Vec::new() };
    for (number, index) in (0..size).zip(0u64..) {
        let request = &logins[usize::try_from(number % USERS).unwrap_or(0)];
        let decided = Occurrence::Decided { request, allowed: true };
        let observations = snapshot.observe(&decided, &nothing).unwrap_or_else(|e| panic!("{e}"));
        history.apply(index, number * DAY_MS / size.max(1), &observations);
    }
    history
}

fn ours(snapshot: &Snapshot, size: i64) -> Samples {
    let blind = Digest::of(b"bench");
    let history = history(snapshot, size, blind);
    let mut samples = Samples::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let ask = Ask::Request(Box::new(request("refund", i64::try_from(round).unwrap_or(0) % USERS)));
        let (decided, took) = nanos(|| {
            let credential = Credential::Development;
            let queries = plan(snapshot, &ask, &credential, &blind).unwrap_or_default();
            let mut facts = Facts::new(credential, DAY_MS);
            facts.history = Some(history.read(queries, DAY_MS, blind));
            decide(snapshot, ask, &facts)
        });
        assert_eq!(decided.settled.decision.permits(), size > 0, "{:?}", decided.settled.reasons);
        samples.push(took);
    }
    samples
}

fn event(tool: &str, user: i64, at: i64) -> Event {
    Event::builder(&format!("Action::\"s.{tool}\""), "request")
        .timestamp(at)
        .principal("Agent::\"bot\"")
        .resource(&format!("Tool::\"s.{tool}\""))
        .field("input", "user", Value::String(format!("u{user}")))
        .field("input", "amount", Value::Int(7))
        .build()
}

fn peer(clause: &str, size: i64, engine: Option<impl TemporalEngine + 'static>) -> Samples {
    let schema = PolicySchema::from_cedarschema_str(SCHEMA).unwrap_or_else(|e| panic!("{e}"));
    let policies = LoweredPolicySet::from_str(&policy(clause), &ServiceSchema::defaults(), &schema);
    let policies = policies.unwrap_or_else(|e| panic!("{e}"));
    let mut authorizer = match engine {
        Some(engine) => {
            Authorizer::builder(policies).temporal_engine(engine).build().unwrap_or_else(|e| panic!("{e}"))
        }
        None => Authorizer::new(policies),
    };
    for number in 0..size {
        authorizer.is_authorized(&event("login", number % USERS, 1 + number));
    }
    let rounds = 200;
    let mut samples = Samples::with_capacity(200);
    for round in 0..rounds {
        let asked = event("refund", round % USERS, 1 + size + round);
        let (answer, took) = nanos(|| authorizer.is_authorized(&asked));
        black_box(answer);
        samples.push(took);
    }
    samples
}

pub(crate) fn run() {
    println!("\n## History: one decision (p50/p99 µs, one thread; load {})", load());
    println!(
        "{:>10} {:>10} {:>16} {:>20} {:>20}",
        "form", "events", "ours", "Dogwood's local", "its interpreter"
    );
    for (form, clause) in FORMS {
        let snapshot = snapshot(clause);
        for size in [0, 2_000, 200_000, 1_000_000] {
            let micros = |mut samples: Samples| {
                let micros = |share: usize, samples: &mut Samples| samples.percentile(share) as f64 / 1e3;
                format!("{:.1}/{:.1}", micros(50, &mut samples), micros(99, &mut samples))
            };
            let own = micros(ours(&snapshot, size));
            let (local, interpreter) = if PEER_SIZES.contains(&size) {
                let local = peer(clause, size, Some(LocalTemporalEngine::default()));
                (micros(local), micros(peer(clause, size, None::<LocalTemporalEngine>)))
            } else {
                ("not run".to_owned(), "not run".to_owned())
            };
            println!("{form:>10} {size:>10} {own:>16} {local:>20} {interpreter:>20}");
        }
    }
}
