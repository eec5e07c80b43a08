//! Permits: in-process proof that an allow is durable.
//!
//! Law 1, *no receipt, no action*: an enforcement point runs an action only through
//! [`Permit::redeem`], which consumes the permit and compares the action about to run with the one
//! that was decided. Only this crate can build a permit:
//!
//! ```compile_fail
//! let forged = callgate_gate::Permit { ground: callgate_gate::Ground::Receipt(0) };
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
//!
//! There are two grounds for one, and a [`Ground`] says which: a durable allow of a gate, here or verified from its
//! receipt; or, where the gate was away and a lease of its permits that, a durable record in a journal.

use std::time::Duration;

use callgate_core::constraint::{Constraints, Kind};
use callgate_core::digest::Digest;
use callgate_core::request::Request;

/// What a permit rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The allow's receipt, by its place in the log.
    Receipt(u64),
    /// The record of an action that nobody decided, by its place in the enforcement point's journal.
    Unchecked(u64),
}

impl Ground {
    /// The place: in the log, or in the journal.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Receipt(number) | Self::Unchecked(number) => number,
        }
    }

    /// The receipt, where there is one.
    #[must_use]
    pub const fn receipt(self) -> Option<u64> {
        match self {
            Self::Receipt(receipt) => Some(receipt),
            Self::Unchecked(_) => None,
        }
    }
}

/// The right to run one action once. Neither `Clone` nor constructible outside the gate.
#[derive(Debug)]
#[must_use = "an unused permit is an allowed action that nobody reports on"]
pub struct Permit {
    ground: Ground,
    action: Digest,
    constraints: Constraints,
    expires_at_ms: i64,
}

/// What must be enforced while the action runs. Only redeeming a permit gives one.
#[derive(Debug)]
pub struct Enforcement {
    ground: Ground,
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
    /// Called where an allow's receipt is durable or an unchecked action is in its journal, and nowhere else.
    pub(crate) const fn new(
        ground: Ground,
        action: Digest,
        constraints: Constraints,
        expires_at_ms: i64,
    ) -> Self {
        Self { ground, action, constraints, expires_at_ms }
    }

    /// What it rests on.
    #[must_use]
    pub const fn ground(&self) -> Ground {
        self.ground
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
        Ok(Enforcement { ground: self.ground, constraints: self.constraints })
    }
}

impl Enforcement {
    /// What the permit rested on: what the outcome refers to.
    #[must_use]
    pub const fn ground(&self) -> Ground {
        self.ground
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
