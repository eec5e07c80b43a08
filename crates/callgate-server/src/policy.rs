//! Releasing policy over HTTP: simulate, stage, publish, roll back, try, and set modes.
//!
//! Who may do what is decided by the gate's control policy, never here; an agent's key gets a 403. The work is a
//! task of its own: a client that hangs up ends nothing that has begun.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::constraint::Kind;
use callgate_core::decision::Decision;
use callgate_core::pattern::Pattern;
use callgate_gate::simulate::{Candidate, Corpus, Filter};
use callgate_gate::{
    Acknowledgement, Asked, Bundle, ControlError, Credential, ModeRequest, PublishRequest, Reply,
    RollbackRequest, RolloutRequest, StageRequest, control,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json as value};

use crate::app::{App, Slot, json};
use crate::body::JsonBytes;
use crate::credential::Caller;
use crate::problem::Problem;
use crate::{wire, wire_policy};

/// What a simulated job is called where it does not say who asks and where.
const SIMULATION: &str = "simulation";

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// Reads a body strictly: no repeated keys, no unknown ones.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], app: &App) -> Result<T, Problem> {
    let limits = callgate_core::json::Limits { bytes: app.limits.policy_bytes, ..*app.gate.limits() };
    let value = callgate_core::json::parse(body, &limits).map_err(|e| bad(e.to_string()))?;
    // The typed reader takes a list for an object with its fields in order.
    if value.as_map().is_none() {
        return Err(bad("write an object, such as `{}`"));
    }
    serde_json::from_slice(body).map_err(|e| bad(e.to_string()))
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
    finish(app, slot, work).await
}

/// As [`run`], for what must get through while the gate is busy.
pub(crate) async fn run_reserved<T, F>(app: &Arc<App>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ControlError>> + Send + 'static,
{
    let slot = app.reserved_slot().await?;
    finish(app, slot, work).await
}

async fn finish<T, F>(app: &Arc<App>, slot: Slot, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ControlError>> + Send + 'static,
{
    let task = tokio::spawn(async move {
        let done = work.await;
        drop(slot);
        done
    });
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulateBody {
    job: Option<Map<String, Value>>,
    tenant_id: Option<String>,
    snapshot: Option<String>,
    bundle: Option<BundleBody>,
    history: Option<HistoryBody>,
    corpus: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleBody {
    files: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl BundleBody {
    fn bundle(self) -> Result<Bundle, Problem> {
        if let Some(path) = self.files.keys().find(|path| !callgate_gate::is_bundle_file(path)) {
            return Err(bad(format!("`{path}` is no file of a bundle; write `rules/….yaml` and the like")));
        }
        Ok(Bundle::new(self.files, self.env))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryBody {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    agent: Option<String>,
    tool: Option<String>,
    decision: Option<String>,
}

impl HistoryBody {
    fn filter(self) -> Result<Filter, Problem> {
        let pattern = |field: &str, text: Option<String>| {
            text.map(|text| Pattern::new(&text).map_err(|e| bad(format!("`{field}`: {e}")))).transpose()
        };
        let decision = self
            .decision
            .map(|word| word.parse::<Decision>().map_err(|()| bad(format!("`decision`: `{word}` is none"))));
        Ok(Filter {
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            agent: pattern("agent", self.agent)?,
            tool: pattern("tool", self.tool)?,
            decision: decision.transpose()?,
            ..Filter::default()
        })
    }
}

/// Says how something would be decided: one job, recorded decisions, or a corpus. Nothing is decided for good.
#[utoipa::path(
    post,
    path = "/api/v1/policy/simulate",
    tag = "policy",
    request_body = wire_policy::Simulate,
    responses(
        (status = 200, description = "The decision on the job; for `history` and `corpus`, a report", body = wire_policy::Simulated),
        (status = 400, description = "The body asks for nothing that can be simulated", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key, or a person who may not", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The bundle has errors", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot simulate now", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn simulate(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    looks(&who)?;
    let body: SimulateBody = parse(&body, &app)?;
    match body {
        SimulateBody { job: Some(job), history: None, corpus: None, bundle, snapshot, tenant_id } => {
            let asked = job_request(job, tenant_id)?;
            let candidate = candidate(bundle, snapshot)?;
            let gate = Arc::clone(&app.gate);
            let reply = run(&app, async move { gate.try_out(candidate, Asked::Bytes(asked)).await }).await?;
            json(&app, StatusCode::OK, &simulated(&reply))
        }
        SimulateBody {
            job: None,
            tenant_id: None,
            history: Some(history),
            corpus: None,
            bundle,
            snapshot,
        } => {
            let filter = history.filter()?;
            let gate = Arc::clone(&app.gate);
            let report = match candidate(bundle, snapshot)? {
                Candidate::Kept(name) => {
                    run(
                        &app,
                        async move { gate.simulate_kept(&name, filter, &who, Box::new(|_, _| {})).await },
                    )
                    .await?
                }
                other => run(&app, async move { gate.simulate_history_of(other, filter).await }).await?,
            };
            json(&app, StatusCode::OK, &report)
        }
        SimulateBody { job: None, tenant_id: None, history: None, corpus: Some(lines), bundle, snapshot } => {
            let mut corpus = Corpus::default();
            for (place, line) in (1usize..).zip(&lines) {
                corpus.add_one(&format!("corpus[{place}]"), line.to_string().as_bytes());
            }
            if let Some(wrong) = corpus.bad_lines().first() {
                return Err(bad(format!("{}: {}", wrong.file, wrong.problem)));
            }
            let candidate = candidate(bundle, snapshot)?;
            let gate = Arc::clone(&app.gate);
            let report = run(&app, async move { gate.simulate_corpus_of(candidate, corpus).await }).await?;
            json(&app, StatusCode::OK, &report)
        }
        _ => Err(bad(
            "give one of `job` (with `tenant_id`), `history` or `corpus`, and `snapshot` or `bundle` unless the snapshot in force decides",
        )),
    }
}

fn candidate(bundle: Option<BundleBody>, snapshot: Option<String>) -> Result<Candidate, Problem> {
    match (bundle, snapshot) {
        (Some(_), Some(_)) => Err(bad("give `bundle` or `snapshot`, not both")),
        (Some(bundle), None) => Ok(Candidate::Bundle(bundle.bundle()?)),
        (None, Some(name)) => Ok(Candidate::Kept(name)),
        (None, None) => Ok(Candidate::InForce),
    }
}

/// The wire form of a job: a request that leaves out who asks.
fn job_request(mut job: Map<String, Value>, tenant: Option<String>) -> Result<Vec<u8>, Problem> {
    if let Some(tenant) = tenant
        && job.insert("tenant".to_owned(), tenant.into()).is_some()
    {
        return Err(bad("give `tenant_id` beside `job`, or `tenant` in it, not both"));
    }
    let enforces: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    job.entry("agent").or_insert_with(|| value!({"id": SIMULATION}));
    job.entry("pep").or_insert_with(|| value!({"id": SIMULATION, "enforces": enforces}));
    serde_json::to_vec(&job).map_err(|e| bad(e.to_string()))
}

fn simulated(reply: &Reply) -> Value {
    let mut answer = Map::new();
    answer.insert("decision".to_owned(), reply.decision.as_str().into());
    if let Some(reason) = &reply.reason {
        answer.insert("reason".to_owned(), reason.clone().into());
    }
    let mut constraints = reply.constraints.clone();
    if let Some(all) = constraints.as_object_mut()
        && let Some(ms) = all.get("max_runtime_ms").and_then(Value::as_u64)
        && ms.is_multiple_of(1000)
    {
        all.remove("max_runtime_ms");
        let rest = std::mem::take(all);
        all.insert("max_runtime_sec".to_owned(), (ms / 1000).into());
        all.extend(rest);
    }
    answer.insert("constraints".to_owned(), constraints);
    if let Some(rule) = &reply.matched_rule {
        answer.insert("matched_rule".to_owned(), rule.clone().into());
    }
    Value::Object(answer)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageBody {
    bundle: BundleBody,
    version: Option<String>,
    note: Option<String>,
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
        (status = 400, description = "The body is no bundle", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version is taken", body = wire::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The bundle has errors", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot keep it now", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 400, description = "The body is not one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Something speaks against it, or a second person must agree; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot publish now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 400, description = "The body is not one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was never in force", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot roll back now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
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

/// The candidate that is tried beside the snapshot in force, if any.
#[utoipa::path(
    get,
    path = "/api/v1/policy/rollout",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"rollout\": …}`, null when nothing is tried", body = Object),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn rollout(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"rollout": app.gate.rollout()}))
}

/// Begins to try a kept snapshot: in the shadow, or for a share.
#[utoipa::path(
    post,
    path = "/api/v1/policy/rollout",
    tag = "policy",
    request_body = wire_policy::Rollout,
    responses(
        (status = 200, description = "How it is tried", body = Object),
        (status = 400, description = "The body is not one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Something speaks against it; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn start_rollout(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let what: RolloutRequest = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    let record = run(&app, async move { gate.start_rollout(what, &who).await }).await?;
    json(&app, StatusCode::OK, &record)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopBody {
    note: Option<String>,
}

/// Ends the trial; the snapshot in force decides alone.
#[utoipa::path(
    post,
    path = "/api/v1/policy/rollout/stop",
    tag = "policy",
    request_body = wire_policy::StopRollout,
    responses(
        (status = 200, description = "Nothing is tried any more", body = Object),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing is being tried", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(crate) async fn stop_rollout(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let StopBody { note } = parse(&body, &app)?;
    let gate = Arc::clone(&app.gate);
    run(&app, async move { gate.stop_rollout(note.as_deref(), &who).await }).await?;
    json(&app, StatusCode::OK, &value!({"rollout": null}))
}

/// Whose decisions are only recorded, because an operator said so.
#[utoipa::path(
    get,
    path = "/api/v1/policy/mode",
    tag = "policy",
    responses(
        (status = 200, description = "`{\"monitored\": […]}`", body = Object),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 400, description = "The body is not one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's key", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 400, description = "The body is not one", body = wire::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such snapshot", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
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
        (status = 401, description = "No registered key was shown", body = wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The control policy does not permit it", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such point", body = wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gate cannot do it now; nothing changed", body = wire::Problem, content_type = "application/problem+json"),
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
