//! Why a wrapper ended other than by the client leaving.

/// The wrapper did not come to its proper end.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The name the operator gave cannot be a server's name.
    #[error("the server's name: {0}")]
    Name(String),
    /// The server could not be started.
    #[error("could not start `{command}`: {reason}; check that it is installed and on the path")]
    Start {
        /// The program.
        command: String,
        /// What the system said.
        reason: String,
    },
    /// The server ended while the client was still there.
    #[error("the server ended ({status}) while {in_flight} request(s) waited; start it again")]
    ServerEnded {
        /// How it ended, in words.
        status: String,
        /// How many requests were waiting for it.
        in_flight: usize,
    },
    /// Some outcomes did not reach the log.
    #[error("{0} outcome(s) could not be recorded; their receipts stay open, see the log")]
    Unreported(usize),
}
