//! Limits in a decision: what is asked of the meters, what their levels say, and what is taken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Amount, Breaker, Budget, Charge, Charged, Does, Exceed, Gauge, Limit, Mark, Near, NearTake, Take, Then,
    Trip, keys, names,
};
use crate::constraint::Constraints;
use crate::decision::{Code, Decision, Mode, Reason, Source};
use crate::digest::Digest;
use crate::name::fold;
use crate::request::Request;
use crate::rule::{Rule, Specificity, Verdict};
use crate::snapshot::Snapshot;

/// What a decision asks of one meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The meter.
    pub meter: String,
    /// How it counts, should it be a new one.
    pub gauge: Gauge,
    /// What would be taken.
    pub amount: Amount,
    /// The most.
    pub limit: Amount,
}

/// The level of one meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// When what was asked for fits, milliseconds since 1970 UTC: now, later, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits_at_ms: Option<i64>,
    /// What is used.
    pub used: Amount,
}

/// What was asked of a meter, and its level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// What would be taken.
    pub amount: Amount,
    /// Its level.
    pub level: Level,
    /// The most.
    pub limit: Amount,
    /// The meter.
    pub meter: String,
}

impl Reading {
    /// What was asked, as readings are ordered.
    #[must_use]
    pub fn ask(&self) -> (&str, Amount, Amount) {
        (&self.meter, self.limit, self.amount)
    }
}

/// A breaker that is open for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBreaker {
    /// Its id.
    pub id: String,
    /// Its meter's name: the breaker and whom it blocks.
    pub meter: String,
    /// Whether it is only monitored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monitor: bool,
    /// Whether this action may be tried although it is open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
}

/// What a decision consulted of limits, all at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitFacts {
    /// Hides the values that a breaker tells apart from whoever reads the log without its key ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Digest>,
    /// The breakers that are open for whoever asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<OpenBreaker>,
    /// How often breakers had opened and closed.
    pub epoch: u64,
    /// The levels, by meter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Reading>,
}

impl LimitFacts {
    fn level(&self, meter: &str, limit: Amount, amount: Amount) -> Option<Level> {
        let asked = (meter, limit, amount);
        let at = self.levels.binary_search_by(|reading| reading.ask().cmp(&asked)).ok()?;
        self.levels.get(at).map(|reading| reading.level)
    }
}

/// What `charges` ask of the meters.
#[must_use]
pub fn asks(charges: &[Charge], request: &Request) -> Vec<Ask> {
    let mut all = Vec::new();
    for Charge { limit, amount, .. } in charges {
        let (Some(most), Ok(amount)) = (limit.most(), amount) else { continue };
        let (gauge, amount) = (limit.gauge(), *amount);
        all.extend(names(limit, request).into_iter().map(|meter| Ask { meter, gauge, amount, limit: most }));
    }
    all
}

/// What limits say of a request.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    /// Limits that restrict it.
    pub(crate) verdicts: Vec<Verdict>,
    /// What must be enforced because a limit is near.
    pub(crate) constraints: Constraints,
    /// Limits that are near.
    pub(crate) warnings: Vec<Reason>,
    takes: Vec<Take>,
    probes: Vec<String>,
    charges: Vec<Charge>,
    epoch: u64,
    blind: Option<Digest>,
}

/// What the limits of `snapshot` and the breakers that are open make of the request.
pub(crate) fn judge(
    snapshot: &Snapshot,
    request: &Request,
    facts: Option<&LimitFacts>,
    now_ms: i64,
) -> Limited {
    let nothing = LimitFacts::default();
    let facts = facts.unwrap_or(&nothing);
    let charges = snapshot.charges(request);
    let mut limited = Limited { epoch: facts.epoch, blind: facts.blind, ..Limited::default() };
    for breaker in &facts.breakers {
        if breaker.probe {
            limited.probes.push(breaker.meter.clone());
        } else {
            limited.verdicts.push(opened(breaker, snapshot));
        }
    }
    for charge in &charges {
        match (&charge.amount, charge.limit.most()) {
            (Err(problem), _) => limited.verdicts.push(unknown(&charge.limit, problem)),
            (Ok(amount), Some(most)) => limited.hold(&charge.limit, *amount, most, request, facts, now_ms),
            (Ok(_), None) => {}
        }
    }
    limited.charges = charges;
    limited
}

/// A verdict of `limit`.
fn verdict(limit: &Limit, effect: Decision, message: String) -> Rule {
    Rule {
        id: Arc::clone(&limit.id),
        module: limit.module(),
        source: limit.source.clone(),
        effect,
        mode: limit.mode,
        priority: 0,
        invariant: false,
        reason: Some(match &limit.reason {
            Some(reason) => format!("{reason} ({message})"),
            None => message,
        }),
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: limit.fingerprint,
    }
}

fn sound(rule: Rule) -> Verdict {
    Verdict { rule: Arc::new(rule), specificity: Specificity::default(), error: None }
}

fn unknown(limit: &Limit, problem: &str) -> Verdict {
    let error = Some(format!("what it counts cannot be told: {problem}"));
    let rule = verdict(limit, Decision::Deny, format!("limit `{}`", limit.id));
    Verdict { rule: Arc::new(rule), specificity: Specificity::default(), error }
}

/// The breaker speaks by what the log says of it, whatever the snapshot in force says today.
fn opened(breaker: &OpenBreaker, snapshot: &Snapshot) -> Verdict {
    let written = snapshot.limits().into_iter().find(|limit| *limit.id == *breaker.id);
    // A snapshot that has it no longer has no place for it.
    let nowhere = || Source { file: "limits".into(), line: 0, column: 0 };
    let rule = Rule {
        id: breaker.id.as_str().into(),
        module: "breaker",
        source: written.map_or_else(nowhere, |limit| limit.source.clone()),
        effect: Decision::Deny,
        mode: if breaker.monitor { Mode::Monitor } else { Mode::Enforce },
        priority: 0,
        invariant: false,
        reason: Some(format!(
            "breaker `{}` is open; an operator must look at what happened and reset it",
            breaker.id
        )),
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: Digest::of(breaker.meter.as_bytes()),
    };
    sound(rule)
}

impl Limited {
    /// Holds one charge against all its meters.
    fn hold(
        &mut self,
        limit: &Limit,
        amount: Amount,
        most: Amount,
        request: &Request,
        facts: &LimitFacts,
        now_ms: i64,
    ) {
        for meter in names(limit, request) {
            let Some(level) = facts.level(&meter, most, amount) else {
                self.verdicts.push(unknown(limit, "its meter was not read"));
                continue;
            };
            let over = level.fits_at_ms != Some(now_ms);
            let after = level.used.plus(amount);
            let near = match &limit.does {
                Does::Budget(Budget { near: Some(near), .. }) => Some((near, after >= near.at)),
                _ => None,
            };
            if over {
                self.verdicts.push(sound(exceeded(limit, level, amount, most, now_ms)));
            } else if let Some((near, true)) = near {
                self.approach(limit, near, after, most);
            }
            let (unit, settle, release_ms) = match &limit.does {
                Does::Budget(budget) => (Some(fold(&budget.unit)), budget.settle, budget.release_ms),
                _ => (None, super::Settle::default(), None),
            };
            let release = |ms: u64| now_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
            self.takes.push(Take {
                amount,
                gauge: limit.gauge(),
                limit: most,
                loose: false,
                meter,
                near: near.map(|(near, reached)| NearTake { at: near.at, reached }),
                over,
                release_at_ms: release_ms.map(release),
                settle,
                unit,
            });
        }
    }

    fn approach(&mut self, limit: &Limit, near: &Near, after: Amount, most: Amount) {
        let message = format!("near its limit: {after} of {most}{}", unit_of(limit));
        match &near.then {
            Then::Approval(terms) => {
                let rule = verdict(limit, Decision::RequireApproval, message);
                self.verdicts.push(sound(Rule { approval: Some(terms.clone()), ..rule }));
                return;
            }
            Then::Constrain(constraints) if limit.mode == Mode::Enforce => {
                self.constraints.merge(constraints);
            }
            _ => {}
        }
        self.warnings.push(Reason {
            code: None,
            rule: Some(Arc::clone(&limit.id)),
            source: Some(limit.source.clone()),
            message,
        });
    }

    /// What an action counts that runs whatever is decided: what it takes, without asking for room, and that it would
    /// have been refused.
    pub(crate) fn anyway(
        self,
        request: &Request,
        decided: Option<Box<Charged>>,
        decision: Decision,
        codes: &[Code],
    ) -> Option<Box<Charged>> {
        let mut charged = self.marked(request, |trip| match trip {
            Trip::Denied(wanted) => !decision.permits() && counts(wanted, decision, codes),
            Trip::Allowed | Trip::Distinct | Trip::Failed { .. } => true,
        });
        // What it was permitted to take is not here any more.
        let taken = decided.map(|charged| charged.takes).unwrap_or_default();
        let takes = self.takes.into_iter().chain(taken);
        charged.takes = takes.map(|take| Take { loose: true, near: None, over: false, ..take }).collect();
        (!charged.is_empty()).then(|| Box::new(charged))
    }

    /// What the decision counts; `None` if nothing. `codes` are those of its reasons.
    pub(crate) fn after(
        &mut self,
        request: &Request,
        decision: Decision,
        codes: &[Code],
    ) -> Option<Box<Charged>> {
        let permits = decision.permits();
        let mut charged = self.marked(request, |trip| match trip {
            Trip::Denied(wanted) => !permits && counts(wanted, decision, codes),
            Trip::Allowed | Trip::Distinct | Trip::Failed { .. } => permits,
        });
        if permits {
            charged.takes = std::mem::take(&mut self.takes);
            charged.probes = std::mem::take(&mut self.probes);
        }
        // What runs must be decided again if a breaker opened meanwhile.
        let matters = !charged.is_empty() || (permits && charged.epoch > 0);
        matters.then(|| Box::new(charged))
    }

    /// What those breakers count that `counts` picks: now, or when the action ends.
    fn marked(&self, request: &Request, counts: impl Fn(&Trip) -> bool) -> Charged {
        let mut charged = Charged { epoch: self.epoch, ..Charged::default() };
        for Charge { limit, amount, name } in &self.charges {
            let Does::Breaker(breaker) = &limit.does else { continue };
            let amount = match (amount, &breaker.trip) {
                (Ok(amount), _) => *amount,
                // One that cannot tell whether it speaks, speaks: what it could not tell of was denied.
                (Err(_), Trip::Denied(_)) => Amount::ONE,
                (Err(_), _) => continue,
            };
            if !counts(&breaker.trip) {
                continue;
            }
            let into = match breaker.trip {
                Trip::Failed { .. } => &mut charged.watches,
                _ => &mut charged.marks,
            };
            let name = name.map(|name| hidden(self.blind.as_ref(), &name));
            into.extend(marks(limit, breaker, amount, name, request));
        }
        charged
    }
}

/// Whether what was refused for these reasons is what a breaker counts: denials, and whatever else it names.
fn counts(wanted: &[Code], decision: Decision, codes: &[Code]) -> bool {
    let follows = |code: &Code| matches!(code, Code::AgentKilled | Code::BreakerOpen | Code::GateUnavailable);
    if codes.iter().any(follows) {
        return false;
    }
    if wanted.is_empty() {
        decision == Decision::Deny && !codes.is_empty()
    } else {
        codes.iter().any(|code| wanted.contains(code))
    }
}

/// A value's name in the log: without the secret nobody can guess the value from it.
fn hidden(blind: Option<&Digest>, name: &Digest) -> Digest {
    let Some(blind) = blind else { return *name };
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(blind.as_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"distinct");
    Digest::of(&bytes)
}

fn marks(
    limit: &Limit,
    breaker: &Breaker,
    amount: Amount,
    name: Option<Digest>,
    request: &Request,
) -> Vec<Mark> {
    let share_bp = match breaker.trip {
        Trip::Failed { share_bp } => Some(share_bp),
        _ => None,
    };
    let mark = |key: String| Mark {
        amount,
        at: breaker.at,
        breaker: limit.stem(),
        gauge: limit.gauge(),
        half_open: breaker.half_open,
        key,
        monitor: limit.mode == Mode::Monitor,
        name,
        per: limit.per.clone(),
        share_bp,
    };
    keys(request, &limit.per).into_iter().map(mark).collect()
}

fn unit_of(limit: &Limit) -> String {
    match &limit.does {
        Does::Budget(budget) => format!(" {}", budget.unit),
        _ => String::new(),
    }
}

/// What `limit` says of what does not fit.
fn exceeded(limit: &Limit, level: Level, amount: Amount, most: Amount, now_ms: i64) -> Rule {
    let unit = unit_of(limit);
    match &limit.does {
        Does::Budget(Budget { exceed, .. }) => {
            let used = level.used;
            let message = format!("{amount}{unit} do not fit: {used} of {most} are used");
            match exceed {
                Exceed::Deny => verdict(limit, Decision::Deny, message),
                Exceed::Approval(terms) => {
                    let rule = verdict(limit, Decision::RequireApproval, message);
                    Rule { approval: Some(terms.clone()), ..rule }
                }
            }
        }
        Does::Throttle(_) | Does::Breaker(_) => match level.fits_at_ms {
            Some(at) => {
                let wait = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0).max(1);
                let rule = verdict(limit, Decision::Throttle, format!("too often; again in {wait} ms"));
                Rule { retry_after_ms: Some(wait), ..rule }
            }
            None => verdict(limit, Decision::Deny, format!("{amount} at once never fit into {most}")),
        },
    }
}

/// What an action that runs counts for a snapshot that did not decide: nothing of it was read.
pub(crate) fn beside(charges: &[Charge], request: &Request, charged: &mut Charged) {
    for Charge { limit, amount, .. } in charges {
        let (Some(most), Ok(amount)) = (limit.most(), amount) else { continue };
        for meter in names(limit, request) {
            if charged.takes.iter().any(|take| take.meter == meter) {
                continue;
            }
            let (unit, settle) = match &limit.does {
                Does::Budget(budget) => (Some(fold(&budget.unit)), budget.settle),
                _ => (None, super::Settle::default()),
            };
            charged.takes.push(Take {
                amount: *amount,
                gauge: limit.gauge(),
                limit: most,
                loose: true,
                meter,
                near: None,
                over: false,
                release_at_ms: None,
                settle,
                unit,
            });
        }
    }
}
