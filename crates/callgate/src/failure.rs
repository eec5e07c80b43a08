//! Why a command did not come to its end: a message that says what to do, and an exit code.

use std::fmt::Display;
use std::io;

use crate::exit::Exit;
use crate::output;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The arguments, or a file they name, cannot be used.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The gate does not open or cannot decide.
    pub(crate) fn unavailable(message: impl Display) -> Self {
        Self::new(Exit::GateUnavailable, message)
    }

    /// Evidence does not verify.
    pub(crate) fn evidence(message: impl Display) -> Self {
        Self::new(Exit::EvidenceBad, message)
    }

    /// Something that should not happen.
    pub(crate) fn unexpected(message: impl Display) -> Self {
        Self::new(Exit::Unexpected, message)
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Says it on standard error.
    pub(crate) fn show(&self) {
        if !self.message.is_empty() {
            output::complain(&self.message);
        }
    }
}

/// Writing to standard output failed. A reader that had enough is no news.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::unexpected("");
        }
        Self::unexpected(format!("could not write the output: {error}"))
    }
}
