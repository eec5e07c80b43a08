//! How questions reach a gate that runs elsewhere. What opens the connections implements this.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// One question to a gate.
#[derive(Debug, Clone)]
pub struct Question {
    /// The path with its query, such as `/api/v1/decide`.
    pub path: String,
    /// The JSON that is posted; `None` reads.
    pub body: Option<Vec<u8>>,
    /// Whether it goes over a connection that was there before, so that it is answered though no other one is to
    /// be had.
    pub standing: bool,
    /// How long the whole answer may take.
    pub within: Duration,
}

impl Question {
    /// Posts `body` to `path`.
    #[must_use]
    pub fn post(path: &str, body: Vec<u8>, within: Duration) -> Self {
        Self { path: path.to_owned(), body: Some(body), standing: false, within }
    }

    /// Reads `path`.
    #[must_use]
    pub fn get(path: impl Into<String>, within: Duration) -> Self {
        Self { path: path.into(), body: None, standing: false, within }
    }

    /// Asks whether the gate is there.
    #[must_use]
    pub fn look(within: Duration) -> Self {
        Self { standing: true, ..Self::get("/readyz", within) }
    }
}

/// What came back, whoever sent it. Nothing of it is believed before it was verified.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nobody took the question, or nobody said anything.
    #[error("{0}")]
    Nobody(String),
    /// Somebody took the connection and broke it off: a gate with too many of them, or what stands before one that is
    /// gone.
    #[error("{0}")]
    BrokenOff(String),
    /// It is this side that cannot ask: no sign that nobody is there.
    #[error("{0}")]
    Unasked(String),
}

impl From<String> for Lost {
    fn from(problem: String) -> Self {
        Self::Nobody(problem)
    }
}

impl From<&str> for Lost {
    fn from(problem: &str) -> Self {
        Self::Nobody(problem.to_owned())
    }
}

/// An answer, or why there is none.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Answer, Lost>> + Send + 'a>>;

/// The way to a gate. It must not take longer than [`Question::within`], must bound what it reads, and must
/// follow no redirects.
pub trait Carrier: Send + Sync + Debug {
    /// Asks once.
    fn ask(&self, question: Question) -> Carried<'_>;
}
