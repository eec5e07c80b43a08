//! Asking over HTTP: one request, no second try, bounded in time and size.

use std::time::Duration;

use callgate_core::finding::{Answer, Answering, Failure, Finding, Judge, Question};
use hyper::StatusCode;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::answer::{self, MAX_ANSWER};
use super::ask;
use crate::endpoint::{Endpoint, EndpointError, Key};
use crate::http::{Line, Silence};

/// A judge behind an OpenAI-compatible endpoint.
pub struct HttpJudge {
    authorization: Option<HeaderValue>,
    line: Line,
}

impl std::fmt::Debug for HttpJudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpJudge").field("endpoint", &self.line.endpoint().origin()).finish_non_exhaustive()
    }
}

impl HttpJudge {
    /// A judge at `endpoint`, the address up to `/v1`, which is asked with `key` if it needs one. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// When the address has a query, the key cannot be sent, or this machine has no certificates to check
    /// the endpoint with.
    pub fn new(endpoint: &Endpoint, key: Option<&Key>) -> Result<Self, EndpointError> {
        let authorization = key.map(|key| key.header().ok_or(EndpointError::Key)).transpose()?;
        Ok(Self { authorization, line: Line::new(endpoint.below("/chat/completions")?)? })
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let reply = self.line.post(headers, ask::body(question), MAX_ANSWER).await;
        let reply = reply.map_err(|silence| match silence {
            Silence::Unsendable => Failure::Internal,
            Silence::Unreachable => Failure::Unreachable,
            Silence::TooLarge => Failure::TooLarge,
        })?;
        if reply.status != StatusCode::OK {
            return Err(Failure::Refused);
        }
        Ok(answer::read(question, &reply.body))
    }
}

impl Judge for HttpJudge {
    fn answer<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            let began = Instant::now();
            let span = Duration::from_millis(question.timeout_ms);
            let asked = tokio::time::timeout(span, self.ask(question)).await;
            let answer = asked.unwrap_or(Err(Failure::Timeout));
            Finding {
                question: question.digest,
                answer: answer.unwrap_or_else(|failure| Answer::Failed { failure }),
                latency_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                cached: false,
            }
        })
    }
}
