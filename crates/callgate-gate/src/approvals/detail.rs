//! Everything a reviewer needs to decide, and what an agent may see of its own request.

use callgate_core::request::Request;
use callgate_core::state::approvals::{Approval, Reviewer, Status};
use callgate_log::Statement;
use callgate_log::hash::sha256;
use callgate_log::statement::{Body, Decision};
use serde::Serialize;
use serde_json::Value;

use super::mask::mask;
use super::so_far::SoFarView;
use super::view::ApprovalView;
use crate::Credential;
use crate::error::ApprovalError;
use crate::gate::Gate;
use crate::reply::approval_id;
use crate::vault::Attachment;

/// How many similar approvals are named.
const SIMILAR: usize = 5;

/// One approval with what there is to know of it.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalDetail {
    /// What the list shows.
    pub approval: ApprovalView,
    /// The request as it was decided, secrets masked; absent when it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// How many values are masked in it.
    pub masked: u64,
    /// The rule that holds it.
    pub rule_detail: RuleView,
    /// What the rule says the action can reach if it goes wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<String>,
    /// How the rule says it is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// The risk tags that counted, the catalogue's among them.
    pub risk_tags: Vec<String>,
    /// What will be enforced if it runs.
    pub constraints: Value,
    /// What the session did before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_so_far: Option<SoFarView>,
    /// What people decided about the same tool under the same rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similar: Option<SimilarView>,
    /// Who voted.
    pub votes: Vec<VoteView>,
    /// Who handed their vote to whom.
    pub delegations: Vec<DelegationView>,
    /// What was said without a vote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<RemarkView>,
    /// Why the caller cannot decide on it; absent when they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_by_you: Option<String>,
}

/// The rule that holds an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// Its id.
    pub id: String,
    /// Its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it stands, `file:line:column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What people decided about the same tool under the same rule, as far as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SimilarView {
    /// How many were granted.
    pub granted: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// How many nobody decided in time.
    pub expired: u64,
    /// The newest of them.
    pub newest: Vec<ApprovalView>,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VoteView {
    /// Who.
    pub person: String,
    /// Yes or no.
    pub approve: bool,
    /// As which reviewer.
    pub seat: String,
    /// In which stage, counted from 1.
    pub stage: u32,
    /// Whose vote it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Its receipt.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What was said with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How often the action may run, if it asks for a standing approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing_uses: Option<u64>,
    /// For how long, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing_span_ms: Option<u64>,
    /// The arguments it fixes; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing_fixed: Option<Vec<String>>,
}

/// One vote handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DelegationView {
    /// By whom.
    pub from: String,
    /// To whom.
    pub to: String,
    /// As which reviewer.
    pub seat: String,
    /// In which stage, counted from 1.
    pub stage: u32,
}

/// Something that was said without a vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemarkView {
    /// Who.
    pub person: String,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its receipt.
    pub receipt: u64,
    /// What; absent when the session was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Gate {
    /// One approval with everything a reviewer needs. An agent sees its own request, not what reviewers say.
    ///
    /// Reads the disk: not for a thread that must not wait.
    ///
    /// # Errors
    /// When there is none for this caller, or the log cannot be read.
    pub fn approval(&self, id: u64, who: &Credential) -> Result<ApprovalDetail, ApprovalError> {
        let now_ms = self.now_ms();
        let (approval, similar) = self.with_approval(id, who, |approval, state| {
            (approval.clone(), similar(approval, state.approvals().iter().rev(), now_ms))
        })?;
        let reviewer = Reviewer::of(who);
        let decision = self.opening(id)?;
        let request = self.held_request(id)?;
        let (shown, masked) = match &request {
            Some(request) => self.shown(request),
            None => (None, 0),
        };
        let comments = reviewer.is_some();
        Ok(ApprovalDetail {
            rule_detail: rule(&approval, &decision),
            blast_radius: approval.hold.blast_radius.clone(),
            rollback: approval.hold.rollback.clone(),
            risk_tags: decision.risk_tags.clone(),
            constraints: serde_json::to_value(&decision.constraints).unwrap_or_default(),
            session_so_far: comments.then(|| self.so_far(&approval)),
            similar: reviewer.map(|_| similar),
            votes: self.votes(&approval, comments),
            delegations: delegations(&approval),
            comments: if comments { self.remarks(&approval) } else { Vec::new() },
            not_by_you: not_by(&approval, reviewer.as_ref(), now_ms),
            approval: ApprovalView::of(&approval, now_ms),
            request: shown,
            masked,
        })
    }

    fn opening(&self, id: u64) -> Result<Box<Decision>, ApprovalError> {
        let unreadable = |problem: String| ApprovalError::Unreadable(problem);
        let stored = self.store.read(id).map_err(|e| unreadable(e.to_string()))?;
        let stored = stored.ok_or_else(|| ApprovalError::Unknown(approval_id(id)))?;
        let statement = Statement::parse(&stored.payload).map_err(|e| unreadable(e.to_string()))?;
        match statement.body() {
            Body::Decision(decision) => Ok(decision.clone()),
            _ => Err(unreadable(format!("receipt {id} is no decision"))),
        }
    }

    fn shown(&self, request: &Request) -> (Option<Value>, u64) {
        let active = self.active.load();
        let tool = request.tool.as_ref().and_then(|tool| active.live.snapshot.catalogue.get(&tool.identity));
        let (args, mut masked) = mask(&request.args, tool.and_then(|tool| tool.input_schema.as_ref()));
        let mut whole = request.to_value();
        if let callgate_core::value::Value::Map(map) = &mut whole {
            map.remove("args");
            let (rest, more) = mask(map, None);
            masked = masked.saturating_add(more);
            whole = rest;
            if let callgate_core::value::Value::Map(map) = &mut whole {
                map.insert("args".to_owned(), args);
            }
        }
        (serde_json::from_str(&whole.canonical()).ok(), masked)
    }

    fn votes(&self, approval: &Approval, comments: bool) -> Vec<VoteView> {
        let view = |cast: &callgate_core::state::approvals::Cast| {
            let vote = &cast.vote;
            let standing = vote.standing.as_ref();
            VoteView {
                person: vote.person.clone(),
                approve: vote.approve,
                seat: vote.seat.clone(),
                stage: vote.stage.saturating_add(1),
                instead_of: vote.instead_of.clone(),
                receipt: cast.receipt,
                at_ms: cast.at_ms,
                comment: (vote.commented && comments).then(|| self.said(cast.receipt)).flatten(),
                standing_uses: standing.map(|terms| terms.uses),
                standing_span_ms: standing.map(|terms| terms.span_ms),
                standing_fixed: standing.and_then(|terms| terms.fixed.clone()),
            }
        };
        approval.votes.iter().map(view).collect()
    }

    fn remarks(&self, approval: &Approval) -> Vec<RemarkView> {
        let remarks = approval.remarks.iter();
        remarks
            .map(|remark| RemarkView {
                person: remark.person.clone(),
                at_ms: remark.at_ms,
                receipt: remark.receipt,
                comment: self.said(remark.receipt),
            })
            .collect()
    }

    /// What was said with a receipt; `None` when it was erased.
    fn said(&self, receipt: u64) -> Option<String> {
        let stored = self.store.read(receipt).ok().flatten()?;
        let bound = sha256(&stored.payload).into_bytes();
        match self.vault.open(&stored.attachment, &bound).ok()? {
            Attachment::Record(record) => String::from_utf8(record.request).ok(),
            _ => None,
        }
    }
}

fn rule(approval: &Approval, decision: &Decision) -> RuleView {
    let id = approval.hold.rule.clone();
    let reason = decision.reasons.iter().find(|reason| reason.rule.as_ref() == Some(&id));
    RuleView {
        reason: reason.map(|reason| reason.message.clone()),
        source: reason.and_then(|reason| reason.source.clone()),
        id,
    }
}

fn delegations(approval: &Approval) -> Vec<DelegationView> {
    let view = |one: &callgate_core::state::approvals::Delegation| DelegationView {
        from: one.from.clone(),
        to: one.to.clone(),
        seat: one.seat.clone(),
        stage: one.stage.saturating_add(1),
    };
    approval.delegations.iter().map(view).collect()
}

fn not_by(approval: &Approval, reviewer: Option<&Reviewer<'_>>, now_ms: i64) -> Option<String> {
    let status = approval.status_at(now_ms);
    if status != Status::Open {
        return Some(format!("it is {}", status.as_str()));
    }
    match reviewer {
        None => Some("an agent cannot decide on approvals".to_owned()),
        Some(reviewer) => approval.seat_to_agree(reviewer).err().map(|refusal| refusal.to_string()),
    }
}

/// What people decided about the same tool under the same rule in the same tenant, newest first.
fn similar<'a>(approval: &Approval, others: impl Iterator<Item = &'a Approval>, now_ms: i64) -> SimilarView {
    let mut found = SimilarView::default();
    let same = |other: &&Approval| {
        other.id != approval.id
            && other.key.tenant == approval.key.tenant
            && other.hold.rule == approval.hold.rule
            && other.hold.action == approval.hold.action
    };
    for other in others.filter(same) {
        match other.status_at(now_ms) {
            Status::Open => continue,
            Status::Rejected { .. } => found.rejected = found.rejected.saturating_add(1),
            status if status.is_over_unused() && other.current().is_some() => {
                found.expired = found.expired.saturating_add(1);
            }
            _ => found.granted = found.granted.saturating_add(1),
        }
        if found.newest.len() < SIMILAR {
            found.newest.push(ApprovalView::of(other, now_ms));
        }
    }
    found
}
