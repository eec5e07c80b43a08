//! The gate of an enforcement point: in this program, or elsewhere. Both are used the same way.

use std::sync::Arc;

use callgate_core::json::Limits;
use callgate_core::progress::Trouble;
use callgate_core::request::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Away;
use crate::Credential;
use crate::error::{OutcomeError, ProgressError, Unavailable};
use crate::gate::{Asked, Decided, Gate};
use crate::outcome::OutcomeReport;
use crate::permit::Ground;
use crate::progress::{Progress, ProgressReport};

/// The word for an approval that people have not decided.
const OPEN: &str = "open";

/// A gate, wherever it runs.
#[derive(Debug, Clone)]
pub enum AnyGate {
    /// In this program.
    Here(Arc<Gate>),
    /// Elsewhere. Who asks is told by the connection, so that the credential here says nothing.
    Away(Arc<Away>),
}

impl From<Arc<Gate>> for AnyGate {
    fn from(gate: Arc<Gate>) -> Self {
        Self::Here(gate)
    }
}

impl From<Arc<Away>> for AnyGate {
    fn from(gate: Arc<Away>) -> Self {
        Self::Away(gate)
    }
}

impl AnyGate {
    /// As [`Gate::decide`].
    ///
    /// # Errors
    /// [`Unavailable`]: nothing may run.
    pub async fn decide(&self, asked: Asked, credential: Credential) -> Result<Decided, Unavailable> {
        match self {
            Self::Here(gate) => gate.decide(asked, credential).await,
            Self::Away(gate) => gate.decide(asked).await,
        }
    }

    /// Records what became of an action that ran on `ground`.
    ///
    /// # Errors
    /// [`OutcomeError`].
    pub async fn report(
        &self,
        ground: Ground,
        report: OutcomeReport,
        credential: &Credential,
    ) -> Result<(), OutcomeError> {
        match (self, ground) {
            (Self::Here(gate), Ground::Receipt(_)) => gate.report(report, credential).await.map(|_| ()),
            (Self::Away(gate), Ground::Receipt(_)) => gate.report(&report).await,
            (Self::Away(gate), Ground::Unchecked(line)) => gate.report_unchecked(line, &report),
            // A gate in this program gives no such permit.
            (Self::Here(_), Ground::Unchecked(line)) => Err(OutcomeError::NotOpen(line)),
        }
    }

    /// Whether an action called `action` that runs on `ground` may go on.
    ///
    /// # Errors
    /// [`ProgressError`]: then it must stop as well.
    pub async fn progress(
        &self,
        ground: Ground,
        action: &str,
        credential: &Credential,
    ) -> Result<Progress, ProgressError> {
        match (self, ground) {
            (Self::Here(gate), Ground::Receipt(receipt)) => {
                gate.progress(&ProgressReport::new(receipt), credential).await
            }
            (Self::Away(gate), Ground::Receipt(receipt)) => gate.progress(receipt, action).await,
            (Self::Away(gate), Ground::Unchecked(_)) => gate.progress_unchecked(action),
            (Self::Here(_), Ground::Unchecked(line)) => Err(ProgressError::NotOpen(line)),
        }
    }

    /// What stands against an action that was allowed and is about to run, as far as that is known without
    /// asking: a gate elsewhere has just said it.
    #[must_use]
    pub fn halted(&self, ground: Ground) -> Option<Trouble> {
        match (self, ground) {
            (Self::Here(gate), Ground::Receipt(receipt)) => gate.halted(receipt),
            _ => None,
        }
    }

    /// Told when something was stopped; of a gate elsewhere only the heartbeat tells.
    #[must_use]
    pub fn halts(&self) -> watch::Receiver<()> {
        match self {
            Self::Here(gate) => gate.halts(),
            Self::Away(_) => watch::channel(()).1,
        }
    }

    /// Whether people have still to decide on an approval, told once they have and at `until` at the latest.
    ///
    /// # Errors
    /// The gate does not say.
    pub async fn is_open_until(
        &self,
        id: u64,
        credential: &Credential,
        until: Instant,
    ) -> Result<bool, Unavailable> {
        match self {
            Self::Here(gate) => {
                let view = gate.await_approval(id, credential, until).await;
                view.map(|view| view.status == OPEN).map_err(|e| Unavailable::now(e.to_string()))
            }
            Self::Away(gate) => gate.is_open_until(id, until).await,
        }
    }

    /// For each of these, whether [`Gate::never_allows`] it. A gate elsewhere is asked; where it does not answer, nothing
    /// is.
    pub async fn never_allow(&self, probes: Vec<Request>, credential: &Credential) -> Vec<bool> {
        match self {
            Self::Here(gate) => {
                probes.into_iter().map(|probe| gate.never_allows(probe, credential)).collect()
            }
            Self::Away(gate) => gate.never_allow(&probes).await,
        }
    }

    /// A value for `nonce`: 128 random bits in hex.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn nonce(&self) -> Result<String, Unavailable> {
        match self {
            Self::Here(gate) => gate.nonce(),
            Self::Away(gate) => gate.nonce(),
        }
    }

    /// The clock that permits are redeemed by, milliseconds since 1970 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Here(gate) => gate.now_ms(),
            Self::Away(gate) => gate.now_ms(),
        }
    }

    /// The bounds on a request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Here(gate) => gate.limits(),
            Self::Away(gate) => gate.limits(),
        }
    }
}
