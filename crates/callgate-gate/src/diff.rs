//! What is different between two snapshots, in terms of rules, limits, contracts, tools and defaults: not of
//! lines of text. Where something stands, and in which order, is no difference.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use callgate_core::contract::Contract;
use callgate_core::decision::Mode;
use callgate_core::limit::{Does, Exceed, Limit, Near, Rate, Settle, Span, Then};
use callgate_core::rule::{ApprovalTerms, Rule};
use callgate_core::snapshot::{Defaults, Rollout, Snapshot};
use callgate_core::state::percent;
use serde::Serialize;

/// The differences between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The digest of the one before, `sha256:…`.
    pub was: String,
    /// The digest of the one after, `sha256:…`.
    pub now: String,
    /// Rules of all languages, by id.
    pub rules: Parts,
    /// Budgets, throttles and breakers, by id.
    pub limits: Parts,
    /// Contracts, by id.
    pub contracts: Parts,
    /// Tools of the catalogue, by identity.
    pub tools: Parts,
    /// What holds where no rule says otherwise.
    pub defaults: Vec<Field>,
}

/// The differences among things of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Only in the one after.
    pub added: Vec<Part>,
    /// Only in the one before.
    pub removed: Vec<Part>,
    /// In both, and not the same.
    pub changed: Vec<Changed>,
}

/// One rule, contract or tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// Where it stands, `file:line:column`; absent for a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it says, as far as it says anything beside the usual.
    pub fields: BTreeMap<&'static str, String>,
}

/// One rule, contract or tool that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its id.
    pub id: String,
    /// Where it stands now, `file:line:column`; absent for a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What is different.
    pub fields: Vec<Field>,
}

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// What.
    pub field: &'static str,
    /// What it was; absent where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is; absent where it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

impl Parts {
    /// Whether nothing is different.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn between(was: &BTreeMap<String, Part>, now: &BTreeMap<String, Part>) -> Self {
        let missing = |from: &BTreeMap<String, Part>, other: &BTreeMap<String, Part>| {
            let only = from.iter().filter(|(id, _)| !other.contains_key(*id));
            only.map(|(_, part)| part.clone()).collect()
        };
        let both = now.iter().filter_map(|(id, now)| Some((was.get(id)?, now)));
        let changed = both.filter(|(was, now)| was.fields != now.fields).map(|(was, now)| Changed {
            id: now.id.clone(),
            source: now.source.clone(),
            fields: fields(&was.fields, &now.fields),
        });
        Self { added: missing(now, was), removed: missing(was, now), changed: changed.collect() }
    }
}

impl Diff {
    /// What is different in `now`.
    #[must_use]
    pub fn between(was: &Snapshot, now: &Snapshot) -> Self {
        Self {
            was: was.digest.to_string(),
            now: now.digest.to_string(),
            rules: Parts::between(&rules(was), &rules(now)),
            limits: Parts::between(&limits(was), &limits(now)),
            contracts: Parts::between(&contracts(was), &contracts(now)),
            tools: Parts::between(&tools(was), &tools(now)),
            defaults: fields(&defaults(&was.defaults), &defaults(&now.defaults)),
        }
    }

    /// Whether nothing is different; the texts may still be.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.limits.is_empty()
            && self.contracts.is_empty()
            && self.tools.is_empty()
            && self.defaults.is_empty()
    }
}

fn fields(was: &BTreeMap<&'static str, String>, now: &BTreeMap<&'static str, String>) -> Vec<Field> {
    let names: std::collections::BTreeSet<&'static str> = was.keys().chain(now.keys()).copied().collect();
    let different = names.into_iter().filter(|name| was.get(name) != now.get(name));
    different
        .map(|field| Field { field, was: was.get(field).cloned(), now: now.get(field).cloned() })
        .collect()
}

/// Collects what is said, and leaves out what is not.
#[derive(Default)]
struct Said(BTreeMap<&'static str, String>);

impl Said {
    fn field(mut self, name: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
        self
    }
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn rules(snapshot: &Snapshot) -> BTreeMap<String, Part> {
    let all = snapshot.modules.iter().filter(|module| !module.has_limits());
    let all = all.flat_map(|module| module.listed());
    all.map(|rule| (rule.id.to_string(), rule_part(&rule))).collect()
}

fn rule_part(rule: &Arc<Rule>) -> Part {
    let said = Said::default()
        .field("language", Some(rule.module.to_owned()))
        .field("decision", Some(rule.effect.to_string()))
        .field("mode", (rule.mode == Mode::Monitor).then(|| "monitor".to_owned()))
        .field("priority", (rule.priority != 0).then(|| rule.priority.to_string()))
        .field("invariant", rule.invariant.then(|| "yes".to_owned()))
        .field("reason", rule.reason.clone())
        .field("constraints", (!rule.constraints.is_empty()).then(|| rule.constraints.to_value().canonical()))
        .field("approval", rule.approval.as_ref().map(approval))
        .field("retry_after_ms", rule.retry_after_ms.map(|wait| wait.to_string()))
        .field("controls", listed(&rule.controls))
        .field("meaning", Some(rule.fingerprint.to_string()));
    Part { id: rule.id.to_string(), source: Some(rule.source.to_string()), fields: said.0 }
}

/// `2 of role:finance, then 1 of anyone, within 1800000 ms`, and what reviewers are told.
fn approval(terms: &ApprovalTerms) -> String {
    let stages: Vec<String> = terms
        .stages
        .iter()
        .map(|stage| {
            let who = listed(&stage.reviewers).unwrap_or_else(|| "anyone".to_owned());
            format!("{} of {who}", stage.quorum)
        })
        .collect();
    let told = |what: &str, text: &Option<String>| {
        text.as_ref().map(|text| format!("; {what}: {text}")).unwrap_or_default()
    };
    format!(
        "{}, within {} ms{}{}",
        stages.join(", then "),
        terms.expires_ms,
        told("blast radius", &terms.blast_radius),
        told("rollback", &terms.rollback)
    )
}

fn limits(snapshot: &Snapshot) -> BTreeMap<String, Part> {
    snapshot.limits().iter().map(|limit| (limit.id.to_string(), limit_part(limit))).collect()
}

fn limit_part(limit: &Limit) -> Part {
    let per: Vec<String> = limit.per.iter().map(ToString::to_string).collect();
    let said = Said::default()
        .field("kind", Some(limit.module().to_owned()))
        .field("mode", (limit.mode == Mode::Monitor).then(|| "monitor".to_owned()))
        .field("per", listed(&per))
        .field("reason", limit.reason.clone())
        // Meters of another lineage begin at nothing.
        .field("counts", Some(limit.lineage.to_string()))
        .field("meaning", Some(limit.fingerprint.to_string()));
    let said = match &limit.does {
        Does::Budget(budget) => said
            .field("limit", Some(format!("{} {}", budget.limit, budget.unit)))
            .field("over", Some(over(budget.span)))
            .field("exceed", exceed(&budget.exceed))
            .field("near", budget.near.as_ref().map(near))
            .field("settle", (budget.settle != Settle::default()).then(|| "upward".to_owned()))
            .field("release_ms", budget.release_ms.map(|ms| ms.to_string())),
        Does::Throttle(throttle) => said.field("rate", Some(rate(throttle.rate))),
        Does::Breaker(breaker) => said
            .field("trip", Some(format!("{:?} at {} in {} ms", breaker.trip, breaker.at, breaker.window_ms)))
            .field(
                "half_open",
                breaker.half_open.map(|it| format!("after {} ms, {} probes", it.after_ms, it.probes)),
            ),
    };
    Part { id: limit.id.to_string(), source: Some(limit.source.to_string()), fields: said.0 }
}

fn over(span: Span) -> String {
    match span {
        Span::Life {} => "execution".to_owned(),
        Span::Hour {} => "hour".to_owned(),
        Span::Day {} => "day".to_owned(),
        Span::Month {} => "month".to_owned(),
        Span::Rolling { ms } => format!("{ms} ms"),
    }
}

fn exceed(exceed: &Exceed) -> Option<String> {
    match exceed {
        Exceed::Deny => None,
        Exceed::Approval(terms) => Some(approval(terms)),
    }
}

fn near(near: &Near) -> String {
    let then = match &near.then {
        Then::Warn => "warn".to_owned(),
        Then::Constrain(constraints) => constraints.to_value().canonical(),
        Then::Approval(terms) => approval(terms),
    };
    format!("from {} on: {then}", near.at)
}

fn rate(rate: Rate) -> String {
    match rate {
        Rate::Bucket { burst, interval_ns } => format!("{burst} at once, one more in {interval_ns} ns"),
        Rate::Sliding { limit, window_ms } => format!("{limit} in {window_ms} ms"),
    }
}

fn contracts(snapshot: &Snapshot) -> BTreeMap<String, Part> {
    snapshot
        .contracts
        .iter()
        .map(|contract| (contract.rule.id.to_string(), contract_part(contract)))
        .collect()
}

fn contract_part(contract: &Contract) -> Part {
    let actions = contract.actions.as_ref().map(|actions| {
        let each = actions
            .iter()
            .map(|(function, types)| format!("{function}: {}", listed(types).unwrap_or_default()));
        each.collect::<Vec<_>>().join("; ")
    });
    let agents: Vec<String> = contract.agents.iter().map(|agent| agent.as_str().to_owned()).collect();
    let said = Said::default()
        .field("steps", listed(&contract.steps))
        .field("actions", actions)
        .field("seal_at", Some(contract.seal_at.clone()))
        .field("seal_on", listed(&contract.seal_on))
        .field("agents", listed(&agents));
    Part { id: contract.rule.id.to_string(), source: Some(contract.rule.source.to_string()), fields: said.0 }
}

fn tools(snapshot: &Snapshot) -> BTreeMap<String, Part> {
    let part = |tool: &callgate_core::catalogue::CatalogueTool| {
        let tags: Vec<String> = tool.risk_tags.iter().map(ToString::to_string).collect();
        let cost: Vec<String> = tool.cost.iter().map(|(unit, amount)| format!("{amount} {unit}")).collect();
        let said = Said::default()
            .field("risk_tags", listed(&tags))
            .field("cost", listed(&cost))
            .field("input_schema", tool.input_schema.as_ref().map(|schema| schema.canonical()));
        Part { id: tool.identity.to_string(), source: None, fields: said.0 }
    };
    snapshot.catalogue.iter().map(|tool| (tool.identity.to_string(), part(tool))).collect()
}

fn rollout(limits: &Rollout) -> String {
    let second = if limits.second_person { "; beyond it a second person" } else { "" };
    format!(
        "at most {} looser and {} tighter{second}; a drift of {} after {} decisions",
        percent(limits.max_loosen_bp),
        percent(limits.max_tighten_bp),
        percent(limits.max_drift_bp),
        limits.min_decisions
    )
}

fn defaults(defaults: &Defaults) -> BTreeMap<&'static str, String> {
    let judge = defaults
        .judge
        .as_ref()
        .map(|judge| format!("{}, {} ms, {} tokens", judge.model, judge.timeout_ms, judge.max_tokens));
    let monitored: Vec<String> =
        defaults.monitored.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let whole = |value: &dyn Debug| Some(format!("{value:?}"));
    Said::default()
        .field(
            "constraints",
            (!defaults.constraints.is_empty()).then(|| defaults.constraints.to_value().canonical()),
        )
        .field("freshness_ms", whole(&defaults.freshness_ms))
        .field("approval_expires_ms", whole(&defaults.approval_expires_ms))
        .field("permit_ttl_ms", whole(&defaults.permit_ttl_ms))
        .field("retry_after_ms", whole(&defaults.retry_after_ms))
        .field("require_nonce", whole(&defaults.require_nonce))
        .field("judge", judge)
        .field("mode", (defaults.mode == Mode::Monitor).then(|| "monitor".to_owned()))
        .field("monitored", listed(&monitored))
        .field("rollout", Some(rollout(&defaults.rollout)))
        .0
}
