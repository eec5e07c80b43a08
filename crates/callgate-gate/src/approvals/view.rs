//! What a list shows of approvals. No arguments, no comments.

use callgate_core::state::approvals::{Approval, Standing, Status};
use serde::Serialize;

use crate::reply::{approval_id, standing_id};

/// One approval in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalView {
    /// Its id, `apr-` and the receipt that opened it.
    pub id: String,
    /// `open`, `granted`, `standing`, `rejected`, `used`, `expired` or `lapsed`.
    pub status: &'static str,
    /// The tenant.
    pub tenant: String,
    /// Who asked.
    pub agent: PrincipalView,
    /// The session, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the action is called: the tool, else the topic, else the function.
    pub action: String,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The rule that holds it.
    pub rule: String,
    /// The snapshot it was asked under, such as `v42`.
    pub snapshot: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub requested_at_ms: i64,
    /// When the request lapses, or a grant or a rejection ends, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// The stage that is being decided, counted from 1.
    pub stage: u32,
    /// Who must agree, one stage after the other.
    pub stages: Vec<StageView>,
    /// Who granted or rejected it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// When people had nothing to decide any more, milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<i64>,
    /// The receipt of the call that used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<u64>,
    /// The standing approval that was given instead of a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// Who asked, as the request said and the credential allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrincipalView {
    /// The agent.
    pub id: String,
    /// Its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The agents that delegated to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// For whom it says it acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// One stage, and who agreed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageView {
    /// Who may agree; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
    /// Who did.
    pub agreed: Vec<String>,
}

impl ApprovalView {
    pub(super) fn of(approval: &Approval, now_ms: i64) -> Self {
        let (hold, key) = (&approval.hold, &approval.key);
        let status = approval.status_at(now_ms);
        let until_ms = match status {
            Status::Granted { until_ms, .. } | Status::Rejected { until_ms, .. } => until_ms,
            _ => hold.expires_at_ms,
        };
        let (used_by, standing) = match status {
            Status::Used { receipt, .. } => (Some(receipt), None),
            Status::Standing { standing, .. } => (None, Some(standing_id(standing))),
            _ => (None, None),
        };
        let stages = (0u32..).zip(&hold.stages).map(|(number, stage)| StageView {
            reviewers: stage.reviewers.clone(),
            quorum: stage.quorum,
            agreed: agreed(approval, number),
        });
        let decided = status.is_resolved() && !status.is_over_unused();
        Self {
            id: approval_id(approval.id),
            status: status.as_str(),
            tenant: key.tenant.clone(),
            agent: PrincipalView {
                id: key.agent.clone(),
                team: approval.team.clone(),
                chain: hold.chain.clone(),
                on_behalf_of: hold.on_behalf_of.clone(),
            },
            session: key.is_chained().then(|| key.session.clone()),
            action: hold.action.clone(),
            environment: hold.environment.clone(),
            rule: hold.rule.clone(),
            snapshot: approval.under.to_string(),
            requested_at_ms: approval.opened_at_ms,
            expires_at_ms: until_ms,
            stage: approval.stage.saturating_add(1).min(u32::try_from(hold.stages.len()).unwrap_or(u32::MAX)),
            stages: stages.collect(),
            by: if decided { approval.by() } else { Vec::new() },
            resolved_at_ms: status.at_ms(),
            used_by,
            standing,
        }
    }
}

fn agreed(approval: &Approval, stage: u32) -> Vec<String> {
    let votes = approval.votes.iter().map(|cast| &cast.vote);
    let yes = votes.filter(|vote| vote.approve && vote.stage == stage);
    yes.map(|vote| vote.person.clone()).collect()
}

/// One standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingView {
    /// Its id, `std-` and the receipt of the vote that gave it.
    pub id: String,
    /// `in_effect`, `spent`, `expired`, `lapsed` or `revoked`.
    pub status: &'static str,
    /// The approval it came from.
    pub approval: String,
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// For whom the agent acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the action is called.
    pub action: String,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The rule it answers.
    pub rule: String,
    /// The arguments that must be as they were; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Vec<String>>,
    /// Who gave it.
    pub by: Vec<String>,
    /// Who took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// How often it was used.
    pub used: u64,
    /// How often it can be used.
    pub uses: u64,
    /// When it was given, milliseconds since 1970 UTC.
    pub given_at_ms: i64,
    /// Until when it can be used, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
}

impl StandingView {
    pub(super) fn of(standing: &Standing, now_ms: i64) -> Self {
        use callgate_core::state::approvals::StandingStatus;
        let status = standing.status_at(now_ms);
        Self {
            id: standing_id(standing.id),
            status: status.as_str(),
            approval: approval_id(standing.approval),
            tenant: standing.tenant.clone(),
            agent: standing.agent.clone(),
            on_behalf_of: standing.on_behalf_of.clone(),
            action: standing.action.clone(),
            environment: standing.environment.clone(),
            rule: standing.rule.clone(),
            fixed: standing.reach.fixed.clone(),
            by: standing.by.clone(),
            revoked_by: match status {
                StandingStatus::Revoked { by } => Some(by),
                _ => None,
            },
            used: standing.used,
            uses: standing.reach.uses,
            given_at_ms: standing.given_at_ms,
            expires_at_ms: standing.expires_at_ms,
        }
    }
}
