//! Why the suite itself could not go on. It is no verdict on a fault, and counts as a failure of the proof.

use std::fmt::Display;

/// Something the suite needs did not work, in words for whoever runs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(String);

impl Trouble {
    pub(crate) fn new(what: impl Display) -> Self {
        Self(what.to_string())
    }

    /// For `map_err`: `what` did not work, and why.
    pub(crate) fn at<E: Display>(what: &str) -> impl Fn(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}
