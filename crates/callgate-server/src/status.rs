//! Whether the program lives, and whether it can decide. Whether it lives and decides must never
//! need a key.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use callgate_gate::GateHealth;

use crate::app::{App, json};
use crate::control::looks;
use crate::credential::{AnyCaller, Caller};
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
    json(&app, StatusCode::OK, &wire::Health { status: "alive".to_owned(), reason: None, gate: None })
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
    let now = app.gate.health();
    let gate = caller.as_ref().map(|_| state(&now));
    let Some(trouble) = now.trouble else {
        let reason = caller.and_then(|_| app.gate.concern());
        return json(&app, StatusCode::OK, &wire::Health { status: "ready".to_owned(), reason, gate });
    };
    let strangers = || "the gate cannot keep evidence; its operator sees why".to_owned();
    let reason = caller.map_or_else(strangers, |_| trouble);
    let health = wire::Health { status: "unavailable".to_owned(), reason: Some(reason), gate };
    json(&app, StatusCode::SERVICE_UNAVAILABLE, &health)
}

fn state(now: &GateHealth) -> wire::GateState {
    wire::GateState {
        failed: now.failed,
        last_commit_age_ms: now.last_commit_age_ms,
        receipts: now.receipts,
        snapshot: now.snapshot.clone(),
        snapshot_age_ms: now.snapshot_age_ms,
        unchecked_actions: now.unchecked_actions,
        unchecked_refused: now.unchecked_refused,
        unchecked_windows: now.unchecked_windows,
    }
}

/// How the gate is, for monitoring: the text format of Prometheus. Needs a key, as it tells how much is asked.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    let mut response = Response::new(Body::from(exposition(&app.gate.health())));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn exposition(now: &GateHealth) -> String {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let age = |ms: Option<u64>| ms.map_or_else(|| "NaN".to_owned(), seconds);
    let rows = [
        ("ready", "gauge", "Whether the gate decides.", u8::from(now.trouble.is_none()).to_string()),
        ("failed", "gauge", "Whether only a restart can help.", u8::from(now.failed).to_string()),
        ("receipts_total", "counter", "Receipts in the log.", now.receipts.to_string()),
        ("snapshot_age_seconds", "gauge", "Since the snapshot is in force.", age(now.snapshot_age_ms)),
        ("last_commit_age_seconds", "gauge", "Since the last receipt.", age(now.last_commit_age_ms)),
        (
            "unchecked_windows_total",
            "counter",
            "Windows in which actions ran unchecked.",
            now.unchecked_windows.to_string(),
        ),
        (
            "unchecked_actions_total",
            "counter",
            "Actions that ran unchecked.",
            now.unchecked_actions.to_string(),
        ),
        (
            "unchecked_refused_total",
            "counter",
            "Actions that ran unchecked and would not have run.",
            now.unchecked_refused.to_string(),
        ),
    ];
    let row = |(name, kind, help, value): (&str, &str, &str, String)| {
        format!("# HELP callgate_{name} {help}\n# TYPE callgate_{name} {kind}\ncallgate_{name} {value}\n")
    };
    rows.map(row).concat()
}
