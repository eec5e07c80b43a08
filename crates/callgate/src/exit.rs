//! Exit codes: what a script may rely on. Only 0 may mean "go".
//!
//! They are part of the interface: a code is never given a second meaning, and `docs/cli.md` lists them from here.

use std::process::ExitCode;

use callgate_core::decision::Decision;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a decision, allowed.
    Ok,
    /// Something unforeseen; nothing may be concluded from it.
    Unexpected,
    /// The arguments or a file they name cannot be used.
    Usage,
    /// The decision is `DENY`.
    Deny,
    /// The decision is `REQUIRE_APPROVAL`.
    ApprovalNeeded,
    /// The decision is `THROTTLE`.
    Throttled,
    /// The bundle has errors.
    PolicyInvalid,
    /// Policy tests or a simulation failed.
    TestsFailed,
    /// Evidence does not verify, or a replay came out differently.
    EvidenceBad,
    /// The gate does not open, or cannot decide.
    GateUnavailable,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Unexpected,
        Self::Usage,
        Self::Deny,
        Self::ApprovalNeeded,
        Self::Throttled,
        Self::PolicyInvalid,
        Self::TestsFailed,
        Self::EvidenceBad,
        Self::GateUnavailable,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Deny => 10,
            Self::ApprovalNeeded => 11,
            Self::Throttled => 12,
            Self::PolicyInvalid => 20,
            Self::TestsFailed => 21,
            Self::EvidenceBad => 30,
            Self::GateUnavailable => 31,
        }
    }

    /// What it means, in one line.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; for a decision: allowed",
            Self::Unexpected => "something unforeseen",
            Self::Usage => "the arguments, or a file they name, cannot be used",
            Self::Deny => "denied",
            Self::ApprovalNeeded => "held until people agree",
            Self::Throttled => "not now; ask again later",
            Self::PolicyInvalid => "the bundle has errors",
            Self::TestsFailed => "policy tests or a simulation failed",
            Self::EvidenceBad => "evidence does not verify, or a replay differs",
            Self::GateUnavailable => "the gate does not open or cannot decide",
        }
    }
}

impl From<Decision> for Exit {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Allow | Decision::AllowWithConstraints => Self::Ok,
            Decision::Throttle => Self::Throttled,
            Decision::RequireApproval => Self::ApprovalNeeded,
            Decision::Deny => Self::Deny,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_only_a_permitting_decision_is_zero() {
        assert!(Exit::ALL.map(Exit::code).is_sorted_by(|a, b| a < b));
        for decision in Decision::ALL {
            assert_eq!(Exit::from(decision).code() == 0, decision.permits(), "{decision}");
        }
    }
}
