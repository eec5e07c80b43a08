//! Trying a kept snapshot over HTTP: in the shadow, or for a share.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::RolloutRequest;
use serde::Deserialize;
use serde_json::json as value;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::control::{looks, parse, run};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_policy;

/// The candidate that is tried beside the snapshot in force, if any.
#[utoipa::path(
    get,
    path = "/api/v1/policy/rollout",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"rollout\": …}`, null when nothing is tried", body = Object),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn rollout(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"rollout": app.gate.rollout()}))
}

/// Begins to try a kept snapshot: in the shadow, or for a share.
#[utoipa::path(
    post,
    path = "/api/v1/policy/rollout",
    tag = "policy",
    request_body = wire_policy::Rollout,
    responses(
        (status = 200, description = "How it is tried", body = Object),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such snapshot"),
        (status = 409, description = "Something speaks against it; nothing changed"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn start_rollout(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: RolloutRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let record = run(&app, async move { gate.start_rollout(what, &who).await }).await?;
    json(&app, StatusCode::OK, &record)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopBody {
    note: Option<String>,
}

/// Ends the trial; the snapshot in force decides alone.
#[utoipa::path(
    post,
    path = "/api/v1/policy/rollout/stop",
    tag = "policy",
    request_body = wire_policy::StopRollout,
    responses(
        (status = 200, description = "Nothing is tried any more", body = Object),
        (status = 403, description = "The control policy does not permit it"),
        (status = 409, description = "Nothing is being tried"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn stop_rollout(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let StopBody { note } = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    run(&app, async move { gate.stop_rollout(note.as_deref(), &who).await }).await?;
    json(&app, StatusCode::OK, &value!({"rollout": null}))
}
