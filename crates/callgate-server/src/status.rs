//! Whether the program lives, and whether it can decide. Must never need a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::{App, json};
use crate::credential::AnyCaller;
use crate::problem::Problem;
use crate::wire;

/// The program lives; says nothing of the gate.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "The program lives", body = wire::Health))
)]
pub(crate) async fn healthz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    json(&app, StatusCode::OK, &wire::Health { status: "alive".to_owned(), reason: None })
}

/// The gate decides and keeps evidence, or why not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "The gate decides", body = wire::Health),
        (status = 503, description = "The gate does not decide", body = wire::Health),
    )
)]
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    AnyCaller(caller): AnyCaller,
) -> Result<Response, Problem> {
    let Some(trouble) = app.gate.trouble() else {
        let reason = caller.and_then(|_| app.gate.concern());
        return json(&app, StatusCode::OK, &wire::Health { status: "ready".to_owned(), reason });
    };
    let strangers = || "the gate cannot keep evidence; its operator sees why".to_owned();
    let reason = caller.map_or_else(strangers, |_| trouble);
    let health = wire::Health { status: "unavailable".to_owned(), reason: Some(reason) };
    json(&app, StatusCode::SERVICE_UNAVAILABLE, &health)
}
