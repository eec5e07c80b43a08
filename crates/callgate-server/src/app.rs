//! What every request shares, and the routes.
//!
//! Must never answer an allow that is not the gate's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use callgate_gate::{Gate, Unavailable};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinHandle};
use tower::Service as _;

use crate::events::Places;
use crate::listen::Entrance;
use crate::options::{Log, ServerLimits, ServerOptions};
use crate::problem::{self, Problem};
use crate::workers::Workers;
use crate::{
    MODE_HEADER, admission, approvals, breakers, decide, events, hidden, keys, openapi, outcomes, policy,
    progress, receipts, rollout, simulate, status, stops, unchecked,
};

/// What every request shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) gate: Arc<Gate>,
    pub(crate) dev: bool,
    pub(crate) limits: ServerLimits,
    pub(crate) log: Log,
    /// Who is told of events.
    pub(crate) places: Places,
    in_flight: Arc<Semaphore>,
    /// For what must get through while everything else is busy: stops, and the heartbeats of what runs.
    reserved: Arc<Semaphore>,
    incidents: AtomicU64,
    stopping: watch::Receiver<bool>,
    workers: Workers,
}

/// How many requests at a time may pass while the gate is busy.
const RESERVED: usize = 64;

/// The right to have the gate do some work; held until that work ends.
pub(crate) type Slot = OwnedSemaphorePermit;

impl App {
    pub(crate) fn new(
        gate: Arc<Gate>,
        options: ServerOptions,
        workers: Workers,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let ServerOptions { dev, limits, log, .. } = options;
        let in_flight = Arc::new(Semaphore::new(slots(&limits)));
        let reserved = Arc::new(Semaphore::new(RESERVED));
        let (places, incidents) = (Places::new(&limits), AtomicU64::new(1));
        Self { gate, dev, limits, log, places, in_flight, reserved, incidents, stopping, workers }
    }

    /// Does what takes time beside what answers connections, to its end even if nobody waits for it.
    pub(crate) fn work<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.workers.spawn(work)
    }

    /// Tells what lasts that the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// A slot for each of `requests`, or none at all.
    pub(crate) fn slots(&self, requests: usize) -> Result<Slot, Problem> {
        let count = u32::try_from(requests).map_err(|_| Problem::busy())?;
        Arc::clone(&self.in_flight).try_acquire_many_owned(count).map_err(|_| Problem::busy())
    }

    /// A slot among those that other requests cannot take; waits for one.
    pub(crate) async fn reserved_slot(&self) -> Result<Slot, Problem> {
        // It is never closed.
        Arc::clone(&self.reserved).acquire_owned().await.map_err(|_| Problem::busy())
    }

    /// Waits for work whose client may be gone.
    pub(crate) async fn settled(&self) {
        let all = u32::try_from(slots(&self.limits)).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this waits for the last slot.
        drop(self.in_flight.acquire_many(all).await);
        drop(self.reserved.acquire_many(u32::try_from(RESERVED).unwrap_or(u32::MAX)).await);
    }

    /// Writes what only the operator may see, and returns the number that joins it to what the client sees.
    fn incident(&self, message: &str) -> u64 {
        let number = self.incidents.fetch_add(1, Ordering::Relaxed);
        self.log.line(&format!("incident {number}: {message}"));
        number
    }

    pub(crate) fn undecided(&self, unavailable: &Unavailable) -> Problem {
        Problem::undecided(self.incident(&unavailable.message), unavailable)
    }

    pub(crate) fn unavailable(&self, message: &str, retryable: bool) -> Problem {
        Problem::unavailable(self.incident(message), retryable)
    }

    /// Work that ended without an answer.
    pub(crate) fn died(&self, error: &JoinError) -> Problem {
        self.unavailable(&format!("a request ended without an answer: {error}"), false)
    }
}

fn slots(limits: &ServerLimits) -> usize {
    limits.in_flight.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize)
}

/// The routes of `docs/spec/wire.md`.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/decide", post(decide::decide))
        .route("/api/v1/decide/batch", post(decide::decide_batch))
        .route("/api/v1/tools/hidden", post(hidden::hidden))
        .route("/api/v1/outcomes", post(outcomes::report_outcome))
        .route("/api/v1/receipts/{id}", get(receipts::read_receipt))
        .route("/api/v1/checkpoint", get(receipts::read_checkpoint))
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/suggestions", get(approvals::suggest))
        .route("/api/v1/approvals/{id}", get(approvals::read))
        .route("/api/v1/approvals/{id}/approve", post(approvals::approve))
        .route("/api/v1/approvals/{id}/reject", post(approvals::reject))
        .route("/api/v1/approvals/{id}/comment", post(approvals::comment))
        .route("/api/v1/approvals/{id}/delegate", post(approvals::delegate))
        .route("/api/v1/standing-approvals", get(approvals::list_standing))
        .route("/api/v1/standing-approvals/{id}/revoke", post(approvals::revoke))
        .route("/api/v1/events", get(events::subscribe))
        .route("/api/v1/policy/simulate", post(simulate::simulate))
        .route("/api/v1/policy/snapshots", get(policy::list).post(policy::stage))
        .route("/api/v1/policy/snapshots/{snapshot}", get(policy::show))
        .route("/api/v1/policy/publish", post(policy::publish))
        .route("/api/v1/policy/rollback", post(policy::rollback))
        .route("/api/v1/policy/rollout", get(rollout::rollout).post(rollout::start_rollout))
        .route("/api/v1/policy/rollout/stop", post(rollout::stop_rollout))
        .route("/api/v1/policy/mode", get(policy::mode).post(policy::set_mode))
        .route("/api/v1/enforcement-points", get(policy::points).post(policy::acknowledge))
        .route("/api/v1/enforcement-points/lease", post(unchecked::lease))
        .route("/api/v1/unchecked", post(unchecked::hand_in))
        .route("/api/v1/enforcement-points/{id}", delete(policy::retire))
        .route("/api/v1/progress", post(progress::report_progress))
        .route("/api/v1/stops", get(stops::list).post(stops::create))
        .route("/api/v1/stops/{id}/lift", post(stops::lift))
        .route("/api/v1/breakers", get(breakers::list))
        .route("/api/v1/breakers/reset", post(breakers::reset))
        .route("/api/v1/limits", get(breakers::limits))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(openapi::document))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .with_state(app)
}

/// One request, within its time.
pub(crate) async fn answer(
    app: &App,
    mut router: Router,
    entrance: Entrance,
    mut request: Request,
) -> Response {
    let decides = request.uri().path().starts_with("/api/v1/decide");
    let policy = request.uri().path().starts_with(crate::body::POLICY);
    let span = if policy { app.limits.policy_time } else { app.limits.request_time };
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let answered = match admission::admit(app, entrance, &request) {
        Err(problem) => Ok(problem.into_response()),
        Ok(()) => {
            request.extensions_mut().insert(entrance);
            let span = span.saturating_add(approvals::waits(&request));
            tokio::time::timeout(span, router.call(request)).await.map(|Ok(response)| response)
        }
    };
    let mut response = answered.unwrap_or_else(|_| {
        let late = app.unavailable("a request was not answered in time", true).closing();
        if decides { late.of_decision() } else { late }.into_response()
    });
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if chunked {
        // It may have named a length, too, and then a proxy may see another request behind it (RFC 9112 section 6.1).
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if app.dev {
        headers.insert(MODE_HEADER, HeaderValue::from_static("development"));
    }
    response
}

/// A JSON answer.
pub(crate) fn json(app: &App, status: StatusCode, answer: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer)
        .map_err(|e| app.unavailable(&format!("an answer has no form: {e}"), false))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
