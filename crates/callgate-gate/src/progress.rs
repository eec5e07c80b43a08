//! The heartbeat of actions that run: may it go on?
//!
//! It reads state and writes nothing, so that it is cheap; only the first time that an action is told to stop is
//! written down. Whoever gets no answer, or an error, stops.

use std::collections::BTreeMap;

use callgate_core::decimal::Decimal;
use callgate_core::limit::Amount;
use callgate_core::name::{Name, fold};
use callgate_core::progress::{Halt, Trouble, trouble_of};
use callgate_core::state::meters::Reserved;
use callgate_core::state::{Change, OpenAction};
use serde::{Deserialize, Serialize};

use crate::Credential;
use crate::error::{ProgressError, Unavailable};
use crate::gate::Gate;
use crate::release::GATE;

/// How long until the next heartbeat, in milliseconds.
const NEXT_MS: u64 = 5000;
/// The most cost units.
const MAX_UNITS: usize = 64;

/// What an enforcement point says of an action that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressReport {
    /// The allow's receipt.
    pub receipt_index: u64,
    /// What it has cost so far, by unit, decimals in strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, Decimal>,
}

impl ProgressReport {
    /// A sign of life.
    #[must_use]
    pub const fn new(receipt_index: u64) -> Self {
        Self { receipt_index, cost: BTreeMap::new() }
    }
}

/// Whether an action may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// `false`: stop it now, and report how it ended.
    #[serde(rename = "continue")]
    pub goes_on: bool,
    /// Why it must stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Halt>,
    /// When to ask again at the latest, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// The code in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Progress {
    /// Go on, and ask again as usual.
    pub(crate) const fn go_on() -> Self {
        Self { goes_on: true, code: None, next_ms: Some(NEXT_MS), reason: None }
    }
}

impl Gate {
    /// Says whether an action that runs may go on: whether an operator stopped it, and whether its time is over.
    ///
    /// # Errors
    /// [`ProgressError`]: then it must stop as well.
    pub async fn progress(
        &self,
        report: &ProgressReport,
        credential: &Credential,
    ) -> Result<Progress, ProgressError> {
        check_cost(&report.cost)?;
        if let Some(failure) = self.failure() {
            return Err(Unavailable::for_good(failure).into());
        }
        let decision = report.receipt_index;
        self.spend(report, credential).await?;
        let (open, now_ms, trouble) = self.open_now(decision).ok_or(ProgressError::NotOpen(decision))?;
        if !is_theirs(&open, credential) {
            return Err(ProgressError::NotYours(decision));
        }
        let Some(trouble) = trouble else { return Ok(go_on(&open, now_ms)) };
        if open.stopped.is_none() {
            // It stops whether or not that can be written down.
            let _unwritten = self.note_stopped(decision, &open, &trouble).await;
        }
        let Trouble { code, reason } = trouble;
        Ok(Progress { goes_on: false, code: Some(code), next_ms: None, reason: Some(reason) })
    }

    /// What stands against an action that was allowed and is about to run.
    #[must_use]
    pub fn halted(&self, decision: u64) -> Option<Trouble> {
        self.open_now(decision).and_then(|(_, _, trouble)| trouble)
    }

    /// An open action and what stands against it, read at one moment.
    fn open_now(&self, decision: u64) -> Option<(OpenAction, i64, Option<Trouble>)> {
        let clock = self.clock.now_ms();
        self.store.state(|state| {
            let now_ms = clock.max(state.0.latest_ms());
            let open = state.0.open_action(decision)?;
            Some((open.clone(), now_ms, trouble_of(&state.0, decision, open, now_ms)))
        })
    }

    /// Raises what is reserved for an action that says it has spent more.
    async fn spend(&self, report: &ProgressReport, credential: &Credential) -> Result<(), ProgressError> {
        if report.cost.is_empty() {
            return Ok(());
        }
        let decision = report.receipt_index;
        let spent = amounts(&report.cost)?;
        let open = self.open_now(decision).map(|(open, ..)| open).ok_or(ProgressError::NotOpen(decision))?;
        if !is_theirs(&open, credential) {
            return Err(ProgressError::NotYours(decision));
        }
        let more = |it: &Reserved| it.said(&spent).is_some_and(|spent| spent > it.amount);
        if !open.expected.reserved.iter().any(more) {
            return Ok(());
        }
        let mut details = vec![
            ("agent", open.key.agent.clone()),
            ("decision", decision.to_string()),
            ("tenant", open.key.tenant.clone()),
        ];
        details.extend(open.key.is_chained().then(|| ("session", open.key.session.clone())));
        let change = Change::ActionSpent { decision, spent };
        self.note("action.spend", GATE, &details, change, Vec::new()).await?;
        // What others run may be over its budget now.
        self.halts_move();
        Ok(())
    }

    async fn note_stopped(
        &self,
        decision: u64,
        open: &OpenAction,
        trouble: &Trouble,
    ) -> Result<u64, Unavailable> {
        let mut details = vec![
            ("agent", open.key.agent.clone()),
            ("code", trouble.code.as_str().to_owned()),
            ("decision", decision.to_string()),
            ("reason", trouble.reason.clone()),
            ("tenant", open.key.tenant.clone()),
        ];
        details.extend(open.running.called.first().map(|name| ("action", name.clone())));
        details.extend(open.key.is_chained().then(|| ("session", open.key.session.clone())));
        let change = Change::ActionStopped { code: trouble.code, decision };
        self.note("action.stop", GATE, &details, change, Vec::new()).await
    }
}

/// As for outcomes: an agent's key speaks for that agent, and people for none.
fn is_theirs(open: &OpenAction, credential: &Credential) -> bool {
    match credential {
        Credential::Agent { agent, tenant, .. } => *agent == open.key.agent && *tenant == open.key.tenant,
        Credential::Person { .. } => false,
        Credential::Local | Credential::Development => true,
    }
}

fn go_on(open: &OpenAction, now_ms: i64) -> Progress {
    let ran = u64::try_from(now_ms.saturating_sub(open.started_ms)).unwrap_or(0);
    let left = open.running.max_runtime_ms.map(|most| most.saturating_sub(ran).saturating_add(1));
    let next_ms = left.map_or(NEXT_MS, |left| left.min(NEXT_MS));
    Progress { goes_on: true, code: None, next_ms: Some(next_ms), reason: None }
}

/// By folded unit, the most of what looks alike, as outcomes count it.
fn amounts(cost: &BTreeMap<String, Decimal>) -> Result<BTreeMap<String, Amount>, ProgressError> {
    let mut all: BTreeMap<String, Amount> = BTreeMap::new();
    for (unit, amount) in cost {
        let amount = Amount::from_decimal(*amount);
        let amount = amount.map_err(|e| ProgressError::Invalid(format!("`cost.{unit}`: {e}")))?;
        let known = all.entry(fold(unit)).or_default();
        *known = amount.max(*known);
    }
    Ok(all)
}

fn check_cost(cost: &BTreeMap<String, Decimal>) -> Result<(), ProgressError> {
    if cost.len() > MAX_UNITS {
        return Err(ProgressError::Invalid(format!("`cost`: at most {MAX_UNITS} units")));
    }
    for (unit, amount) in cost {
        Name::new(unit).map_err(|e| ProgressError::Invalid(format!("`cost.{unit}`: {e}")))?;
        if amount.is_negative() {
            return Err(ProgressError::Invalid(format!("`cost.{unit}`: an amount cannot be negative")));
        }
    }
    Ok(())
}
