//! Bundles and requests at random, small enough that rules and requests often meet.
//!
//! A generated bundle is a list of rules, one per line, so that a test can shuffle them, take one
//! away, or drop those that `check` calls dead.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

/// The catalogue of generated bundles: `disk.look` is tagged `read`, `disk.wipe` `destructive` and `write`.
pub(crate) const CATALOGUE: &str = r#"{"tools":[{"name":"look","annotations":{"readOnlyHint":true}},
    {"name":"wipe","annotations":{"readOnlyHint":false,"destructiveHint":true}}]}"#;

/// One rule, as a line of YAML.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) decision: &'static str,
    pub(crate) invariant: bool,
    /// Whether it only monitors; generated rules do not.
    pub(crate) monitors: bool,
    /// Its `scope`, `match` and `when`.
    pub(crate) speaks: String,
    rest: String,
}

/// Rules with ids of their own.
#[derive(Debug, Clone)]
pub(crate) struct Lines(pub(crate) Vec<Line>);

/// Parts of a request that can be left out.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) parts: BTreeMap<&'static str, String>,
}

impl Lines {
    /// The files of the bundle: invariants apart, the others spread over two files.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([("tools/disk.json".to_owned(), CATALOGUE.to_owned())]);
        let place = |at: usize, line: &Line| match (line.invariant, at % 2) {
            (true, _) => "rules/invariants.yaml",
            (false, 0) => "rules/even.yaml",
            (false, _) => "rules/odd.yaml",
        };
        for (at, line) in self.0.iter().enumerate() {
            let head = format!("version: v1\ninvariants: {}\nrules:\n", line.invariant);
            let file = files.entry(place(at, line).to_owned()).or_insert(head);
            let mode = if line.monitors { ", mode: monitor" } else { "" };
            let Line { id, decision, speaks, rest, .. } = line;
            file.push_str(&format!("  - {{id: {id}, decision: {decision}, {speaks}{rest}{mode}}}\n"));
        }
        files
    }
}

impl Asked {
    /// The wire form.
    pub(crate) fn text(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", parts.join(","))
    }
}

fn field(key: &'static str, values: &[&'static str]) -> impl Strategy<Value = Option<String>> {
    let values = proptest::collection::vec(select(values.to_vec()), 1..3);
    proptest::option::weighted(0.35, values)
        .prop_map(move |values| values.map(|values| format!("{key}: ['{}']", values.join("', '"))))
}

fn tags() -> impl Strategy<Value = Option<String>> {
    let list = || proptest::collection::btree_set(select(vec!["read", "write", "destructive", "x"]), 1..3);
    let shown = |tags: std::collections::BTreeSet<&str>| tags.into_iter().collect::<Vec<_>>().join(", ");
    let tags = prop_oneof![
        list().prop_map(move |tags| format!("risk_tags: [{}]", shown(tags))),
        list().prop_map(move |tags| format!("risk_tags: {{any: [{}]}}", shown(tags))),
        list().prop_map(move |tags| format!("risk_tags: {{none: [{}]}}", shown(tags))),
    ];
    proptest::option::weighted(0.3, tags)
}

/// Conditions that hold, do not hold, or have no answer, depending on the request. None asks with
/// `has` what the request leaves out, and none reads the tags.
fn condition() -> impl Strategy<Value = Option<String>> {
    let conditions = vec![
        "args.n > 1",
        "args.n == 1 || agent.id == 'bot'",
        "environment == 'prod'",
        "environment != 'prod' && args.n > 0",
        "confidence < 0.5",
        "confidence >= 0.5 || tenant == 'default'",
        "cost.usd > dec('1')",
        "!(cost.usd > dec('1'))",
        "agent.id == 'nobody' && environment == 'prod'",
        "labels.team == 'a'",
    ];
    proptest::option::weighted(0.3, select(conditions))
        .prop_map(|condition| condition.map(|condition| format!("when: \"{condition}\"")))
}

fn rest_of(decision: &'static str) -> impl Strategy<Value = Option<String>> {
    let constraints =
        vec!["{max_retries: 1}", "{max_retries: 3}", "{max_rows: 5, max_retries: 2}", "{read_only: true}"];
    let approvals = vec!["{quorum: 2}", "{reviewers: [boss]}", "{expires: 5m}"];
    (select(constraints), select(approvals), any::<bool>()).prop_map(
        move |(constraints, approval, written)| match decision {
            "allow_with_constraints" => Some(format!("constraints: {constraints}")),
            "require_approval" if written => {
                Some(format!("approval: {approval}, constraints: {constraints}"))
            }
            "throttle" if written => Some("throttle: {retry_after: 3s}".to_owned()),
            _ => None,
        },
    )
}

fn line() -> impl Strategy<Value = Line> {
    let decisions = vec!["allow", "allow", "allow_with_constraints", "throttle", "require_approval", "deny"];
    select(decisions).prop_flat_map(|decision| {
        let scope = (
            field("agents", &["bot", "b*", "Bot", "other"]),
            field("environments", &["prod", "test", "PROD", "*"]),
        );
        let matched = (
            field("tools", &["disk.look", "disk.wipe", "disk.*", "**", "net.get", "dlsk.*"]),
            field("topics", &["job.a", "job.*", "**"]),
            field("functions", &["f", "*"]),
            field("action_types", &["READ", "W*"]),
            tags(),
            proptest::option::weighted(0.15, Just("labels: {team: [a, 'b*']}".to_owned())),
        );
        let priority = proptest::option::weighted(0.4, select(vec!["priority: 1", "priority: -1"]));
        (scope, matched, condition(), priority, rest_of(decision), proptest::bool::weighted(0.15)).prop_map(
            move |(
                (agents, environments),
                (tools, topics, functions, actions, tags, labels),
                when,
                priority,
                rest,
                invariant,
            )| {
                let join = |key: &str, parts: Vec<Option<String>>| {
                    let parts: Vec<String> = parts.into_iter().flatten().collect();
                    (!parts.is_empty()).then(|| format!("{key}: {{{}}}", parts.join(", ")))
                };
                let scope = join("scope", vec![agents, environments]);
                let matched = join("match", vec![tools, topics, functions, actions, tags, labels]);
                let matched =
                    matched.or_else(|| scope.is_none().then(|| "match: {tools: ['**']}".to_owned()));
                let speaks = [scope, matched, when].into_iter().flatten().collect::<Vec<_>>().join(", ");
                let rest = [priority.map(str::to_owned), rest].into_iter().flatten();
                let rest = rest.map(|part| format!(", {part}")).collect();
                Line { id: String::new(), decision, invariant, monitors: false, speaks, rest }
            },
        )
    })
}

/// A bundle's rules; some of them may be refused by `check`.
pub(crate) fn lines() -> impl Strategy<Value = Lines> {
    proptest::collection::vec(line(), 1..12).prop_map(|mut lines| {
        for (at, line) in lines.iter_mut().enumerate() {
            line.id = format!("r{at}");
        }
        Lines(lines)
    })
}

/// A request.
pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let some = |values: &[&'static str]| proptest::option::weighted(0.6, select(values.to_vec()));
    let action = (
        some(&[
            r#"{"server":"disk","name":"look"}"#,
            r#"{"server":"disk","name":"wipe"}"#,
            r#"{"server":"disk","name":"W1pe"}"#,
            r#"{"server":"net","name":"get"}"#,
        ]),
        some(&[r#""job.a""#, r#""job.b""#, r#""other.x""#]),
        some(&[
            r#"{"function":"f"}"#,
            r#"{"function":"f","action_type":"READ"}"#,
            r#"{"action_type":"WRITE"}"#,
        ]),
        some(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":"x"}"#]),
    );
    let said = (
        select(vec![r#"{"id":"bot"}"#, r#"{"id":"BOT"}"#, r#"{"id":"other"}"#]),
        some(&[r#""prod""#, r#""test""#, r#""Prod""#]),
        some(&[r#"["read"]"#, r#"["write","x"]"#, r#"["Destructive"]"#]),
        some(&[r#"{"team":"a"}"#, r#"{"TEAM":"b1"}"#]),
        some(&["0.4", "0.9"]),
        some(&[r#"{"usd":"0.5"}"#, r#"{"usd":"2"}"#]),
        select(vec![r#"["max_retries","max_rows","read_only"]"#, r#"["max_retries"]"#, "[]"]),
    );
    (action, said).prop_map(
        |((tool, topic, session, args), (agent, environment, tags, labels, confidence, cost, pep))| {
            let optional = [
                ("tool", tool),
                ("topic", topic),
                ("session", session),
                ("args", args),
                ("environment", environment),
                ("risk_tags", tags),
                ("labels", labels),
                ("confidence", confidence),
                ("cost", cost),
            ];
            let mut parts: BTreeMap<&'static str, String> =
                optional.into_iter().filter_map(|(key, value)| Some((key, value?.to_owned()))).collect();
            if !parts.contains_key("tool") && !parts.contains_key("topic") {
                parts.insert("topic", r#""job.a""#.to_owned());
            }
            parts.insert("agent", agent.to_owned());
            parts.insert("pep", format!(r#"{{"id":"p","enforces":{pep}}}"#));
            Asked { parts }
        },
    )
}
