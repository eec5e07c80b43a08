//! What enforcement points ask and tell of the time while the gate is away. Who may speak for which agent is the
//! gate's to say, never decided here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::json::Limits;
use callgate_gate::{Backlog, LeaseRequest};
use serde::de::DeserializeOwned;

use crate::app::{App, json};
use crate::body::{JsonBytes, object};
use crate::control::{bad, run};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_policy;

/// Says what an agent's enforcement point may run while the gate cannot be reached. Where that is anything, the answer
/// is a receipt: the lease.
#[utoipa::path(
    post,
    path = "/api/v1/enforcement-points/lease",
    tag = "enforcement points",
    request_body = wire_policy::LeaseRequest,
    responses(
        (status = 200, description = "`{\"fail_mode\":\"closed\",…}`, or `open` with the lease's receipt and proof", body = Object),
        (status = 400, description = "The body is no such question"),
        (status = 403, description = "The key is of another agent, or a person's"),
        (status = 503, description = "The gate cannot do it now"),
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
        (status = 400, description = "The body is no part of a journal, or not its next one"),
        (status = 403, description = "The key is of another agent, or a person's"),
        (status = 413, description = "The body is too large; hand in fewer actions at a time"),
        (status = 503, description = "The gate cannot do it now; what it has is kept"),
    ),
    security(("key" = []))
)]
pub(crate) async fn hand_in(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let reader = Arc::clone(&app);
    let read = app.work(async move { parse(&body, &reader) }).await;
    let backlog: Backlog = read.map_err(|died| app.died(&died))??;
    let gate = Arc::clone(&app.gate);
    let reply = run(&app, async move { gate.reconcile(backlog, &who).await }).await?;
    json(&app, StatusCode::OK, &reply)
}

/// Requests nest deeper here than by themselves.
fn parse<T: DeserializeOwned>(body: &[u8], app: &App) -> Result<T, Problem> {
    let limits = app.gate.limits();
    let limits = Limits {
        bytes: app.limits.body_bytes,
        depth: limits.depth.saturating_add(4),
        values: limits.values.saturating_mul(4),
    };
    object(body, &limits).map_err(bad)
}
