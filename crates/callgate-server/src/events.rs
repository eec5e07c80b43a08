//! Events as they happen: server-sent events (WHATWG HTML section 9.2) over one long answer.
//!
//! The log is read for each subscriber at its own pace, so whoever does not read is cut and holds up nobody.
//! Must never send an event that the caller may not see, nor go on once the caller's key is no longer good.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use callgate_core::event::{Event, sees};
use callgate_gate::{Credential, Events};
use hyper::body::{Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::app::App;
use crate::credential::Standing;
use crate::options::ServerLimits;
use crate::problem::Problem;

/// Where a client that lost its connection wants to go on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Says to proxies that they should pass everything on at once.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");
/// What a stream begins with: how long to wait before coming back, in milliseconds.
const OPENING: &str = ": callgate events\nretry: 2000\n\n";
/// A comment, so that both ends see that the other is there.
const HEARTBEAT: &str = ": here\n\n";
/// How many events wait for a connection to take them.
const WAITING: usize = 16;

/// Marks an answer that goes on after its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lasts;

/// The places that subscribers have; agents cannot take all of them.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    agents: Arc<Semaphore>,
}

/// Held while a subscriber stays.
type Place = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Places {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        let all = limits.subscribers.min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(all)), agents: Arc::new(Semaphore::new(all.div_ceil(2))) }
    }

    fn take(&self, credential: &Credential) -> Result<Place, Problem> {
        let one = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned();
        let full = |_| {
            let detail = "the gate tells as many subscribers as it takes; try again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        };
        let agent = matches!(credential, Credential::Agent { .. });
        let agents = agent.then(|| one(&self.agents)).transpose().map_err(full)?;
        Ok((one(&self.all).map_err(full)?, agents))
    }
}

/// What happens at the gate, as server-sent events, until the client leaves.
///
/// Each has the place of its receipt in the log as `id`, its kind as `event`, and one line of JSON as `data`.
/// Without a place to go on from, only what happens from now on is told.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "Go on after the event with this id; 0 for all there are"),
        ("last-event-id" = Option<u64>, Header, description = "The same, as clients send it that lost their connection; goes before `after`"),
    ),
    responses(
        (status = 200, description = "The events that the caller may see, as they happen", body = String, content_type = "text/event-stream"),
        (status = 400, description = "That is no place in this log"),
        (status = 503, description = "There are as many subscribers as the gate takes"),
    ),
    security(("key" = []))
)]
pub(crate) async fn subscribe(
    State(app): State<Arc<App>>,
    standing: Standing,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = place(query.as_deref(), &headers)?;
    if after.is_some_and(|after| after > 0 && after >= app.gate.size()) {
        return Err(bad_place("this log has no such event; leave the place out to hear what comes"));
    }
    let taken = app.places.take(&standing.credential)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let telling = Telling { events: app.gate.events(after), standing, sender };
    tokio::spawn(async move {
        telling.run(&app).await;
        drop(taken);
    });
    let mut response = Response::new(Body::new(Flow(receiver)));
    response.extensions_mut().insert(Lasts);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// Where to go on from: the header, else the query.
fn place(query: Option<&str>, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut asked = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match (pair.strip_prefix("after="), asked) {
            (Some(value), None) => asked = Some(value),
            _ => return Err(bad_place("the only parameter is `after`, once: the id of an event")),
        }
    }
    if let Some(last) = headers.get(LAST_EVENT_ID) {
        let text = last.to_str().map_err(|_| bad_place("`last-event-id` is the id of an event, a number"))?;
        asked = Some(text).filter(|text| !text.is_empty()).or(asked);
    }
    let number = |text: &str| text.parse().map_err(|_| bad_place("the id of an event is a number"));
    asked.map(number).transpose()
}

fn bad_place(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// Tells one subscriber.
struct Telling {
    events: Events,
    standing: Standing,
    sender: mpsc::Sender<Bytes>,
}

impl Telling {
    async fn run(mut self, app: &App) {
        let mut stopping = app.stopping();
        let mut text = OPENING.to_owned();
        loop {
            // Nobody takes it any more, or it was cut for not taking it.
            if self.sender.send(text.into()).await.is_err() {
                return;
            }
            text = tokio::select! {
                () = self.sender.closed() => return,
                _ = stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(app.limits.heartbeat_time) => HEARTBEAT.to_owned(),
                next = next(&mut self.events, &self.standing.credential) => match next {
                    Ok(Some(text)) => text,
                    Ok(None) => return,
                    Err(trouble) => {
                        app.log.line(&format!("a subscriber to events was cut: {trouble}"));
                        return;
                    }
                },
            };
            if !self.standing.holds(app) {
                return;
            }
        }
    }
}

/// The next event that the caller may see, as text.
async fn next(events: &mut Events, credential: &Credential) -> Result<Option<String>, String> {
    loop {
        let Some(event) = events.next().await.map_err(|e| e.to_string())? else { return Ok(None) };
        if sees(credential, &event) {
            return form(&event).map(Some);
        }
    }
}

fn form(event: &Event) -> Result<String, String> {
    // JSON text has no line ends of its own.
    let data = serde_json::to_string(event).map_err(|e| format!("an event has no form: {e}"))?;
    Ok(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind))
}

/// A body of pieces as they come.
struct Flow(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Flow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_said_once() {
        let headers = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(LAST_EVENT_ID, value.parse().unwrap());
            }
            headers
        };
        let found = |query, header| place(query, &headers(header)).ok();
        assert_eq!(found(None, None), Some(None));
        assert_eq!(found(Some(""), Some("")), Some(None));
        assert_eq!(found(Some("after=7"), None), Some(Some(7)));
        assert_eq!(found(Some("after=7"), Some("9")), Some(Some(9)));
        assert_eq!(found(Some("after=7"), Some("")), Some(Some(7)));
        for query in ["after=", "after=-1", "after=x", "after=1&after=2", "before=1", "after"] {
            assert_eq!(found(Some(query), None), None, "{query}");
        }
        assert_eq!(found(None, Some("x")), None);
    }
}
