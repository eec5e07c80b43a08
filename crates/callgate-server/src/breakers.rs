//! Breakers and meters over HTTP: what is open and why, and closing it again.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::{Bounded, BreakerFilter, LimitFilter, ResetRequest};
use serde_json::json as value;

use crate::app::{App, json};
use crate::approvals::parameters;
use crate::body::JsonBytes;
use crate::control::{bad, looks, parse, refused, run_reserved};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::stops::limit;
use crate::wire_limits;

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
        (status = 400, description = "The body has no `note`"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "No such breaker is open"),
        (status = 409, description = "It counted more after `through`, or a second person must agree"),
        (status = 503, description = "The gate could not do it; it is still open"),
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

/// What is used of limits, and what is left: every meter by name, or those that bound somebody.
#[utoipa::path(
    get,
    path = "/api/v1/limits",
    tag = "limits",
    params(
        ("prefix" = Option<String>, Query, description = "Only those whose name begins so"),
        ("after" = Option<String>, Query, description = "Only those after this name"),
        ("limit" = Option<usize>, Query, description = "At most so many; 1,000 at most"),
        ("agent" = Option<String>, Query, description = "Only what bounds this agent, look-alikes counted as one; \
            with what is named beside it, and without `prefix`, `after` and `limit`"),
        ("tenant" = Option<String>, Query, description = "In this tenant; that of the agent's keys if absent, else `default`"),
        ("team" = Option<String>, Query, description = "In this team; that of the agent's keys if absent"),
        ("user" = Option<String>, Query, description = "On behalf of this person or account"),
        ("session" = Option<String>, Query, description = "In this session"),
        ("tool" = Option<String>, Query, description = "Calling this tool, `server.name`"),
    ),
    responses(
        (status = 200, description = "What is used of each; ask again with `after` for more", body = wire_limits::MeterList),
        (status = 400, description = "The query has an unknown part"),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn limits(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    looks(&who)?;
    let mut asked = parameters(query.as_deref(), &[&PAGE[..], &WHOM].concat())?;
    if !WHOM.iter().any(|name| asked.contains_key(*name)) {
        let limit = limit(asked.remove("limit"))?;
        let filter = LimitFilter { prefix: asked.remove("prefix"), after: asked.remove("after"), limit };
        return json(&app, StatusCode::OK, &value!({"meters": app.gate.meters(&filter, &who)}));
    }
    if let Some(page) = PAGE.iter().find(|name| asked.contains_key(**name)) {
        return Err(bad(format!(
            "`{page}` goes with every meter by name; leave it out, or `agent` and the like"
        )));
    }
    let mut name = |name: &str| asked.remove(name);
    let whom = Bounded {
        tenant: name("tenant"),
        team: name("team"),
        agent: name("agent"),
        user: name("user"),
        session: name("session"),
        tool: name("tool"),
    };
    let bounds = app.gate.bounds(&whom, &who).map_err(|e| refused(&app, e))?;
    json(&app, StatusCode::OK, &bounds)
}

/// What pages through all meters.
const PAGE: [&str; 3] = ["prefix", "after", "limit"];
/// What names somebody.
const WHOM: [&str; 6] = ["tenant", "team", "agent", "user", "session", "tool"];
