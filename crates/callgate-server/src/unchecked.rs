//! What enforcement points ask and tell of the time while the gate is away. Who may speak for which agent is the
//! gate's to say, never decided here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::json::{self as strict, Limits};
use callgate_gate::{Backlog, LeaseRequest};
use serde::de::DeserializeOwned;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::credential::Caller;
use crate::policy::run;
use crate::problem::Problem;
use crate::{wire, wire_policy};

/// Says what an agent's enforcement point may run while the gate cannot be reached. Where that is anything, the answer
/// is a receipt: the lease.
#[utoipa::path(
    post,
    path = "/api/v1/enforcement-points/lease",
    tag = "enforcement points",
    request_body = wire_policy::LeaseRequest,
    responses(
        (status = 200, description = "`{\"fail_mode\":\"closed\",…}`, or `open` with the lease's receipt and proof", body = Object),
        (status = 400, description = "The body is no such question", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key is of another agent, or a person's", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn lease(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: LeaseRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let reply = run(&app, async move { gate.lease(what, &who).await }).await?;
    json(&app, StatusCode::OK, &reply)
}

/// Hands in what ran while the gate could not be reached, in the order of the journal. Each action is receipted as
/// `UNCHECKED` and decided again after the fact; handing in the same again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/unchecked",
    tag = "enforcement points",
    request_body = wire_policy::Backlog,
    responses(
        (status = 200, description = "What the gate has of the journal now", body = wire_policy::BacklogReply),
        (status = 400, description = "The body is no part of a journal, or not its next one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key is of another agent, or a person's", body = wire::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large; hand in fewer actions at a time", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; what it has is kept", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn hand_in(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let backlog: Backlog = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let reply = run(&app, async move { gate.reconcile(backlog, &who).await }).await?;
    json(&app, StatusCode::OK, &reply)
}

/// Two readers, one meaning. Requests nest deeper here than by themselves.
fn parse<T: DeserializeOwned>(body: &[u8], app: &App) -> Result<T, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail);
    let limits = app.gate.limits();
    let limits = Limits {
        bytes: app.limits.body_bytes,
        depth: limits.depth.saturating_add(4),
        values: limits.values.saturating_mul(4),
    };
    let value = strict::parse(body, &limits).map_err(|e| bad(e.to_string()))?;
    if value.as_map().is_none() {
        return Err(bad("write an object, such as `{}`".to_owned()));
    }
    serde_json::from_slice(body).map_err(|e| bad(e.to_string()))
}
