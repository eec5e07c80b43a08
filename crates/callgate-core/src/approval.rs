//! Approvals as a decision meets them: by what names a held action is found again, what is known of
//! it, and what that makes of the decision.
//!
//! Only [`Decision::RequireApproval`] is ever lifted, only by a grant of the very rule that holds the
//! action, under the very terms it asks for now. A deny stays a deny, and what is too frequent for a throttle
//! waits whoever agreed to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraints;
use crate::decision::{Code, Decision, Mode, Reason};
use crate::digest::Digest;
use crate::facts::Facts;
use crate::name::Name;
use crate::request::Request;
use crate::rule::{ApprovalTerms, Rule, Stage};
use crate::settle::Settled;
use crate::snapshot::Defaults;
use crate::value::{Map, Value};

/// What a held action is found by. Both are hidden: who reads the log without the gate's secret
/// cannot guess arguments from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalNames {
    /// The action of this principal in this session: tenant, agent, chain, on whose behalf, team,
    /// session, step, environment, risk tags, cost, and everything in the action digest.
    pub action: Digest,
    /// What a standing approval covers: the same without session, step, cost and arguments.
    pub scope: Digest,
}

impl ApprovalNames {
    /// The names of `request` as it was decided: identity from the credential, tags from the catalogue.
    #[must_use]
    pub fn of(request: &Request, blind: &Digest) -> Self {
        let mut scope = Map::default();
        let agent = &request.agent;
        put(&mut scope, "tenant", Some(&request.tenant));
        put(&mut scope, "agent", Some(&agent.id));
        scope.insert("chain".to_owned(), names(agent.chain.iter()));
        put(&mut scope, "on_behalf_of", agent.on_behalf_of.as_ref());
        put(&mut scope, "team", agent.team.as_ref());
        put(&mut scope, "environment", request.environment.as_ref());
        scope.insert("risk_tags".to_owned(), names(request.risk_tags.iter()));
        put(&mut scope, "action_type", request.session.action_type.as_ref());
        put(&mut scope, "function", request.session.function.as_ref());
        put(&mut scope, "topic", request.topic.as_ref());
        put(&mut scope, "server", request.tool.as_ref().and_then(|tool| tool.server.as_ref()));
        put(&mut scope, "tool", request.tool.as_ref().map(|tool| &tool.name));
        let mut action = scope.clone();
        put(&mut action, "session", request.session.id.as_ref());
        put(&mut action, "step", request.session.step.as_ref());
        let cost = request.cost.iter().map(|(unit, amount)| {
            Value::List(vec![Value::from(unit.as_str()), Value::Str(amount.to_string())])
        });
        action.insert("cost".to_owned(), Value::List(cost.collect()));
        action.insert("action".to_owned(), Value::Str(request.action_digest().hex()));
        Self { action: hidden(blind, "action", action), scope: hidden(blind, "scope", scope) }
    }
}

/// The name of the arguments that a standing approval fixes: all of them, or those named, where an
/// absent one is another value than any present one.
#[must_use]
pub fn fixed_arguments(request: &Request, fixed: Option<&[String]>, blind: &Digest) -> Digest {
    let mut map = Map::default();
    for (key, value) in request.args.iter() {
        if fixed.is_none_or(|fixed| fixed.iter().any(|name| name == key)) {
            map.insert(key.to_owned(), value.clone());
        }
    }
    hidden(blind, "arguments", map)
}

fn put(map: &mut Map, key: &str, name: Option<&Name>) {
    if let Some(name) = name {
        map.insert(key.to_owned(), Value::from(name.as_str()));
    }
}

fn names<'a>(names: impl Iterator<Item = &'a Name>) -> Value {
    Value::List(names.map(|name| Value::from(name.as_str())).collect())
}

/// The inner digest makes what is hashed with the secret of one length, so that it cannot be extended.
fn hidden(blind: &Digest, what: &str, map: Map) -> Digest {
    let inner = Digest::of(Value::Map(map).canonical().as_bytes());
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(blind.as_bytes());
    bytes.extend_from_slice(inner.as_bytes());
    bytes.extend_from_slice(what.as_bytes());
    Digest::of(&bytes)
}

/// Names what must be agreed to: the rule, and who must agree in which order.
#[must_use]
pub fn terms_name(rule: &str, terms: &ApprovalTerms) -> Digest {
    let stages = terms.stages.iter().map(|stage| {
        let reviewers = stage.reviewers.iter().map(|name| Value::from(name.as_str())).collect();
        Value::List(vec![Value::Int(i64::from(stage.quorum)), Value::List(reviewers)])
    });
    let whole = Value::List(vec![Value::from(rule), Value::List(stages.collect())]);
    Digest::of(whole.canonical().as_bytes())
}

/// What is known of the approvals of one action, read at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Whether the agent has so many requests waiting that no more is taken.
    pub crowded: bool,
    /// The approvals of exactly this action that say something now.
    pub known: Vec<Known>,
    /// The standing approvals of the action's scope, whatever arguments they fix.
    pub standing: Vec<KnownStanding>,
}

impl Seen {
    /// Names it, for comparing what was read with what is.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// One approval of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The receipt that opened it: the number in its id.
    pub approval: u64,
    /// Who granted or rejected it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// What became of it so far.
    pub state: KnownState,
    /// See [`terms_name`].
    pub terms: Digest,
    /// Until when that holds, milliseconds since 1970 UTC.
    pub until_ms: i64,
}

/// What became of an approval so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownState {
    /// It waits for people.
    Open,
    /// It can be used once.
    Granted,
    /// Somebody said no.
    Rejected,
}

/// One standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownStanding {
    /// The approval it came from.
    pub approval: u64,
    /// See [`fixed_arguments`].
    pub arguments: Digest,
    /// Who gave it.
    pub by: Vec<String>,
    /// The arguments it fixes; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Vec<String>>,
    /// The receipt that gave it: the number in its id.
    pub standing: u64,
    /// See [`terms_name`].
    pub terms: Digest,
}

/// What a decision consulted of approvals, with the secret in their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalFacts {
    /// The secret.
    pub blind: Digest,
    /// What was known.
    pub seen: Seen,
}

/// What a decision does with the approvals of its action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDelta {
    /// The action's name.
    pub action: Digest,
    /// What it does.
    pub effect: ApprovalEffect,
    /// The scope's name.
    pub scope: Digest,
    /// The digest of what was known; it must still be so.
    pub seen: Digest,
}

/// What a decision does with the approvals of its action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ApprovalEffect {
    /// It opens one, named by its receipt.
    Opens {
        /// What people will decide.
        hold: Box<Hold>,
    },
    /// It waits for one that is open.
    Meets {
        /// The approval.
        approval: u64,
        /// When that lapses, milliseconds since 1970 UTC.
        expires_at_ms: i64,
    },
    /// It is refused because one was rejected.
    Refused {
        /// The approval.
        approval: u64,
    },
    /// It is put off: too many of the agent's requests wait.
    Crowded {},
    /// It spends a grant.
    Uses {
        /// The approval.
        approval: u64,
        /// Who granted it.
        by: Vec<String>,
    },
    /// It takes one use of a standing approval.
    UsesStanding {
        /// The approval it came from.
        approval: u64,
        /// Who gave it.
        by: Vec<String>,
        /// The standing approval.
        standing: u64,
    },
}

/// What waits for people, as far as the log may say it: names, never arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What the action is called.
    pub action: String,
    /// What can go wrong, in the rule's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<String>,
    /// The agents that delegated to the one that asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// When the request for approval lapses, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// For whom the agent acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// How it can be undone, in the rule's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// The rule that holds it.
    pub rule: String,
    /// How long a grant can be used, and a rejection holds, in milliseconds.
    pub span_ms: u64,
    /// Who must agree, one stage after the other; never empty.
    pub stages: Vec<Stage>,
    /// See [`terms_name`].
    pub terms: Digest,
}

/// Whether what is known of approvals would bear on this decision, and was not read.
#[must_use]
pub(crate) fn is_open_question(settled: &Settled, facts: &Facts) -> bool {
    settled.decision == Decision::RequireApproval && facts.approval.is_none()
}

/// What approvals make of a decision that everything else has settled.
pub(crate) fn resolve(
    mut settled: Settled,
    request: &Request,
    facts: &Facts,
    defaults: &Defaults,
) -> (Settled, Option<ApprovalDelta>) {
    let (Decision::RequireApproval, Some(read)) = (settled.decision, &facts.approval) else {
        return (settled, None);
    };
    let (Some(rule), Some(terms)) = (settled.matched.clone(), settled.approval.clone()) else {
        return (settled, None);
    };
    let names = ApprovalNames::of(request, &read.blind);
    let wanted = terms_name(&holders(&settled, &rule), &terms);
    let answer = answer(&read.seen, request, &read.blind, &wanted);
    // People agree to the action, not to how often it runs: what they granted is kept for later.
    if let (Answer::Use(..), Some((throttle, wait_ms))) = (&answer, longest_wait(&settled, defaults)) {
        slow_down(&mut settled, throttle, wait_ms);
        return (settled, None);
    }
    let effect = match answer {
        Answer::Use(effect, why) => {
            lift(&mut settled, &rule, why);
            effect
        }
        Answer::Refuse(approval, why) => {
            deny(&mut settled, &rule, why);
            ApprovalEffect::Refused { approval }
        }
        Answer::Wait(effect) => effect,
        Answer::Nothing if read.seen.crowded => {
            put_off(&mut settled, request, defaults);
            ApprovalEffect::Crowded {}
        }
        Answer::Nothing => {
            ApprovalEffect::Opens { hold: Box::new(hold(request, &rule, terms, wanted, facts.now_ms)) }
        }
    };
    let seen = read.seen.digest();
    (settled, Some(ApprovalDelta { action: names.action, effect, scope: names.scope, seen }))
}

/// What speaks of a limit, in this answer: what is only monitored does not, unless all of it is answered for.
fn limits(settled: &Settled, effect: Decision) -> impl Iterator<Item = &Arc<Rule>> {
    let enforced = settled.mode == Mode::Enforce;
    let of_limits = |rule: &&Arc<Rule>| matches!(rule.module, "budget" | "throttle");
    let spoken = settled.verdicts.iter().filter(|it| it.error.is_none()).map(|it| &it.rule);
    let spoken = spoken.filter(move |rule| enforced || rule.mode == Mode::Enforce);
    spoken.filter(of_limits).filter(move |rule| rule.effect == effect)
}

/// What holds an action: the rule, and the budgets beside it, which may ask the same people. Who agreed to the one
/// has not agreed to the others.
fn holders(settled: &Settled, rule: &Rule) -> String {
    let budgets = limits(settled, Decision::RequireApproval).map(|budget| &*budget.id);
    let mut all: Vec<&str> = budgets.filter(|id| *id != &*rule.id).collect();
    all.sort_unstable();
    all.insert(0, &rule.id);
    all.join("\n")
}

/// The throttle that makes the action wait longest, and for how many milliseconds.
fn longest_wait(settled: &Settled, defaults: &Defaults) -> Option<(Arc<Rule>, u64)> {
    let throttles = limits(settled, Decision::Throttle);
    let waits =
        throttles.map(|rule| (Arc::clone(rule), rule.retry_after_ms.unwrap_or(defaults.retry_after_ms)));
    waits.max_by_key(|(_, wait_ms)| *wait_ms)
}

/// Puts the action off because it is too frequent.
fn slow_down(settled: &mut Settled, throttle: Arc<Rule>, wait_ms: u64) {
    settled.decision = Decision::Throttle;
    settled.code = Some(Code::RateExceeded);
    settled.approval = None;
    settled.retry_after_ms = Some(wait_ms);
    settled.reasons.sort_by_key(|reason| reason.code != Some(Code::RateExceeded));
    settled.matched = Some(throttle);
}

enum Answer {
    Use(ApprovalEffect, String),
    Refuse(u64, String),
    Wait(ApprovalEffect),
    Nothing,
}

/// A rejection of this action is heard before any standing approval; a grant of it before what it waits for.
fn answer(seen: &Seen, request: &Request, blind: &Digest, wanted: &Digest) -> Answer {
    let of = |state| seen.known.iter().find(|known| known.state == state && known.terms == *wanted);
    if let Some(known) = of(KnownState::Rejected) {
        let why = format!("approval `apr-{}` was rejected by {}", known.approval, people(&known.by));
        return Answer::Refuse(known.approval, why);
    }
    if let Some(known) = of(KnownState::Granted) {
        let why = format!("approval `apr-{}`, granted by {}", known.approval, people(&known.by));
        let effect = ApprovalEffect::Uses { approval: known.approval, by: known.by.clone() };
        return Answer::Use(effect, why);
    }
    let covers = |standing: &&KnownStanding| {
        standing.terms == *wanted
            && standing.arguments == fixed_arguments(request, standing.fixed.as_deref(), blind)
    };
    if let Some(standing) = seen.standing.iter().find(covers) {
        let why = format!("standing approval `std-{}` of {}", standing.standing, people(&standing.by));
        let effect = ApprovalEffect::UsesStanding {
            approval: standing.approval,
            by: standing.by.clone(),
            standing: standing.standing,
        };
        return Answer::Use(effect, why);
    }
    of(KnownState::Open).map_or(Answer::Nothing, |known| {
        Answer::Wait(ApprovalEffect::Meets { approval: known.approval, expires_at_ms: known.until_ms })
    })
}

fn people(by: &[String]) -> String {
    let quoted: Vec<String> = by.iter().map(|person| format!("`{person}`")).collect();
    quoted.join(", ")
}

fn reason(rule: &Rule, code: Option<Code>, message: String) -> Reason {
    Reason { message, ..crate::settle::reason_of(rule, code) }
}

fn lift(settled: &mut Settled, rule: &Rule, why: String) {
    let bare = settled.constraints.is_empty();
    settled.decision = if bare { Decision::Allow } else { Decision::AllowWithConstraints };
    settled.code = None;
    settled.approval = None;
    settled.reasons.insert(0, reason(rule, None, why));
}

fn deny(settled: &mut Settled, rule: &Rule, why: String) {
    settled.decision = Decision::Deny;
    settled.code = Some(Code::ApprovalRejected);
    settled.approval = None;
    settled.constraints = Constraints::default();
    settled.reasons.insert(0, reason(rule, Some(Code::ApprovalRejected), why));
}

fn put_off(settled: &mut Settled, request: &Request, defaults: &Defaults) {
    let message = format!(
        "too many requests of agent `{}` wait for approval; ask again when some are decided",
        request.agent.id
    );
    settled.decision = Decision::Throttle;
    settled.code = Some(Code::RateExceeded);
    settled.approval = None;
    settled.retry_after_ms = Some(defaults.retry_after_ms);
    settled.reasons.insert(0, Reason::guard(Code::RateExceeded, message));
}

fn hold(request: &Request, rule: &Rule, terms: ApprovalTerms, wanted: Digest, now_ms: i64) -> Hold {
    let text = |name: Option<&Name>| name.map(|name| name.as_str().to_owned());
    let span = i64::try_from(terms.expires_ms).unwrap_or(i64::MAX);
    Hold {
        action: request.action_name().to_owned(),
        blast_radius: terms.blast_radius,
        chain: request.agent.chain.iter().map(|name| name.as_str().to_owned()).collect(),
        environment: text(request.environment.as_ref()),
        expires_at_ms: now_ms.saturating_add(span),
        on_behalf_of: text(request.agent.on_behalf_of.as_ref()),
        rollback: terms.rollback,
        rule: rule.id.to_string(),
        span_ms: terms.expires_ms,
        stages: terms.stages,
        terms: wanted,
    }
}
