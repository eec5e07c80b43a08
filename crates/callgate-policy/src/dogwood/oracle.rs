//! The fold against Dogwood's own interpreter: on the cases it ships, and on random traces.

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

    #[expect(clippy::type_complexity, reason = "one caller")]
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
}
