//! Decisions, the codes that explain them, and where a reason comes from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The five combined answers, from the most permissive to the most restrictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl Decision {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Allow, Self::AllowWithConstraints, Self::Throttle, Self::RequireApproval, Self::Deny];

    /// The word on the wire, such as `ALLOW_WITH_CONSTRAINTS`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::AllowWithConstraints => "ALLOW_WITH_CONSTRAINTS",
            Self::Throttle => "THROTTLE",
            Self::RequireApproval => "REQUIRE_APPROVAL",
            Self::Deny => "DENY",
        }
    }

    /// `true` when the action may run now (with its constraints enforced).
    #[must_use]
    pub const fn permits(self) -> bool {
        matches!(self, Self::Allow | Self::AllowWithConstraints)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Decision {
    type Err = ();

    /// Reads the wire word in any ASCII case.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|d| d.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// Whether what policy says is enforced, or only recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decided, recorded and enforced.
    #[default]
    Enforce,
    /// Decided and recorded; it never blocks.
    Monitor,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Enforce, Self::Monitor];

    /// The word, `enforce` or `monitor`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

/// Why an action was not simply allowed. Declared in the order of precedence: of several, the
/// first is the decision's `code`, all are among its `reasons`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The request is malformed or claims an identity that is not the credential's.
    InvalidRequest,
    /// `ts_ms` is more than the freshness window away from the gate's clock.
    StaleTimestamp,
    /// The nonce was used before in this session.
    ReplayNonce,
    /// An operator stopped this agent.
    AgentKilled,
    /// No certificate says that this agent may run.
    NotCertified,
    /// A breaker is open for this agent.
    BreakerOpen,
    /// The session reached its final step.
    SealedSequence,
    /// The step is out of the contract's order.
    SequenceViolation,
    /// Nothing in the snapshot speaks of this request.
    NoPolicyMatch,
    /// The contract does not permit this action type in this function.
    ActionNotAllowed,
    /// A rule denies it.
    DeniedByRule,
    /// People were asked to approve it, and one of them said no.
    ApprovalRejected,
    /// A rule that would restrict, or the only ones that would permit, could not be evaluated.
    PolicyError,
    /// A limit would be exceeded.
    BudgetExceeded,
    /// The enforcement point cannot enforce a constraint.
    ConstraintUnenforceable,
    /// The gate could not decide or could not keep evidence.
    GateUnavailable,
    /// Too often; goes with `THROTTLE`.
    RateExceeded,
    /// A person must agree; goes with `REQUIRE_APPROVAL`.
    ApprovalRequired,
}

impl Code {
    /// All codes, in order of precedence.
    pub const ALL: [Self; 18] = [
        Self::InvalidRequest,
        Self::StaleTimestamp,
        Self::ReplayNonce,
        Self::AgentKilled,
        Self::NotCertified,
        Self::BreakerOpen,
        Self::SealedSequence,
        Self::SequenceViolation,
        Self::NoPolicyMatch,
        Self::ActionNotAllowed,
        Self::DeniedByRule,
        Self::ApprovalRejected,
        Self::PolicyError,
        Self::BudgetExceeded,
        Self::ConstraintUnenforceable,
        Self::GateUnavailable,
        Self::RateExceeded,
        Self::ApprovalRequired,
    ];

    /// Whether it guards the gate itself rather than following from policy: no mode lifts it.
    #[must_use]
    pub const fn guards_the_gate(self) -> bool {
        matches!(
            self,
            Self::InvalidRequest
                | Self::StaleTimestamp
                | Self::ReplayNonce
                | Self::AgentKilled
                | Self::NotCertified
                | Self::GateUnavailable
        )
    }

    /// The word on the wire, such as `DENIED_BY_RULE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::StaleTimestamp => "STALE_TIMESTAMP",
            Self::ReplayNonce => "REPLAY_NONCE",
            Self::AgentKilled => "AGENT_KILLED",
            Self::NotCertified => "NOT_CERTIFIED",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::SealedSequence => "SEALED_SEQUENCE",
            Self::SequenceViolation => "SEQUENCE_VIOLATION",
            Self::NoPolicyMatch => "NO_POLICY_MATCH",
            Self::ActionNotAllowed => "ACTION_NOT_ALLOWED",
            Self::DeniedByRule => "DENIED_BY_RULE",
            Self::ApprovalRejected => "APPROVAL_REJECTED",
            Self::PolicyError => "POLICY_ERROR",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::ConstraintUnenforceable => "CONSTRAINT_UNENFORCEABLE",
            Self::GateUnavailable => "GATE_UNAVAILABLE",
            Self::RateExceeded => "RATE_EXCEEDED",
            Self::ApprovalRequired => "APPROVAL_REQUIRED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a bundle file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The path inside the bundle, with forward slashes.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One contribution to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The stable code; `None` for a rule that permitted.
    pub code: Option<Code>,
    /// The rule or contract, if one spoke.
    pub rule: Option<Arc<str>>,
    /// Where that rule stands.
    pub source: Option<Source>,
    /// For a person.
    pub message: String,
}

impl Reason {
    /// A guard's reason: no rule behind it.
    #[must_use]
    pub fn guard(code: Code, message: impl Into<String>) -> Self {
        Self { code: Some(code), rule: None, source: None, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_the_wire() {
        for decision in Decision::ALL {
            assert_eq!(serde_json::to_value(decision).unwrap(), decision.as_str());
            assert_eq!(decision.as_str().parse(), Ok(decision));
        }
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert!(Code::ALL.is_sorted());
        for mode in Mode::ALL {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
        }
    }
}
