//! What the gate answers, in the shape every enforcement point and every client sees.

use callgate_core::approval::ApprovalEffect;
use callgate_core::constraint::Constraints;
use callgate_core::decide::Decided;
use callgate_core::decision::{Code, Decision, Mode, Reason};
use callgate_core::rule::{ApprovalTerms, Stage};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The answer to a request. A denial is an answer, not an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The combined answer.
    pub decision: Decision,
    /// For a person: the first reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stable code, for everything but a plain allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The rule or contract that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// Every contribution.
    pub reasons: Vec<ReasonReply>,
    /// What must be enforced if the action runs.
    pub constraints: Value,
    /// The approval the action waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalReply>,
    /// The approval that lets it run, where a rule holds it until people agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantReply>,
    /// When to ask again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// `monitor` where something that is only monitored spoke of the action; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What enforcement of everything would have answered, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<WouldReply>,
    /// Until when an allow may be acted on, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// The snapshot that decided, such as `v42`.
    pub snapshot: String,
    /// Its digest.
    pub snapshot_digest: String,
    /// The receipt's place in the log; absent in a dry run, which is no permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_index: Option<u64>,
    /// The receipt: a DSSE envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<RawValue>>,
    /// A C2SP tlog-proof that the receipt is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The receipt's salt, 64 hex digits: with it the caller can check the digests of its own request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

/// One contribution to a decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReasonReply {
    /// The stable code; absent for a rule that permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The rule or contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where it stands, `file:line:column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For a person.
    pub message: String,
}

/// What enforcement of everything would have answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WouldReply {
    /// The answer.
    pub decision: Decision,
    /// The code, for everything but a plain allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The rule or contract that would have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// Every contribution.
    pub reasons: Vec<ReasonReply>,
    /// What would have had to be enforced.
    pub constraints: Value,
}

/// The approval an action waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalReply {
    /// The approval's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the request for approval lapses, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// Who may agree in the first stage; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
    /// What must be met, one after the other.
    pub stages: Vec<StageReply>,
    /// What the action can reach if it goes wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<String>,
    /// How the action is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
}

/// The approval that lets an action run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantReply {
    /// The approval's id.
    pub approval: String,
    /// Who agreed.
    pub by: Vec<String>,
    /// The standing approval's id, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// One step of an approval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageReply {
    /// Who may agree; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
}

impl ApprovalReply {
    /// What `terms` ask for; the wait began at `now_ms`.
    #[must_use]
    pub fn new(terms: &ApprovalTerms, id: Option<String>, now_ms: i64) -> Self {
        let stage = |stage: &Stage| StageReply { reviewers: stage.reviewers.clone(), quorum: stage.quorum };
        let first = terms.stages.first().cloned().unwrap_or(Stage::ANYONE);
        Self {
            id,
            expires_at_ms: now_ms.saturating_add(i64::try_from(terms.expires_ms).unwrap_or(i64::MAX)),
            reviewers: first.reviewers,
            quorum: first.quorum,
            stages: terms.stages.iter().map(stage).collect(),
            blast_radius: terms.blast_radius.clone(),
            rollback: terms.rollback.clone(),
        }
    }
}

/// The answer to an outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutcomeReply {
    /// The outcome receipt's place in the log.
    pub receipt_index: u64,
    /// The receipt: a DSSE envelope.
    pub receipt: Box<RawValue>,
    /// A C2SP tlog-proof that the receipt is in the log.
    pub proof: String,
}

/// A receipt read back.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptReply {
    /// Its place in the log.
    pub receipt_index: u64,
    /// The receipt: a DSSE envelope.
    pub receipt: Value,
    /// The signed statement inside, readable.
    pub statement: Value,
    /// A C2SP tlog-proof that the receipt is in the log.
    pub proof: String,
}

/// Evidence of a durable receipt, as it goes into a reply.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) index: u64,
    pub(crate) envelope: Box<RawValue>,
    pub(crate) proof: String,
    pub(crate) salt: String,
}

impl Reply {
    /// What stands in for a reply where nobody decided, and a lease of the gate lets it run.
    pub(crate) fn unchecked(problem: &str) -> Self {
        Self {
            decision: Decision::Allow,
            reason: Some(format!("it ran unchecked: {problem}")),
            code: Some(Code::GateUnavailable),
            matched_rule: None,
            reasons: Vec::new(),
            constraints: Value::Object(Map::new()),
            approval: None,
            grant: None,
            retry_after_ms: None,
            mode: None,
            would: None,
            expires_at_ms: 0,
            snapshot: String::new(),
            snapshot_digest: String::new(),
            receipt_index: None,
            receipt: None,
            proof: None,
            salt: None,
        }
    }

    /// The reply to a decision; without evidence it is a dry run.
    pub(crate) fn new(
        decided: &Decided,
        (version, digest): (&str, &str),
        now_ms: i64,
        evidence: Option<Evidence>,
    ) -> Self {
        let settled = &decided.settled;
        let index = evidence.as_ref().map(|e| e.index);
        let (approval, grant) = approvals(decided, index, now_ms);
        let (envelope, proof, salt) = match evidence {
            Some(e) => (Some(e.envelope), Some(e.proof), Some(e.salt)),
            None => (None, None, None),
        };
        Self {
            decision: settled.decision,
            reason: settled.reasons.first().map(|reason| reason.message.clone()),
            code: settled.code,
            matched_rule: settled.matched.as_ref().map(|rule| rule.id.to_string()),
            reasons: reasons(&settled.reasons),
            constraints: constraints(&settled.constraints),
            approval,
            grant,
            retry_after_ms: settled.retry_after_ms,
            mode: Some(settled.mode).filter(|mode| *mode == Mode::Monitor),
            would: settled.would.as_ref().map(|would| WouldReply {
                decision: would.decision,
                code: would.code,
                matched_rule: would.matched.as_ref().map(|rule| rule.id.to_string()),
                reasons: reasons(&would.reasons),
                constraints: constraints(&would.constraints),
            }),
            expires_at_ms: decided.expires_at_ms,
            snapshot: version.to_owned(),
            snapshot_digest: digest.to_owned(),
            receipt_index: index,
            receipt: envelope,
            proof,
            salt,
        }
    }
}

/// How an approval is called: by the receipt that opened it.
pub(crate) fn approval_id(approval: u64) -> String {
    format!("apr-{approval}")
}

/// How a standing approval is called: by the receipt of the vote that gave it.
pub(crate) fn standing_id(standing: u64) -> String {
    format!("std-{standing}")
}

/// How a stop is called: by its receipt.
pub(crate) fn stop_id(stop: u64) -> String {
    format!("stop-{stop}")
}

/// What the action waits for, or what lets it run. `index` is the decision's own place in the log.
fn approvals(
    decided: &Decided,
    index: Option<u64>,
    now_ms: i64,
) -> (Option<ApprovalReply>, Option<GrantReply>) {
    let (terms, delta) = (decided.settled.approval.as_ref(), decided.effects.approval.as_deref());
    let waits = |id| terms.map(|terms| ApprovalReply::new(terms, id, now_ms));
    let grant = |approval: u64, by: &[String], standing: Option<u64>| GrantReply {
        approval: approval_id(approval),
        by: by.to_vec(),
        standing: standing.map(standing_id),
    };
    match delta.map(|delta| &delta.effect) {
        Some(ApprovalEffect::Meets { approval, expires_at_ms }) => {
            let met = waits(Some(approval_id(*approval)));
            (met.map(|met| ApprovalReply { expires_at_ms: *expires_at_ms, ..met }), None)
        }
        Some(ApprovalEffect::Uses { approval, by }) => (None, Some(grant(*approval, by, None))),
        Some(ApprovalEffect::UsesStanding { approval, by, standing }) => {
            (None, Some(grant(*approval, by, Some(*standing))))
        }
        _ => (waits(index.map(approval_id)), None),
    }
}

fn reasons(reasons: &[Reason]) -> Vec<ReasonReply> {
    let one = |reason: &Reason| ReasonReply {
        code: reason.code,
        rule: reason.rule.as_ref().map(ToString::to_string),
        source: reason.source.as_ref().map(ToString::to_string),
        message: reason.message.clone(),
    };
    reasons.iter().map(one).collect()
}

fn constraints(constraints: &Constraints) -> Value {
    if constraints.is_empty() {
        return Value::Object(Map::new());
    }
    let text = constraints.to_value().canonical();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::Object(Map::new()))
}
