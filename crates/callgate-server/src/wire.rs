//! The shapes on the wire, as a client types them, and what `openapi.json` is generated from.
//!
//! The gate does not read requests through these: its own parser is stricter (repeated keys, lone surrogates,
//! names, amounts). They must accept and give what it accepts and gives; tests hold them against it. A field
//! without a value is absent; the gate reads null as that, and never gives it.

mod approvals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use approvals::{
    ApprovalComment, ApprovalDelegation, ApprovalDetail, ApprovalItem, ApprovalList, ApprovalRule,
    ApprovalStatus, ApprovalVote, ApproveBody, Asker, CommentBody, DelegateBody, Earlier, ItemStage,
    RejectBody, RevokeBody, Similar, SoFar, StandingBody, StandingItem, StandingList, StandingStatus,
    SuggestionEvidence, SuggestionItem, SuggestionList,
};

/// What an agent asks. `agent` and one of `tool`, `topic` and `session.function` are required.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "agent": {"id": "support-bot", "team": "support", "on_behalf_of": "user:ana"},
    "session": {"id": "ticket-4711", "step": "execution"},
    "tool": {"server": "stripe", "name": "refund"},
    "args": {"amount": "12.50", "currency": "EUR"},
    "risk_tags": ["write"], "environment": "prod",
    "pep": {"id": "http", "enforces": ["max_runtime_ms", "max_retries"]}
}))]
pub struct Request {
    /// The tenant; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tenant: Option<String>,
    /// Who asks.
    pub agent: Agent,
    /// Where in a session the request stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session: Option<Session>,
    /// The tool to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tool: Option<Tool>,
    /// The tool's arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Value>,
    /// The topic of a job, such as `job.mcp-bridge.write.update_ticket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topic: Option<String>,
    /// Risk tags; the gate adds those of its catalogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub risk_tags: Vec<String>,
    /// Labels on the request; at most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The environment, such as `prod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub environment: Option<String>,
    /// Estimated cost by unit; at most 64 units.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, Amount>,
    /// The agent's confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0, maximum = 1)]
    pub confidence: Option<f64>,
    /// A value used once in a session; needs `ts_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub nonce: Option<String>,
    /// When the request was made, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ts_ms: Option<i64>,
    /// What asks on the agent's behalf, and what it can enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pep: Option<EnforcementPoint>,
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The agent's name; must be the key's.
    pub id: String,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub team: Option<String>,
    /// The agents that delegated to it, first delegator first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub chain: Vec<String>,
    /// The person or account it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub on_behalf_of: Option<String>,
}

/// Where in a session the request stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The session's id, unique for one agent of one tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// The contract step; the function, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub step: Option<String>,
    /// The function the agent is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub function: Option<String>,
    /// What kind of action it is, such as `WRITE_DB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub action_type: Option<String>,
}

/// The tool to call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The server that offers it; has no dots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub server: Option<String>,
    /// The tool's name at that server.
    pub name: String,
}

/// What asks on the agent's behalf, and what it can enforce.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnforcementPoint {
    /// Its name, such as `http`.
    pub id: String,
    /// The constraint words it enforces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub enforces: Vec<String>,
}

/// An amount: a decimal in a string, or a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Amount {
    /// A decimal, such as `"0.02"`.
    Decimal(String),
    /// A whole number.
    Whole(i64),
}

/// Requests to decide together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Batch {
    /// The requests alone, 1 to 64.
    List(Vec<Request>),
    /// The requests under a name.
    Named(NamedBatch),
}

/// Requests to decide together, under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedBatch {
    /// The requests.
    #[schema(min_items = 1, max_items = 64)]
    pub requests: Vec<Request>,
}

/// The answers to a batch, in the order of its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchReply {
    /// One answer for each request.
    pub replies: Vec<BatchAnswer>,
}

/// What a list of tools need not show, in the order of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenReply {
    /// Whether the request is denied whatever its arguments.
    pub hidden: Vec<bool>,
}

/// The answer to one request of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum BatchAnswer {
    /// A decision.
    Reply(Box<Reply>),
    /// No decision: nothing may run.
    Problem(Problem),
}

/// The five combined answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Decision {
    /// Run it.
    Allow,
    /// Run it only under the constraints that come with it.
    AllowWithConstraints,
    /// Not now; ask again after `retry_after_ms`.
    Throttle,
    /// Not before a person has agreed.
    RequireApproval,
    /// Never under this policy.
    Deny,
}

/// Why an action was not simply allowed; of several, the first in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each is explained in docs/spec/wire.md")]
pub enum Code {
    InvalidRequest,
    StaleTimestamp,
    ReplayNonce,
    AgentKilled,
    NotCertified,
    BreakerOpen,
    SealedSequence,
    SequenceViolation,
    NoPolicyMatch,
    ActionNotAllowed,
    DeniedByRule,
    ApprovalRejected,
    PolicyError,
    BudgetExceeded,
    ConstraintUnenforceable,
    GateUnavailable,
    RateExceeded,
    ApprovalRequired,
}

/// The answer to a request. A denial is an answer, not an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The combined answer.
    pub decision: Decision,
    /// For a person: the first reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// The stable code, for everything but a plain allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<Code>,
    /// The rule or contract that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub matched_rule: Option<String>,
    /// Every contribution.
    pub reasons: Vec<Reason>,
    /// What must be enforced if the action runs, by constraint word.
    pub constraints: BTreeMap<String, Value>,
    /// The approval the action waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub approval: Option<Approval>,
    /// The approval that lets it run, where a rule holds it until people agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub grant: Option<Grant>,
    /// When to ask again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retry_after_ms: Option<u64>,
    /// `monitor` where something that is only monitored spoke of the action; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mode: Option<Mode>,
    /// What enforcement of everything would have answered, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub would: Option<Would>,
    /// Until when an allow may be acted on, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// The snapshot that decided, such as `v42`.
    pub snapshot: String,
    /// Its digest.
    pub snapshot_digest: String,
    /// The receipt's place in the log. Without it, the reply is no permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receipt_index: Option<u64>,
    /// The receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receipt: Option<Envelope>,
    /// A C2SP tlog-proof that the receipt is in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub proof: Option<String>,
    /// The receipt's salt, 64 hex digits: with it the caller can check the digests of its own request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub salt: Option<String>,
}

/// Whether what policy says is enforced, or only recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All of it is enforced.
    Enforce,
    /// Some of it is only recorded.
    Monitor,
}

/// What enforcement of everything would have answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Would {
    /// The answer.
    pub decision: Decision,
    /// The code, for everything but a plain allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<Code>,
    /// The rule or contract that would have decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub matched_rule: Option<String>,
    /// Every contribution.
    pub reasons: Vec<Reason>,
    /// What would have had to be enforced, by constraint word.
    pub constraints: BTreeMap<String, Value>,
}

/// One contribution to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The stable code; absent for a rule that permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<Code>,
    /// The rule or contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rule: Option<String>,
    /// Where it stands, `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// For a person.
    pub message: String,
}

/// The approval an action waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The approval's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// When the request for approval lapses, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// Who may agree in the first stage; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
    /// What must be met, one after the other.
    pub stages: Vec<Stage>,
    /// What the action can reach if it goes wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub blast_radius: Option<String>,
    /// How the action is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rollback: Option<String>,
}

/// The approval that lets an action run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The approval's id.
    pub approval: String,
    /// Who agreed.
    pub by: Vec<String>,
    /// The standing approval's id, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub standing: Option<String>,
}

/// One step of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Who may agree; empty means any reviewer.
    pub reviewers: Vec<String>,
    /// How many of them.
    pub quorum: u32,
}

/// A DSSE envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The signed bytes, an in-toto statement, in base64.
    pub payload: String,
    /// `application/vnd.in-toto+json`.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The gate's signature.
    pub signatures: Vec<Signature>,
}

/// A signature in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// SHA-256 of the public key's SPKI, in hex.
    pub keyid: String,
    /// Ed25519, in base64.
    pub sig: String,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// What became of an allowed action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"receipt_index": 41, "status": "succeeded", "attempts": 1, "cost": {"usd": "0.02"}}))]
pub struct Outcome {
    /// The allow's receipt.
    pub receipt_index: u64,
    /// How it ended.
    pub status: OutcomeStatus,
    /// When it began, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub started_at_ms: Option<i64>,
    /// When it ended; the gate's clock if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub finished_at_ms: Option<i64>,
    /// How often it was tried; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub attempts: Option<u64>,
    /// What it cost, by unit, decimals in strings; at most 64 units.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, String>,
    /// A sentence for people; must not quote what the action returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1024)]
    pub detail: Option<String>,
    /// SHA-256 of what the action returned, 64 lower-case hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    pub result_sha256: Option<String>,
}

/// The answer to an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeReply {
    /// The outcome receipt's place in the log.
    pub receipt_index: u64,
    /// The receipt.
    pub receipt: Envelope,
    /// A C2SP tlog-proof that the receipt is in the log.
    pub proof: String,
}

/// A receipt read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Its place in the log.
    pub receipt_index: u64,
    /// The receipt.
    pub receipt: Envelope,
    /// The signed statement inside, readable; see `docs/spec/receipt.md`.
    pub statement: BTreeMap<String, Value>,
    /// A C2SP tlog-proof that the receipt is in the log.
    pub proof: String,
}

/// How the gate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `alive`, `ready` or `unavailable`.
    pub status: String,
    /// Why it is unavailable; only callers who are known see the particulars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// More of it, for callers who are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub gate: Option<GateState>,
}

/// How the gate is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// Whether only closing and opening it again can help.
    pub failed: bool,
    /// How long the last receipt is ago, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_commit_age_ms: Option<u64>,
    /// How many receipts the log has.
    pub receipts: u64,
    /// The snapshot in force, such as `v42`.
    pub snapshot: String,
    /// For how long it is, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub snapshot_age_ms: Option<u64>,
    /// How many actions ran while the gate could not be reached.
    pub unchecked_actions: u64,
    /// How many of these would not have run, had they been decided.
    pub unchecked_refused: u64,
    /// In how many windows, as far as these are over.
    pub unchecked_windows: u64,
}

/// An HTTP error, RFC 9457. Whatever it says, nothing may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// `urn:callgate:problem:` and a stable word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// `urn:callgate:incident:` and the number the operator's log has it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instance: Option<String>,
    /// `DENY`, when a decision was asked for and not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub decision: Option<Decision>,
    /// `GATE_UNAVAILABLE`, when a decision was asked for and not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<Code>,
    /// Whether asking again shortly can help; on a failure of the gate only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retryable: Option<bool>,
}
