//! Outcomes: what became of an allowed action. Each closes its decision once.

use callgate_core::state::{Change, Delta, OpenAction, OutcomeDelta};
use callgate_log::Hash;
use callgate_log::hash::{domain, salted, sha256};
use callgate_log::json::{Decimal, Map};
use callgate_log::statement::{Agent, DecisionRef, Outcome, Session, Statement, Status};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::Credential;
use crate::commit::CommitFailure;
use crate::error::{OutcomeError, Unavailable};
use crate::fold::encode;
use crate::gate::Gate;
use crate::receipt::{int, unsigned};
use crate::reply::OutcomeReply;

/// The longest detail, in bytes.
const MAX_DETAIL: usize = 1024;
/// The most cost units.
const MAX_UNITS: usize = 64;
/// How often an outcome is tried again because its session moved on meanwhile.
const MAX_ATTEMPTS: usize = 256;

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
        for _ in 0..MAX_ATTEMPTS {
            let (open, version, prev) = self.open_action(report.receipt_index, credential)?;
            let delta = OutcomeDelta {
                decision: report.receipt_index,
                key: open.key.clone(),
                observations: Vec::new(),
                reads: None,
                snapshot: None,
                version,
            };
            let delta = Delta { change: Change::Outcome(delta), now_ms: self.now_ms() };
            let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
            let statement = self.outcome_statement(&report, &open, delta.now_ms, &delta_bytes, prev)?;
            match self.commit_delta(&statement, delta, delta_bytes, Vec::new()).await {
                Ok((signed, durable)) => {
                    let (receipt, proof) = self.evidence(&signed, &durable)?;
                    return Ok(OutcomeReply { receipt_index: durable.index, receipt, proof });
                }
                // The session moved on, or the action was closed: look again.
                Err(CommitFailure::Conflict(_)) => {}
                Err(CommitFailure::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        Err(Unavailable::now("this session has too many requests at once; report again").into())
    }

    fn open_action(
        &self,
        index: u64,
        credential: &Credential,
    ) -> Result<(OpenAction, u64, Option<[u8; 32]>), OutcomeError> {
        let found = self.store.state(|state| {
            let open = state.0.open_action(index)?.clone();
            let session = state.0.session(&open.key);
            Some((open, session.map_or(0, |s| s.version), session.and_then(|s| s.last)))
        });
        let (open, version, prev) = found.ok_or(OutcomeError::NotOpen(index))?;
        match credential {
            Credential::Agent { agent, tenant, .. }
                if *agent != open.key.agent || *tenant != open.key.tenant =>
            {
                Err(OutcomeError::NotYours(index))
            }
            _ => Ok((open, version, prev)),
        }
    }

    fn outcome_statement(
        &self,
        report: &OutcomeReport,
        open: &OpenAction,
        now_ms: i64,
        delta_bytes: &[u8],
        prev: Option<[u8; 32]>,
    ) -> Result<Statement, OutcomeError> {
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
            finished_at_ms: int(report.finished_at_ms.unwrap_or(now_ms)),
            gate: self.letterhead.gate(),
            issued_at_ms: int(now_ms),
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
