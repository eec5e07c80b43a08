//! What can go wrong at the gate, one type per operation. None of these permits anything.

use callgate_policy::Report;

use crate::reply::Reply;

/// The gate could not decide, or could not keep evidence of the decision. Nothing may run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// What happened and what to do, for the operator.
    pub message: String,
    /// Whether asking again shortly can help.
    pub retryable: bool,
}

impl Unavailable {
    pub(crate) fn now(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true }
    }

    pub(crate) fn for_good(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false }
    }
}

/// The gate does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log does not open.
    #[error(transparent)]
    Store(#[from] callgate_store::OpenError),
    /// The key ring does not open.
    #[error(transparent)]
    Keyring(#[from] callgate_store::KeyringError),
    /// A file of the data folder cannot be read or written.
    #[error("could not {operation} `{file}`: {reason}")]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file inside the data folder.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The signing key is gone or not a key.
    #[error("the signing key `{file}` {problem}; restore it from a copy: without it this log cannot go on")]
    SigningKey {
        /// The file inside the data folder.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The snapshot that the log names cannot be loaded.
    #[error("the snapshot in force cannot be loaded from the log: {0}")]
    Snapshot(String),
    /// The log has no snapshot, and none was given.
    #[error("there is no policy in this data folder yet; start once with `--bundle DIR`")]
    NoPolicy,
    /// The bundle cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The first receipts cannot be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A bundle was not put in force; the one before it still is.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The bundle has problems.
    #[error("the bundle has {} problem(s)", .0.count(callgate_policy::Severity::Error))]
    Invalid(Report),
    /// It cannot be the policy of the gate's own actions.
    #[error("{0}")]
    Control(String),
    /// The activation could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An action on the gate itself was not done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// An agent asked.
    #[error("an agent's key cannot {0}: show a person's key")]
    Agent(&'static str),
    /// An enforcement point speaks for another agent than its own.
    #[error("this key cannot speak for the agent `{0}`: show that agent's key, or use the gate's socket")]
    Stranger(String),
    /// Something in what was asked is not as it must be.
    #[error("{0}")]
    Invalid(String),
    /// A bundle has problems.
    #[error("the bundle has {} problem(s)", .0.count(callgate_policy::Severity::Error))]
    Policy(Report),
    /// What is named does not exist.
    #[error("there is no {0}")]
    Unknown(String),
    /// The control policy does not permit it.
    #[error("`{id}` may not {action}: {}", crate::control::said(.reply))]
    Forbidden {
        /// What was asked.
        action: &'static str,
        /// Who asked.
        id: String,
        /// The decision, receipted.
        reply: Box<Reply>,
    },
    /// Another person must agree first; asking the same again then does it.
    #[error("another person must agree first: {}", crate::control::said(.0))]
    Held(Box<Reply>),
    /// It does not fit what is in force; nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// The gate could not do it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<PublishError> for ControlError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid(report) => Self::Policy(report),
            PublishError::Control(problem) => Self::Invalid(problem),
            PublishError::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

/// An outcome was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// There is no open action behind this receipt.
    #[error(
        "receipt {0} has no open action: it was no allow, its outcome is recorded already, or more than a day has passed"
    )]
    NotOpen(u64),
    /// Another agent's action.
    #[error("receipt {0} belongs to another agent")]
    NotYours(u64),
    /// Something in the report is not as it must be.
    #[error("{0}")]
    Invalid(String),
    /// The gate could not record it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Whether an action may go on is not known, so that it must stop.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// There is no open action behind this receipt.
    #[error(
        "receipt {0} has no open action: it was no allow, its outcome is recorded already, or more than a day has passed; stop the action"
    )]
    NotOpen(u64),
    /// Another agent's action.
    #[error("receipt {0} belongs to another agent; stop the action")]
    NotYours(u64),
    /// Something in the report is not as it must be.
    #[error("{0}; stop the action")]
    Invalid(String),
    /// The gate cannot tell.
    #[error("{0}; stop the action")]
    Unavailable(#[from] Unavailable),
}

/// Nothing was done about an approval.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// There is none, or not for this caller.
    #[error("there is no approval `{0}`")]
    Unknown(String),
    /// People have nothing to decide any more.
    #[error("approval `{id}` is {status}; there is nothing left to decide")]
    Closed {
        /// The approval or standing approval.
        id: String,
        /// What became of it.
        status: &'static str,
    },
    /// This person may not.
    #[error(transparent)]
    Refused(#[from] callgate_core::state::approvals::Refusal),
    /// Something that was said is not as it must be.
    #[error("{0}")]
    Invalid(String),
    /// The log cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A receipt cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// There is none.
    #[error("there is no receipt {0}")]
    Unknown(u64),
    /// It belongs to another agent.
    #[error("receipt {0} belongs to another agent")]
    NotYours(u64),
    /// The log cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// A registry change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A name is not one.
    #[error("{0}")]
    Invalid(String),
    /// No such key or session.
    #[error("there is no {0}")]
    Unknown(String),
    /// The change could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The key ring refused.
    #[error(transparent)]
    Keyring(#[from] callgate_store::KeyringError),
}
