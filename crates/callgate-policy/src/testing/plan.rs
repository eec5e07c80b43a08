//! Decoded tests to what is played. What cannot be played is a problem of the bundle.

use std::collections::{BTreeMap, BTreeSet};

use callgate_core::decide::Ask;
use callgate_core::decimal::Decimal;
use callgate_core::decision::Source;
use callgate_core::facts::Credential;
use callgate_core::fields::nearest;
use callgate_core::finding::{Failure, Ruling};
use callgate_core::json::Limits;
use callgate_core::limit::Amount;
use callgate_core::name::Name;
use callgate_core::request::Request;
use callgate_core::value::Value;

use crate::codes::Code;
use crate::decode::{Sink, Spanned, duration_ms};
use crate::language::tests::{ExpectText, FactsText, FindingText, StepText, TestText, TestsFile};
use crate::syntax::{Kind, Node, Span};

/// The gate's clock where a test says nothing: 2026-01-01T00:00:00Z.
const DEFAULT_NOW_MS: i64 = 1_767_225_600_000;

/// A test that can be played.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) credential: Credential,
    /// Whether an operator set the agent to be monitored only.
    pub(super) monitor: bool,
    /// What a judge answers to the rules that ask it.
    pub(super) findings: BTreeMap<String, Given>,
    /// Whether it was written as steps.
    pub(super) is_session: bool,
    pub(super) steps: Vec<Step>,
}

/// What a judge answers, or why it does not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    Ruling(Ruling, Decimal),
    Failure(Failure),
}

/// One request of a test.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) source: Source,
    /// The gate's clock, milliseconds since 1970 UTC.
    pub(super) now_ms: i64,
    pub(super) ask: Ask,
    pub(super) expect: ExpectText,
    /// How the action ended, if it is to be recorded.
    pub(super) outcome: Option<Ending>,
}

/// How an action ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) status: &'static str,
    /// What it cost, by folded unit.
    pub(super) spent: BTreeMap<String, Amount>,
}

impl Case {
    /// What a filter looks at: `file: name`.
    pub(super) fn label(&self) -> String {
        format!("{}: {}", self.source.file, self.name)
    }
}

/// Makes the cases of a file. Without `rules`, the ids that tests may name, those are not checked.
pub(crate) fn plan(file: TestsFile, rules: Option<&BTreeSet<String>>, sink: &mut Sink<'_>) -> Vec<Case> {
    let defaults = file.defaults.map(|defaults| defaults.value);
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for Spanned { value: test, span } in file.tests.into_iter().flat_map(|tests| tests.value) {
        if let Some(name) = &test.name
            && !names.insert(name.value.clone())
        {
            sink.add(Code::BadTest, name.span, "another test of this file has the same name")
                .help("give each test a name that says what it shows");
        }
        cases.extend(case(test, span, defaults.as_ref(), rules, sink));
    }
    cases
}

fn case(
    test: TestText,
    span: Span,
    defaults: Option<&Node>,
    rules: Option<&BTreeSet<String>>,
    sink: &mut Sink<'_>,
) -> Option<Case> {
    let monitor = test.facts.as_ref().and_then(|facts| facts.value.monitor.as_ref());
    let monitor = monitor.is_some_and(|flag| flag.value);
    let (now_ms, credential) = facts(test.facts.as_ref().map(|facts| &facts.value));
    let findings = findings(test.facts.as_ref().map(|facts| &facts.value), rules, sink);
    let own = test.defaults.as_ref().map(|defaults| &defaults.value);
    let defaults = merged(defaults, own);
    let is_session = test.steps.is_some();
    let alone = [
        ("request", test.request.as_ref().map(|it| it.span)),
        ("raw", test.raw.as_ref().map(|it| it.span)),
        ("expect", test.expect.as_ref().map(|it| it.span)),
    ];
    let steps = match test.steps {
        Some(steps) => {
            for (key, span) in alone.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                sink.add(Code::BadTest, span, format!("a test with `steps` has no `{key}` of its own"))
                    .help(format!("move `{key}` into a step"));
            }
            steps.value
        }
        None => {
            let Some(expect) = test.expect else {
                sink.add(Code::MissingKey, span, "the key `expect` is missing here")
                    .help("add `expect:` with what must come of the request, or `steps:`");
                return None;
            };
            let step = StepText {
                at: None,
                request: test.request,
                raw: test.raw,
                expect: Some(expect),
                outcome: None,
            };
            vec![Spanned { value: step, span }]
        }
    };
    let mut clock = now_ms;
    let mut played = Vec::new();
    for Spanned { value, span } in steps {
        clock = moment(&value, now_ms, clock, sink);
        played.extend(step(value, span, clock, defaults.as_ref(), rules, sink));
    }
    let name = test.name?.value;
    Some(Case {
        name,
        source: sink.file.source(span),
        credential,
        monitor,
        findings,
        is_session,
        steps: played,
    })
}

fn facts(facts: Option<&FactsText>) -> (i64, Credential) {
    let now = facts.and_then(|facts| facts.now.as_ref()).map_or(DEFAULT_NOW_MS, |now| now.value);
    let credential = facts.and_then(|facts| facts.credential.as_ref()).map(|shown| shown.value.clone());
    (now, credential.unwrap_or(Credential::Local))
}

/// What a judge answers, by rule.
fn findings(
    facts: Option<&FactsText>,
    rules: Option<&BTreeSet<String>>,
    sink: &mut Sink<'_>,
) -> BTreeMap<String, Given> {
    let mut given = BTreeMap::new();
    let Some(Spanned { value, .. }) = facts.and_then(|facts| facts.findings.as_ref()) else { return given };
    for (rule, finding) in value {
        if let Some(rules) = rules {
            check_rule(rule, rules, sink);
        }
        match said(finding) {
            Some(answer) => drop(given.insert(rule.value.as_str().to_owned(), answer)),
            None => {
                sink.add(Code::BadTest, rule.span, "a finding is a `ruling` or a `failure`")
                    .help("write such as `{ruling: violates, confidence: \"0.9\"}` or `{failure: timeout}`");
            }
        }
    }
    given
}

/// What a finding says, if it says one thing.
fn said(finding: &FindingText) -> Option<Given> {
    match (&finding.ruling, &finding.failure, &finding.confidence) {
        (Some(ruling), None, sure) => {
            let sure = sure.as_ref().map_or_else(|| Decimal::from(1), |sure| sure.value);
            Some(Given::Ruling(ruling.value, sure))
        }
        (None, Some(failure), None) => Some(Given::Failure(failure.value)),
        _ => None,
    }
}

/// When a step is played; the gate's clock never goes back.
fn moment(step: &StepText, begin_ms: i64, clock: i64, sink: &mut Sink<'_>) -> i64 {
    let Some(at) = &step.at else { return clock };
    let now = begin_ms.saturating_add(i64::try_from(at.value).unwrap_or(i64::MAX));
    if now < clock {
        sink.add(Code::BadTest, at.span, "this step is earlier than the one before it")
            .help("`at` counts from the beginning of the test, and the gate's clock never goes back");
        return clock;
    }
    now
}

fn step(
    text: StepText,
    span: Span,
    now_ms: i64,
    defaults: Option<&Node>,
    rules: Option<&BTreeSet<String>>,
    sink: &mut Sink<'_>,
) -> Option<Step> {
    let expect = text.expect?;
    check_expect(&expect, rules, sink);
    let ask = match (text.request, text.raw) {
        (Some(_), Some(raw)) => {
            sink.add(Code::BadTest, raw.span, "a request is given twice: as `request` and as `raw`")
                .help("keep one of the two");
            return None;
        }
        (None, Some(raw)) => arrived(raw.value.as_bytes()),
        (request, None) => {
            let Some(request) = merged(defaults, request.as_ref().map(|request| &request.value)) else {
                sink.add(Code::MissingKey, span, "the key `request` is missing here").help("add `request:`");
                return None;
            };
            Ask::Request(Box::new(parsed(&request, now_ms, sink)?))
        }
    };
    let outcome = text.outcome.and_then(|outcome| {
        let spent = outcome.value.cost.map(|cost| cost.value).unwrap_or_default();
        Some(Ending { status: outcome.value.status?.value, spent })
    });
    Some(Step { source: sink.file.source(span), now_ms, ask, expect: expect.value, outcome })
}

/// What the gate makes of bytes.
fn arrived(bytes: &[u8]) -> Ask {
    match Request::parse(bytes, &Limits::REQUEST) {
        Ok(request) => Ask::Request(Box::new(request)),
        Err(problem) => Ask::Malformed(problem.to_string()),
    }
}

/// `over` laid over `base`: mappings member by member, `null` takes a member of `base` away.
fn merged(base: Option<&Node>, over: Option<&Node>) -> Option<Node> {
    let (base, over) = match (base, over) {
        (Some(base), Some(over)) => (base, over),
        (one, other) => return one.or(other).cloned(),
    };
    let (Kind::Map(below), Kind::Map(above)) = (&base.kind, &over.kind) else { return Some(over.clone()) };
    let is_null = |node: &Node| node.scalar().is_some_and(crate::syntax::Text::is_null);
    let mut entries: Vec<_> =
        below.iter().filter(|(key, _)| over.get(&key.text).is_none()).cloned().collect();
    for (key, node) in above {
        match base.get(&key.text) {
            Some(_) if is_null(node) => {}
            earlier => entries.extend(merged(earlier, Some(node)).map(|node| (key.clone(), node))),
        }
    }
    Some(Node { span: over.span, kind: Kind::Map(entries) })
}

/// Reads a request as the gate does: from its canonical bytes.
fn parsed(node: &Node, now_ms: i64, sink: &mut Sink<'_>) -> Option<Request> {
    let mut value = node.to_value();
    if let Value::Map(members) = &mut value
        && let Some(at) = members.get("ts_ms").and_then(Value::as_str).and_then(|text| relative(text, now_ms))
    {
        members.insert("ts_ms".to_owned(), Value::Int(at));
    }
    match Request::parse(value.canonical().as_bytes(), &Limits::REQUEST) {
        Ok(request) => Some(request),
        Err(problem) => {
            let message = format!("this is not a request: {problem}");
            let place = place_of(node, &message);
            sink.add(Code::BadRequest, place, message)
                .help("write the request as on the wire, or the bytes of what is none as `raw`");
            None
        }
    }
}

/// `now`, `now-6m`, `now+6m` as milliseconds since 1970 UTC.
fn relative(text: &str, now_ms: i64) -> Option<i64> {
    let offset = text.strip_prefix("now")?;
    if offset.is_empty() {
        return Some(now_ms);
    }
    let span = |text: &str| duration_ms(text).and_then(|ms| i64::try_from(ms).ok());
    match (offset.strip_prefix('-'), offset.strip_prefix('+')) {
        (Some(back), _) => Some(now_ms.saturating_sub(span(back)?)),
        (_, Some(on)) => Some(now_ms.saturating_add(span(on)?)),
        _ => None,
    }
}

/// Where the field stands that a message names first, in backticks; as near to it as there is.
fn place_of(node: &Node, message: &str) -> Span {
    let path = message.split('`').nth(1).unwrap_or_default();
    let mut here = node;
    for key in path.split('.') {
        match here.get(key) {
            Some(below) => here = below,
            None => break,
        }
    }
    here.span
}

/// An expectation says something, and names rules that there are.
fn check_expect(expect: &Spanned<ExpectText>, rules: Option<&BTreeSet<String>>, sink: &mut Sink<'_>) {
    let text = &expect.value;
    let says_nothing = text.decision.is_none()
        && text.code.is_none()
        && text.rule.is_none()
        && text.rules.is_none()
        && text.not_rules.is_none()
        && text.reasons.is_none()
        && text.codes.is_none()
        && text.constraints.is_none()
        && text.retry_after_ms.is_none()
        && text.would.is_none()
        && text.reviewers.is_none();
    if says_nothing {
        sink.add(Code::Empty, expect.span, "the expectation is empty, so it holds of every decision")
            .help("write at least `decision:`");
    }
    let Some(rules) = rules else { return };
    let listed = [&text.rules, &text.not_rules].into_iter().flatten().flat_map(|list| &list.value);
    for name in text.rule.iter().chain(listed) {
        check_rule(name, rules, sink);
    }
}

fn check_rule(name: &Spanned<Name>, rules: &BTreeSet<String>, sink: &mut Sink<'_>) {
    let id = name.value.as_str();
    if rules.contains(id) {
        return;
    }
    let help = nearest(id, rules.iter().map(String::as_str)).map_or_else(
        || "write the id of a rule, policy or contract of this bundle".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    sink.add(Code::UnknownRule, name.span, format!("no rule or contract has the id `{id}`")).help(help);
}
