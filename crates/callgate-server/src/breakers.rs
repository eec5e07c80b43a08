//! Breakers and meters over HTTP: what is open and why, and closing it again.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::{BreakerFilter, LimitFilter, ResetRequest};
use serde_json::json as value;

use crate::app::{App, json};
use crate::approvals::parameters;
use crate::body::JsonBytes;
use crate::credential::Caller;
use crate::policy::{looks, parse, run_reserved};
use crate::problem::Problem;
use crate::stops::limit;
use crate::{wire, wire_limits};

/// The breakers that are open, with the receipts that they counted.
#[utoipa::path(
    get,
    path = "/api/v1/breakers",
    tag = "limits",
    params(
        ("prefix" = Option<String>, Query, description = "Only those whose name begins so"),
        ("limit" = Option<usize>, Query, description = "At most so many; 1,000 at most"),
    ),
    responses(
        (status = 200, description = "The open ones, the one that opened last first", body = wire_limits::BreakerList),
        (status = 400, description = "The query has an unknown part", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    looks(&who)?;
    let mut asked = parameters(query.as_deref(), &["prefix", "limit"])?;
    let limit = limit(asked.remove("limit"))?;
    let filter = BreakerFilter { prefix: asked.remove("prefix"), limit };
    let (breakers, count) = app.gate.breakers(&filter, &who);
    json(&app, StatusCode::OK, &value!({"breakers": breakers, "count": count}))
}

/// Closes a breaker, for whoever has seen everything that it counted.
#[utoipa::path(
    post,
    path = "/api/v1/breakers/reset",
    tag = "limits",
    request_body = wire_limits::Reset,
    responses(
        (status = 200, description = "The breaker as it was", body = wire_limits::BreakerItem),
        (status = 400, description = "The body has no `note`", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such breaker is open", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It counted more after `through`, or a second person must agree", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate could not do it; it is still open", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn reset(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: ResetRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let closed = run_reserved(&app, async move { gate.reset_breaker(what, &who).await }).await?;
    json(&app, StatusCode::OK, &closed)
}

/// The levels of meters, by name.
#[utoipa::path(
    get,
    path = "/api/v1/limits",
    tag = "limits",
    params(
        ("prefix" = Option<String>, Query, description = "Only those whose name begins so"),
        ("after" = Option<String>, Query, description = "Only those after this name"),
        ("limit" = Option<usize>, Query, description = "At most so many; 1,000 at most"),
    ),
    responses(
        (status = 200, description = "What is used of each; ask again with `after` for more", body = wire_limits::MeterList),
        (status = 400, description = "The query has an unknown part", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn limits(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    looks(&who)?;
    let mut asked = parameters(query.as_deref(), &["prefix", "after", "limit"])?;
    let limit = limit(asked.remove("limit"))?;
    let filter = LimitFilter { prefix: asked.remove("prefix"), after: asked.remove("after"), limit };
    json(&app, StatusCode::OK, &value!({"meters": app.gate.meters(&filter, &who)}))
}
