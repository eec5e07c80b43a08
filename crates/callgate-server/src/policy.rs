//! Releasing policy over HTTP: stage, publish, roll back, set modes, and what enforcement points have.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::object;
use callgate_gate::{Acknowledgement, Bundle, ModeRequest, PublishRequest, RollbackRequest, StageRequest};
use serde::Deserialize;
use serde_json::json as value;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::control::{bad, looks, parse, refused, run};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_policy;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundleBody {
    files: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl BundleBody {
    pub(crate) fn bundle(self) -> Result<Bundle, Problem> {
        if let Some(path) = self.files.keys().find(|path| !callgate_gate::is_bundle_file(path)) {
            return Err(bad(format!("`{path}` is no file of a bundle; write `rules/….yaml` and the like")));
        }
        Ok(Bundle::new(self.files, self.env))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageBody {
    #[serde(deserialize_with = "object::only")]
    bundle: BundleBody,
    version: Option<String>,
    note: Option<String>,
    #[serde(default, deserialize_with = "object::maybe")]
    git: Option<callgate_core::state::Git>,
    signature: Option<String>,
}

/// Compiles a bundle, plays its tests and keeps it under a version. Nothing decides by it yet.
#[utoipa::path(
    post,
    path = "/api/v1/policy/snapshots",
    tag = "policy",
    request_body = wire_policy::NewSnapshot,
    responses(
        (status = 200, description = "The snapshot as it is kept", body = Object),
        (status = 400, description = "The body is no bundle"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 409, description = "The version is taken"),
        (status = 422, description = "The bundle has errors"),
        (status = 503, description = "The gate cannot keep it now"),
    ),
    security(("key" = []))
)]
pub(crate) async fn stage(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let StageBody { bundle, version, note, git, signature } = parse(&body, &app)?;
    let (bundle, what) = (bundle.bundle()?, StageRequest { version, note, git, signature });
    let gate = Arc::clone(&app.gate);
    let record = run(&app, async move { gate.stage(bundle, what, &who).await }).await?;
    json(&app, StatusCode::OK, &record)
}

/// Every snapshot that is kept, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/policy/snapshots",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"snapshots\": […]}`", body = Object),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"snapshots": app.gate.snapshots()}))
}

/// One snapshot with its text.
#[utoipa::path(
    get,
    path = "/api/v1/policy/snapshots/{snapshot}",
    tag = "policy",
    params(("snapshot" = String, Path, description = "The version (`v42`) or digest")),
    responses(
        (status = 200, description = "The snapshot, with its files in `bundle`", body = Object),
        (status = 403, description = "An agent's key"),
        (status = 404, description = "There is no such snapshot"),
    ),
    security(("key" = []))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    looks(&who)?;
    let record = app.gate.snapshot_record(&name).map_err(|e| refused(&app, e))?;
    let bundle = app.gate.snapshot_bundle(&name).map_err(|e| refused(&app, e))?;
    let mut whole = serde_json::to_value(&record).map_err(|e| app.unavailable(&e.to_string(), false))?;
    if let Some(fields) = whole.as_object_mut() {
        let files = bundle.files();
        fields.insert("bundle".to_owned(), value!({"files": files, "env": bundle.env()}));
    }
    json(&app, StatusCode::OK, &whole)
}

/// Puts a kept snapshot in force: every decision before its place in the log used the one before, every one after it
/// uses this. Refused without tests that pass and a simulation of exactly it, or beyond the limits in force.
#[utoipa::path(
    post,
    path = "/api/v1/policy/publish",
    tag = "policy",
    request_body = wire_policy::Publish,
    responses(
        (status = 200, description = "What is in force now", body = wire_policy::Released),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such snapshot"),
        (status = 409, description = "Something speaks against it, or a second person must agree; nothing changed"),
        (status = 503, description = "The gate cannot publish now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: PublishRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let released = run(&app, async move { gate.publish_kept(what, &who).await }).await?;
    json(&app, StatusCode::OK, &released)
}

/// Returns to a snapshot that was in force before, at once.
#[utoipa::path(
    post,
    path = "/api/v1/policy/rollback",
    tag = "policy",
    request_body = wire_policy::Rollback,
    responses(
        (status = 200, description = "What is in force now", body = wire_policy::Released),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such snapshot"),
        (status = 409, description = "It was never in force"),
        (status = 503, description = "The gate cannot roll back now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn rollback(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: RollbackRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let released = run(&app, async move { gate.roll_back(what, &who).await }).await?;
    json(&app, StatusCode::OK, &released)
}

/// Whose decisions are only recorded, because an operator said so.
#[utoipa::path(
    get,
    path = "/api/v1/policy/mode",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"monitored\": […]}`", body = Object),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn mode(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"monitored": app.gate.monitored()}))
}

/// Sets whether decisions bind, for everybody or for one agent.
#[utoipa::path(
    post,
    path = "/api/v1/policy/mode",
    tag = "policy",
    request_body = wire_policy::SetMode,
    responses(
        (status = 200, description = "`{\"changed\": …, \"monitored\": […]}`", body = Object),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn set_mode(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: ModeRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let changed = run(&app, async move { gate.set_mode(what, &who).await }).await?;
    json(&app, StatusCode::OK, &value!({"changed": changed, "monitored": app.gate.monitored()}))
}

/// The enforcement points that said what they can enforce, and with which snapshot they work.
#[utoipa::path(
    get,
    path = "/api/v1/enforcement-points",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"points\": […]}`", body = Object),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn points(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"points": app.gate.points()}))
}

/// An enforcement point says what it can enforce, and with which snapshot it works. A snapshot that wants more of it
/// is not published.
#[utoipa::path(
    post,
    path = "/api/v1/enforcement-points",
    tag = "policy",
    request_body = wire_policy::Acknowledgement,
    responses(
        (status = 200, description = "The point as it is known", body = Object),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such snapshot"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: Acknowledgement = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let record = run(&app, async move { gate.acknowledge(what, &who).await }).await?;
    json(&app, StatusCode::OK, &record)
}

/// An enforcement point is gone, and blocks nothing any more.
#[utoipa::path(
    delete,
    path = "/api/v1/enforcement-points/{id}",
    tag = "policy",
    params(("id" = String, Path, description = "The point's name")),
    responses(
        (status = 200, description = "It is forgotten", body = Object),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such point"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn retire(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let gate = Arc::clone(&app.gate);
    let gone = id.clone();
    run(&app, async move { gate.retire_point(&id, &who).await }).await?;
    json(&app, StatusCode::OK, &value!({"retired": gone}))
}
