//! The shapes of releasing policy on the wire, for `openapi.json`. What the gate reads is its own, stricter types.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A job whose decision is simulated: the fields of a request, without the principal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "tenant_id": "default",
    "job": {"topic": "job.mcp-bridge.write.update_ticket", "risk_tags": ["prod", "write"],
            "labels": {"mcp.server": "jira", "mcp.action": "write"}}
}))]
pub struct Simulate {
    /// One job, decided on what is known now. The answer is its decision; nothing is receipted.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Value>,
    /// The job's tenant; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The kept snapshot that decides, such as `v42`; the one in force if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// A bundle that decides and is kept nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// Recorded decisions, all of them if empty: the answer is a report. Of a kept snapshot and all
    /// decisions, the gate keeps how it came out, which publishing asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<RecordedHistory>,
    /// Requests, compared with the snapshot in force: the answer is a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub corpus: Option<Vec<Value>>,
}

/// Which recorded decisions are decided again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedHistory {
    /// Not before this time, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// Of these agents: a name or a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Of these tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// That were decided so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<super::wire::Decision>,
}

/// The decision on a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Simulated {
    /// The answer.
    pub decision: super::wire::Decision,
    /// For a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What must be enforced, `max_runtime_sec` in whole seconds where it is one.
    #[schema(value_type = Object)]
    pub constraints: Value,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
}

/// The text of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// By path, such as `rules/refunds.yaml`.
    pub files: BTreeMap<String, String>,
    /// The environment variables that contracts take their steps from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A bundle that is to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    /// The bundle.
    pub bundle: Bundle,
    /// The version it gets, such as `v42`, above every earlier one; the next one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The repository it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Git>,
    /// The author's signature over the bundle: a DSSE envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The repository a bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// The branch, if one is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit, in hex.
    pub commit: String,
    /// Whether files differ from that commit.
    pub dirty: bool,
}

/// Puts a kept snapshot in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"snapshot": "v42", "note": "tighten prod write controls"}))]
pub struct Publish {
    /// The version or digest.
    pub snapshot: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why, although something speaks against it.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub overriding: Option<String>,
}

/// Returns to a snapshot that was in force before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"target_snapshot": "v41", "note": "rollback due false positive spike"}))]
pub struct Rollback {
    /// The version or digest.
    pub target_snapshot: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is in force now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// The version in force.
    pub snapshot: String,
    /// Its digest.
    pub digest: String,
    /// The version before.
    pub previous: String,
    /// Whether anything changed.
    pub changed: bool,
    /// The receipt of the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_index: Option<u64>,
    /// What spoke against it and was overridden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
}

/// Begins to try a kept snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The version or digest.
    pub snapshot: String,
    /// `shadow`: its verdict is recorded, never obeyed; `canary`: it decides for a share.
    pub mode: String,
    /// The share a canary decides for, in basis points: 500 is 5 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_bp: Option<u32>,
    /// What the share is drawn by: `session`, `agent` or `tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only these agents.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub agents: BTreeSet<String>,
    /// Only these tenants.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tenants: BTreeSet<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why a canary begins although something speaks against it.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub overriding: Option<String>,
}

/// Why something ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRollout {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Sets whether decisions bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMode {
    /// `true`: decisions are only recorded; `false`: they bind.
    pub monitor: bool,
    /// One agent's; everybody's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The agent's tenant; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What an enforcement point says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Its name.
    pub id: String,
    /// The constraints it can enforce.
    pub enforces: BTreeSet<String>,
    /// The snapshot it works with.
    pub snapshot: String,
}

/// Makes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The agent it speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Or the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// What the person may do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// The key the person's signatures verify with: Ed25519, SPKI in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The person who answers for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The tenant; `default` for an agent, every one for a person, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// An enforcement point asks what may run while the gate cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// The agent it works for.
    pub agent: String,
    /// The constraints it can enforce.
    #[serde(default)]
    pub enforces: BTreeSet<String>,
    /// The `terms` and the `tier` of the lease that it has, if it only asks whether that is still right: then the
    /// answer is `open` without a receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub holds: Option<serde_json::Value>,
    /// A value used once, which comes back in the receipt.
    pub nonce: String,
    /// Its name.
    pub point: String,
    /// The agent's team, where no key says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub team: Option<String>,
    /// The agent's tenant; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// What ran while the gate could not be reached, a part of a journal at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Backlog {
    /// The agent.
    pub agent: String,
    /// Whether this is the end of the journal, so that its window is over.
    #[serde(default)]
    pub complete: bool,
    /// How many bytes of the journal cannot be read.
    #[serde(default)]
    pub damaged_bytes: u64,
    /// The journal's id.
    pub journal: String,
    /// The enforcement point.
    pub point: String,
    /// The actions, in order; at most 64.
    #[serde(default)]
    pub records: Vec<BacklogRecord>,
    /// The agent's tenant; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// One action that ran unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BacklogRecord {
    /// When it ran, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The receipt of the lease it ran on.
    pub lease: u64,
    /// How it ended, if that is known: `status`, and optionally `finished_at_ms` and `result_sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub outcome: Option<serde_json::Value>,
    /// The request, as it would have been decided.
    #[schema(value_type = Object)]
    pub request: serde_json::Value,
    /// Its place among the journal's actions, from 0.
    pub sequence: u64,
}

/// What the gate has of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BacklogReply {
    /// Whether the journal's window is on the log, so that it can go.
    pub closed: bool,
    /// How many of its actions were beyond their lease.
    pub exceeded: u64,
    /// The sequence that comes next.
    pub next: u64,
    /// The receipts of the actions that were handed in now, in order.
    pub receipts: Vec<u64>,
    /// How many of its actions would not have run, had they been decided.
    pub refused: u64,
    /// The receipt of the window, once it is over: `receipt_index`, `receipt` (a DSSE envelope) and `proof` (a C2SP
    /// tlog-proof). Verify it before you remove the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub window: Option<serde_json::Value>,
}
