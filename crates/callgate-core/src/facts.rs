//! What a decision consulted beside the request: identity, time and state, as plain data.
//!
//! Facts are recorded with every receipt, so that the same decision can be made again.

use serde::{Deserialize, Serialize};

use crate::approval::ApprovalFacts;
use crate::digest::Digest;
use crate::finding::Finding;
use crate::history::HistoryFacts;
use crate::limit::LimitFacts;

/// Who presented the request, as the gate established it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// A key of one agent. The request's agent, and its tenant and team if it names them, must be these.
    Agent {
        /// The key's agent.
        agent: String,
        /// The key's tenant.
        tenant: String,
        /// The key's team, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
    },
    /// An enforcement point that the operator started on this machine; what it says of the agent is believed.
    Local,
    /// No authentication, on loopback only (`--dev`).
    Development,
    /// A person. People look after the gate and answer for agents; they never ask as one.
    Person {
        /// Who, such as `ana`.
        id: String,
        /// What they may do: gate roles and the roles that approval rules name, sorted.
        roles: Vec<String>,
        /// The only tenant they look after; every tenant if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
}

impl Credential {
    /// Whether it is a person with that role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        matches!(self, Self::Person { roles, .. } if roles.iter().any(|held| held == role))
    }
}

/// Where a session stands in its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The contract's id.
    pub contract: String,
    /// The step last allowed.
    pub step: String,
    /// Whether that ended the session.
    pub sealed: bool,
}

/// What is known of the request's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFacts {
    /// How many receipts the session has; a decision holds only while this stays.
    pub version: u64,
    /// Its place in a contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// A stop that hits a request. Who stopped it and why stands in the log and is told to people only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedBy {
    /// Its receipt: the number in `stop-N`.
    pub id: u64,
    /// What is stopped, for people.
    pub scope: String,
}

impl StoppedBy {
    /// What an agent is told.
    #[must_use]
    pub fn message(&self) -> String {
        format!("stopped by an operator (`stop-{}`); ask again when that is lifted", self.id)
    }
}

/// Everything one decision consulted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What was known of the action's approvals, if a rule holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalFacts>,
    /// Who presented the request.
    pub credential: Credential,
    /// What was read of the past, if a policy in force looks back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryFacts>,
    /// What was read of limits, if any bears on the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitFacts>,
    /// Whether an operator set this agent to be monitored only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub monitor: bool,
    /// The gate's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// Whether the nonce was used before in this session.
    pub nonce_used: bool,
    /// The session, if it was seen before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionFacts>,
    /// A stop that hits the request, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StoppedBy>,
    /// The receipt of the newest stop when these were read; 0 before the first one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stops: u64,
    /// What a judge answered, by the digest of the question, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Facts {
    /// The finding about that question.
    #[must_use]
    pub fn finding(&self, question: &Digest) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.question == *question)
    }
}

impl Facts {
    /// Facts of a request whose session, nonce and past are unknown.
    #[must_use]
    pub const fn new(credential: Credential, now_ms: i64) -> Self {
        Self {
            approval: None,
            credential,
            history: None,
            limits: None,
            monitor: false,
            now_ms,
            nonce_used: false,
            session: None,
            stopped: None,
            stops: 0,
            findings: Vec::new(),
        }
    }
}
