//! Tightening: what a judge's rules say, applied to what everything else decided.
//!
//! The result is never less strict than what came in: a judge cannot outrank a rule, cannot permit
//! what nothing permits, and cannot loosen the terms of an approval.

use std::sync::Arc;

use crate::decision::{Code, Decision, Reason};
use crate::rule::{ApprovalTerms, Rule, Verdict};
use crate::settle::{Settled, code_of, reason_of};
use crate::snapshot::Defaults;

/// Applies the verdicts of a judge's rules.
pub(crate) fn tighten(mut settled: Settled, mut judged: Vec<Verdict>, defaults: &Defaults) -> Settled {
    judged.retain(|verdict| !verdict.rule.effect.permits());
    if settled.decision == Decision::Deny {
        return settled;
    }
    judged.sort_by(|a, b| b.rule.effect.cmp(&a.rule.effect).then_with(|| a.rule.id.cmp(&b.rule.id)));
    let Some(strictest) = judged.first() else { return settled };
    settled.verdicts.extend(judged.iter().cloned());
    let reasons = judged.iter().map(|v| reason_of(&v.rule, code_of(v.rule.effect))).collect();
    if let Some((rule, error)) = judged.iter().find_map(|v| Some((&v.rule, v.error.as_ref()?))) {
        let message = format!("rule `{}` could not be evaluated: {error}", rule.id);
        return refused(settled, rule, message, reasons);
    }
    if strictest.rule.effect == Decision::Deny {
        return denied(settled, &strictest.rule, Code::DeniedByRule, reasons);
    }
    let terms = approval(&settled, &judged, defaults);
    held(settled, &judged, &strictest.rule, reasons, terms, defaults)
}

/// Denies because `rule` cannot be followed.
fn refused(settled: Settled, rule: &Arc<Rule>, message: String, reasons: Vec<Reason>) -> Settled {
    let first = Reason { message, ..reason_of(rule, Some(Code::PolicyError)) };
    let others = reasons.into_iter().filter(|reason| reason.rule.as_ref() != Some(&rule.id));
    let reasons = std::iter::once(first).chain(others).collect();
    denied(settled, rule, Code::PolicyError, reasons)
}

/// Denies, for `rule`; what else there was to say follows.
fn denied(settled: Settled, rule: &Arc<Rule>, code: Code, mut reasons: Vec<Reason>) -> Settled {
    reasons.sort_by_key(|reason| reason.code != Some(code));
    reasons.extend(settled.reasons);
    let verdicts = settled.verdicts;
    Settled { code: Some(code), verdicts, ..Settled::denied(reasons, Some(Arc::clone(rule))) }
}

/// The stricter of what was decided and what `rule`, the strictest of the judge's, answers.
fn held(
    mut settled: Settled,
    judged: &[Verdict],
    rule: &Arc<Rule>,
    mut reasons: Vec<Reason>,
    terms: Option<ApprovalTerms>,
    defaults: &Defaults,
) -> Settled {
    if rule.effect > settled.decision {
        settled.decision = rule.effect;
        settled.code = code_of(rule.effect);
        settled.matched = Some(Arc::clone(rule));
        reasons.append(&mut settled.reasons);
        settled.reasons = reasons;
    } else {
        settled.reasons.append(&mut reasons);
    }
    settled.approval = terms.filter(|_| settled.decision == Decision::RequireApproval);
    let throttles = judged.iter().filter(|verdict| verdict.rule.effect == Decision::Throttle);
    let longest = throttles.map(|v| v.rule.retry_after_ms.unwrap_or(defaults.retry_after_ms)).max();
    settled.retry_after_ms = match settled.decision {
        Decision::Throttle => longest.max(settled.retry_after_ms),
        _ => None,
    };
    settled
}

/// Terms that meet every approval, when there is one.
fn approval(settled: &Settled, judged: &[Verdict], defaults: &Defaults) -> Option<ApprovalTerms> {
    let held = judged.iter().map(|v| &v.rule).filter(|rule| rule.effect == Decision::RequireApproval);
    let terms = held.map(|rule| rule.approval.clone().unwrap_or_else(|| ApprovalTerms::of_anyone(defaults)));
    settled.approval.clone().into_iter().chain(terms).reduce(ApprovalTerms::and)
}
