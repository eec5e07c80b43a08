//! Bodies, within their limits. Must never hold more of one than the limit says.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use callgate_core::json::{self as strict, Limits};
use callgate_core::object::Object;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::problem::Problem;

/// What concerns policy, where a body may be a whole bundle.
pub(crate) const POLICY: &str = "/api/v1/policy/";

/// The bytes of a body that says it is JSON.
#[derive(Debug)]
pub(crate) struct JsonBytes(pub(crate) Vec<u8>);

/// Reads an object: two readers, one meaning. The strict one refuses what the typed one might settle silently, such as
/// a member that stands twice; the typed one refuses unknown members and arrays in the place of objects.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8], limits: &Limits) -> Result<T, String> {
    strict::parse(body, limits).map_err(|e| e.to_string())?;
    serde_json::from_slice(body).map(|Object(it)| it).map_err(|e| e.to_string())
}

impl FromRequest<Arc<App>> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let policy = request.uri().path().starts_with(POLICY);
        let limit = if policy { app.limits.policy_bytes } else { app.limits.body_bytes };
        says_json(request.headers())?;
        if announced(request.headers()).is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let body = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(app.limits.body_time, body).await {
            Ok(Ok(collected)) => Ok(Self(collected.to_bytes().into())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
            Ok(Err(_)) => Err(unreadable()),
            Err(_) => Err(late()),
        }
    }
}

/// A page cannot send this type to another site without asking first, which the gate refuses.
fn says_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let essence = types.next().and_then(|value| value.to_str().ok()).and_then(|text| text.split(';').next());
    let json = essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if !json || types.next().is_some() || headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "send the body as `content-type: application/json`, not encoded any further",
        )
        .closing());
    }
    Ok(())
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    let text = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    Some(text.parse().unwrap_or(usize::MAX))
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes; send less, or a reference in its place");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).closing()
}

fn unreadable() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "the body ended before its announced length")
        .closing()
}

fn late() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time; send it at once")
        .closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_read() {
        for (value, ok) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/json-patch+json", false),
            ("text/plain; application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(says_json(&headers).is_ok(), ok, "{value}");
            headers.append(CONTENT_TYPE, "application/json".parse().unwrap());
            assert!(says_json(&headers).is_err(), "{value}, twice");
        }
        assert!(says_json(&HeaderMap::new()).is_err());
    }
}
