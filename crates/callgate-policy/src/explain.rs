//! The explanation of one decision: what was looked at, how far it came, and why one verdict decided.
//!
//! It is read off the evaluation that decided (its trace, and its verdicts as they ranked); nothing
//! is evaluated a second time to explain it.

mod render;
mod why;

use callgate_core::constraint::Constraints;
use callgate_core::decide::{Ask, Decided};
use callgate_core::decision::{Code, Decision, Mode};
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Verdict};
use callgate_core::snapshot::Snapshot;
use serde::Serialize;

/// Why a decision came out as it did. Serialises to the JSON that `docs/testing.md` describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Its code, for everything but a plain allow.
    pub code: Option<Code>,
    /// The rule or contract that decided.
    pub rule: Option<String>,
    /// Why that one decided, in a sentence.
    pub why: String,
    /// Every contribution: denials by code, then rules as they rank.
    pub reasons: Vec<Contribution>,
    /// Every rule that was looked at: those with a verdict as they rank, then the others.
    pub rules: Vec<Considered>,
    /// How many rules the index ruled out, because nothing in the request has what they name; 0 when
    /// the request was refused before any rule was asked.
    pub ruled_out: usize,
    /// What must be enforced, and who asked for it.
    pub constraints: Vec<Origin>,
    /// `monitor` where something that is only monitored spoke of the request.
    pub mode: Mode,
    /// What enforcement of everything would have answered, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<WouldBe>,
}

/// What enforcement of everything would have answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WouldBe {
    /// The decision.
    pub decision: Decision,
    /// Its code, for everything but a plain allow.
    pub code: Option<Code>,
    /// The rule or contract that would have decided.
    pub rule: Option<String>,
    /// Every contribution.
    pub reasons: Vec<Contribution>,
    /// What would have had to be enforced.
    pub constraints: serde_json::Value,
}

/// One contribution to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contribution {
    /// The code; `None` for a rule that permitted.
    pub code: Option<Code>,
    /// The rule or contract.
    pub rule: Option<String>,
    /// Where it stands, `file:line:column`.
    pub source: Option<String>,
    /// For a person.
    pub message: String,
}

/// One rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Its id.
    pub rule: String,
    /// The engine: `rules`, `cedar`, `rego`, `dogwood`, or `contract`.
    pub engine: &'static str,
    /// Where it stands, `file:line:column`.
    pub source: String,
    /// What it answers when it matches.
    pub effect: Decision,
    /// Whether that is enforced.
    pub mode: Mode,
    /// Its priority.
    pub priority: i32,
    /// Whether nothing may outrank it.
    pub invariant: bool,
    /// How many fields it matched exactly, and how many by a pattern; `None` without a verdict.
    pub specificity: Option<Matched>,
    /// How far it came.
    pub outcome: Reached,
    /// For a person: why it got no further, or what outranked it.
    pub note: String,
}

/// How narrowly a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Fields matched by an exact value.
    pub exact: u16,
    /// Fields matched by a pattern.
    pub pattern: u16,
}

/// How far a rule came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It decided.
    Decided,
    /// It matched and contributed to a denial that another rule, or a guard, comes before.
    Denied,
    /// It matched, and its verdict was outranked.
    Outranked,
    /// It matched, but a denial decided.
    Overruled,
    /// A field did not match.
    FieldDiffers,
    /// Its condition was false.
    ConditionFalse,
    /// It asks a judge, who kept it from speaking or was not asked.
    Judged,
    /// It matched and only monitors, so that it had no say.
    Monitored,
    /// It could not be evaluated.
    Error,
}

/// One constraint of a decision, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its word, such as `max_runtime_ms`.
    pub constraint: &'static str,
    /// Its value after merging.
    pub value: serde_json::Value,
    /// The rules that constrain this, as they rank; `defaults` for the bundle's own.
    pub from: Vec<String>,
}

impl Explanation {
    /// Explains `decided`, which `snapshot` decided.
    #[must_use]
    pub fn of(snapshot: &Snapshot, decided: &Decided) -> Self {
        let settled = &decided.settled;
        let listed = snapshot.modules.iter().map(|module| module.rules()).fold(0, usize::saturating_add);
        // What is refused before anything is evaluated touches no session.
        let evaluated = decided.effects.key.is_some();
        let asked = match &decided.ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        Self {
            decision: settled.decision,
            code: settled.code,
            rule: settled.matched.as_ref().map(|rule| rule.id.to_string()),
            why: why::decided(decided),
            reasons: settled.reasons.iter().map(contribution).collect(),
            rules: considered(decided, asked),
            ruled_out: if evaluated { listed.saturating_sub(decided.trace.len()) } else { 0 },
            constraints: origins(snapshot, decided),
            mode: settled.mode,
            would: settled.would.as_ref().map(|would| WouldBe {
                decision: would.decision,
                code: would.code,
                rule: would.matched.as_ref().map(|rule| rule.id.to_string()),
                reasons: would.reasons.iter().map(contribution).collect(),
                constraints: json_of(&would.constraints),
            }),
        }
    }
}

fn contribution(reason: &callgate_core::decision::Reason) -> Contribution {
    Contribution {
        code: reason.code,
        rule: reason.rule.as_deref().map(str::to_owned),
        source: reason.source.as_ref().map(ToString::to_string),
        message: reason.message.clone(),
    }
}

/// Rules with a verdict as they rank, then what else the trace has.
fn considered(decided: &Decided, asked: Option<&Request>) -> Vec<Considered> {
    let settled = &decided.settled;
    let ranked = settled.verdicts.iter().map(|verdict| {
        let (outcome, note) = why::verdict(decided, verdict);
        line(&verdict.rule, Some(verdict), outcome, note)
    });
    let spoke = |rule: &Rule| settled.verdicts.iter().any(|verdict| verdict.rule.id == rule.id);
    let silent = decided.trace.iter().filter(|step| !spoke(&step.rule)).map(|step| {
        let (outcome, note) = match &step.outcome {
            Outcome::FieldDiffers(field) => (Reached::FieldDiffers, why::differs(field, asked)),
            Outcome::ConditionFalse => (Reached::ConditionFalse, "its condition is false".to_owned()),
            Outcome::Judged(note) => (Reached::Judged, (*note).to_owned()),
            Outcome::Error(error) => (Reached::Error, error.clone()),
            // A match without a verdict is an engine's way to say that it has no opinion.
            Outcome::Matched => (Reached::ConditionFalse, "it matched and said nothing".to_owned()),
        };
        line(&step.rule, None, outcome, note)
    });
    ranked.chain(silent).collect()
}

fn line(rule: &Rule, verdict: Option<&Verdict>, outcome: Reached, note: String) -> Considered {
    let matched = |verdict: &Verdict| Matched {
        exact: verdict.specificity.exact,
        pattern: verdict.specificity.pattern,
    };
    Considered {
        rule: rule.id.to_string(),
        engine: rule.module,
        source: rule.source.to_string(),
        effect: rule.effect,
        mode: rule.mode,
        priority: rule.priority,
        invariant: rule.invariant,
        specificity: verdict.map(matched),
        outcome,
        note,
    }
}

fn json_of(constraints: &Constraints) -> serde_json::Value {
    serde_json::from_str(&constraints.to_value().canonical()).unwrap_or_default()
}

/// Who asked for each constraint.
fn origins(snapshot: &Snapshot, decided: &Decided) -> Vec<Origin> {
    let settled = &decided.settled;
    let constrains = |rule: &Rule| rule.effect != Decision::Deny && rule.mode == Mode::Enforce;
    let constrain = || settled.verdicts.iter().filter(|verdict| constrains(&verdict.rule));
    let values = json_of(&settled.constraints);
    let origin = |kind: callgate_core::constraint::Kind| {
        let rules = constrain().filter(|verdict| verdict.rule.constraints.get(kind).is_some());
        let mut from: Vec<String> = rules.map(|verdict| verdict.rule.id.to_string()).collect();
        if snapshot.defaults.constraints.get(kind).is_some() {
            from.push("defaults".to_owned());
        }
        let value = values.get(kind.as_str()).cloned().unwrap_or_default();
        Origin { constraint: kind.as_str(), value, from }
    };
    settled.constraints.kinds().map(origin).collect()
}
