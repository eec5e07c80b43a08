//! Approvals on the wire: what waits for people, and what they say.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What became of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is explained in docs/approvals.md")]
pub enum ApprovalStatus {
    Open,
    Granted,
    Standing,
    Rejected,
    Used,
    Expired,
    Stopped,
    Lapsed,
}

/// What became of a standing approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is explained in docs/approvals.md")]
pub enum StandingStatus {
    InEffect,
    Spent,
    Expired,
    Lapsed,
    Revoked,
}

/// The approvals that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalList {
    /// Oldest first.
    pub approvals: Vec<ApprovalItem>,
}

/// One approval in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalItem {
    /// Its id, such as `apr-12`.
    pub id: String,
    /// What became of it.
    pub status: ApprovalStatus,
    /// The tenant.
    pub tenant: String,
    /// Who asked.
    pub agent: Asker,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session: Option<String>,
    /// What the action is called: the tool, else the topic, else the function.
    pub action: String,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    pub stages: Vec<ItemStage>,
    /// Who granted or rejected it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// When people had nothing to decide any more, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub resolved_at_ms: Option<i64>,
    /// The receipt of the call that used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub used_by: Option<u64>,
    /// The standing approval that was given instead of a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub standing: Option<String>,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// The agent.
    pub id: String,
    /// Its team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub team: Option<String>,
    /// The agents that delegated to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// For whom it says it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub on_behalf_of: Option<String>,
}

/// One stage, and who agreed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemStage {
    /// Who may agree; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
    /// Who did.
    pub agreed: Vec<String>,
}

/// One approval with everything a reviewer needs. An agent is not shown the optional parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDetail {
    /// What the list shows.
    pub approval: ApprovalItem,
    /// The request as it was decided, secrets masked; absent when it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request: Option<Value>,
    /// How many values are masked in it.
    pub masked: u64,
    /// The rule that holds it.
    pub rule_detail: ApprovalRule,
    /// What the rule says the action can reach if it goes wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub blast_radius: Option<String>,
    /// How the rule says it is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rollback: Option<String>,
    /// The risk tags that counted.
    pub risk_tags: Vec<String>,
    /// What will be enforced if it runs, by constraint word.
    pub constraints: std::collections::BTreeMap<String, Value>,
    /// What the session did before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session_so_far: Option<SoFar>,
    /// What people decided about the same tool under the same rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub similar: Option<Similar>,
    /// Who voted.
    pub votes: Vec<ApprovalVote>,
    /// Who handed their vote to whom.
    pub delegations: Vec<ApprovalDelegation>,
    /// What was said without a vote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<ApprovalComment>,
    /// Why the caller cannot decide on it; absent when they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub not_by_you: Option<String>,
}

/// The rule that holds an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Its id.
    pub id: String,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Where it stands, `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
}

/// What the session did before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SoFar {
    /// Its newest decisions and outcomes before this one, newest first; at most 20.
    pub receipts: Vec<Earlier>,
    /// How many receipts of the log were looked at, backwards; at most 2,000.
    pub looked_at: u64,
    /// Whether these are all there are.
    pub complete: bool,
}

/// One earlier receipt of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The receipt's place in the log.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What was asked, for a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub action: Option<String>,
    /// The decision, or how the action ended.
    pub what: String,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rule: Option<String>,
    /// The decision that an outcome closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub decision: Option<u64>,
}

/// What people decided about the same tool under the same rule, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Similar {
    /// How many were granted.
    pub granted: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// How many nobody decided in time.
    pub expired: u64,
    /// The newest of them.
    pub newest: Vec<ApprovalItem>,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalVote {
    /// Who.
    pub person: String,
    /// Yes or no.
    pub approve: bool,
    /// As which reviewer, such as `role:finance`.
    pub seat: String,
    /// In which stage, counted from 1.
    pub stage: u32,
    /// Whose vote it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instead_of: Option<String>,
    /// Its receipt.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub comment: Option<String>,
    /// How often the action may run, if it asks for a standing approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub standing_uses: Option<u64>,
    /// For how long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub standing_span_ms: Option<u64>,
    /// The arguments it fixes; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub standing_fixed: Option<Vec<String>>,
}

/// One vote handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDelegation {
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalComment {
    /// Who.
    pub person: String,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its receipt.
    pub receipt: u64,
    /// What; absent when the session was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub comment: Option<String>,
}

/// A yes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    /// For the other reviewers; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1000)]
    pub comment: Option<String>,
    /// Agree to more than this one call; comes about when every reviewer asks for the same.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "callgate_core::object::maybe"
    )]
    #[schema(nullable = false)]
    pub standing: Option<StandingBody>,
}

/// How far a standing approval shall reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StandingBody {
    /// The arguments that must stay as they are; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 64)]
    pub fixed: Option<Vec<String>>,
    /// For how long, in milliseconds; 8 hours if absent, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 2_592_000_000_u64)]
    pub span_ms: Option<u64>,
    /// How often; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    pub uses: Option<u64>,
}

/// A no.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    /// For the other reviewers; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1000)]
    pub comment: Option<String>,
}

/// A remark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentBody {
    /// For the other reviewers; at most 1,000 characters.
    #[schema(min_length = 1, max_length = 1000)]
    pub comment: String,
}

/// A vote handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DelegateBody {
    /// To whom: a person's name, such as `ana`.
    pub to: String,
    /// For the other reviewers; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1000)]
    pub comment: Option<String>,
}

/// Nothing more to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {}

/// The standing approvals that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StandingList {
    /// Oldest first.
    pub standing_approvals: Vec<StandingItem>,
}

/// One standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StandingItem {
    /// Its id, such as `std-14`.
    pub id: String,
    /// What became of it.
    pub status: StandingStatus,
    /// The approval it came from.
    pub approval: String,
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// For whom the agent acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub on_behalf_of: Option<String>,
    /// What the action is called.
    pub action: String,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub environment: Option<String>,
    /// The rule it answers.
    pub rule: String,
    /// The arguments that must be as they were; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub fixed: Option<Vec<String>>,
    /// Who gave it.
    pub by: Vec<String>,
    /// Who took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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

/// Rules that would have answered what people granted again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuggestionList {
    /// None of them is applied.
    pub suggestions: Vec<SuggestionItem>,
}

/// One suggested rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuggestionItem {
    /// The rule that held the calls.
    pub rule: String,
    /// The tenant of those calls.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// The action.
    pub action: String,
    /// A rules file for the bundle.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What it rests on.
    pub evidence: SuggestionEvidence,
}

/// What a suggestion rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuggestionEvidence {
    /// How many were granted; none was rejected.
    pub granted: u64,
    /// The approvals.
    pub approvals: Vec<String>,
    /// The receipts of the votes.
    pub votes: Vec<u64>,
    /// Who granted them.
    pub reviewers: Vec<String>,
    /// When the first was asked, milliseconds since 1970 UTC.
    pub first_ms: i64,
    /// When the last was asked, milliseconds since 1970 UTC.
    pub last_ms: i64,
    /// How many requests could not be read any more.
    pub unread: u64,
}
