//! Webhooks: an event to one receiver, signed after Standard Webhooks 1.0 (standardwebhooks.com), or as a
//! message for Slack.
//!
//! One attempt, bounded in time; when to try again is the outbox's to say. What a receiver answers beyond its
//! status is not looked at, and nothing of it is repeated.

mod secret;
mod slack;

use std::time::Duration;

use callgate_core::event::{Courier, Delivering, Delivery, Letter};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::endpoint::{Endpoint, EndpointError};
use crate::http::{Line, Silence};

pub use secret::{MAX_SECRETS, Secret, SecretError};

/// The headers of Standard Webhooks.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How a receiver wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `{"type", "timestamp", "data"}`.
    Standard,
    /// The body of a Slack incoming webhook.
    Slack,
}

/// One receiver.
#[derive(Debug)]
pub struct Webhook {
    line: Line,
    format: Format,
    secrets: Vec<Secret>,
    timeout: Duration,
}

impl Webhook {
    /// A receiver at `endpoint`, told in `format`, with a signature by each of `secrets`: two while one is
    /// exchanged for the other. Nothing is sent yet.
    ///
    /// # Errors
    /// When this machine has no certificates to check the endpoint with.
    pub fn new(
        endpoint: Endpoint,
        format: Format,
        secrets: Vec<Secret>,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        Ok(Self { line: Line::new(endpoint)?, format, secrets, timeout })
    }

    async fn send(&self, letter: &Letter<'_>) -> Delivery {
        let body = match self.format {
            Format::Standard => serde_json::to_vec(letter.event),
            Format::Slack => serde_json::to_vec(&slack::message(letter.event)),
        };
        let Ok(body) = body else { return failed("the event could not be written") };
        let Some(headers) = self.headers(letter, &body) else {
            return failed("the event could not be signed");
        };
        match self.line.tell(headers, body).await {
            Ok((status, headers)) => answered(status, &headers),
            Err(Silence::Unsendable) => failed("the event could not be sent"),
            Err(Silence::Unreachable | Silence::TooLarge) => failed("it could not be reached"),
        }
    }

    fn headers(&self, letter: &Letter<'_>, body: &[u8]) -> Option<HeaderMap> {
        let seconds = letter.sent_ms.div_euclid(1000).to_string();
        let signed = self.secrets.iter().map(|secret| secret.sign(letter.id, &seconds, body));
        let signatures = signed.collect::<Option<Vec<String>>>()?.join(" ");
        let mut headers = HeaderMap::new();
        headers.insert(ID, HeaderValue::from_str(letter.id).ok()?);
        headers.insert(TIMESTAMP, HeaderValue::from_str(&seconds).ok()?);
        if !signatures.is_empty() {
            headers.insert(SIGNATURE, HeaderValue::from_str(&signatures).ok()?);
        }
        Some(headers)
    }
}

impl Courier for Webhook {
    fn deliver<'a>(&'a self, letter: &'a Letter<'a>) -> Delivering<'a> {
        Box::pin(async move {
            let sent = tokio::time::timeout(self.timeout, self.send(letter)).await;
            sent.unwrap_or_else(|_| failed("it did not answer in time"))
        })
    }
}

fn failed(why: &str) -> Delivery {
    Delivery::Failed { why: why.to_owned(), wait: None }
}

fn answered(status: StatusCode, headers: &HeaderMap) -> Delivery {
    if status.is_success() {
        return Delivery::Taken;
    }
    if status == StatusCode::GONE {
        return Delivery::Gone;
    }
    let why = if status.is_redirection() {
        format!("it answered {} and sends elsewhere, which is not followed", status.as_u16())
    } else {
        format!("it answered {}", status.as_u16())
    };
    // Seconds; a date is not worth a calendar.
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Delivery::Failed { why, wait: wait.map(Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status() {
        let none = HeaderMap::new();
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answered(StatusCode::from_u16(status).unwrap(), &none), Delivery::Taken);
        }
        assert_eq!(answered(StatusCode::GONE, &none), Delivery::Gone);
        for (status, words) in [(301, "not followed"), (404, "answered 404"), (500, "answered 500")] {
            let Delivery::Failed { why, wait } = answered(StatusCode::from_u16(status).unwrap(), &none)
            else {
                panic!("{status}")
            };
            assert!(why.contains(words) && wait.is_none(), "{why}");
        }
        for (value, expected) in [("120", Some(120)), ("-1", None), ("Fri, 20 Nov 2026 09:30:00 GMT", None)] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            let Delivery::Failed { wait, .. } = answered(StatusCode::TOO_MANY_REQUESTS, &headers) else {
                panic!("{value}")
            };
            assert_eq!(wait, expected.map(Duration::from_secs));
        }
    }
}
