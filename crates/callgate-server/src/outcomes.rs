//! Outcomes over HTTP. Must never say whose action it was that somebody else tried to close.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::{OutcomeError, OutcomeReport};

use crate::app::{App, json};
use crate::body::{JsonBytes, object};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire;

/// Records what became of an allowed action; each action is closed once.
#[utoipa::path(
    post,
    path = "/api/v1/outcomes",
    tag = "outcomes",
    request_body = wire::Outcome,
    responses(
        (status = 200, description = "The outcome's receipt, durable", body = wire::OutcomeReply),
        (status = 400, description = "The body is no outcome"),
        (status = 409, description = "The receipt has no open action of this agent"),
        (status = 503, description = "The outcome was not recorded",
            headers(("retry-after" = u64, description = "When reporting again can help, in seconds"))),
    ),
    security(("key" = []))
)]
pub(crate) async fn report_outcome(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let report: OutcomeReport = object(&body, app.gate.limits()).map_err(invalid)?;
    let index = report.receipt_index;
    let slot = app.slots(1)?;
    let gate = Arc::clone(&app.gate);
    let work = app.work(async move {
        let reported = gate.report(report, &credential).await;
        drop(slot);
        reported
    });
    match work.await {
        Ok(Ok(reply)) => json(&app, StatusCode::OK, &reply),
        Ok(Err(error)) => Err(refused(&app, index, &error)),
        Err(died) => Err(app.died(&died)),
    }
}

fn invalid(problem: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-outcome", format!("this is no outcome: {problem}"))
}

fn refused(app: &App, index: u64, error: &OutcomeError) -> Problem {
    match error {
        OutcomeError::Unavailable(unavailable) => {
            app.unavailable(&unavailable.message, unavailable.retryable)
        }
        OutcomeError::Invalid(problem) => invalid(problem),
        OutcomeError::NotOpen(_) | OutcomeError::NotYours(_) => {
            Problem::new(StatusCode::CONFLICT, "not-open", OutcomeError::NotOpen(index).to_string())
        }
    }
}
