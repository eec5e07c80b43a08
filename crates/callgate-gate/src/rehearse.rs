//! Deciding on a snapshot alone: for a bundle that no gate has in force.
//!
//! The same `decide`, on a session, nonces and limits that nobody has used. There is no log, so there is no receipt and no
//! permission.

use callgate_core::decide::{Ask, Decided, decide, levels, plan};
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::history::History;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::meters::Meters;
use callgate_policy::Explanation;

use crate::Credential;
use crate::reply::Reply;

/// What a snapshot without a place in a log is called.
const UNPUBLISHED: &str = "unpublished";

/// Decides the wire form of a request as if it were the first in its session.
#[must_use]
pub fn rehearse(snapshot: &Snapshot, request: &[u8], credential: &Credential, now_ms: i64) -> Reply {
    let decided = decided(snapshot, request, credential, now_ms);
    let digest = snapshot.digest.to_string();
    Reply::new(&decided, (UNPUBLISHED, &digest), now_ms, None)
}

/// Decides like [`rehearse`], and explains that decision.
#[must_use]
pub fn explain(snapshot: &Snapshot, request: &[u8], credential: &Credential, now_ms: i64) -> Explanation {
    Explanation::of(snapshot, &decided(snapshot, request, credential, now_ms))
}

fn decided(snapshot: &Snapshot, request: &[u8], credential: &Credential, now_ms: i64) -> Decided {
    let ask = match Request::parse(request, &Limits::REQUEST) {
        Ok(request) => Ask::Request(Box::new(request)),
        Err(problem) => Ask::Malformed(problem.to_string()),
    };
    let mut facts = Facts::new(credential.clone(), now_ms);
    let request = match &ask {
        Ask::Request(request) => Some(request.as_ref()),
        Ask::Malformed(_) => None,
    };
    let asks = levels(snapshot, &ask, credential);
    facts.limits = Meters::default().facts(request, credential, asks.as_deref(), now_ms);
    // Nothing happened before, and nothing is kept, so there is nothing to hide.
    let blind = Digest::of(UNPUBLISHED.as_bytes());
    let queries = plan(snapshot, &ask, credential, &blind);
    facts.history = queries.map(|queries| History::default().read(queries, now_ms, blind));
    decide(snapshot, ask, &facts)
}
