//! The OpenAPI document, generated from the handlers and their shapes.
//!
//! `docs/openapi.json` is what this gives, committed; a test compares the two.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response as OpenApiResponse};
use utoipa::{Modify, OpenApi};

use crate::problem::MEDIA_TYPE;
use crate::{
    approvals, breakers, decide, events, hidden, keys, outcomes, policy, progress, receipts, rollout,
    simulate, status, stops, unchecked, wire,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Callgate",
        description = "Every tool call is decided before it runs, and nothing runs without a durable, signed receipt. \
                       Only a 200 whose decision permits may be acted on; whatever else comes back is a denial.",
        version = "v1",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "http://127.0.0.1:8081", description = "The default address")),
    paths(
        decide::decide,
        decide::decide_batch,
        hidden::hidden,
        outcomes::report_outcome,
        approvals::list,
        approvals::suggest,
        approvals::read,
        approvals::approve,
        approvals::reject,
        approvals::comment,
        approvals::delegate,
        approvals::list_standing,
        approvals::revoke,
        receipts::read_receipt,
        receipts::read_checkpoint,
        events::subscribe,
        simulate::simulate,
        policy::stage,
        policy::list,
        policy::show,
        policy::publish,
        policy::rollback,
        rollout::rollout,
        rollout::start_rollout,
        rollout::stop_rollout,
        policy::mode,
        policy::set_mode,
        policy::points,
        policy::acknowledge,
        policy::retire,
        progress::report_progress,
        stops::list,
        stops::create,
        stops::lift,
        breakers::list,
        breakers::reset,
        breakers::limits,
        keys::list,
        keys::create,
        keys::revoke,
        status::healthz,
        status::readyz,
        status::metrics,
        unchecked::lease,
        unchecked::hand_in,
    ),
    components(schemas(wire::Request, wire::Reply, wire::Outcome, wire::Problem)),
    tags(
        (name = "decisions", description = "May this action run?"),
        (name = "outcomes", description = "What became of it"),
        (name = "approvals", description = "What waits for people, and what they say"),
        (name = "evidence", description = "Receipts, proofs, checkpoints"),
        (name = "events", description = "What happens at the gate, as it happens"),
        (name = "policy", description = "What decides: simulate, keep, publish, roll back, try; a person's key"),
        (name = "limits", description = "What is stopped, what is open and what is used; a person's key"),
        (name = "enforcement points", description = "What they may do while the gate is away, and what they did"),
        (name = "keys", description = "Who may ask; a person's key"),
        (name = "health", description = "For whoever keeps the gate running; no key needed"),
    ),
    modifiers(&Keys, &Refusals)
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut key = Http::new(HttpAuthScheme::Bearer);
        key.description = Some("An agent's key, `cg_…`".to_owned());
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(key));
    }
}

/// What every route answers alike where it refuses, said once: a route names its refusals, and here they are problem
/// documents; one that wants a key has a 401, and one that reads a body has what may be wrong with any body.
struct Refusals;

const NO_KEY: (&str, &str) = ("401", "No registered key was shown");
const BODIES: [(&str, &str); 3] = [
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON"),
];

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post, &mut path.delete].into_iter().flatten() {
                refuse(operation);
            }
        }
    }
}

fn refuse(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let needs_key = operation.security.is_some().then_some(NO_KEY);
    let reads_body = operation.request_body.is_some().then_some(BODIES);
    for (status, why) in needs_key.into_iter().chain(reads_body.into_iter().flatten()) {
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(OpenApiResponse::new(why)));
    }
    let refusals = responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5']));
    for (_, response) in refusals {
        if let RefOr::T(response) = response
            && response.content.is_empty()
        {
            let schema = Ref::from_schema_name("Problem");
            let content = Content::builder().schema(Some(schema)).build();
            response.content.insert(MEDIA_TYPE.to_owned(), content.into());
        }
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The OpenAPI 3.1 document as it is served and committed.
#[must_use]
pub fn openapi_json() -> &'static str {
    &TEXT
}

/// This document.
pub(crate) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}
