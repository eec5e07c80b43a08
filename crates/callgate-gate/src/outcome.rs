//! Outcomes: what became of an allowed action. Each closes its decision once.

use callgate_core::digest::Digest;
use callgate_core::history::{HistoryFacts, Query};
use callgate_core::limit::{Amount, Ended};
use callgate_core::name::fold;
use callgate_core::state::{Change, Conflict, Delta, OpenAction, OutcomeDelta};
use callgate_log::Hash;
use callgate_log::hash::{domain, salted, sha256};
use callgate_log::json::{Decimal, Map};
use callgate_log::statement::{Agent, DecisionRef, Outcome, Session, Statement, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::Credential;
use crate::commit::CommitFailure;
use crate::error::{OutcomeError, Unavailable};
use crate::fold::encode;
use crate::gate::{Active, Gate};
use crate::receipt::{int, unsigned};
use crate::reply::OutcomeReply;

/// The longest detail, in bytes.
const MAX_DETAIL: usize = 1024;
/// The most cost units.
const MAX_UNITS: usize = 64;
/// How often an outcome is tried again because its session moved on meanwhile.
const MAX_ATTEMPTS: usize = 256;

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// It did what it should.
    Succeeded,
    /// It reported an error.
    Failed,
    /// It ran longer than it was permitted to.
    TimedOut,
    /// It was called off while it ran.
    Cancelled,
    /// It never began.
    NotRun,
    /// Nobody knows.
    Unknown,
}

/// What an enforcement point reports of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeReport {
    /// The allow's receipt.
    pub receipt_index: u64,
    /// How it ended.
    pub status: OutcomeStatus,
    /// When it began, milliseconds since 1970 UTC.
    #[serde(default)]
    pub started_at_ms: Option<i64>,
    /// When it ended; the gate's clock if absent.
    #[serde(default)]
    pub finished_at_ms: Option<i64>,
    /// How often it was tried; 1 if absent.
    #[serde(default)]
    pub attempts: Option<u64>,
    /// What it cost, by unit, decimals in strings.
    #[serde(default)]
    pub cost: BTreeMap<String, callgate_core::decimal::Decimal>,
    /// A sentence for people; must not quote what the action returned.
    #[serde(default)]
    pub detail: Option<String>,
    /// SHA-256 of what the action returned, 64 hex digits.
    #[serde(default)]
    pub result_sha256: Option<String>,
}

impl OutcomeReport {
    /// An outcome without particulars.
    #[must_use]
    pub const fn new(receipt_index: u64, status: OutcomeStatus) -> Self {
        Self {
            receipt_index,
            status,
            started_at_ms: None,
            finished_at_ms: None,
            attempts: None,
            cost: BTreeMap::new(),
            detail: None,
            result_sha256: None,
        }
    }
}

/// What an outcome is recorded on, read at one moment.
struct Closing {
    open: OpenAction,
    /// The session's receipts.
    version: u64,
    /// The session's last receipt.
    prev: Option<[u8; 32]>,
    now_ms: i64,
    history: Option<HistoryFacts>,
}

impl Gate {
    /// Records what became of an allowed action.
    ///
    /// # Errors
    /// [`OutcomeError`]; a second outcome of one action is refused.
    pub async fn report(
        &self,
        report: OutcomeReport,
        credential: &Credential,
    ) -> Result<OutcomeReply, OutcomeError> {
        // Whose action it is comes first.
        self.closing(report.receipt_index, credential, None)?;
        for _ in 0..MAX_ATTEMPTS {
            let active = self.active.load_full();
            let (delta, closing) = self.outcome_delta(&report, credential, &active)?;
            let delta = Delta { change: Change::Outcome(delta), now_ms: closing.now_ms };
            let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
            let statement = self.outcome_statement(&report, &closing, &delta_bytes)?;
            match self.commit_delta(&statement, delta, delta_bytes, Vec::new()).await {
                Ok((signed, durable)) => {
                    self.watch_breakers();
                    let (receipt, proof) = self.evidence(&signed, &durable)?;
                    return Ok(OutcomeReply { receipt_index: durable.index, receipt, proof });
                }
                Err(CommitFailure::Conflict(Conflict::Snapshot)) => drop(self.publishing.lock().await),
                // The session or the history moved on, or the action was closed: look again.
                Err(CommitFailure::Conflict(_)) => {}
                Err(CommitFailure::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        Err(Unavailable::now("this session has too many requests at once; report again").into())
    }

    /// What the outcome changes, and what that was read from.
    fn outcome_delta(
        &self,
        report: &OutcomeReport,
        credential: &Credential,
        active: &Active,
    ) -> Result<(OutcomeDelta, Closing), OutcomeError> {
        let index = report.receipt_index;
        let (force, blind) = (active.in_force(), self.identity.blind());
        let looks_back = force.looks_back();
        // What was erased is gone for the history, too; its outcome is still a fact.
        let ended = if looks_back { self.ended(index, status(report.status)) } else { Ok(None) };
        let ended = ended.map_err(Unavailable::for_good)?;
        let queries = ended.as_ref().map(|ended| ended.queries_of(&force, &blind));
        let closing = self.closing(index, credential, queries.map(|queries| (queries, blind)))?;
        // An action whose end cannot be told was not allowed in the first place.
        let observed = ended.zip(closing.history.as_ref());
        let observed = observed.and_then(|(ended, history)| ended.observe_for(&force, history).ok());
        let expects = !closing.open.expected.is_empty();
        let delta = OutcomeDelta {
            decision: index,
            ended: expects.then(|| ended_as(report.status)),
            epoch: looks_back.then_some(active.epoch),
            key: closing.open.key.clone(),
            observations: observed.unwrap_or_default(),
            reads: closing.history.as_ref().and_then(HistoryFacts::reads),
            spent: if expects { spent(report)? } else { BTreeMap::new() },
            version: closing.version,
        };
        Ok((delta, closing))
    }

    fn closing(
        &self,
        index: u64,
        credential: &Credential,
        queries: Option<(Vec<Query>, Digest)>,
    ) -> Result<Closing, OutcomeError> {
        let clock = self.clock.now_ms();
        let found = self.store.state(|state| {
            let state = &state.0;
            let now_ms = clock.max(state.latest_ms());
            let open = state.open_action(index)?.clone();
            let session = state.session(&open.key);
            let (version, prev) = session.map_or((0, None), |s| (s.version, s.last));
            let history = queries.map(|(queries, blind)| state.history().read(queries, now_ms, blind));
            Some(Closing { open, version, prev, now_ms, history })
        });
        let closing = found.ok_or(OutcomeError::NotOpen(index))?;
        match credential {
            Credential::Agent { agent, tenant, .. }
                if *agent != closing.open.key.agent || *tenant != closing.open.key.tenant =>
            {
                Err(OutcomeError::NotYours(index))
            }
            Credential::Person { .. } => Err(OutcomeError::NotYours(index)),
            _ => Ok(closing),
        }
    }

    fn outcome_statement(
        &self,
        report: &OutcomeReport,
        closing: &Closing,
        delta_bytes: &[u8],
    ) -> Result<Statement, OutcomeError> {
        let Closing { open, prev, now_ms, .. } = closing;
        let chained = open.key.is_chained();
        Ok(Statement::outcome(Outcome {
            agent: Agent {
                chain: Vec::new(),
                id: open.key.agent.clone(),
                on_behalf_of: None,
                team: open.team.clone(),
            },
            attempts: unsigned(report.attempts.unwrap_or(1)),
            cost: cost(report)?,
            decision_receipt: DecisionRef {
                index: unsigned(report.receipt_index),
                payload_sha256: Hash::new(open.payload_sha256),
            },
            detail: detail(report)?,
            effects_digest: sha256(delta_bytes),
            finished_at_ms: int(report.finished_at_ms.unwrap_or(*now_ms)),
            gate: self.letterhead.gate(),
            issued_at_ms: int(*now_ms),
            prev: prev.filter(|_| chained).map(Hash::new),
            result_commitment: self.result_commitment(report)?,
            session: chained.then(|| Session { id: open.key.session.clone(), step: None }),
            started_at_ms: report.started_at_ms.map(int),
            status: status(report.status),
            tenant: open.key.tenant.clone(),
        }))
    }

    /// Commits to the result's digest under the decision's own salt, so that one sealed record opens both.
    fn result_commitment(&self, report: &OutcomeReport) -> Result<Option<Hash>, OutcomeError> {
        let Some(text) = &report.result_sha256 else { return Ok(None) };
        let wrong = || OutcomeError::Invalid("`result_sha256`: write 64 lower-case hex digits".to_owned());
        let digest = Hash::from_hex(text).ok_or_else(wrong)?;
        let salt = self.salt_of(report.receipt_index).map_err(OutcomeError::Invalid)?;
        Ok(Some(salted(&salt, domain::RESULT, digest.as_bytes())))
    }
}

fn cost(report: &OutcomeReport) -> Result<Option<Map<Decimal>>, OutcomeError> {
    if report.cost.len() > MAX_UNITS {
        return Err(OutcomeError::Invalid(format!("`cost`: at most {MAX_UNITS} units")));
    }
    let mut map = Map::new();
    for (unit, amount) in &report.cost {
        let wrong = |problem: String| OutcomeError::Invalid(format!("`cost.{unit}`: {problem}"));
        callgate_core::name::Name::new(unit).map_err(|e| wrong(e.to_string()))?;
        if amount.is_negative() {
            return Err(wrong("an amount cannot be negative".to_owned()));
        }
        let text = Decimal::parse(&amount.to_string()).map_err(|e| wrong(e.to_string()))?;
        map.insert(unit.clone(), text);
    }
    Ok((!map.is_empty()).then_some(map))
}

/// What it cost as limits count it: by folded unit, the most of what looks alike.
fn spent(report: &OutcomeReport) -> Result<BTreeMap<String, Amount>, OutcomeError> {
    let mut all: BTreeMap<String, Amount> = BTreeMap::new();
    for (unit, amount) in &report.cost {
        let amount = Amount::from_decimal(*amount);
        let amount = amount.map_err(|e| OutcomeError::Invalid(format!("`cost.{unit}`: {e}")))?;
        let known = all.entry(fold(unit)).or_default();
        *known = amount.max(*known);
    }
    Ok(all)
}

const fn ended_as(status: OutcomeStatus) -> Ended {
    match status {
        OutcomeStatus::Succeeded => Ended::Succeeded,
        OutcomeStatus::Failed | OutcomeStatus::TimedOut | OutcomeStatus::Unknown => Ended::Failed,
        OutcomeStatus::Cancelled => Ended::Cancelled,
        OutcomeStatus::NotRun => Ended::NotRun,
    }
}

fn detail(report: &OutcomeReport) -> Result<Option<String>, OutcomeError> {
    match &report.detail {
        Some(text) if text.len() > MAX_DETAIL => {
            Err(OutcomeError::Invalid(format!("`detail`: at most {MAX_DETAIL} bytes")))
        }
        other => Ok(other.clone()),
    }
}

const fn status(status: OutcomeStatus) -> Status {
    match status {
        OutcomeStatus::Succeeded => Status::Succeeded,
        OutcomeStatus::Failed => Status::Failed,
        OutcomeStatus::TimedOut => Status::TimedOut,
        OutcomeStatus::Cancelled => Status::Cancelled,
        OutcomeStatus::NotRun => Status::NotRun,
        OutcomeStatus::Unknown => Status::Unknown,
    }
}
