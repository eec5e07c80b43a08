//! The index leaves out no package that speaks, and a look-alike is never permitted.

use callgate_core::decision::Decision;
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module as _};
use callgate_core::request::Request;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::bundle::Bundle;
use crate::engine::Policies;
use crate::lower::rego_of;

/// A package: the lines of its header, and its rules.
#[derive(Debug, Clone)]
struct Written {
    tools: Vec<&'static str>,
    others: Vec<&'static str>,
    rules: &'static str,
}

fn written() -> impl Strategy<Value = Written> {
    let tools = prop_oneof![
        Just(vec![]),
        subsequence(vec!["shop.pay", "shop.look", "mail.send"], 1..=2),
        select(vec![vec!["shop.*"], vec!["*.pay"], vec!["**"]]),
    ];
    let others =
        vec!["topics: [orders.paid]", "risk_tags: [pii]", "risk_tags: {any: [pii, bulk]}", "agents: [bot]"];
    let others = subsequence(others, 0..=2).prop_filter("one line of tags", |lines| {
        lines.iter().filter(|it| it.starts_with("risk")).count() < 2
    });
    let rules = select(vec![
        "decision := \"allow\"",
        "decision := \"deny\"",
        "default decision := null\ndecision := \"require_approval\" if input.environment == \"prod\"",
        "decision := {\"decision\": \"allow_with_constraints\", \"constraints\": {\"max_rows\": 5}}",
        "deny contains \"no\" if \"pii\" in input.risk_tags",
        "decision := \"throttle\" if input.args.amount > 10 else := null",
        "decision := \"allow\" if to_number(input.args.amount) > 10",
    ]);
    (tools, others, rules).prop_map(|(tools, others, rules)| Written { tools, others, rules })
}

impl Written {
    fn text(&self, number: usize) -> String {
        let mut header = String::new();
        if !self.tools.is_empty() {
            header.push_str(&format!("#     tools: {:?}\n", self.tools));
        }
        for line in &self.others {
            header.push_str(&format!("#     {line}\n"));
        }
        if !header.is_empty() {
            header.insert_str(0, "# METADATA\n# custom:\n#   callgate:\n");
        }
        format!("{header}package p{number}\n{}\n", self.rules)
    }
}

fn asked() -> impl Strategy<Value = Request> {
    let server = select(vec!["shop", "mail", "SHOP"]);
    let tool = select(vec!["pay", "look", "send", "PAY", "p\u{430}y"]);
    let rest = vec![
        r#""topic":"orders.paid""#,
        r#""topic":"Orders.Paid""#,
        r#""environment":"prod""#,
        r#""args":{"amount":50}"#,
        r#""args":{"amount":"x"}"#,
        r#""risk_tags":["pii"]"#,
        r#""risk_tags":["PII","bulk"]"#,
    ];
    let rest = subsequence(rest, 0..=4).prop_filter("each key once", |parts| {
        let mut keys: Vec<_> = parts.iter().filter_map(|part| part.split(':').next()).collect();
        keys.dedup();
        keys.len() == parts.len()
    });
    (server, tool, select(vec!["bot", "BOT", "other"]), select(vec!["ops", "dev"]), rest).prop_map(
        |(server, tool, agent, team, rest)| {
            let mut text = format!(
                r#"{{"agent":{{"id":"{agent}","team":"{team}"}},"tool":{{"server":"{server}","name":"{tool}"}}"#
            );
            for part in rest {
                text.push(',');
                text.push_str(part);
            }
            text.push('}');
            Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{text}: {e}"))
        },
    )
}

proptest! {
    #[test]
    fn the_index_leaves_out_nothing_and_look_alikes_are_not_permitted(
        packages in prop::collection::vec(written(), 1..8),
        asked in prop::collection::vec(asked(), 1..8),
    ) {
        let files = packages.iter().enumerate().map(|(at, it)| (format!("policies/p{at}.rego"), it.text(at)));
        let bundle = Bundle::new(files.collect(), Default::default());
        let engine = rego_of(&bundle).unwrap_or_else(|| panic!("{}", crate::check(&bundle)));
        let all: Vec<u32> = (0..).take(packages.len()).collect();
        let facts = Facts::new(Credential::Local, 0);
        let unindexed: Vec<Evaluation> = asked
            .iter()
            .map(|request| {
                let mut evaluation = Evaluation::default();
                engine.evaluate(&all, request, &facts, &mut evaluation);
                evaluation
            })
            .collect();
        let policies = Policies::new(vec![engine]);
        for (request, unindexed) in asked.iter().zip(&unindexed) {
            let mut indexed = Evaluation::default();
            policies.evaluate(request, &facts, &mut indexed);
            prop_assert_eq!(&indexed.verdicts, &unindexed.verdicts);
            prop_assert!(indexed.trace.iter().all(|step| unindexed.trace.contains(step)));
            for verdict in indexed.verdicts.iter().filter(|verdict| verdict.error.is_none()) {
                if matches!(verdict.rule.effect, Decision::Allow | Decision::AllowWithConstraints) {
                    let at: usize = verdict.rule.id.trim_start_matches('p').parse().unwrap();
                    prop_assert!(may_permit(&packages[at], request), "{} {request:?}", packages[at].text(at));
                }
            }
        }
    }
}

/// Whether the header names the request's tool, topic and agent letter by letter.
fn may_permit(package: &Written, request: &Request) -> bool {
    let tool = request.tool.as_ref().unwrap().identity.as_str();
    let (server, name) = tool.split_once('.').unwrap();
    let named = |pattern: &&str| match *pattern {
        "**" => true,
        "shop.*" => server == "shop",
        "*.pay" => name == "pay",
        plain => plain == tool,
    };
    let other = |line: &&str| match *line {
        "topics: [orders.paid]" => request.topic.as_ref().is_some_and(|it| it.as_str() == "orders.paid"),
        "agents: [bot]" => request.agent.id.as_str() == "bot",
        _ => true,
    };
    (package.tools.is_empty() || package.tools.iter().any(named)) && package.others.iter().all(other)
}
