//! The fold against Dogwood's own interpreter: on the cases it ships, and on random traces.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test counts, and says what it counted"
)]

use std::collections::BTreeMap;

use callgate_core::digest::Digest;
use callgate_core::history::{Answer, History, Monitor, Query};
use dogwood_language::{
    Authorizer, Decision, Event, LoweredPolicySet, PolicySchema, ServiceSchema, TemporalBindings,
    TemporalEngine, TemporalField, UNPINNED_EVENT_SCHEMA, Value, corpus, parse_trace,
};

use super::atom::Atom;
use super::compile::Compiler;
use super::eval::{Reader, Sight};
use super::formula::{EventName, Formula, Span, Watches};
use super::refused::Refused;

fn atom(value: &Value) -> Option<Atom> {
    Some(match value {
        Value::Null | Value::Object(_) => return None,
        Value::Bool(flag) => Atom::Bool(*flag),
        Value::Int(number) => Atom::Int(*number),
        Value::Decimal(text) => Atom::decimal(text),
        Value::String(text) => Atom::Text(text.clone()),
        Value::Entity { ty, id } => Atom::Entity(ty.clone(), id.clone()),
        Value::Array(items) => Atom::List(items.iter().map(atom).collect::<Option<_>>()?),
    })
}

struct Logged<'e> {
    name: EventName,
    event: &'e Event,
}

impl<'e> Logged<'e> {
    fn new(event: &'e Event) -> Self {
        let name = EventName {
            namespace: event.namespace().to_vec(),
            action: event.action().to_owned(),
            kind: event.kind().to_owned(),
        };
        Self { name, event }
    }
}

impl Sight for Logged<'_> {
    fn is(&self, event: &EventName) -> bool {
        self.name == *event
    }
    fn field(&self, path: &[String]) -> Option<Atom> {
        self.event.field_path(path).and_then(atom)
    }
    fn context(&self, path: &[String]) -> Option<Atom> {
        self.event.request_context_path(path).and_then(atom)
    }
    fn scope(&self, path: &[String]) -> Option<Atom> {
        let (root, attributes) = path.split_first()?;
        self.event.scope_attr(root, attributes).as_ref().and_then(atom)
    }
    fn tenant(&self) -> &str {
        "default"
    }
}

/// Our fold behind Dogwood's own trait, so that its authorizer turns the answers into verdicts.
struct Folded {
    watches: Watches,
    clauses: Vec<(String, Formula)>,
    history: History,
    index: u64,
    answers: TemporalBindings,
}

impl Folded {
    fn compile(policies: &LoweredPolicySet) -> Result<Self, Refused> {
        let keys = policies.partition_keys();
        let span = if keys.is_empty() {
            Span::Tenant
        } else {
            Span::Fields(keys.iter().map(|key| key.field_path.clone()).collect())
        };
        let mut watches = Watches::new();
        let mut clauses = Vec::new();
        for field in policies.nonrelativized_temporal_fields() {
            let mut compiler = Compiler { span: span.clone(), watches: &mut watches };
            clauses.push((field.id.clone(), compiler.clause(&field.condition.condition)?));
        }
        let mut history = History::default();
        let monitors: Vec<Monitor> = watches
            .iter()
            .map(|(id, watch)| Monitor { id: *id, measure: watch.measure, reach_ms: watch.reach_ms })
            .collect();
        history.enforce(&monitors);
        Ok(Self { watches, clauses, history, index: 0, answers: TemporalBindings::new() })
    }

    /// Asks everything the event needs, reads it at once, and evaluates on what was read.
    fn push(&mut self, event: &Event) -> Result<(), String> {
        let sight = Logged::new(event);
        let blind = Digest::of(b"blind");
        let now = event.timestamp().checked_mul(1000).ok_or("a time out of range")?;
        let mut queries = Vec::new();
        self.walk(&sight, &blind, &mut |query: Query| {
            let dummy = match query.question {
                callgate_core::history::Question::Totals { .. } => {
                    Answer::Totals { count: 0, named: false, sum: 0 }
                }
                _ => Answer::Seen { seen: false },
            };
            queries.push(query);
            Ok(dummy)
        })?;
        let facts = self.history.read(queries, now, blind);
        let (answers, observations) = self.walk(&sight, &blind, &mut |query: Query| {
            facts.answer(&query).ok_or_else(|| "not asked".to_owned())
        })?;
        self.history.apply(self.index, now, &observations);
        self.index += 1;
        self.answers = answers;
        Ok(())
    }

    fn walk<'a>(
        &'a self,
        sight: &'a dyn Sight,
        blind: &'a Digest,
        answers: &'a mut super::eval::Answers<'a>,
    ) -> Result<(TemporalBindings, Vec<callgate_core::history::Observation>), String> {
        let mut reader = Reader { sight, watches: &self.watches, blind, answers };
        let mut found = BTreeMap::new();
        for (id, formula) in &self.clauses {
            found.insert(id.clone(), reader.holds(formula).unwrap_or(false));
        }
        let mut observations = Vec::new();
        for (id, watch) in &self.watches {
            observations.extend(reader.observe(*id, watch)?);
        }
        Ok((found, observations))
    }
}

impl TemporalEngine for Folded {
    fn prepare(
        &mut self,
        _: &[TemporalField],
        _: &dogwood_language::cedar::Schema,
        _: &[dogwood_language::EventSignature],
    ) -> Result<(), dogwood_language::Error> {
        Ok(())
    }

    fn observe(&mut self, event: &Event) {
        self.push(event).unwrap();
    }

    fn evaluate(&mut self) -> Result<TemporalBindings, String> {
        Ok(self.answers.clone())
    }
}

fn verdicts(mut authorizer: Authorizer, events: &[Event]) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if let Some(response) = authorizer.is_authorized(event) {
            let allowed = response.decision() == Decision::Allow;
            lines.push(format!("@{} (time point {at}): {allowed}", event.timestamp()));
        }
    }
    lines
}

#[derive(Default, Debug)]
struct Counts {
    cases: usize,
    accepted: usize,
    differ: Vec<String>,
    traces: usize,
    refused: BTreeMap<String, usize>,
    without: usize,
    unreadable: usize,
}

struct Case<'c> {
    name: &'c str,
    policy: &'c str,
    schema: &'c str,
    events: Option<&'c str>,
    macros: Option<&'c str>,
    traces: &'c [corpus::CorpusTrace],
}

fn play(case: &Case<'_>, counts: &mut Counts) {
    counts.cases += 1;
    let lower = || {
        let schema = PolicySchema::from_cedarschema_str(case.schema)?;
        let mut service =
            ServiceSchema::builder().event_schema_str(case.events.unwrap_or(UNPINNED_EVENT_SCHEMA));
        if let Some(macros) = case.macros {
            service = service.macros_str(macros);
        }
        LoweredPolicySet::from_str(case.policy, &service.build()?, &schema)
    };
    let Ok(first) = lower() else {
        counts.unreadable += 1;
        return;
    };
    if first.temporal_fields().next().is_none() {
        counts.without += 1;
    }
    if let Err(why) = Folded::compile(&first) {
        *counts.refused.entry(format!("{why:?}")).or_default() += 1;
        return;
    }
    for trace in case.traces {
        let Ok(events) = parse_trace(&trace.trace_log) else { continue };
        let policies = lower().unwrap();
        let fold = Folded::compile(&policies).unwrap();
        let authorizer = Authorizer::builder(policies).temporal_engine(fold).build().unwrap();
        let ours = verdicts(authorizer, &events);
        let expected: Vec<&str> =
            trace.expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if ours != expected {
            counts.differ.push(format!("{} trace {}: {ours:?}, not {expected:?}", case.name, trace.index));
        }
        counts.traces += 1;
    }
    counts.accepted += 1;
}

#[test]
fn the_corpus_gives_the_same_verdicts() {
    let mut counts = Counts::default();
    for case in corpus::temporal_cases().iter().filter(|case| !case.is_parse_rejected()) {
        play(
            &Case {
                name: &case.name,
                policy: &case.policy_src,
                schema: &case.schema_src,
                events: case.event_schema_src.as_deref(),
                macros: None,
                traces: &case.traces,
            },
            &mut counts,
        );
    }
    for case in corpus::macro_cases() {
        play(
            &Case {
                name: &case.name,
                policy: &case.policy_src,
                schema: &case.schema_src,
                events: case.event_schema_src.as_deref(),
                macros: case.macros_src.as_deref(),
                traces: &case.traces,
            },
            &mut counts,
        );
    }
    println!("{counts:#?}");
    assert_eq!(counts.differ, Vec::<String>::new());
    // Fewer would be a form that was accepted before.
    assert!(counts.accepted >= 671, "{counts:#?}");
}

const RANDOM_SCHEMA: &str = r#"
entity User;
entity Box;
type In = { user: String, amount: Long, flag: Bool };
action "a" appliesTo { principal: [User], resource: [Box], context: { input: In, output: In } };
action "b" appliesTo { principal: [User], resource: [Box], context: { input: In, output: In } };
action "c" appliesTo { principal: [User], resource: [Box], context: { input: In, output: In } };
"#;

/// Conditions over the events of [`RANDOM_SCHEMA`], of every form that is accepted.
const RANDOM_CLAUSES: &[&str] = &[
    r#"formerly within 5s Action::"b"::response{}"#,
    r#"formerly within 3s Action::"b"::request{ input.user: context.input.user }"#,
    r#"!formerly within 4s Action::"b"::error{ input.flag: true }"#,
    r#"formerly within 6s Action::"a"::request{ callerResource: resource }"#,
    r#"!Action::"c"::request{} since within 9s Action::"b"::response{}"#,
    r#"!Action::"c"::request{ input.user: context.input.user } since within 9s Action::"b"::request{ input.user: context.input.user }"#,
    r#"Action::"a"::request{} since within 9s Action::"b"::request{}"#,
    r#"previous within 2s Action::"b"::request{}"#,
    r#"previous within 4s Action::"a"::response{ input.user: context.input.user }"#,
    r#"count_within(6s, Action::"a"::request{}) > 2"#,
    r#"count_within(6s, Action::"b"::response{ input.user: context.input.user }) >= 2"#,
    r#"sum_within(x, 7s, Action::"b"::request{ input.amount: x }) > 10"#,
    r#"sum_within(x, 7s, Action::"a"::request{ input.amount: x, input.user: context.input.user }) > 4"#,
    r#"count_distinct_within(u, 8s, Action::"a"::request{ input.user: u }) > 1"#,
    r#"count_distinct_within(u, 8s, Action::"b"::response{ input.user: u }) == 2"#,
    r#"bind(n, count_within(6s, Action::"c"::request{}), n >= 1)"#,
    r#"formerly within 6s (Action::"b"::request{} && formerly within 3s Action::"c"::request{})"#,
    r#"exists (x: Long). (formerly within 6s Action::"b"::request{ input.amount: x } && x > 3)"#,
    r#"formerly within 4s Action::"b"::request{} && !formerly within 2s Action::"c"::response{}"#,
];

#[derive(Debug, Clone)]
struct Happened {
    wait: i64,
    action: usize,
    kind: usize,
    who: usize,
    user: usize,
    amount: i64,
    flag: bool,
}

fn happened() -> impl proptest::strategy::Strategy<Value = Happened> {
    use proptest::prelude::*;
    (1i64..4, 0usize..3, 0usize..4, 0usize..2, 0usize..3, -3i64..7, any::<bool>()).prop_map(
        |(wait, action, kind, who, user, amount, flag)| Happened {
            wait,
            action,
            kind,
            who,
            user,
            amount,
            flag,
        },
    )
}

fn event(happened: &Happened, at: i64) -> Event {
    let action = format!("Action::\"{}\"", ["a", "b", "c"][happened.action]);
    let kind = ["request", "request", "response", "error"][happened.kind];
    Event::builder(&action, kind)
        .timestamp(at)
        .principal(["User::\"p\"", "User::\"q\""][happened.who])
        .resource("Box::\"x\"")
        .field("input", "user", Value::String(["u", "v", "w"][happened.user].to_owned()))
        .field("input", "amount", Value::Int(happened.amount))
        .field("input", "flag", Value::Bool(happened.flag))
        .build()
}

fn lowered(clause: &str) -> LoweredPolicySet {
    let schema = PolicySchema::from_cedarschema_str(RANDOM_SCHEMA).unwrap();
    let text = format!("permit(principal, action, resource) when temporal {{ {clause} }};");
    LoweredPolicySet::from_str(&text, &ServiceSchema::defaults(), &schema)
        .unwrap_or_else(|error| panic!("{clause}: {error}"))
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// With the default event schema, whose histories are those of one principal each.
    #[test]
    fn random_traces_give_the_same_verdicts(trace in proptest::collection::vec(happened(), 1..40)) {
        let mut at = 0;
        let events: Vec<Event> = trace.iter().map(|it| { at += it.wait; event(it, at) }).collect();
        for clause in RANDOM_CLAUSES {
            let policies = lowered(clause);
            let fold = Folded::compile(&policies).unwrap_or_else(|why| panic!("{clause}: {why}"));
            let ours = verdicts(Authorizer::builder(policies).temporal_engine(fold).build().unwrap(), &events);
            let theirs = verdicts(Authorizer::new(lowered(clause)), &events);
            proptest::prop_assert_eq!(ours, theirs, "{}", clause);
        }
    }
}
