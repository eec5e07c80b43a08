//! `urn:callgate:decision:v1`: what the gate decided, on what grounds, and for whom.
//!
//! Fields stand in RFC 8785 order. A field may be added only as an option and in its sorted place; anything else
//! is a new predicate type.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::hash::Hash;
use crate::json::{Map, SafeInt};

/// The predicate of a decision receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What was asked for.
    pub action: Action,
    /// Who asked.
    pub agent: Agent,
    /// What an approval needs, or needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The denial code, such as `DENIED_BY_RULE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What must be enforced if the action runs.
    pub constraints: Map<ConstraintValue>,
    /// The combined answer.
    pub decision: DecisionKind,
    /// SHA-256 of the state delta kept beside the payload.
    pub effects_digest: Hash,
    /// The environment, such as `prod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// After this time the decision must no longer be acted on; milliseconds since 1970.
    pub expires_at_ms: SafeInt,
    /// Salted digest of the facts consulted.
    pub facts_commitment: Hash,
    /// What a judge said, rule by rule; absent when nothing rests on one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The gate and the log it writes.
    pub gate: Gate,
    /// The approval that this decision used, if a rule held the action until people agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// When the gate decided; milliseconds since 1970.
    pub issued_at_ms: SafeInt,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// Whether everything that was said is enforced.
    pub mode: Mode,
    /// The request's nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The enforcement point that asked.
    pub pep: Pep,
    /// SHA-256 of the payload of the session's previous receipt; absent in its first and without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Hash>,
    /// Every contributing reason.
    pub reasons: Vec<Reason>,
    /// Salted digest of the whole canonical request.
    pub request_commitment: Hash,
    /// How long to wait before asking again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<SafeInt>,
    /// The risk tags that counted.
    pub risk_tags: Vec<String>,
    /// The session, if the request has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// What a snapshot says that is only tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// The policy that decided.
    pub snapshot: Snapshot,
    /// The tenant.
    pub tenant: String,
    /// That the action ran before it was decided; exactly with [`DecisionKind::Unchecked`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Unchecked>,
    /// What enforcement of everything would have answered, where that is something else; of an action that ran
    /// unchecked, what the gate would have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Would>,
}

impl Decision {
    /// The predicate type of this struct.
    pub const PREDICATE_TYPE: &'static str = "urn:callgate:decision:v1";
}

/// The combined answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DecisionKind {
    /// It may run.
    Allow,
    /// It may run within the constraints.
    AllowWithConstraints,
    /// Not now.
    Throttle,
    /// Not before people agree.
    RequireApproval,
    /// No.
    Deny,
    /// Nobody decided: it ran while the gate could not be reached.
    Unchecked,
}

/// An action that ran before it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unchecked {
    /// When it ran by the enforcement point's clock; milliseconds since 1970.
    pub at_ms: SafeInt,
    /// Why it was beyond its lease, if it was: `no_lease`, `time`, `count` or `tool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<String>,
    /// The enforcement point's journal.
    pub journal: String,
    /// The receipt of the lease it ran on.
    pub lease: SafeInt,
    /// The enforcement point.
    pub point: String,
    /// Its place among the journal's actions, from 0.
    pub sequence: SafeInt,
}

impl DecisionKind {
    /// Whether the action may run.
    #[must_use]
    pub const fn permits(self) -> bool {
        matches!(self, Self::Allow | Self::AllowWithConstraints)
    }

    /// Whether the action may have run: it was permitted, or nobody was there to decide.
    #[must_use]
    pub const fn may_have_run(self) -> bool {
        self.permits() || matches!(self, Self::Unchecked)
    }

    /// The name as it stands in payloads.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::AllowWithConstraints => "ALLOW_WITH_CONSTRAINTS",
            Self::Throttle => "THROTTLE",
            Self::RequireApproval => "REQUIRE_APPROVAL",
            Self::Deny => "DENY",
            Self::Unchecked => "UNCHECKED",
        }
    }
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether everything that was said of the action is enforced. The decision binds either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    Enforce,
    /// Some of it is only recorded, and had no say in the decision.
    Monitor,
}

/// What enforcement of everything would have answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Would {
    /// The code, such as `DENIED_BY_RULE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The answer.
    pub decision: DecisionKind,
    /// The rule that would have decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The kind of action, such as `WRITE_DB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_type: Option<String>,
    /// Salted digest of the canonical arguments.
    pub args_commitment: Hash,
    /// The contract's function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The server that offers the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

impl Action {
    /// What the action is called: `server.tool`, else `tool`, else the topic, else the function, else `unknown`.
    #[must_use]
    pub fn identity(&self) -> String {
        match (&self.server, &self.tool) {
            (Some(server), Some(tool)) => format!("{server}.{tool}"),
            (None, Some(tool)) => tool.clone(),
            _ => self
                .topic
                .as_ref()
                .or(self.function.as_ref())
                .map_or_else(|| "unknown".to_owned(), Clone::clone),
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The agents that delegated, outermost first.
    pub chain: Vec<String>,
    /// The agent's name.
    pub id: String,
    /// For whom the agent acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// What an approval needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// When the request for approval lapses; milliseconds since 1970.
    pub expires_at_ms: SafeInt,
    /// The receipt that opened it, where that is an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SafeInt>,
    /// What must be met, one after the other.
    pub stages: Vec<Stage>,
}

/// An approval that people granted, and that this decision used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who agreed.
    pub by: Vec<String>,
    /// The receipt of the decision that opened the approval.
    pub receipt: SafeInt,
    /// The receipt of the vote that gave a standing approval; absent for a grant of this one action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<SafeInt>,
}

/// One step of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How many reviewers must agree.
    pub quorum: SafeInt,
    /// Who may agree; empty means any reviewer.
    pub reviewers: Vec<String>,
}

/// The value of one constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConstraintValue {
    /// A number, such as a limit in milliseconds.
    Int(SafeInt),
    /// A switch.
    Bool(bool),
    /// A text, such as a decimal amount.
    Text(String),
    /// A list, such as an allowlist.
    List(Vec<String>),
}

/// The gate and the log it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The origin of the log, as in its checkpoints.
    pub origin: String,
    /// The version of the program.
    pub version: String,
}

/// The enforcement point that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pep {
    /// The constraints it declared it can enforce.
    pub enforces: Vec<String>,
    /// Its name.
    pub id: String,
}

/// One contributing reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The stable code.
    pub code: String,
    /// The sentence for people.
    pub message: String,
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where the rule stands: `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The session of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The session's name, unique per tenant and agent.
    pub id: String,
    /// The contract step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// What a snapshot says that is only tried: recorded, never obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The denial code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The answer; absent when it could not be told without asking a judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionKind>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// The snapshot that is tried.
    pub snapshot: Snapshot,
}

/// The policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// SHA-256 of the compiled bundle.
    pub digest: Hash,
    /// Its version, such as `v42`.
    pub version: String,
}
