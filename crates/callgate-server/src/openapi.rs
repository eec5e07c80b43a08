//! The OpenAPI document, generated from the handlers and their shapes.
//!
//! `docs/openapi.json` is what this gives, committed; a test compares the two.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{
    approvals, breakers, decide, events, keys, outcomes, policy, progress, receipts, status, stops,
    unchecked, wire,
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
        policy::simulate,
        policy::stage,
        policy::list,
        policy::show,
        policy::publish,
        policy::rollback,
        policy::rollout,
        policy::start_rollout,
        policy::stop_rollout,
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
    modifiers(&Keys)
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
