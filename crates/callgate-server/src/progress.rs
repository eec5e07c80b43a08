//! The heartbeat of actions that run, over HTTP. Whatever is no `"continue": true` means stop.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::json::Limits;
use callgate_gate::{ProgressError, ProgressReport};

use crate::app::{App, json};
use crate::body::{JsonBytes, object};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_limits;

/// The longest heartbeat, in bytes. It is read where connections are, which nobody may keep busy.
const MAX_BYTES: usize = 32 * 1024;

/// Asks whether an action that runs may go on. Ask at least as often as `next_ms` says; stop the action on any other
/// answer than `"continue": true`, and report its outcome.
#[utoipa::path(
    post,
    path = "/api/v1/progress",
    tag = "outcomes",
    request_body = wire_limits::Heartbeat,
    responses(
        (status = 200, description = "Go on, or stop and why", body = wire_limits::Progress),
        (status = 400, description = "The body is no heartbeat; stop"),
        (status = 401, description = "No registered key was shown; stop"),
        (status = 409, description = "The receipt has no open action of this agent; stop"),
        (status = 503, description = "The gate cannot tell; stop"),
    ),
    security(("key" = []))
)]
pub(crate) async fn report_progress(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let limits = Limits { bytes: MAX_BYTES, ..*app.gate.limits() };
    let report: ProgressReport = object(&body, &limits).map_err(invalid)?;
    let index = report.receipt_index;
    let slot = app.reserved_slot().await?;
    let gate = Arc::clone(&app.gate);
    let work = tokio::spawn(async move {
        let progress = gate.progress(&report, &credential).await;
        drop(slot);
        progress
    });
    match work.await {
        Ok(Ok(progress)) => json(&app, StatusCode::OK, &progress),
        Ok(Err(error)) => Err(refused(&app, index, &error)),
        Err(died) => Err(app.died(&died)),
    }
}

fn invalid(problem: impl std::fmt::Display) -> Problem {
    let text = format!("this is no heartbeat: {problem}; stop the action");
    Problem::new(StatusCode::BAD_REQUEST, "invalid-progress", text)
}

/// Whose action it is that somebody else asks about is not told.
fn refused(app: &App, index: u64, error: &ProgressError) -> Problem {
    match error {
        ProgressError::Unavailable(unavailable) => {
            app.unavailable(&unavailable.message, unavailable.retryable)
        }
        ProgressError::Invalid(problem) => invalid(problem),
        ProgressError::NotOpen(_) | ProgressError::NotYours(_) => {
            Problem::new(StatusCode::CONFLICT, "not-open", ProgressError::NotOpen(index).to_string())
        }
    }
}
