//! The index leaves out nothing that speaks, and each policy says what Cedar's own authorizer says.

use std::collections::{BTreeMap, BTreeSet};

use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module as _};
use callgate_core::request::Request;
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet};
use proptest::prelude::*;

use crate::bundle::Bundle;
use crate::engine::Policies;
use crate::lower::cedar_of;

const TOOLS: &str = r#"{"tools": [
  {"name": "pay", "inputSchema": {"type": "object", "required": ["amount"], "properties": {
    "amount": {"type": "number"}, "units": {"type": "integer"}, "note": {"type": "string"}}},
   "annotations": {"readOnlyHint": false}},
  {"name": "look", "inputSchema": {"type": "object", "properties": {"note": {"type": "string"}}}}]}"#;

/// One policy in parts: its effect, scope and conditions.
#[derive(Debug, Clone)]
struct Written {
    effect: &'static str,
    principal: &'static str,
    action: &'static str,
    resource: &'static str,
    conditions: Vec<&'static str>,
    /// Whether the conditions are a `when`, or an `unless`.
    when: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let effects = prop::sample::select(vec!["permit", "permit", "forbid"]);
    let principals = prop::sample::select(vec![
        "principal",
        "principal == Agent::\"bot\"",
        "principal == Agent::\"Bot\"",
        "principal in Team::\"ops\"",
        "principal is Agent in Tenant::\"default\"",
    ]);
    let actions = prop::sample::select(vec![
        "action == Action::\"shop.pay\"",
        "action in [Action::\"shop.pay\"]",
        "action in Action::\"tag:write\"",
    ]);
    let resources = prop::sample::select(vec![
        "resource",
        "resource == Tool::\"shop.pay\"",
        "resource in Server::\"shop\"",
        "resource is Tool",
    ]);
    let conditions = prop::sample::select(vec![
        "context.environment == \"prod\"",
        "context.risk_tags.contains(\"pii\")",
        "context.risk_tags.contains(\"write\")",
        "context.args.amount.greaterThan(decimal(\"50.0\"))",
        "(context.args has units && context.args.units + 9223372036854775800 > 5)",
        "(context.args has note && context.args.note like \"*x*\")",
        "(principal has team && principal.team == Team::\"ops\")",
        "principal.chain.contains(Agent::\"planner\")",
    ]);
    (effects, principals, actions, resources, prop::collection::vec(conditions, 0..3), any::<bool>())
        .prop_map(|(effect, principal, action, resource, conditions, when)| Written {
            effect,
            principal,
            action,
            resource,
            conditions,
            when,
        })
}

fn text(policies: &[Written]) -> String {
    let one = |policy: &Written| {
        let Written { effect, principal, action, resource, conditions, when } = policy;
        let word = if *when { "when" } else { "unless" };
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" {word} {{ {} }}", conditions.join(" && ")),
        };
        format!("{effect}({principal}, {action}, {resource}){condition};\n")
    };
    policies.iter().map(one).collect()
}

/// A request in parts.
#[derive(Debug, Clone)]
struct Said {
    agent: &'static str,
    team: Option<&'static str>,
    chain: bool,
    tool: &'static str,
    amount: Option<&'static str>,
    units: Option<i64>,
    note: Option<&'static str>,
    environment: Option<&'static str>,
    tags: Vec<&'static str>,
}

fn said(hostile: bool) -> impl Strategy<Value = Said> {
    let or = |plain: Vec<&'static str>, others: Vec<&'static str>| {
        prop::sample::select(if hostile { [plain, others].concat() } else { plain })
    };
    let environment: Vec<Option<&str>> = if hostile {
        vec![Some("prod"), Some("PROD"), Some("dev"), None]
    } else {
        vec![Some("prod"), Some("dev")]
    };
    let amount = vec![Some("5"), Some("75"), Some("\"75\""), None];
    (
        or(vec!["bot", "other"], vec!["Bot", "B0T"]),
        prop::sample::select(vec![None, Some("ops"), Some("dev")]),
        any::<bool>(),
        or(vec!["pay", "look"], vec!["PAY", "none"]),
        prop::sample::select(amount),
        prop::sample::select(vec![None, Some(1), Some(100)]),
        prop::sample::select(vec![None, Some("axb"), Some("ab")]),
        prop::sample::select(environment),
        if hostile {
            prop::collection::vec(prop::sample::select(vec!["pii", "PII", "read"]), 0..2).boxed()
        } else {
            Just(vec![]).boxed()
        },
    )
        .prop_map(|(agent, team, chain, tool, amount, units, note, environment, tags)| Said {
            agent,
            team,
            chain,
            tool,
            amount,
            units,
            note,
            environment,
            tags,
        })
}

impl Said {
    /// The arguments as JSON, with amounts as `amount` makes them.
    fn args(&self, amount: impl Fn(&str) -> String) -> String {
        let mut args: Vec<String> = Vec::new();
        args.extend(self.amount.map(|it| format!("\"amount\":{}", amount(it))));
        args.extend(self.units.map(|it| format!("\"units\":{it}")));
        args.extend(self.note.map(|it| format!("\"note\":\"{it}\"")));
        format!("{{{}}}", args.join(","))
    }

    fn request(&self) -> Request {
        let team = self.team.map(|team| format!(",\"team\":\"{team}\"")).unwrap_or_default();
        let chain = if self.chain { ",\"chain\":[\"planner\"]" } else { "" };
        let environment = self.environment.map(|it| format!(",\"environment\":\"{it}\"")).unwrap_or_default();
        let text = format!(
            r#"{{"agent":{{"id":"{}"{team}{chain}}},"tool":{{"server":"shop","name":"{}"}},"args":{},"risk_tags":{:?}{environment}}}"#,
            self.agent,
            self.tool,
            self.args(str::to_owned),
            BTreeSet::from_iter(&self.tags).into_iter().collect::<Vec<_>>(),
        );
        Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap()
    }

    /// What Cedar's own interface makes of it.
    fn cedar(&self) -> (cedar_policy::Request, Entities) {
        let uid = |text: String| -> EntityUid { text.parse().unwrap() };
        let entity = |of: &str, name: &str| format!(r#"{{"type":"{of}","id":"{name}"}}"#);
        let amount = |text: &str| {
            if text.starts_with('"') {
                text.to_owned()
            } else {
                format!(r#"{{"__extn":{{"fn":"decimal","arg":"{text}.0"}}}}"#)
            }
        };
        let tags = if self.tool == "pay" { r#"["write"]"# } else { "[]" };
        let context = format!(
            r#"{{"args":{},"risk_tags":{tags},"environment":"{}"}}"#,
            self.args(amount),
            self.environment.unwrap_or_default(),
        );
        let context = Context::from_json_str(&context, None).unwrap();
        let action = format!("shop.{}", self.tool);
        let request = cedar_policy::Request::new(
            uid(format!("Agent::\"{}\"", self.agent)),
            uid(format!("Action::\"{action}\"")),
            uid(format!("Tool::\"{action}\"")),
            context,
            None,
        );
        let team = self
            .team
            .map(|team| format!(r#","team":{{"__entity":{}}}"#, entity("Team", team)))
            .unwrap_or_default();
        let chain = if self.chain {
            format!(r#"{{"__entity":{}}}"#, entity("Agent", "planner"))
        } else {
            String::new()
        };
        let mut parents = vec![entity("Tenant", "default")];
        parents.extend(self.team.map(|team| entity("Team", team)));
        let groups = if self.tool == "pay" { entity("Action", "tag:write") } else { String::new() };
        let entities = format!(
            r#"[{{"uid":{},"attrs":{{"chain":[{chain}]{team}}},"parents":[{}]}},{{"uid":{},"attrs":{{}},"parents":[{groups}]}},{{"uid":{},"attrs":{{}},"parents":[{}]}}]"#,
            entity("Agent", self.agent),
            parents.join(","),
            entity("Action", &action),
            entity("Tool", &action),
            entity("Server", "shop"),
        );
        (request.unwrap(), Entities::from_json_str(&entities, None).unwrap())
    }
}

fn facts() -> Facts {
    Facts::new(Credential::Local, 1_700_000_000_000)
}

fn bundle(policies: &str) -> Bundle {
    let files = [("tools/shop.json", TOOLS), ("policies/p.cedar", policies)];
    let own = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    Bundle::new(BTreeMap::from(own), BTreeMap::new())
}

/// The number of a policy in its file, from 0, as Cedar counts.
fn number(id: &str) -> usize {
    id.rsplit('#').next().unwrap().parse::<usize>().unwrap().saturating_sub(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_index_is_a_linear_scan(policies in prop::collection::vec(written(), 1..8), said in said(true)) {
        let Some((cedar, catalogue)) = cedar_of(&bundle(&text(&policies))) else { return Ok(()) };
        let mut request = said.request();
        catalogue.tag(&mut request);
        let all: Vec<u32> = (0u32..).zip(cedar.filings()).map(|(number, _)| number).collect();
        let (mut indexed, mut linear) = (Evaluation::default(), Evaluation::default());
        cedar.evaluate(&all, &request, &facts(), &mut linear);
        Policies::new(vec![cedar]).evaluate(&request, &facts(), &mut indexed);
        prop_assert_eq!(indexed.verdicts, linear.verdicts);
    }

    #[test]
    fn each_policy_says_what_cedar_says(policies in prop::collection::vec(written(), 1..8), said in said(false)) {
        let written = text(&policies);
        let Some((cedar, catalogue)) = cedar_of(&bundle(&written)) else { return Ok(()) };
        // Here, restrictive policies also match what looks alike; Cedar has no such notion.
        prop_assume!(!written.contains("forbid(principal == Agent::\"Bot\""));
        // Here, an amount that is missing or no number fails whatever reads it; Cedar may not get that far.
        let readable = said.amount.is_some_and(|amount| !amount.starts_with('"'));
        prop_assume!(readable || policies.iter().all(|policy| policy.conditions.len() < 2));
        let mut request = said.request();
        catalogue.tag(&mut request);
        let mut evaluation = Evaluation::default();
        Policies::new(vec![cedar]).evaluate(&request, &facts(), &mut evaluation);
        let (mut permits, mut forbids, mut errors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for verdict in &evaluation.verdicts {
            let list = match (&verdict.error, verdict.rule.effect.permits()) {
                (Some(_), _) => &mut errors,
                (None, true) => &mut permits,
                (None, false) => &mut forbids,
            };
            list.insert(number(&verdict.rule.id));
        }
        let set: PolicySet = written.parse().unwrap();
        let (asked, entities) = said.cedar();
        let response = Authorizer::new().is_authorized(&asked, &set, &entities);
        let own = |id: &PolicyId| id.to_string().strip_prefix("policy").unwrap().parse::<usize>().unwrap();
        let allow = forbids.is_empty() && !permits.is_empty();
        prop_assert_eq!(response.decision() == Decision::Allow, allow);
        let reasons: BTreeSet<usize> = response.diagnostics().reason().map(own).collect();
        prop_assert_eq!(reasons, if forbids.is_empty() { permits } else { forbids });
        let failed: BTreeSet<usize> = response
            .diagnostics()
            .errors()
            .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| own(error.policy_id()))
            .collect();
        prop_assert_eq!(failed, errors);
    }
}
