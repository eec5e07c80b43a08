//! Why a log does not verify, in words for whoever has to act on it.

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::json::SafeInt;
use crate::statement::ParseError;

/// Why a log does not verify.
///
/// `index` is the index of the receipt at fault; for a checkpoint, how many receipts stand before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The DSSE signature does not verify.
    #[error(
        "receipt {index}: the signature is not by the pinned key, so another gate wrote it or it was changed later"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Signature { index: u64 },
    /// The payload is malformed or not canonical.
    #[error("receipt {index}: {source}")]
    #[expect(missing_docs, reason = "see the type")]
    Payload { index: u64, source: ParseError },
    /// SHA-256 of the delta is not the payload's `effects_digest`.
    #[error(
        "receipt {index}: the state change beside it is not the one that was signed, so a replay would give another state"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Effects { index: u64 },
    /// The receipt names another log.
    #[error(
        "receipt {index}: it was issued for the log `{found}`, not for `{expected}`; it was moved here from another log"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Origin { index: u64, found: String, expected: String },
    /// The receipt's time lies too far behind.
    #[error(
        "receipt {index}: it is dated {behind_ms} ms before an earlier one, more than the {tolerance_ms} ms that are tolerated; the gate's clock was set back or receipts were reordered"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Time { index: u64, behind_ms: u64, tolerance_ms: u64 },
    /// `prev` is present and there is no session.
    #[error("receipt {index}: it names a previous receipt but has no session")]
    #[expect(missing_docs, reason = "see the type")]
    StrayPrev { index: u64 },
    /// `prev` is present in the first receipt of a session.
    #[error(
        "receipt {index}: it continues a session of which the log has no earlier receipt; some are missing"
    )]
    #[expect(missing_docs, reason = "see the type")]
    MissingStart { index: u64 },
    /// `prev` is absent in a later receipt of a session.
    #[error("receipt {index}: it starts a session that the log has receipts of already")]
    #[expect(missing_docs, reason = "see the type")]
    Restarted { index: u64 },
    /// `prev` is not the session's previous receipt.
    #[error(
        "receipt {index}: it does not follow the session's previous receipt; one is missing, was inserted or moved"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Broken { index: u64 },
    /// The outcome points at nothing.
    #[error(
        "receipt {index}: it is an outcome of receipt {decision}, which is not an earlier decision with that digest"
    )]
    #[expect(missing_docs, reason = "see the type")]
    NoDecision { index: u64, decision: SafeInt },
    /// The outcome belongs to someone else than its decision.
    #[error(
        "receipt {index}: its tenant, agent or session is not that of the decision in receipt {decision}"
    )]
    #[expect(missing_docs, reason = "see the type")]
    OtherOwner { index: u64, decision: SafeInt },
    /// The decision has an outcome already.
    #[error("receipt {index}: receipt {decision} has an outcome already, so one of them is false")]
    #[expect(missing_docs, reason = "see the type")]
    SecondOutcome { index: u64, decision: SafeInt },
    /// The action ran although the decision did not permit it.
    #[error("receipt {index}: it says that an action ran which receipt {decision} did not permit")]
    #[expect(missing_docs, reason = "see the type")]
    RanUnpermitted { index: u64, decision: SafeInt },
    /// A checkpoint is malformed, of another log or not signed by the pinned key.
    #[error("checkpoint after {index} receipts: {source}")]
    #[expect(missing_docs, reason = "see the type")]
    Checkpoint { index: u64, source: CheckpointError },
    /// A checkpoint states another size than the receipts before it.
    #[error(
        "checkpoint after {receipts} receipts: it covers {stated}, so receipts are missing or were added"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Size { receipts: u64, stated: u64 },
    /// A checkpoint's root is not that of the receipts before it.
    #[error(
        "checkpoint after {receipts} receipts: its root is not theirs, so at least one of them is not what was signed"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Root { receipts: u64 },
    /// The log ends in receipts that no checkpoint covers.
    #[error(
        "receipt {index}: no checkpoint covers it or what follows ({receipts} receipts in all); the log was cut or never completed"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Uncovered { index: u64, receipts: u64 },
    /// There is no checkpoint at all.
    #[error("the log has {receipts} receipts and no checkpoint, so it proves nothing")]
    #[expect(missing_docs, reason = "see the type")]
    NoCheckpoint { receipts: u64 },
    /// The held checkpoint itself is bad.
    #[error("the checkpoint you hold cannot be used: {source}")]
    #[expect(missing_docs, reason = "see the type")]
    Held { source: CheckpointError },
    /// The log contradicts a held checkpoint.
    #[error(
        "the log differs from the checkpoint you hold: its first {size} receipts are not the ones you saw; it was rewritten"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Differs { size: u64 },
    /// The log is shorter than a held checkpoint.
    #[error(
        "the log is shorter than the checkpoint you hold: {receipts} receipts, where there were {held}; its end was cut off"
    )]
    #[expect(missing_docs, reason = "see the type")]
    Shorter { receipts: u64, held: u64 },
    /// An earlier event failed already.
    #[error("the log did not verify already; see the first error")]
    AlreadyFailed,
}

impl VerifyError {
    /// The receipt at fault, where there is one.
    #[must_use]
    pub const fn receipt(&self) -> Option<u64> {
        match self {
            Self::Signature { index }
            | Self::Payload { index, .. }
            | Self::Effects { index }
            | Self::Origin { index, .. }
            | Self::Time { index, .. }
            | Self::StrayPrev { index }
            | Self::MissingStart { index }
            | Self::Restarted { index }
            | Self::Broken { index }
            | Self::NoDecision { index, .. }
            | Self::OtherOwner { index, .. }
            | Self::SecondOutcome { index, .. }
            | Self::RanUnpermitted { index, .. }
            | Self::Uncovered { index, .. } => Some(*index),
            Self::Checkpoint { .. }
            | Self::Size { .. }
            | Self::Root { .. }
            | Self::NoCheckpoint { .. }
            | Self::Held { .. }
            | Self::Differs { .. }
            | Self::Shorter { .. }
            | Self::AlreadyFailed => None,
        }
    }
}
