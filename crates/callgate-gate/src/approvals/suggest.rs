//! Repeated approvals as a rule that somebody may want to write down. Never applied by itself.

use std::collections::{BTreeMap, BTreeSet};

use callgate_core::request::Request;
use callgate_core::state::approvals::{Approval, Status};
use callgate_core::value::Value;
use serde::Serialize;

use crate::Credential;
use crate::gate::Gate;
use crate::reply::approval_id;

/// So many grants, and not one rejection, make a suggestion.
const ENOUGH: usize = 5;
/// How many of them are looked into for what their arguments have in common.
const LOOKED_INTO: usize = 50;
/// The longest constant text that a condition compares with.
const MAX_TEXT: usize = 200;

/// A rule that would have answered what people answered again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The rule that held the calls.
    pub rule: String,
    /// The tenant of those calls.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// The action.
    pub action: String,
    /// A rules file for the bundle, such as `rules/suggested-….yaml`.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What it rests on.
    pub evidence: EvidenceView,
}

/// What a suggestion rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceView {
    /// How many were granted; none was rejected.
    pub granted: usize,
    /// The approvals.
    pub approvals: Vec<String>,
    /// The receipts of the votes.
    pub votes: Vec<u64>,
    /// Who granted them.
    pub reviewers: Vec<String>,
    /// When the first was asked, milliseconds since 1970 UTC.
    pub first_ms: i64,
    /// When the last was asked, milliseconds since 1970 UTC.
    pub last_ms: i64,
    /// How many requests could not be read any more, so that nothing is known of their arguments.
    pub unread: usize,
}

/// What must be the same for approvals to be counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    tenant: String,
    rule: String,
    agent: String,
    action: String,
    environment: Option<String>,
}

impl Gate {
    /// Suggests rules for what people granted at least five times and rejected never, as far as it is
    /// remembered. Reads the disk.
    #[must_use]
    pub fn suggestions(&self, who: &Credential) -> Vec<Suggestion> {
        if super::Reviewer::of(who).is_none() {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        let mut groups: BTreeMap<Group, Option<Vec<Approval>>> = BTreeMap::new();
        self.store.state(|state| {
            for approval in state.0.approvals().iter() {
                if super::may_see(who, &approval.key.tenant, &approval.key.agent) {
                    count(&mut groups, approval, now_ms);
                }
            }
        });
        let often = groups.into_iter().filter_map(|(group, found)| Some((group, found?)));
        let often = often.filter(|(_, found)| found.len() >= ENOUGH);
        often.filter_map(|(group, found)| self.suggestion(group, &found)).collect()
    }

    /// The least priority that outranks this rule of the snapshot in force; nothing outranks an invariant.
    fn priority_over(&self, rule: &str) -> Option<i32> {
        let active = self.active.load();
        let mut modules = active.live.snapshot.modules.iter();
        let rule = modules.find_map(|module| module.listed().into_iter().find(|one| *one.id == *rule))?;
        if rule.invariant { None } else { rule.priority.checked_add(1) }
    }

    fn suggestion(&self, group: Group, found: &[Approval]) -> Option<Suggestion> {
        let newest = found.iter().rev().take(LOOKED_INTO);
        let requests: Vec<Option<Box<Request>>> =
            newest.map(|approval| self.held_request(approval.id).ok().flatten()).collect();
        let unread = requests.iter().filter(|request| request.is_none()).count();
        let requests: Vec<Box<Request>> = requests.into_iter().flatten().collect();
        let first = requests.first()?;
        // Without a tool there is no narrow rule to write.
        let tool = first.tool.as_ref()?;
        let constants = constants(&requests);
        let priority = self.priority_over(&group.rule)?;
        let text = text(&group, tool.identity.as_str(), &constants, found, priority)?;
        let votes = found.iter().flat_map(|approval| &approval.votes);
        let reviewers: BTreeSet<String> = found.iter().flat_map(Approval::by).collect();
        let last = found.last();
        Some(Suggestion {
            file: format!("rules/{}.yaml", rule_id(&group)),
            text,
            evidence: EvidenceView {
                granted: found.len(),
                approvals: found.iter().map(|approval| approval_id(approval.id)).collect(),
                votes: votes.map(|cast| cast.receipt).collect(),
                reviewers: reviewers.into_iter().collect(),
                first_ms: found.first().map_or(0, |approval| approval.opened_at_ms),
                last_ms: last.map_or(0, |approval| approval.opened_at_ms),
                unread,
            },
            rule: group.rule,
            tenant: group.tenant,
            agent: group.agent,
            action: group.action,
        })
    }
}

/// `None` marks a group with a rejection.
fn count(groups: &mut BTreeMap<Group, Option<Vec<Approval>>>, approval: &Approval, now_ms: i64) {
    let group = Group {
        tenant: approval.key.tenant.clone(),
        rule: approval.hold.rule.clone(),
        agent: approval.key.agent.clone(),
        action: approval.hold.action.clone(),
        environment: approval.hold.environment.clone(),
    };
    let status = approval.status_at(now_ms);
    let found = groups.entry(group).or_insert_with(|| Some(Vec::new()));
    if matches!(status, Status::Rejected { .. }) {
        *found = None;
    } else if approval.current().is_none()
        && let Some(found) = found
    {
        found.push(approval.clone());
    }
}

/// The top-level arguments that were the same every time, and can be compared in a condition.
fn constants(requests: &[Box<Request>]) -> Vec<(String, String)> {
    let Some((first, others)) = requests.split_first() else { return Vec::new() };
    let (shown, _) = super::mask::mask(&first.args, None);
    let same = |key: &str, value: &Value| others.iter().all(|other| other.args.get(key) == Some(value));
    // A masked value would stand in the rule in the clear, so it is left out.
    let clear = |key: &str, value: &Value| shown.as_map().and_then(|map| map.get(key)) == Some(value);
    let constant = |(key, value): (&str, &Value)| {
        let literal = literal(value)?;
        (is_word(key) && same(key, value) && clear(key, value)).then(|| (key.to_owned(), literal))
    };
    first.args.iter().filter_map(constant).collect()
}

/// A value as CEL writes it.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) if text.len() <= MAX_TEXT => serde_json::to_string(text).ok(),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A key that CEL reads as `args.key`.
fn is_word(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && ![
            "in",
            "true",
            "false",
            "null",
            "as",
            "break",
            "const",
            "continue",
            "else",
            "for",
            "function",
            "if",
            "import",
            "let",
            "loop",
            "package",
            "namespace",
            "return",
            "var",
            "void",
            "while",
        ]
        .contains(&key)
}

fn rule_id(group: &Group) -> String {
    let word = |text: &str| -> String {
        let plain =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        plain.take(40).collect()
    };
    // The digest keeps the ids of names apart that look alike in plain letters.
    let whole =
        serde_json::to_vec(&[&group.tenant, &group.rule, &group.agent, &group.action]).unwrap_or_default();
    let tail: String = callgate_core::digest::Digest::of(&whole).hex().chars().take(8).collect();
    format!("suggested-{}-{}-{tail}", word(&group.agent), word(&group.action))
}

/// A rules file. Names are written as JSON strings, which YAML reads as they are.
fn text(
    group: &Group,
    tool: &str,
    constants: &[(String, String)],
    found: &[Approval],
    priority: i32,
) -> Option<String> {
    let quote = |text: &str| serde_json::to_string(text).ok();
    let mut scope = format!("agents: [{}]", quote(&exact(&group.agent)?)?);
    if group.tenant != callgate_core::request::DEFAULT_TENANT {
        scope.push_str(&format!(", tenants: [{}]", quote(&exact(&group.tenant)?)?));
    }
    if let Some(environment) = &group.environment {
        scope.push_str(&format!(", environments: [{}]", quote(&exact(environment)?)?));
    }
    let reason = format!(
        "{} approvals of rule {} from {} to {}, none rejected",
        found.len(),
        group.rule,
        found.first().map_or(0, |approval| approval.id),
        found.last().map_or(0, |approval| approval.id)
    );
    let mut out = String::from("version: v1\nrules:\n");
    out.push_str(&format!("  - id: {}\n", quote(&rule_id(group))?));
    out.push_str(&format!("    scope: {{{scope}}}\n"));
    out.push_str(&format!("    match: {{tools: [{}]}}\n", quote(&exact(tool)?)?));
    if !constants.is_empty() {
        let compare = |(key, value): &(String, String)| format!("has(args.{key}) && args.{key} == {value}");
        let when: Vec<String> = constants.iter().map(compare).collect();
        out.push_str(&format!("    when: {}\n", quote(&when.join(" && "))?));
    }
    out.push_str(&format!(
        "    decision: allow\n    priority: {priority}\n    reason: {}\n",
        quote(&reason)?
    ));
    Some(out)
}

/// A name that a pattern matches exactly; `None` for one that has a pattern's characters.
fn exact(name: &str) -> Option<String> {
    (!name.contains('*')).then(|| name.to_owned())
}
