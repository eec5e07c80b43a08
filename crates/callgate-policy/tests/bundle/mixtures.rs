//! The laws again, over bundles that say each rule at random in one of the languages.

use std::collections::BTreeMap;

use callgate_core::decision::Decision;
use callgate_core::digest::Digest;
use callgate_core::rule::{Outcome, Step};
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, compile};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::generate::{Asked, asked};
use crate::laws::{adds_no_access, decided, said};

const CATALOGUE: &str = r#"{"tools":[
  {"name":"look","annotations":{"readOnlyHint":true},"inputSchema":SCHEMA},
  {"name":"wipe","annotations":{"readOnlyHint":false,"destructiveHint":true},"inputSchema":SCHEMA}]}"#;
const SCHEMA: &str = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;

/// A rule that each language can say.
#[derive(Debug, Clone)]
struct Line {
    id: String,
    language: &'static str,
    decision: &'static str,
    agent: Option<&'static str>,
    tools: Vec<&'static str>,
    tag: Option<&'static str>,
    environment: Option<&'static str>,
    /// Whether it asks for `args.n` over 1; only beside tools.
    conditional: bool,
    retries: u32,
}

impl Line {
    fn permits(&self) -> bool {
        self.decision.starts_with("allow")
    }

    /// The file's path without its number, and the text of the rule in it.
    fn written(&self) -> (&'static str, &'static str, String) {
        match self.language {
            "rules" => ("rules", "yaml", self.yaml()),
            "cedar" => ("policies", "cedar", self.cedar()),
            _ => ("policies", "rego", self.rego()),
        }
    }

    fn yaml(&self) -> String {
        let list = |key: &str, words: &[&str]| {
            (!words.is_empty()).then(|| format!("{key}: ['{}']", words.join("', '")))
        };
        let join = |key: &str, parts: [Option<String>; 2]| {
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| format!("{key}: {{{}}}", parts.join(", ")))
        };
        let scope = join(
            "scope",
            [list("agents", self.agent.as_slice()), list("environments", self.environment.as_slice())],
        );
        let tools = if self.tools.is_empty() { &["**"][..] } else { &self.tools };
        let matched = join("match", [list("tools", tools), list("risk_tags", self.tag.as_slice())]);
        let parts = [
            Some(format!("id: {}", self.id)),
            Some(format!("decision: {}", self.decision)),
            scope,
            matched,
            self.conditional.then(|| "when: args.n > 1".to_owned()),
            (self.decision == "allow_with_constraints")
                .then(|| format!("constraints: {{max_retries: {}}}", self.retries)),
        ];
        format!("  - {{{}}}\n", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    fn cedar(&self) -> String {
        let effect = if self.permits() { "permit" } else { "forbid" };
        let how = match self.decision {
            "allow_with_constraints" => format!("@constraint(\"max_retries: {}\")", self.retries),
            "throttle" | "require_approval" => format!("@decision(\"{}\")", self.decision),
            _ => String::new(),
        };
        let principal = self.agent.map_or_else(
            || "principal is Agent".to_owned(),
            |agent| format!("principal == Agent::\"{agent}\""),
        );
        let actions: Vec<String> = self.tools.iter().map(|tool| format!("Action::\"{tool}\"")).collect();
        let action = match actions.as_slice() {
            [] => "action".to_owned(),
            [only] => format!("action == {only}"),
            more => format!("action in [{}]", more.join(", ")),
        };
        let conditions: Vec<String> = [
            self.tag.map(|tag| format!("context.risk_tags.contains(\"{tag}\")")),
            self.environment.map(|environment| format!("context.environment == \"{environment}\"")),
            self.conditional.then(|| "context.args.n > 1".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let when = if conditions.is_empty() {
            String::new()
        } else {
            format!("when {{ {} }}", conditions.join(" && "))
        };
        format!("@id(\"{}\")\n{how}\n{effect}({principal}, {action}, resource)\n{when};\n", self.id)
    }

    fn rego(&self) -> String {
        let list = |key: &str, words: &[&str]| {
            if words.is_empty() { String::new() } else { format!("#     {key}: [{}]\n", words.join(", ")) }
        };
        let header = format!(
            "# METADATA\n# custom:\n#   callgate:\n#     id: {}\n{}{}{}",
            self.id,
            list("agents", self.agent.as_slice()),
            list("tools", &self.tools),
            list("risk_tags", self.tag.as_slice()),
        );
        let answer = if self.decision == "allow_with_constraints" {
            let constraints = format!("{{\"max_retries\": {}}}", self.retries);
            format!("{{\"decision\": \"{}\", \"constraints\": {constraints}}}", self.decision)
        } else {
            format!("\"{}\"", self.decision)
        };
        let mut conditions = Vec::new();
        if let Some(environment) = self.environment {
            conditions.push(format!("input.environment == \"{environment}\""));
        }
        if self.conditional {
            conditions.push("abs(input.args.n) > 1".to_owned());
        }
        let body = if conditions.is_empty() {
            format!("decision := {answer}\n")
        } else {
            format!("default decision := null\ndecision := {answer} if {{ {} }}\n", conditions.join("; "))
        };
        format!("{header}package {}\n{body}", self.id)
    }
}

/// The bundle of these lines in this order, each in a file of its own.
fn bundle(lines: &[Line]) -> Bundle {
    let mut files = BTreeMap::from([("tools/disk.json".to_owned(), CATALOGUE.replace("SCHEMA", SCHEMA))]);
    for (at, line) in lines.iter().enumerate() {
        let (folder, ending, text) = line.written();
        let head = if ending == "yaml" { "version: v1\nrules:\n" } else { "" };
        files.insert(format!("{folder}/f{at:02}.{ending}"), format!("{head}{text}"));
    }
    Bundle::new(files, BTreeMap::new())
}

fn line() -> impl Strategy<Value = Line> {
    let decisions = vec!["allow", "allow", "allow_with_constraints", "throttle", "require_approval", "deny"];
    let some = |words: &[&'static str]| proptest::option::weighted(0.35, select(words.to_vec()));
    (
        select(vec!["rules", "cedar", "rego"]),
        select(decisions),
        some(&["bot", "other"]),
        subsequence(vec!["disk.look", "disk.wipe"], 0..=2),
        some(&["read", "write", "destructive", "x"]),
        some(&["prod", "test"]),
        proptest::bool::weighted(0.3),
        1u32..4,
    )
        .prop_map(|(language, decision, agent, tools, tag, environment, conditional, retries)| Line {
            id: String::new(),
            language,
            decision,
            agent,
            conditional: conditional && !tools.is_empty(),
            tools,
            tag,
            environment,
            retries,
        })
}

/// A bundle that compiles: of generated rules, those that `check` does not refuse.
fn sound() -> impl Strategy<Value = (Vec<Line>, Snapshot)> {
    proptest::collection::vec(line(), 1..9).prop_filter_map("no rule is left", |mut lines| {
        for (at, line) in lines.iter_mut().enumerate() {
            line.id = format!("r{at}");
        }
        while !lines.is_empty() {
            let report = match compile(&bundle(&lines)) {
                Ok(snapshot) => return Some((lines, snapshot)),
                Err(report) => report,
            };
            let reported = |at: usize| {
                let name = format!("/f{at:02}.");
                report.diagnostics().iter().any(|found| found.file.contains(&name))
            };
            let kept: Vec<Line> = lines
                .iter()
                .enumerate()
                .filter(|(at, _)| !reported(*at))
                .map(|(_, line)| line.clone())
                .collect();
            assert!(kept.len() < lines.len(), "{report}");
            lines = kept;
        }
        None
    })
}

/// The steps of a decision that matched.
fn matched(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| step.outcome == Outcome::Matched)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn law_2_in_any_mixture_deny_wins_and_errors_restrict((_, snapshot) in sound(), requests in proptest::collection::vec(asked(), 8)) {
        for asked in &requests {
            let decided = decided(&snapshot, asked);
            let failed = |step: &&Step| matches!(step.outcome, Outcome::Error(_));
            let denied = matched(&decided.trace).any(|step| step.rule.effect == Decision::Deny);
            let broken = decided.trace.iter().filter(failed).any(|step| !step.rule.effect.permits());
            if denied || broken || matched(&decided.trace).next().is_none() {
                prop_assert_eq!(decided.settled.decision, Decision::Deny);
            }
            if decided.settled.decision.permits() {
                prop_assert!(matched(&decided.trace).any(|step| step.rule.effect.permits()));
            }
        }
    }

    #[test]
    fn law_3_in_any_mixture_deciding_again_gives_the_same((lines, snapshot) in sound(), requests in proptest::collection::vec(asked(), 4)) {
        let again = compile(&bundle(&lines)).map_err(|report| TestCaseError::fail(report.render()))?;
        prop_assert_eq!(&snapshot.digest, &again.digest);
        for asked in &requests {
            let first = said(&decided(&snapshot, asked));
            prop_assert_eq!(&first, &said(&decided(&snapshot, asked)));
            prop_assert_eq!(&first, &said(&decided(&again, asked)));
        }
    }

    #[test]
    fn law_8_in_any_mixture_order_never_matters((lines, snapshot) in sound(), requests in proptest::collection::vec(asked(), 4), seed in any::<u64>()) {
        let mut shuffled = lines;
        shuffled.sort_by_key(|line| Digest::of(format!("{seed}{}", line.id).as_bytes()));
        let other = compile(&bundle(&shuffled)).map_err(|report| TestCaseError::fail(report.render()))?;
        for asked in &requests {
            prop_assert_eq!(said(&decided(&snapshot, asked)), said(&decided(&other, asked)));
        }
    }

    #[test]
    fn law_8_in_any_mixture_removing_a_permissive_rule_never_adds_access((lines, snapshot) in sound(), requests in proptest::collection::vec(asked(), 8), pick in any::<prop::sample::Index>()) {
        let permits: Vec<&Line> = lines.iter().filter(|line| line.decision == "allow").collect();
        if permits.is_empty() {
            return Ok(());
        }
        let gone = pick.get(&permits).id.clone();
        let fewer: Vec<Line> = lines.iter().filter(|line| line.id != gone).cloned().collect();
        let Ok(fewer) = compile(&bundle(&fewer)) else { return Ok(()) };
        for asked in &requests {
            prop_assert!(adds_no_access(&decided(&snapshot, asked), &decided(&fewer, asked)), "without {gone}");
        }
    }

    #[test]
    fn law_9_in_any_mixture_a_constraint_nobody_enforces_is_a_deny((_, snapshot) in sound(), requests in proptest::collection::vec(asked(), 8)) {
        for asked in &requests {
            let blind: Asked = asked.with("pep", r#"{"id":"p","enforces":[]}"#);
            let decided = decided(&snapshot, &blind);
            prop_assert!(!decided.settled.decision.permits() || decided.settled.constraints.is_empty());
        }
    }
}
