//! Modes: what is answered when some of what policy says is only recorded.
//!
//! Everything is settled twice where anything is monitored: as if all of it were enforced, and without
//! what is not. The first is what the receipt says enforcement *would* have answered, the second is
//! what is answered. What guards the gate itself is never lifted.
//!
//! A rule that only monitors answers as if it were not there, but it never blocks: where a rule that
//! would hold or throttle is the only one to speak of an action, the action runs.

use std::sync::Arc;

use crate::approval::{self, ApprovalDelta};
use crate::constraint::Constraints;
use crate::decision::{Decision, Mode, Reason};
use crate::facts::Facts;
use crate::request::Request;
use crate::rule::{Rule, Verdict};
use crate::settle::{Settled, Would, by_rank, denial, merged, reason_of, settle};
use crate::snapshot::Defaults;
use crate::tighten::tighten;

/// What guards, contracts and rules say of one request.
pub(crate) struct Said {
    /// Guards and contracts that deny.
    pub(crate) denials: Vec<Reason>,
    /// The rules, and the contract that permits.
    pub(crate) verdicts: Vec<Verdict>,
    /// The rules that asked a judge.
    pub(crate) judged: Vec<Verdict>,
    /// The limits that restrict; like a judge's rules they only tighten.
    pub(crate) limited: Vec<Verdict>,
    /// What must be enforced because a limit is near.
    pub(crate) near: Constraints,
}

/// An answer, and what it would be if everything were enforced.
pub(crate) struct Answer {
    now: Settled,
    /// `None` where nothing is monitored, so that it is the same.
    enforced: Option<Settled>,
    /// Whether it is a denial either way, whatever a judge says.
    pub(crate) is_denied_unjudged: bool,
}

impl Answer {
    /// Whether the action may run.
    pub(crate) const fn permits(&self) -> bool {
        self.now.decision.permits()
    }

    /// The answer with what people agreed to or wait to be asked about; whether it is a question that
    /// is open, and what it does to approvals.
    pub(crate) fn resolved(
        self,
        request: &Request,
        facts: &Facts,
        defaults: &Defaults,
    ) -> (Self, bool, Option<ApprovalDelta>) {
        let held = approval::is_open_question(&self.now, facts);
        let (now, effect) = approval::resolve(self.now, request, facts, defaults);
        let enforced = self.enforced.map(|it| approval::resolve(it, request, facts, defaults).0);
        (Self { now, enforced, ..self }, held, effect)
    }

    /// The answer `refused`, which no mode lifts.
    pub(crate) fn instead(self, refused: Settled) -> Self {
        let enforced = self.enforced.map(|it| if it.decision.permits() { refused.clone() } else { it });
        let now = Settled { verdicts: self.now.verdicts, mode: self.now.mode, ..refused };
        Self { now, enforced, ..self }
    }

    /// The answer with what would have been answered, where that differs.
    pub(crate) fn settled(self) -> Settled {
        let Self { mut now, enforced, .. } = self;
        let other = enforced.filter(|it| (it.decision, &it.constraints) != (now.decision, &now.constraints));
        now.would = other.map(|it| Would {
            decision: it.decision,
            code: it.code,
            matched: it.matched,
            reasons: it.reasons,
            constraints: it.constraints,
        });
        now
    }
}

/// Whether nothing that policy says of this request is enforced.
fn is_monitored(request: &Request, facts: &Facts, defaults: &Defaults) -> bool {
    // To monitor loosens, so that a name which only looks like that of a monitored agent is enforced.
    let agent = request.agent.id.as_str();
    defaults.mode == Mode::Monitor
        || facts.monitor
        || defaults.monitored.iter().any(|pattern| pattern.matches(agent))
}

/// Answers, by the modes of the bundle, of the agent and of the rules.
pub(crate) fn answer(said: Said, request: &Request, facts: &Facts, defaults: &Defaults) -> Answer {
    let monitored = is_monitored(request, facts, defaults);
    let rules_monitor = said.verdicts.iter().chain(&said.judged).chain(&said.limited).any(only_monitors);
    if !monitored && !rules_monitor {
        let (now, is_denied_unjudged) = combine(said, request, defaults);
        return Answer { now, enforced: None, is_denied_unjudged };
    }
    let left = without_monitors(&said);
    let runs_under = monitored.then(|| enforceable(&left.verdicts, request, defaults));
    let standing = standing(&said, &left);
    let (enforced, denied_enforced) = combine(said, request, defaults);
    let (mut now, denied_now) = match standing {
        Some(standing) => combine_standing(left, &standing, request, defaults),
        None => combine(left, request, defaults),
    };
    now.verdicts = all_ranked(&enforced.verdicts, now.verdicts);
    let now = match runs_under {
        Some(constraints) if is_lifted(&now) => lifted(now, &enforced, constraints),
        _ => now,
    };
    let now = Settled { mode: Mode::Monitor, ..now };
    Answer { now, enforced: Some(enforced), is_denied_unjudged: denied_enforced && denied_now }
}

fn only_monitors(verdict: &Verdict) -> bool {
    verdict.rule.mode == Mode::Monitor
}

/// What is said by what is enforced.
fn without_monitors(said: &Said) -> Said {
    let left = |verdicts: &[Verdict]| verdicts.iter().filter(|it| !only_monitors(it)).cloned().collect();
    Said {
        denials: said.denials.clone(),
        verdicts: left(&said.verdicts),
        judged: left(&said.judged),
        limited: left(&said.limited),
        near: said.near.clone(),
    }
}

/// The decision, and whether it is a denial whatever a judge says.
fn combine(said: Said, request: &Request, defaults: &Defaults) -> (Settled, bool) {
    let Said { mut denials, verdicts, judged, limited, near } = said;
    denials.extend(limited.iter().filter_map(denial));
    let nearer;
    let defaults = if near.is_empty() {
        defaults
    } else {
        let mut constraints = defaults.constraints.clone();
        constraints.merge(&near);
        nearer = Defaults { constraints, ..defaults.clone() };
        &nearer
    };
    let mut settled = settle(denials, verdicts, request, defaults);
    let denied = settled.decision == Decision::Deny;
    if denied && settled.matched.is_none() {
        let by = settled.reasons.first().and_then(|reason| reason.rule.clone());
        settled.matched =
            limited.iter().find(|it| Some(&it.rule.id) == by.as_ref()).map(|it| Arc::clone(&it.rule));
    }
    let held = limited.into_iter().filter(|verdict| verdict.rule.effect != Decision::Deny);
    (tighten(settled, judged.into_iter().chain(held).collect(), defaults), denied)
}

/// The first rule that only monitors and would hold or throttle the action, where nothing that is
/// enforced speaks of it. What a judge's rule says never permits.
fn standing(said: &Said, left: &Said) -> Option<Verdict> {
    let speaks = |it: &Verdict| it.error.is_none() && it.rule.effect != Decision::Deny;
    let holds = |it: &&Verdict| {
        let held = matches!(it.rule.effect, Decision::Throttle | Decision::RequireApproval);
        only_monitors(it) && it.error.is_none() && held
    };
    let silent = !left.verdicts.iter().any(speaks);
    said.verdicts.iter().filter(holds).min_by(|a, b| by_rank(a, b)).filter(|_| silent).cloned()
}

/// The same as [`combine`], where `standing` stands in for a permit.
fn combine_standing(
    mut left: Said,
    standing: &Verdict,
    request: &Request,
    defaults: &Defaults,
) -> (Settled, bool) {
    let reason = format!("rule `{}` only monitors, so that it does not hold the action", standing.rule.id);
    let permit = Rule {
        effect: Decision::Allow,
        reason: Some(reason),
        constraints: Constraints::default(),
        approval: None,
        ..standing.rule.as_ref().clone()
    };
    left.verdicts.push(Verdict { rule: Arc::new(permit), ..standing.clone() });
    let (settled, denied) = combine(left, request, defaults);
    // The rule itself stands in the verdicts, not what stood in for it.
    let matched = settled.matched.as_ref().filter(|rule| rule.id == standing.rule.id);
    let matched = matched.map(|_| Arc::clone(&standing.rule)).or_else(|| settled.matched.clone());
    (Settled { matched, ..settled }, denied)
}

/// Every verdict that one of the two settled, in order of rank: those of a judge's rules come last.
fn all_ranked(enforced: &[Verdict], now: Vec<Verdict>) -> Vec<Verdict> {
    let mut all = enforced.to_vec();
    let known = |id: &str| enforced.iter().any(|verdict| &*verdict.rule.id == id);
    all.extend(now.into_iter().filter(|verdict| !known(&verdict.rule.id)));
    all
}

/// Whether a decision does not let the action run, and that only for what policy says.
fn is_lifted(settled: &Settled) -> bool {
    let guarded = settled.reasons.iter().filter_map(|reason| reason.code).any(|it| it.guards_the_gate());
    !settled.decision.permits() && !guarded
}

/// The constraints of what runs although it is not permitted: those that the enforcement point enforces.
fn enforceable(verdicts: &[Verdict], request: &Request, defaults: &Defaults) -> Constraints {
    let mut enforced = Constraints::default();
    for (kind, limit) in merged(verdicts, defaults).iter() {
        if request.enforces(kind.as_str()) {
            enforced.tighten(kind, limit.clone());
        }
    }
    enforced
}

/// What runs because it is only monitored.
fn lifted(settled: Settled, enforced: &Settled, constraints: Constraints) -> Settled {
    let decision = if constraints.is_empty() { Decision::Allow } else { Decision::AllowWithConstraints };
    let code = enforced.code.map(|code| format!(" ({code})")).unwrap_or_default();
    let message = format!("only monitored: enforcement would have answered {}{code}", enforced.decision);
    let reason = match &enforced.matched {
        Some(rule) => Reason { message, ..reason_of(rule, None) },
        None => Reason { code: None, rule: None, source: None, message },
    };
    Settled { reasons: vec![reason], constraints, verdicts: settled.verdicts, ..Settled::plain(decision) }
}
