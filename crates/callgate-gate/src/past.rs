//! What a receipt says happened, as monitors see it: read back from its sealed record.

use callgate_core::decide::Ask;
use callgate_core::digest::Digest;
use callgate_core::history::{HistoryFacts, Observation, Occurrence, Query};
use callgate_core::in_force::InForce;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, SessionKey};
use callgate_log::Statement;
use callgate_log::hash::sha256;
use callgate_log::statement::{Body, Status};
use callgate_store::StoredReceipt;

use crate::gate::Gate;
use crate::vault::{Attachment, Record};

/// A decision or an outcome.
#[derive(Debug)]
pub(crate) struct Event {
    request: Box<Request>,
    happened: Happened,
}

#[derive(Debug, Clone, Copy)]
enum Happened {
    Decided { allowed: bool },
    Ended { status: Status },
}

/// What is known of a receipt.
#[derive(Debug)]
pub(crate) enum Past {
    /// It is of no decision and no outcome, or what was asked was no request.
    Nothing,
    /// What happened.
    Event(Event),
    /// Something happened, but the request was erased.
    Erased(SessionKey),
}

impl Event {
    /// A decision on a recorded request.
    pub(crate) const fn decided(request: Box<Request>, allowed: bool) -> Self {
        Self { request, happened: Happened::Decided { allowed } }
    }

    /// The end of an action that a recorded request asked for.
    pub(crate) const fn ended(request: Box<Request>, status: Status) -> Self {
        Self { request, happened: Happened::Ended { status } }
    }

    /// The request, seen through the catalogue of `snapshot`.
    fn seen(&self, snapshot: &Snapshot) -> Box<Request> {
        let mut request = self.request.clone();
        snapshot.catalogue.tag(&mut request);
        request
    }

    fn occurrence<'a>(&self, request: &'a Request) -> Occurrence<'a> {
        match self.happened {
            Happened::Decided { allowed } => Occurrence::Decided { request, allowed },
            Happened::Ended { status } => Occurrence::Ended { request, status: word(status) },
        }
    }

    /// What `snapshot` must know of the history before, to say what the event adds to it.
    pub(crate) fn queries(&self, snapshot: &Snapshot, blind: &Digest) -> Vec<Query> {
        let request = self.seen(snapshot);
        match self.happened {
            // A decision observes with what was read to decide.
            Happened::Decided { .. } => snapshot.plan(&Occurrence::Asked(&request), blind),
            Happened::Ended { .. } => snapshot.plan(&self.occurrence(&request), blind),
        }
    }

    /// As [`Self::queries`], for all that is in force.
    pub(crate) fn queries_of(&self, force: &InForce<'_>, blind: &Digest) -> Vec<Query> {
        let mut queries = self.queries(force.live, blind);
        queries.extend(force.candidate.iter().flat_map(|it| self.queries(it.snapshot, blind)));
        queries
    }

    /// As [`Self::observe`], for all that is in force.
    pub(crate) fn observe_for(
        &self,
        force: &InForce<'_>,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        force.observe(|snapshot, history| self.observe(snapshot, history), history)
    }

    /// What the event adds to the history.
    pub(crate) fn observe(
        &self,
        snapshot: &Snapshot,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        snapshot.observe(&self.occurrence(&self.seen(snapshot)), history)
    }
}

impl Gate {
    /// What happened by this receipt.
    pub(crate) fn past(&self, receipt: &StoredReceipt, delta: &Delta) -> Result<Past, String> {
        match &delta.change {
            Change::Decision(decision) => {
                // Without a key it was refused before anything looked at it.
                let Some(key) = &decision.key else { return Ok(Past::Nothing) };
                let allowed = decision.open_until_ms.is_some();
                Ok(match self.asked(receipt)? {
                    Asked::Request(request) => Past::Event(Event::decided(request, allowed)),
                    Asked::Erased => Past::Erased(key.clone()),
                    Asked::Malformed => Past::Nothing,
                })
            }
            Change::Outcome(outcome) => {
                let status = status(&receipt.payload)?;
                let ended = self.ended(outcome.decision, status)?;
                Ok(ended.map_or_else(|| Past::Erased(outcome.key.clone()), Past::Event))
            }
            _ => Ok(Past::Nothing),
        }
    }

    /// The end of the action that the receipt at `decision` allowed; `None` if its request was erased.
    pub(crate) fn ended(&self, decision: u64, status: Status) -> Result<Option<Event>, String> {
        let allowed = self.store.read(decision).map_err(|e| e.to_string())?;
        let allowed = allowed.ok_or_else(|| format!("there is no receipt {decision}"))?;
        match self.asked(&allowed)? {
            Asked::Request(request) => Ok(Some(Event::ended(request, status))),
            Asked::Erased => Ok(None),
            Asked::Malformed => Err(format!("receipt {decision} allowed no request")),
        }
    }

    fn asked(&self, receipt: &StoredReceipt) -> Result<Asked, String> {
        let payload_sha256 = sha256(&receipt.payload).into_bytes();
        match self.vault.open(&receipt.attachment, &payload_sha256)? {
            Attachment::Record(record) => asked(&record),
            Attachment::Erased => Ok(Asked::Erased),
            Attachment::Plain(_) | Attachment::Empty => Err("its request is not beside it".to_owned()),
        }
    }
}

/// What was asked, as far as it can be read.
enum Asked {
    Request(Box<Request>),
    Malformed,
    Erased,
}

fn asked(record: &Record) -> Result<Asked, String> {
    // What an older version refused to read made nothing happen, even if this one reads it.
    if record.malformed {
        return Ok(Asked::Malformed);
    }
    match crate::replay::ask(record)? {
        Ask::Request(request) => Ok(Asked::Request(request)),
        Ask::Malformed(_) => Ok(Asked::Malformed),
    }
}

/// How the outcome in this payload ended.
pub(crate) fn status(payload: &[u8]) -> Result<Status, String> {
    let statement = Statement::parse(payload).map_err(|e| e.to_string())?;
    match statement.body() {
        Body::Outcome(outcome) => Ok(outcome.status),
        _ => Err("its payload is not an outcome's".to_owned()),
    }
}

/// The word that monitors know a status by.
const fn word(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::TimedOut => "timed_out",
        Status::Cancelled => "cancelled",
        Status::NotRun => "not_run",
        Status::Unknown => "unknown",
    }
}
