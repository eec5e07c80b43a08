//! HTTP errors as RFC 9457 problem documents.
//!
//! What a client sees says what to do; what only the operator may see goes to the log, and a number joins the two.
//! Must never carry a decision other than `DENY`.

use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use callgate_gate::Unavailable;

use crate::wire;

/// The media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// The beginning of every problem type.
pub(crate) const TYPE_PREFIX: &str = "urn:callgate:problem:";
const UNDECIDED: &str = "the gate could not decide, so nothing may run";
const RETRY_SECONDS: &str = "1";

/// One HTTP error on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    incident: Option<u64>,
    /// The route was to decide, and did not.
    undecided: bool,
    retryable: bool,
    /// The connection is of no more use.
    close: bool,
    challenge: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            incident: None,
            undecided: false,
            retryable: false,
            close: false,
            challenge: None,
        }
    }

    /// Something on the gate's side, which the log has under the number `incident`.
    pub(crate) fn unavailable(incident: u64, retryable: bool) -> Self {
        let next = if retryable { "try again shortly" } else { "tell the gate's operator" };
        Self {
            incident: Some(incident),
            retryable,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "gate-unavailable",
                format!("the gate cannot serve this now; {next}"),
            )
        }
    }

    /// A decision that was not made.
    pub(crate) fn undecided(incident: u64, unavailable: &Unavailable) -> Self {
        let next = if unavailable.retryable { "ask again shortly" } else { "tell the gate's operator" };
        Self {
            detail: format!("{UNDECIDED}; {next}"),
            undecided: true,
            ..Self::unavailable(incident, unavailable.retryable)
        }
    }

    /// As many requests as the gate takes are under way.
    pub(crate) fn busy() -> Self {
        let detail = "the gate has as many requests as it takes; ask again shortly";
        Self { retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }

    /// Nothing here, or nothing that this caller may know of.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// On a route that decides, a failure of the gate is a denial.
    pub(crate) fn of_decision(mut self) -> Self {
        self.undecided = true;
        self
    }

    pub(crate) fn document(&self) -> wire::Problem {
        wire::Problem {
            kind: format!("{TYPE_PREFIX}{}", self.kind),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: self.incident.map(|number| format!("urn:callgate:incident:{number}")),
            decision: self.undecided.then_some(wire::Decision::Deny),
            code: self.undecided.then_some(wire::Code::GateUnavailable),
            retryable: self.status.is_server_error().then_some(self.retryable),
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        // A document of strings and numbers always has a JSON form.
        serde_json::to_vec(&self.document()).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.retryable {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a connection beyond the limit, written without reading what it asks.
pub(crate) fn refusal() -> Vec<u8> {
    let problem = Problem {
        detail: "the gate has as many connections as it takes; ask again shortly".to_owned(),
        ..Problem::busy().of_decision()
    };
    let body = problem.body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\
         retry-after: {RETRY_SECONDS}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// No such path.
pub(crate) async fn no_route() -> Problem {
    Problem::not_found("there is nothing at this path; `/openapi.json` lists what there is")
}

/// No such method; the router says in `Allow` which ones there are.
pub(crate) async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("this path has another method; see the `{ALLOW}` header"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_message_stays_with_the_operator() {
        let unavailable = Unavailable { message: "/srv/log/3.seg: disk gone".to_owned(), retryable: false };
        let text = String::from_utf8(Problem::undecided(7, &unavailable).body()).unwrap();
        assert!(!text.contains("disk") && !text.contains("seg"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["decision"], "DENY");
        assert_eq!(value["code"], "GATE_UNAVAILABLE");
        assert_eq!(value["instance"], "urn:callgate:incident:7");
        assert_eq!(value["retryable"], false);
    }

    #[test]
    fn only_what_may_help_to_retry_says_when() {
        for (retryable, header) in [(true, Some("1")), (false, None)] {
            let unavailable = Unavailable { message: String::new(), retryable };
            let response = Problem::undecided(1, &unavailable).into_response();
            assert_eq!(response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap()), header);
        }
    }
}
