//! Reading receipts and the newest checkpoint. Must never tell a receipt of somebody else from one that is not there.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use callgate_gate::ReceiptError;

use crate::app::{App, json};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire;

/// One receipt with its proof. A key reads the receipts of its own agent.
#[utoipa::path(
    get,
    path = "/api/v1/receipts/{id}",
    tag = "evidence",
    params(("id" = u64, Path, description = "The receipt's place in the log")),
    responses(
        (status = 200, description = "The receipt", body = wire::Receipt),
        (status = 404, description = "There is no such receipt, or it is another agent's"),
        (status = 503, description = "The log cannot be read"),
    ),
    security(("key" = []))
)]
pub(crate) async fn read_receipt(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found("a receipt's place in the log is a number"))?;
    let index: u64 = id.parse().map_err(|_| unknown(&id))?;
    let slot = app.slots(1)?;
    let gate = Arc::clone(&app.gate);
    // Reads the disk, so not on a thread that serves connections.
    let work = tokio::task::spawn_blocking(move || {
        let read = gate.receipt(index, &credential);
        drop(slot);
        read
    });
    match work.await {
        Ok(Ok(receipt)) => json(&app, StatusCode::OK, &receipt),
        Ok(Err(ReceiptError::Unknown(_) | ReceiptError::NotYours(_))) => Err(unknown(&id)),
        Ok(Err(ReceiptError::Unreadable(problem))) => Err(app.unavailable(&problem, false)),
        Err(died) => Err(app.died(&died)),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no receipt `{}` of this agent", id.escape_debug()))
}

/// The newest checkpoint: a C2SP signed note of the log's size and root.
#[utoipa::path(
    get,
    path = "/api/v1/checkpoint",
    tag = "evidence",
    responses(
        (status = 200, description = "The checkpoint", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 404, description = "The log has no receipt yet"),
    ),
    security(("key" = []))
)]
pub(crate) async fn read_checkpoint(State(app): State<Arc<App>>, _: Caller) -> Result<Response, Problem> {
    let note = app.gate.checkpoint().ok_or_else(|| Problem::not_found("the log has no receipt yet"))?;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(CONTENT_TYPE, text)], note.to_vec()).into_response())
}
