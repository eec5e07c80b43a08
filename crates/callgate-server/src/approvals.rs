//! Approvals over HTTP: what waits for people, and what they say. Must never tell an approval of somebody else
//! from one that is not there.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use callgate_gate::{
    ApprovalError, ApprovalFilter, Gate, Said, StandingAsk, approval_number, standing_number,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json as object;

use crate::app::{App, json};
use crate::body::{JsonBytes, object};
use crate::credential::Caller;
use crate::problem::Problem;
use crate::wire;

/// The longest a read waits for people.
const MAX_WAIT: Duration = Duration::from_secs(60);
const FOLDER: &str = "/api/v1/approvals/";

/// What the caller asked of a list or a read.
#[derive(Default)]
struct Asked {
    filter: ApprovalFilter,
    wait: Duration,
}

/// How much longer than others a request may take because it waits for people.
pub(crate) fn waits(request: &Request) -> Duration {
    let waits = request.uri().path().starts_with(FOLDER);
    let asked = asked(request.uri().query().filter(|_| waits), &["wait"]);
    asked.map_or(Duration::ZERO, |asked| asked.wait)
}

fn asked(query: Option<&str>, known: &[&str]) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    let mut seen = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) || seen.contains(&name) {
            let wanted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return Err(bad_query(format!("the parameters are {}, each once", wanted.join(", "))));
        }
        seen.push(name);
        let value =
            decoded(value).ok_or_else(|| bad_query(format!("`{name}` is not percent-encoded UTF-8")))?;
        match name {
            "include_resolved" => {
                asked.filter.include_resolved = match value.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(bad_query("`include_resolved`: write `true` or `false`")),
                };
            }
            "tenant" => asked.filter.tenant = Some(value),
            "agent" => asked.filter.agent = Some(value),
            _ => asked.wait = wait(&value)?,
        }
    }
    Ok(asked)
}

/// The parameters of a query, those in `known` and each once at most.
pub(crate) fn parameters(query: Option<&str>, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let mut all = BTreeMap::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value =
            decoded(value).ok_or_else(|| bad_query(format!("`{name}` is not percent-encoded UTF-8")))?;
        if !known.contains(&name) || all.insert(name.to_owned(), value).is_some() {
            let wanted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return Err(bad_query(format!("the parameters are {}, each once", wanted.join(", "))));
        }
    }
    Ok(all)
}

/// Percent-decoding, RFC 3986 section 2.1; a plus is a plus.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?);
    }
    String::from_utf8(out).ok()
}

fn wait(text: &str) -> Result<Duration, Problem> {
    let seconds = text.strip_suffix('s').filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    let span = seconds.and_then(|number| number.parse().ok()).map(Duration::from_secs);
    let span = span.filter(|span| *span <= MAX_WAIT);
    span.ok_or_else(|| bad_query("`wait`: write whole seconds up to a minute, such as `30s`"))
}

fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// What waits for people, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/approvals",
    tag = "approvals",
    params(
        ("include_resolved" = Option<bool>, Query, description = "Those that nobody has to decide any more, too, as far as they are remembered; `false` if absent"),
        ("tenant" = Option<String>, Query, description = "Only this tenant's"),
        ("agent" = Option<String>, Query, description = "Only this agent's"),
    ),
    responses(
        (status = 200, description = "The approvals that the caller may see", body = wire::ApprovalList),
        (status = 400, description = "There is no such parameter"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query.as_deref(), &["include_resolved", "tenant", "agent"])?;
    let approvals = app.gate.approvals(&asked.filter, &credential);
    json(&app, StatusCode::OK, &object!({"approvals": approvals}))
}

/// One approval with everything a reviewer needs; with `wait`, once people have decided or that time is over.
#[utoipa::path(
    get,
    path = "/api/v1/approvals/{id}",
    tag = "approvals",
    params(
        ("id" = String, Path, description = "The approval, such as `apr-12`"),
        ("wait" = Option<String>, Query, description = "Wait until people have nothing to decide any more, so long at most; whole seconds up to `60s`"),
    ),
    responses(
        (status = 200, description = "The approval", body = wire::ApprovalDetail),
        (status = 400, description = "There is no such parameter"),
        (status = 404, description = "There is no such approval for this caller"),
        (status = 503, description = "The log cannot be read"),
    ),
    security(("key" = []))
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    RawQuery(query): RawQuery,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let asked = asked(query.as_deref(), &["wait"])?;
    let id = number(id, approval_number)?;
    if !asked.wait.is_zero() {
        let now = tokio::time::Instant::now();
        let until = now.checked_add(asked.wait).unwrap_or(now);
        // Waiting costs the gate nothing, so it holds no slot.
        app.gate.await_approval(id, &credential, until).await.map_err(|error| refused(&app, error))?;
    }
    reading(&app, move |gate| gate.approval(id, &credential)).await
}

/// Agrees, for the stage that is being decided.
#[utoipa::path(
    post,
    path = "/api/v1/approvals/{id}/approve",
    tag = "approvals",
    params(("id" = String, Path, description = "The approval, such as `apr-12`")),
    request_body = wire::ApproveBody,
    responses(
        (status = 200, description = "How the approval stands now; the vote is durable", body = wire::ApprovalItem),
        (status = 400, description = "The body is no vote"),
        (status = 403, description = "The caller may not decide on this"),
        (status = 404, description = "There is no such approval for this caller"),
        (status = 409, description = "There is nothing left to decide"),
        (status = 503, description = "It was not recorded"),
    ),
    security(("key" = []))
)]
pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let id = number(id, approval_number)?;
    let wire::ApproveBody { comment, standing } = parse(&body, &app)?;
    let standing = standing.map(|it| StandingAsk { fixed: it.fixed, span_ms: it.span_ms, uses: it.uses });
    let said = Said { comment, standing };
    acting(&app, move |gate| async move { gate.approve(id, &credential, said).await }).await
}

/// Says no: the approval is over, and asking again is denied for a while.
#[utoipa::path(
    post,
    path = "/api/v1/approvals/{id}/reject",
    tag = "approvals",
    params(("id" = String, Path, description = "The approval, such as `apr-12`")),
    request_body = wire::RejectBody,
    responses(
        (status = 200, description = "How the approval stands now; the vote is durable", body = wire::ApprovalItem),
        (status = 400, description = "The body is no vote"),
        (status = 403, description = "The caller may not decide on this"),
        (status = 404, description = "There is no such approval for this caller"),
        (status = 409, description = "There is nothing left to decide"),
        (status = 503, description = "It was not recorded"),
    ),
    security(("key" = []))
)]
pub(crate) async fn reject(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let id = number(id, approval_number)?;
    let wire::RejectBody { comment } = parse(&body, &app)?;
    acting(&app, move |gate| async move { gate.reject(id, &credential, comment).await }).await
}

/// Says something to the other reviewers without voting.
#[utoipa::path(
    post,
    path = "/api/v1/approvals/{id}/comment",
    tag = "approvals",
    params(("id" = String, Path, description = "The approval, such as `apr-12`")),
    request_body = wire::CommentBody,
    responses(
        (status = 200, description = "How the approval stands now; the comment is durable", body = wire::ApprovalItem),
        (status = 400, description = "The body is no comment"),
        (status = 403, description = "The caller may not say anything here"),
        (status = 404, description = "There is no such approval for this caller"),
        (status = 409, description = "There is nothing left to decide"),
        (status = 503, description = "It was not recorded"),
    ),
    security(("key" = []))
)]
pub(crate) async fn comment(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let id = number(id, approval_number)?;
    let wire::CommentBody { comment } = parse(&body, &app)?;
    acting(&app, move |gate| async move { gate.comment(id, &credential, comment).await }).await
}

/// Hands the caller's vote on this approval to another person.
#[utoipa::path(
    post,
    path = "/api/v1/approvals/{id}/delegate",
    tag = "approvals",
    params(("id" = String, Path, description = "The approval, such as `apr-12`")),
    request_body = wire::DelegateBody,
    responses(
        (status = 200, description = "How the approval stands now; the delegation is durable", body = wire::ApprovalItem),
        (status = 400, description = "The body names nobody"),
        (status = 403, description = "The caller has no vote to hand over, or not to them"),
        (status = 404, description = "There is no such approval for this caller"),
        (status = 409, description = "There is nothing left to decide"),
        (status = 503, description = "It was not recorded"),
    ),
    security(("key" = []))
)]
pub(crate) async fn delegate(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let id = number(id, approval_number)?;
    let wire::DelegateBody { to, comment } = parse(&body, &app)?;
    acting(&app, move |gate| async move { gate.delegate(id, &credential, &to, comment).await }).await
}

/// Rules that would have answered what people granted again and again. None of them is applied.
#[utoipa::path(
    get,
    path = "/api/v1/approvals/suggestions",
    tag = "approvals",
    responses(
        (status = 200, description = "The suggestions, with what they rest on", body = wire::SuggestionList),
    ),
    security(("key" = []))
)]
pub(crate) async fn suggest(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
) -> Result<Response, Problem> {
    reading(&app, move |gate| Ok(object!({"suggestions": gate.suggestions(&credential)}))).await
}

/// The standing approvals, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/standing-approvals",
    tag = "approvals",
    params(
        ("include_resolved" = Option<bool>, Query, description = "Those that ended, too, as far as they are remembered; `false` if absent"),
        ("tenant" = Option<String>, Query, description = "Only this tenant's"),
        ("agent" = Option<String>, Query, description = "Only this agent's"),
    ),
    responses(
        (status = 200, description = "The standing approvals that the caller may see", body = wire::StandingList),
        (status = 400, description = "There is no such parameter"),
    ),
    security(("key" = []))
)]
pub(crate) async fn list_standing(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query.as_deref(), &["include_resolved", "tenant", "agent"])?;
    let standing = app.gate.standing_approvals(&asked.filter, &credential);
    json(&app, StatusCode::OK, &object!({"standing_approvals": standing}))
}

/// Takes a standing approval back.
#[utoipa::path(
    post,
    path = "/api/v1/standing-approvals/{id}/revoke",
    tag = "approvals",
    params(("id" = String, Path, description = "The standing approval, such as `std-14`")),
    request_body = wire::RevokeBody,
    responses(
        (status = 200, description = "It is revoked, and that is durable", body = wire::StandingItem),
        (status = 400, description = "The body is no empty object"),
        (status = 403, description = "The caller may not take it back"),
        (status = 404, description = "There is no such standing approval for this caller"),
        (status = 409, description = "It ended already"),
        (status = 503, description = "It was not recorded"),
    ),
    security(("key" = []))
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Caller(credential): Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let id = number(id, standing_number)?;
    let wire::RevokeBody {} = parse(&body, &app)?;
    acting(&app, move |gate| async move { gate.revoke_standing(id, &credential).await }).await
}

fn number(
    id: Result<Path<String>, PathRejection>,
    read: impl Fn(&str) -> Result<u64, ApprovalError>,
) -> Result<u64, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found("an id is text, such as `apr-12`"))?;
    read(&id).map_err(|error| Problem::not_found(error.to_string()))
}

fn parse<T: DeserializeOwned>(body: &[u8], app: &App) -> Result<T, Problem> {
    let invalid = |problem: String| Problem::new(StatusCode::BAD_REQUEST, "invalid-approval", problem);
    object(body, app.gate.limits()).map_err(invalid)
}

/// Does something that is recorded, to its end even if the client leaves.
async fn acting<T, F>(app: &Arc<App>, act: impl FnOnce(Arc<Gate>) -> F) -> Result<Response, Problem>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, ApprovalError>> + Send + 'static,
{
    let slot = app.slots(1)?;
    let acting = act(Arc::clone(&app.gate));
    let work = app.work(async move {
        let done = acting.await;
        drop(slot);
        done
    });
    answered(app, work.await)
}

/// Reads the disk, so not on a thread that serves connections.
async fn reading<T: Serialize + Send + 'static>(
    app: &Arc<App>,
    read: impl FnOnce(&Gate) -> Result<T, ApprovalError> + Send + 'static,
) -> Result<Response, Problem> {
    let (slot, gate) = (app.slots(1)?, Arc::clone(&app.gate));
    let work = tokio::task::spawn_blocking(move || {
        let found = read(&gate);
        drop(slot);
        found
    });
    answered(app, work.await)
}

fn answered<T: Serialize>(
    app: &App,
    done: Result<Result<T, ApprovalError>, tokio::task::JoinError>,
) -> Result<Response, Problem> {
    match done {
        Ok(Ok(answer)) => json(app, StatusCode::OK, &answer),
        Ok(Err(error)) => Err(refused(app, error)),
        Err(died) => Err(app.died(&died)),
    }
}

fn refused(app: &App, error: ApprovalError) -> Problem {
    let message = error.to_string();
    match error {
        ApprovalError::Unknown(_) => Problem::not_found(message),
        ApprovalError::Closed { .. } => Problem::new(StatusCode::CONFLICT, "not-open", message),
        ApprovalError::Refused(_) => Problem::new(StatusCode::FORBIDDEN, "not-yours-to-decide", message),
        ApprovalError::Invalid(_) => Problem::new(StatusCode::BAD_REQUEST, "invalid-approval", message),
        ApprovalError::Unreadable(problem) => app.unavailable(&problem, false),
        ApprovalError::Unavailable(unavailable) => {
            app.unavailable(&unavailable.message, unavailable.retryable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let known = ["include_resolved", "tenant", "agent"];
        let asked_of = |query: &str| asked(Some(query), &known);
        let asked_all = asked_of("include_resolved=true&tenant=a%20b&agent=%C3%A4").ok().unwrap();
        assert!(asked_all.filter.include_resolved);
        assert_eq!(asked_all.filter.tenant.as_deref(), Some("a b"));
        assert_eq!(asked_all.filter.agent.as_deref(), Some("ä"));
        for query in [
            "include_resolved=yes",
            "include_resolved",
            "tenant=a&tenant=b",
            "tenant=%zz",
            "tenant=%ff",
            "wait=1s",
            "x=1",
        ] {
            assert!(asked_of(query).is_err(), "{query}");
        }
        assert_eq!(wait("30s").ok(), Some(Duration::from_secs(30)));
        for text in ["", "s", "30", "61s", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }
}
