//! Deciding over HTTP: one request, or several together.
//!
//! The work is a task of its own: a client that hangs up takes its connection with it, never a decision that has
//! begun. Must never parse a request otherwise than the gate does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::request::Request;
use callgate_core::state::SessionKey;
use callgate_gate::{Asked, Credential, Decided, Gate, Reply, Unavailable};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire;

/// Decides one request, and makes the receipt durable before it answers.
///
/// Every decision is a 200, denials included. A body that is no request is a receipted denial, too.
#[utoipa::path(
    post,
    path = "/api/v1/decide",
    tag = "decisions",
    request_body = wire::Request,
    responses(
        (status = 200, description = "The decision, receipted and durable", body = wire::Reply),
        (status = 503, description = "The gate could not decide: a denial",
            headers(("retry-after" = u64, description = "When asking again can help, in seconds"))),
    ),
    security(("key" = []))
)]
pub(crate) async fn decide(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let slot = app.slots(1).map_err(Problem::of_decision)?;
    let gate = Arc::clone(&app.gate);
    let work = app.work(async move {
        let decided = gate.decide(Asked::Bytes(body), credential).await;
        drop(slot);
        decided
    });
    match work.await {
        Ok(Ok(decided)) => json(&app, StatusCode::OK, &decided.reply).map_err(Problem::of_decision),
        Ok(Err(unavailable)) => Err(app.undecided(&unavailable)),
        Err(died) => Err(app.died(&died).of_decision()),
    }
}

/// Decides up to 64 requests and answers in their order.
///
/// Requests of one session are decided in order, one after the other; others at the same time.
#[utoipa::path(
    post,
    path = "/api/v1/decide/batch",
    tag = "decisions",
    request_body = wire::Batch,
    responses(
        (status = 200, description = "One answer for each request", body = wire::BatchReply),
        (status = 400, description = "The body is no batch; nothing was decided"),
        (status = 503, description = "The gate could not decide: a denial",
            headers(("retry-after" = u64, description = "When asking again can help, in seconds"))),
    ),
    security(("key" = []))
)]
pub(crate) async fn decide_batch(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let count = split(&body, app.limits.batch)?.len();
    let slots = app.slots(count).map_err(Problem::of_decision)?;
    let (gate, most) = (Arc::clone(&app.gate), app.limits.batch);
    let work = app.work(async move {
        let lanes = split(&body, most).map(|asked| lanes(&asked, &gate)).unwrap_or_default();
        let decided = decide_lanes(gate, credential, lanes).await;
        drop(slots);
        decided
    });
    let decided = work.await.map_err(|died| app.died(&died).of_decision())?;
    let replies = (0..count).map(|place| answer(&app, decided.get(&place))).collect();
    json(&app, StatusCode::OK, &Replies { replies }).map_err(Problem::of_decision)
}

#[derive(Serialize)]
struct Replies<'a> {
    replies: Vec<Answer<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Reply(&'a Reply),
    Problem(Box<wire::Problem>),
}

type Outcome = Result<Decided, Unavailable>;

fn answer<'a>(app: &App, decided: Option<&'a Outcome>) -> Answer<'a> {
    match decided {
        Some(Ok(decided)) => Answer::Reply(&decided.reply),
        Some(Err(unavailable)) => Answer::Problem(Box::new(app.undecided(unavailable).document())),
        None => {
            let lost = app.unavailable("a request of a batch ended without an answer", false);
            Answer::Problem(Box::new(lost.of_decision().document()))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named<'a> {
    #[serde(borrow)]
    requests: Vec<&'a RawValue>,
}

/// The requests of a batch, as they came.
pub(crate) fn split(body: &[u8], most: usize) -> Result<Vec<&RawValue>, Problem> {
    let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail);
    let list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let requests = if list {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|Named { requests }| requests)
    };
    let requests = requests.map_err(|e| {
        wrong(format!(
            "a batch is `[…]` or `{{\"requests\":[…]}}`; this is not, at line {} column {}",
            e.line(),
            e.column()
        ))
    })?;
    if requests.is_empty() || requests.len() > most {
        return Err(wrong(format!("a batch has 1 to {most} requests; this one has {}", requests.len())));
    }
    Ok(requests)
}

/// A request and its place in the batch.
type Lane = Vec<(usize, Asked)>;

/// Requests of one session in one lane, in order; every other request in a lane of its own.
fn lanes(requests: &[&RawValue], gate: &Gate) -> Vec<Lane> {
    let mut sessions: BTreeMap<SessionKey, Lane> = BTreeMap::new();
    let mut lanes = Vec::new();
    for (place, raw) in requests.iter().enumerate() {
        let bytes = raw.get().as_bytes();
        match Request::parse(bytes, gate.limits()) {
            Ok(request) => {
                let key = SessionKey::of(&request);
                let asked = (place, Asked::Request(Box::new(request)));
                if key.is_chained() {
                    sessions.entry(key).or_default().push(asked);
                } else {
                    lanes.push(vec![asked]);
                }
            }
            Err(_) => lanes.push(vec![(place, Asked::Bytes(bytes.to_vec()))]),
        }
    }
    lanes.extend(sessions.into_values());
    lanes
}

async fn decide_lanes(gate: Arc<Gate>, credential: Credential, lanes: Vec<Lane>) -> BTreeMap<usize, Outcome> {
    let mut running = JoinSet::new();
    for lane in lanes {
        running.spawn(decide_in_order(Arc::clone(&gate), credential.clone(), lane));
    }
    let mut decided = BTreeMap::new();
    while let Some(lane) = running.join_next().await {
        decided.extend(lane.unwrap_or_default());
    }
    decided
}

async fn decide_in_order(gate: Arc<Gate>, credential: Credential, lane: Lane) -> Vec<(usize, Outcome)> {
    let mut decided = Vec::with_capacity(lane.len());
    for (place, asked) in lane {
        decided.push((place, gate.decide(asked, credential.clone()).await));
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_list_or_has_one() {
        for (body, expected) in [
            (r"[1,2]", Some(2)),
            (r#" {"requests":[{}]} "#, Some(1)),
            (r"[1,2,3,4]", None),
            (r"[]", None),
            (r#"{"requests":[]}"#, None),
            (r#"{"requests":[1],"more":1}"#, None),
            (r#"{"requests":[1],"requests":[2]}"#, None),
            (r#"{"agent":{"id":"a"}}"#, None),
            ("", None),
            ("[1", None),
            ("[1] []", None),
        ] {
            assert_eq!(split(body.as_bytes(), 3).ok().map(|requests| requests.len()), expected, "{body}");
        }
        assert!(split(b"[\"\xff\"]", 3).is_err());
        assert!(split("[".repeat(100_000).as_bytes(), 3).is_err());
    }
}
