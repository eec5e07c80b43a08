//! What a list of tools need not show. Never a decision: nothing may run, or be refused, because of it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::request::Request;
use serde_json::json as value;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::credential::Caller;
use crate::decide::split;
use crate::problem::Problem;
use crate::wire;

/// Says which of these requests the snapshot in force denies whatever their arguments, so that a list need not show
/// their tools. `false` when in doubt. Nothing is decided and nothing is receipted; each call is decided all the same.
#[utoipa::path(
    post,
    path = "/api/v1/tools/hidden",
    tag = "decisions",
    request_body = wire::Batch,
    responses(
        (status = 200, description = "One answer for each request", body = wire::HiddenReply),
        (status = 400, description = "The body is no batch"),
        (status = 503, description = "The gate cannot tell now; show them"),
    ),
    security(("key" = []))
)]
pub(crate) async fn hidden(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let most = app.limits.batch;
    let slots = app.slots(split(&body, most)?.len())?;
    let gate = Arc::clone(&app.gate);
    let work = app.work(async move {
        let never = |text: &str| {
            let probe = Request::parse(text.as_bytes(), gate.limits()).ok();
            probe.is_some_and(|probe| gate.never_allows(probe, &credential))
        };
        let asked = split(&body, most).unwrap_or_default();
        let hidden: Vec<bool> = asked.iter().map(|raw| never(raw.get())).collect();
        drop(slots);
        hidden
    });
    let hidden = work.await.map_err(|died| app.died(&died))?;
    json(&app, StatusCode::OK, &value!({"hidden": hidden}))
}
