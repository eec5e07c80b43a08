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
    /// How long the whole answer may take.
    pub within: Duration,
}

impl Question {
    /// Posts `body` to `path`.
    #[must_use]
    pub fn post(path: &str, body: Vec<u8>, within: Duration) -> Self {
        Self { path: path.to_owned(), body: Some(body), within }
    }

    /// Reads `path`.
    #[must_use]
    pub fn get(path: impl Into<String>, within: Duration) -> Self {
        Self { path: path.into(), body: None, within }
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

/// An answer, or why there is none.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// The way to a gate. It must not take longer than [`Question::within`], must bound what it reads, and must
/// follow no redirects.
pub trait Carrier: Send + Sync + Debug {
    /// Asks once.
    fn ask(&self, question: Question) -> Carried<'_>;
}
