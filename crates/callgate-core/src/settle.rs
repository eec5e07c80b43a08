//! Settling: guards and verdicts become one decision.
//!
//! Any deny wins. Otherwise the verdicts with the highest priority, then the most specific, decide;
//! among equals the most restrictive wins; no invariant is outranked. No verdict: deny.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use crate::constraint::Constraints;
use crate::decision::{Code, Decision, Mode, Reason};
use crate::request::Request;
use crate::rule::{ApprovalTerms, Rule, Specificity, Verdict};
use crate::snapshot::Defaults;

/// The combined answer, before effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The answer.
    pub decision: Decision,
    /// Why it is not a plain allow.
    pub code: Option<Code>,
    /// Every contribution: denials by code, then rules as they rank.
    pub reasons: Vec<Reason>,
    /// The rule that decided.
    pub matched: Option<Arc<Rule>>,
    /// What must be enforced if it runs; empty for a deny.
    pub constraints: Constraints,
    /// Who must agree.
    pub approval: Option<ApprovalTerms>,
    /// When to ask again.
    pub retry_after_ms: Option<u64>,
    /// Every verdict in order of rank, highest first: what the reasons were made of. The explanation
    /// reads how they rank from here, so that it never ranks them again. Rules that only monitor are
    /// among them.
    pub verdicts: Vec<Verdict>,
    /// [`Mode::Monitor`] where something that is only monitored had a say.
    pub mode: Mode,
    /// What would have been answered if everything were enforced, where that is something else.
    pub would: Option<Would>,
}

/// What enforcement of everything would have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Would {
    /// The answer.
    pub decision: Decision,
    /// Why it is not a plain allow.
    pub code: Option<Code>,
    /// The rule that would have decided.
    pub matched: Option<Arc<Rule>>,
    /// Every contribution, as in [`Settled::reasons`].
    pub reasons: Vec<Reason>,
    /// What would have had to be enforced.
    pub constraints: Constraints,
}

/// Why one verdict ranks before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// A contract permits below every rule.
    Contract,
    /// Its rule has the higher priority.
    Priority,
    /// It matched more narrowly.
    Specificity,
    /// It is the stricter of two equals.
    Strictness,
    /// They say the same; the id breaks the tie.
    Id,
}

impl Precedence {
    /// Why `first`, which ranks before `second`, does.
    #[must_use]
    pub fn of(first: &Verdict, second: &Verdict) -> Self {
        let (first, second) = (rank(first), rank(second));
        if first.0 != second.0 {
            Self::Contract
        } else if first.1 != second.1 {
            Self::Priority
        } else if first.2 != second.2 {
            Self::Specificity
        } else if first.3 != second.3 {
            Self::Strictness
        } else {
            Self::Id
        }
    }
}

impl Settled {
    /// An enforced denial for `reasons`, the first of which gives the code.
    #[must_use]
    pub fn denied(reasons: Vec<Reason>, matched: Option<Arc<Rule>>) -> Self {
        let code = reasons.first().and_then(|reason| reason.code);
        Self { code, reasons, matched, ..Self::plain(Decision::Deny) }
    }

    /// An enforced decision without anything beside it.
    #[must_use]
    pub(crate) fn plain(decision: Decision) -> Self {
        Self {
            decision,
            code: code_of(decision),
            reasons: Vec::new(),
            matched: None,
            constraints: Constraints::default(),
            approval: None,
            retry_after_ms: None,
            verdicts: Vec::new(),
            mode: Mode::Enforce,
            would: None,
        }
    }

    /// The verdict that decided: `None` when a guard, a denial without a verdict, or nothing did.
    #[must_use]
    pub fn deciding(&self) -> Option<&Verdict> {
        let matched = self.matched.as_ref()?;
        self.verdicts.iter().find(|verdict| Arc::ptr_eq(&verdict.rule, matched))
    }
}

/// A verdict's place in the order of combining.
fn rank(verdict: &Verdict) -> (bool, i32, Specificity, Decision) {
    // A contract permits below every rule, so that any rule can restrict it.
    let speaks = verdict.rule.module != "contract";
    (speaks, verdict.rule.priority, verdict.specificity, verdict.rule.effect)
}

/// The order of combining: the highest rank first, and ids where ranks are equal.
pub(crate) fn by_rank(a: &Verdict, b: &Verdict) -> Ordering {
    rank(b).cmp(&rank(a)).then_with(|| a.rule.id.cmp(&b.rule.id))
}

/// Combines failed guards and verdicts into one decision, whatever the modes of the rules.
#[must_use]
pub fn settle(
    denials: Vec<Reason>,
    mut verdicts: Vec<Verdict>,
    request: &Request,
    defaults: &Defaults,
) -> Settled {
    // Ids break ties, so that neither file order nor rule order shows.
    verdicts.sort_by(by_rank);
    let mut denials = denials;
    denials.extend(verdicts.iter().filter_map(denial));
    let deciding = deciding(&verdicts);
    if denials.is_empty() {
        match deciding {
            None => denials.push(no_match(&verdicts)),
            Some(_) => denials.extend(unenforceable(&merged(&verdicts, defaults), request)),
        }
    }
    let permitting = reasons_of(&verdicts);
    let settled = match deciding.filter(|_| denials.is_empty()) {
        Some(verdict) => decided(&verdict.rule, &verdicts, permitting, defaults),
        None => denied(denials, permitting, &verdicts),
    };
    Settled { verdicts, ..settled }
}

/// A deny, or a restrictive rule that could not be evaluated: both deny.
pub(crate) fn denial(verdict: &Verdict) -> Option<Reason> {
    let rule = &verdict.rule;
    let reason = |code, message| Some(Reason { message, ..reason_of(rule, Some(code)) });
    match (&verdict.error, rule.effect) {
        (None, Decision::Deny) => reason(denied_by(rule), rule.message()),
        (Some(error), effect) if !effect.permits() => {
            reason(Code::PolicyError, format!("rule `{}` could not be evaluated: {error}", rule.id))
        }
        _ => None,
    }
}

/// The verdict that decides among those that are neither denials nor errors.
fn deciding(verdicts: &[Verdict]) -> Option<&Verdict> {
    let sound = || verdicts.iter().filter(|v| v.error.is_none() && v.rule.effect != Decision::Deny);
    // `verdicts` is sorted by rank, highest first.
    let winner = sound().next()?;
    let strictest = sound().filter(|v| v.rule.invariant).max_by_key(|v| (v.rule.effect, Reverse(&v.rule.id)));
    Some(strictest.filter(|v| v.rule.effect > winner.rule.effect).unwrap_or(winner))
}

/// The tightest of the defaults and of every verdict's constraints. A constraining rule that could
/// not be evaluated still constrains.
pub(crate) fn merged(verdicts: &[Verdict], defaults: &Defaults) -> Constraints {
    let mut all = defaults.constraints.clone();
    for verdict in verdicts.iter().filter(|v| v.rule.effect != Decision::Deny) {
        all.merge(&verdict.rule.constraints);
    }
    all
}

fn unenforceable<'a>(
    constraints: &'a Constraints,
    request: &'a Request,
) -> impl Iterator<Item = Reason> + 'a {
    constraints.kinds().filter(|kind| !request.enforces(kind.as_str())).map(|kind| {
        let message = format!(
            "the enforcement point does not enforce `{kind}`; list it in `pep.enforces` where it does"
        );
        Reason::guard(Code::ConstraintUnenforceable, message)
    })
}

fn no_match(verdicts: &[Verdict]) -> Reason {
    let failed = verdicts.iter().find_map(|v| v.error.as_ref().map(|error| (v, error)));
    match failed {
        Some((verdict, error)) => Reason {
            code: Some(Code::PolicyError),
            rule: Some(Arc::clone(&verdict.rule.id)),
            source: Some(verdict.rule.source.clone()),
            message: format!(
                "rule `{}` could not be evaluated, so it does not permit: {error}",
                verdict.rule.id
            ),
        },
        None => Reason::guard(Code::NoPolicyMatch, "no rule or contract speaks of this request"),
    }
}

/// The sound verdicts that did not deny, as reasons, in order of rank.
fn reasons_of(verdicts: &[Verdict]) -> Vec<Reason> {
    let sound = verdicts.iter().filter(|v| v.error.is_none() && v.rule.effect != Decision::Deny);
    sound.map(|v| reason_of(&v.rule, code_of(v.rule.effect))).collect()
}

/// The code of a denial: a limit has one of its own.
fn denied_by(rule: &Rule) -> Code {
    match rule.module {
        "budget" => Code::BudgetExceeded,
        "breaker" => Code::BreakerOpen,
        "throttle" => Code::RateExceeded,
        _ => Code::DeniedByRule,
    }
}

/// What a rule contributes, under that code.
pub(crate) fn reason_of(rule: &Rule, code: Option<Code>) -> Reason {
    Reason {
        code,
        rule: Some(Arc::clone(&rule.id)),
        source: Some(rule.source.clone()),
        message: rule.message(),
    }
}

/// The code of a decision that is no plain allow.
pub(crate) const fn code_of(effect: Decision) -> Option<Code> {
    match effect {
        Decision::Throttle => Some(Code::RateExceeded),
        Decision::RequireApproval => Some(Code::ApprovalRequired),
        Decision::Deny => Some(Code::DeniedByRule),
        Decision::Allow | Decision::AllowWithConstraints => None,
    }
}

/// Who must agree: whom the deciding rule asks for, and whom those ask for that it does not outrank,
/// its equals and the invariants.
fn terms(rule: &Arc<Rule>, verdicts: &[Verdict], defaults: &Defaults) -> ApprovalTerms {
    let own = |rule: &Rule| rule.approval.clone().unwrap_or_else(|| ApprovalTerms::of_anyone(defaults));
    let place = verdicts.iter().find(|verdict| Arc::ptr_eq(&verdict.rule, rule)).map(rank);
    let stands = |verdict: &&Verdict| {
        verdict.error.is_none()
            && verdict.rule.effect == Decision::RequireApproval
            && !Arc::ptr_eq(&verdict.rule, rule)
            && (verdict.rule.invariant || Some(rank(verdict)) == place)
    };
    verdicts.iter().filter(stands).map(|verdict| own(&verdict.rule)).fold(own(rule), ApprovalTerms::and)
}

fn decided(rule: &Arc<Rule>, verdicts: &[Verdict], reasons: Vec<Reason>, defaults: &Defaults) -> Settled {
    let constraints = merged(verdicts, defaults);
    let decision = match rule.effect {
        Decision::Allow if !constraints.is_empty() => Decision::AllowWithConstraints,
        effect => effect,
    };
    let throttled = decision == Decision::Throttle;
    Settled {
        reasons,
        matched: Some(Arc::clone(rule)),
        constraints,
        approval: (decision == Decision::RequireApproval).then(|| terms(rule, verdicts, defaults)),
        retry_after_ms: throttled.then(|| rule.retry_after_ms.unwrap_or(defaults.retry_after_ms)),
        ..Settled::plain(decision)
    }
}

fn denied(mut denials: Vec<Reason>, others: Vec<Reason>, verdicts: &[Verdict]) -> Settled {
    // Stable: within a code, guards come before rules and rules stay as they rank.
    denials.sort_by_key(|reason| reason.code);
    let first = denials.first();
    let by = first.and_then(|reason| reason.rule.clone());
    let matched = verdicts.iter().find(|v| Some(&v.rule.id) == by.as_ref()).map(|v| Arc::clone(&v.rule));
    denials.extend(others);
    Settled::denied(denials, matched)
}
