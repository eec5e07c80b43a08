//! Keys over HTTP. A key is in one answer, once; what is listed has no secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::Holder;
use serde::Deserialize;
use serde_json::json as value;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::control::{bad, looks, parse, run};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire_policy;

/// The registered keys, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    tag = "keys",
    responses(
        (status = 200, description = "`{\"keys\": […]}`", body = Object),
        (status = 403, description = "An agent's key"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list(State(app): State<Arc<App>>, Caller(who): Caller) -> Result<Response, Problem> {
    looks(&who)?;
    json(&app, StatusCode::OK, &value!({"keys": app.gate.keys()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    agent: Option<String>,
    person: Option<String>,
    #[serde(default)]
    roles: BTreeSet<String>,
    public_key: Option<String>,
    owner: Option<String>,
    team: Option<String>,
    tenant: Option<String>,
}

impl KeyBody {
    fn holder(self) -> Result<Holder, Problem> {
        let Self { agent, person, roles, public_key, owner, team, tenant } = self;
        match (agent, person) {
            (Some(agent), None) if roles.is_empty() && public_key.is_none() => Ok(Holder::Agent {
                agent,
                owner,
                team,
                tenant: tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            }),
            (None, Some(person)) if owner.is_none() && team.is_none() => {
                Ok(Holder::Person { person, public_key, roles, tenant })
            }
            (Some(_), None) => Err(bad("`roles` and `public_key` belong to a `person`, not to an `agent`")),
            (None, Some(_)) => Err(bad("`owner` and `team` belong to an `agent`, not to a `person`")),
            _ => Err(bad("say whose key it is: one of `agent` and `person`")),
        }
    }
}

/// Makes a key and shows it once.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "keys",
    request_body = wire_policy::NewKey,
    responses(
        (status = 200, description = "The key, in `key`; it is shown once", body = Object),
        (status = 400, description = "The body is not one"),
        (status = 403, description = "The control policy does not permit it"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let body: KeyBody = parse(&body, &app)?;
    let holder = body.holder()?;
    let gate = Arc::clone(&app.gate);
    let (record, secret) = run(&app, async move { gate.create_key_as(holder, &who).await }).await?;
    let mut answer = serde_json::to_value(&record).map_err(|e| app.unavailable(&e.to_string(), false))?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("key".to_owned(), secret.reveal().into());
    }
    json(&app, StatusCode::OK, &answer)
}

/// Takes a key back; the next request with it is refused.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{id}",
    tag = "keys",
    params(("id" = String, Path, description = "The key's public name")),
    responses(
        (status = 200, description = "It is revoked", body = Object),
        (status = 403, description = "The control policy does not permit it"),
        (status = 404, description = "There is no such key"),
        (status = 503, description = "The gate cannot do it now; nothing changed"),
    ),
    security(("key" = []))
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let gate = Arc::clone(&app.gate);
    let gone = id.clone();
    run(&app, async move { gate.revoke_key_as(&id, &who).await }).await?;
    json(&app, StatusCode::OK, &value!({"revoked": gone}))
}
