//! Permits: in-process proof that an allow is durable.
//!
//! Law 1, *no receipt, no action*: an enforcement point runs an action only through
//! [`Permit::redeem`], which consumes the permit and compares the action about to run with the one
//! that was decided. Only this crate can build a permit:
//!
//! ```compile_fail
//! let forged = callgate_gate::Permit { receipt: 0 };
//! ```
//!
//! and a permit is spent once:
//!
//! ```compile_fail
//! fn twice(permit: callgate_gate::Permit, request: &callgate_core::request::Request) {
//!     let _ = permit.redeem(request, 0);
//!     let _ = permit.redeem(request, 0);
//! }
//! ```

use std::time::Duration;

use callgate_core::constraint::{Constraints, Kind};
use callgate_core::digest::Digest;
use callgate_core::request::Request;

/// The right to run one action once. Neither `Clone` nor constructible outside the gate.
#[derive(Debug)]
#[must_use = "an unused permit is an allowed action that nobody reports on"]
pub struct Permit {
    receipt: u64,
    action: Digest,
    constraints: Constraints,
    expires_at_ms: i64,
}

/// What must be enforced while the action runs. Only redeeming a permit gives one.
#[derive(Debug)]
pub struct Enforcement {
    receipt: u64,
    constraints: Constraints,
}

/// Why a permit does not cover the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PermitRefused {
    /// The action about to run is not the one that was decided.
    #[error("the action changed after it was decided; ask again")]
    ActionChanged,
    /// The permit is too old.
    #[error("the permit has expired; ask again")]
    Expired,
}

impl Permit {
    /// Called after the commit of an allow's receipt, and nowhere else.
    pub(crate) const fn new(
        receipt: u64,
        action: Digest,
        constraints: Constraints,
        expires_at_ms: i64,
    ) -> Self {
        Self { receipt, action, constraints, expires_at_ms }
    }

    /// The index of the allow's receipt.
    #[must_use]
    pub const fn receipt(&self) -> u64 {
        self.receipt
    }

    /// Spends the permit on `request`, the action about to run now.
    ///
    /// # Errors
    /// [`PermitRefused`]; then the action must not run.
    pub fn redeem(self, request: &Request, now_ms: i64) -> Result<Enforcement, PermitRefused> {
        if request.action_digest() != self.action {
            return Err(PermitRefused::ActionChanged);
        }
        if now_ms > self.expires_at_ms {
            return Err(PermitRefused::Expired);
        }
        Ok(Enforcement { receipt: self.receipt, constraints: self.constraints })
    }
}

impl Enforcement {
    /// The index of the allow's receipt: what the outcome refers to.
    #[must_use]
    pub const fn receipt(&self) -> u64 {
        self.receipt
    }

    /// All constraints.
    #[must_use]
    pub const fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    /// How long the action may run.
    #[must_use]
    pub fn max_runtime(&self) -> Option<Duration> {
        self.constraints.number(Kind::MaxRuntimeMs).map(Duration::from_millis)
    }

    /// How often a failed action may be tried again; 0 unless a constraint allows more.
    #[must_use]
    pub fn max_retries(&self) -> u64 {
        self.constraints.number(Kind::MaxRetries).unwrap_or(0)
    }
}
