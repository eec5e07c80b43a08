//! The kill switch over HTTP. It has slots of its own, so that it gets through while agents keep the gate busy.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::{StopFilter, StopRequest};
use serde::Deserialize;
use serde_json::json as value;

use crate::app::{App, json};
use crate::approvals::parameters;
use crate::body::JsonBytes;
use crate::control::{bad, looks, parse, run_reserved};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_limits;

/// The stops in effect, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/stops",
    tag = "limits",
    params(
        ("scope" = Option<String>, Query, description = "Only `everything`, `tenant`, `team`, `agent`, `session` or `tool`"),
        ("name" = Option<String>, Query, description = "Only those with this agent, session, team, tenant or tool"),
        ("limit" = Option<usize>, Query, description = "At most so many; 1,000 at most"),
    ),
    responses(
        (status = 200, description = "Who stopped what, since when and why; `count` counts those left out, too", body = wire_limits::StopList),
        (status = 400, description = "The query has an unknown part"),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    looks(&who)?;
    let mut asked = parameters(query.as_deref(), &["scope", "name", "limit"])?;
    let limit = limit(asked.remove("limit"))?;
    let filter = StopFilter { scope: asked.remove("scope"), name: asked.remove("name"), limit };
    let (stops, count) = app.gate.stops(&filter, &who);
    json(&app, StatusCode::OK, &value!({"count": count, "stops": stops}))
}

/// Stops an agent, a session, a tool, a team, a tenant or everything, from the next decision on.
#[utoipa::path(
    post,
    path = "/api/v1/stops",
    tag = "limits",
    request_body = wire_limits::NewStop,
    responses(
        (status = 200, description = "The stop in effect; `created` is false where exactly that was stopped already", body = wire_limits::StopReply),
        (status = 400, description = "The body names nothing that can be stopped"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 409, description = "A second person must agree, or there are too many stops"),
        (status = 503, description = "The gate could not stop it"),
    ),
    security(("key" = []))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: StopRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let stopped = run_reserved(&app, async move { gate.stop(what, &who).await }).await?;
    json(&app, StatusCode::OK, &stopped)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LiftBody {
    note: Option<String>,
}

/// Lifts a stop. What ended meanwhile stays ended.
#[utoipa::path(
    post,
    path = "/api/v1/stops/{id}/lift",
    tag = "limits",
    params(("id" = String, Path, description = "The stop, such as `stop-12`")),
    request_body = wire_limits::Lift,
    responses(
        (status = 200, description = "The stop as it was", body = wire_limits::StopItem),
        (status = 400, description = "The body has no `note`"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such stop in effect"),
        (status = 409, description = "A second person must agree"),
        (status = 503, description = "The gate could not lift it; it is still in effect"),
    ),
    security(("key" = []))
)]
pub(crate) async fn lift(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Path(id): Path<String>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let LiftBody { note } = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let lifted = run_reserved(&app, async move { gate.lift_stop(&id, note.as_deref(), &who).await }).await?;
    json(&app, StatusCode::OK, &lifted)
}

/// How many are asked for.
pub(crate) fn limit(text: Option<String>) -> Result<Option<usize>, Problem> {
    let wrong = || bad("`limit`: write a number, such as `100`");
    text.map(|text| text.parse().map_err(|_| wrong())).transpose()
}
