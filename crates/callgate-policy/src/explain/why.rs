//! Why a verdict decided, or did not, in words.

use callgate_core::decide::Decided;
use callgate_core::decision::{Code, Decision, Mode};
use callgate_core::name::Name;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Verdict};
use callgate_core::settle::{Precedence, Settled};

use super::Reached;

/// Why the decision is what it is.
pub(super) fn decided(decided: &Decided) -> String {
    let settled = &decided.settled;
    if is_lifted(settled) {
        return "only monitored: what is not permitted runs, and is recorded".to_owned();
    }
    if let Some(note) = settled.deciding().and_then(|deciding| judged(decided, deciding)) {
        return format!("a judge's rule makes what the others decide stricter: {note}");
    }
    if settled.decision == Decision::Deny {
        return denied(settled).to_owned();
    }
    let Some(deciding) = settled.deciding() else { return String::new() };
    if deciding.rule.mode == Mode::Monitor {
        return "nothing that is enforced speaks of it, and a rule that only monitors never blocks"
            .to_owned();
    }
    let mut others = sound(settled).filter(|verdict| verdict.rule.id != deciding.rule.id);
    match others.next() {
        None => "nothing else that can permit or restrict it matched".to_owned(),
        Some(next) if ranks_before(settled, deciding, next) => {
            format!("it ranks before `{}`: {}", next.rule.id, advantage(deciding, next))
        }
        Some(first) => {
            format!("nothing outranks an invariant, not even `{}`, which ranks first", first.rule.id)
        }
    }
}

/// Whether an action runs that nothing permits.
fn is_lifted(settled: &Settled) -> bool {
    settled.decision.permits() && settled.matched.is_none()
}

fn denied(settled: &Settled) -> &'static str {
    let spoke = settled.matched.is_some();
    match settled.code {
        Some(Code::DeniedByRule) => "any deny wins, whatever its priority",
        Some(Code::PolicyError) if settled.deciding().is_some_and(|v| v.rule.effect.permits()) => {
            "a rule that cannot be evaluated does not permit, and no other rule does"
        }
        Some(Code::PolicyError) => "a rule that would restrict could not be evaluated, and an error denies",
        Some(Code::NoPolicyMatch) if !spoke => "what nothing speaks of is denied",
        Some(Code::ConstraintUnenforceable) => "a constraint that nobody enforces is a deny",
        Some(Code::SealedSequence | Code::SequenceViolation | Code::ActionNotAllowed) => {
            "the contract of the session does not permit it"
        }
        _ => "a guard refuses it before any rule can permit",
    }
}

/// What came of the judge, if the rule of `verdict` asked one. Such verdicts do not rank: they
/// tighten what all others decided.
fn judged(decided: &Decided, verdict: &Verdict) -> Option<&'static str> {
    let step = decided.trace.iter().find(|step| step.rule.id == verdict.rule.id)?;
    match step.outcome {
        Outcome::Judged(note) => Some(note),
        _ => None,
    }
}

/// How far the rule of `verdict` came, and why no further.
pub(super) fn verdict(decided: &Decided, verdict: &Verdict) -> (Reached, String) {
    if let Some(error) = &verdict.error {
        return (Reached::Error, error.clone());
    }
    if verdict.rule.mode == Mode::Monitor {
        let deciding = decided.settled.deciding();
        let decides = deciding.is_some_and(|deciding| deciding.rule.id == verdict.rule.id);
        let (reached, note) = match decides {
            true => (Reached::Decided, "nothing that is enforced speaks of it, so that it runs"),
            false => (Reached::Monitored, "it had no say"),
        };
        return (reached, note.to_owned());
    }
    if is_lifted(&decided.settled) {
        return (Reached::Monitored, "nothing of this request is enforced".to_owned());
    }
    let settled = &decided.settled;
    let denies = settled.decision == Decision::Deny;
    let deciding = settled.deciding().filter(|deciding| deciding.error.is_none());
    let is_deciding = deciding.is_some_and(|deciding| deciding.rule.id == verdict.rule.id);
    if let Some(note) = judged(decided, verdict) {
        let reached = match (is_deciding, denies) {
            (true, _) => Reached::Decided,
            (false, true) => Reached::Overruled,
            (false, false) => Reached::Outranked,
        };
        return (reached, note.to_owned());
    }
    match deciding {
        Some(deciding) if !is_deciding && !denies && judged(decided, deciding).is_some() => {
            (Reached::Outranked, format!("the judge's rule `{}` is stricter", deciding.rule.id))
        }
        Some(deciding) if deciding.rule.id == verdict.rule.id => (Reached::Decided, String::new()),
        Some(deciding) if !denies => (Reached::Outranked, outranked(settled, deciding, verdict)),
        _ if verdict.rule.effect == Decision::Deny => (Reached::Denied, "it denies, too".to_owned()),
        _ => (Reached::Overruled, "a denial overrules it".to_owned()),
    }
}

fn sound(settled: &Settled) -> impl Iterator<Item = &Verdict> {
    let speaks = |rule: &Rule| rule.effect != Decision::Deny && rule.mode == Mode::Enforce;
    settled.verdicts.iter().filter(move |verdict| verdict.error.is_none() && speaks(&verdict.rule))
}

fn ranks_before(settled: &Settled, first: &Verdict, second: &Verdict) -> bool {
    let place = |of: &Verdict| settled.verdicts.iter().position(|verdict| verdict.rule.id == of.rule.id);
    place(first) < place(second)
}

fn outranked(settled: &Settled, deciding: &Verdict, verdict: &Verdict) -> String {
    if ranks_before(settled, deciding, verdict) {
        format!("`{}` ranks before it: {}", deciding.rule.id, advantage(deciding, verdict))
    } else {
        format!("the invariant `{}` is stricter, and nothing outranks it", deciding.rule.id)
    }
}

/// What `first` has over `second`.
fn advantage(first: &Verdict, second: &Verdict) -> String {
    match Precedence::of(first, second) {
        Precedence::Contract => "a rule ranks before a contract".to_owned(),
        Precedence::Priority => {
            format!("higher priority ({} over {})", first.rule.priority, second.rule.priority)
        }
        Precedence::Specificity => format!("more specific ({} over {})", width(first), width(second)),
        Precedence::Strictness => {
            format!("equally specific, and stricter ({} over {})", first.rule.effect, second.rule.effect)
        }
        Precedence::Id => "both say the same, and ids break the tie".to_owned(),
    }
}

/// `2 exact, 1 pattern`.
fn width(verdict: &Verdict) -> String {
    format!("{} exact, {} pattern", verdict.specificity.exact, verdict.specificity.pattern)
}

/// Which field differs, and what the request has there.
pub(super) fn differs(field: &str, asked: Option<&Request>) -> String {
    match asked.and_then(|request| said(field, request)) {
        Some(said) => format!("`{field}` differs: the request has {said}"),
        None => format!("`{field}` differs: the request has none"),
    }
}

/// What a request says in the field that a rule calls by this name.
fn said(field: &str, request: &Request) -> Option<String> {
    let quoted = |name: &Name| format!("`{name}`");
    let optional = |name: &Option<Name>| name.as_ref().map(quoted);
    match field {
        "tools" => request.tool.as_ref().map(|tool| quoted(&tool.identity)),
        "topics" => optional(&request.topic),
        "functions" => optional(&request.session.function),
        "action_types" | "session.action_type" => optional(&request.session.action_type),
        "agents" => Some(quoted(&request.agent.id)),
        "teams" => optional(&request.agent.team),
        "tenants" => Some(quoted(&request.tenant)),
        "environments" | "environment" => optional(&request.environment),
        "risk_tags" => joined(request.risk_tags.iter()),
        "labels" => joined(request.labels.keys()),
        _ => None,
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a Name>) -> Option<String> {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
