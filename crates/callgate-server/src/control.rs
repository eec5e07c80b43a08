//! What people do to the gate itself, over HTTP: how it is read, run, and refused.
//!
//! Who may do what is decided by the gate's control policy, never here; an agent's key gets a 403. The work is a
//! task of its own: a client that hangs up ends nothing that has begun.

use std::future::Future;
use std::sync::Arc;

use axum::http::StatusCode;
use callgate_core::json::Limits;
use callgate_gate::{ControlError, Credential, Reply, control};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::body::object;
use crate::problem::Problem;

pub(crate) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// Reads a body strictly, which may hold a whole bundle.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], app: &App) -> Result<T, Problem> {
    let limits = Limits { bytes: app.limits.policy_bytes, ..*app.gate.limits() };
    object(body, &limits).map_err(bad)
}

/// What did not happen to the gate itself, as a client sees it.
pub(crate) fn refused(app: &App, error: ControlError) -> Problem {
    let detail = error.to_string();
    match error {
        ControlError::Agent(_) | ControlError::Stranger(_) | ControlError::Forbidden { .. } => {
            Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
        }
        ControlError::Invalid(_) => bad(detail),
        ControlError::Policy(report) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "policy-invalid", report.render())
        }
        ControlError::Unknown(_) => Problem::not_found(detail),
        ControlError::Held(_) => Problem::new(StatusCode::CONFLICT, "approval-required", detail),
        ControlError::Conflict(_) => Problem::new(StatusCode::CONFLICT, "conflict", detail),
        ControlError::Unavailable(unavailable) => {
            app.unavailable(&unavailable.message, unavailable.retryable)
        }
    }
}

/// Runs work to its end whether or not the client waits.
pub(crate) async fn run<T, F>(app: &Arc<App>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ControlError>> + Send + 'static,
{
    let slot = app.slots(1)?;
    let task = app.work(async move {
        let done = work.await;
        drop(slot);
        done
    });
    finish(app, task).await
}

/// As [`run`], for what must get through while the gate is busy.
pub(crate) async fn run_reserved<T, F>(app: &Arc<App>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ControlError>> + Send + 'static,
{
    let slot = app.reserved_slot().await?;
    // Not among what the gate is busy with.
    let task = tokio::spawn(async move {
        let done = work.await;
        drop(slot);
        done
    });
    finish(app, task).await
}

async fn finish<T>(app: &Arc<App>, task: JoinHandle<Result<T, ControlError>>) -> Result<T, Problem> {
    match task.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ControlError::Held(reply))) => Err(held(&reply)),
        Ok(Err(error)) => Err(refused(app, error)),
        Err(died) => Err(app.died(&died)),
    }
}

fn held(reply: &Reply) -> Problem {
    let id = reply.approval.as_ref().and_then(|approval| approval.id.clone()).unwrap_or_default();
    let reason = reply.reason.clone().unwrap_or_default();
    Problem::new(
        StatusCode::CONFLICT,
        "approval-required",
        format!("{reason}. The approval is `{id}`; once another person agreed, ask the same again"),
    )
}

/// People may look; agents may not.
pub(crate) fn looks(who: &Credential) -> Result<(), Problem> {
    if control::person(who).is_some() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "an agent's key cannot see this: show a person's key",
    ))
}
