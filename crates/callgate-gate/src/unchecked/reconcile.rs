//! Taking in what ran while the gate could not be reached.
//!
//! Each step is one entry of the log that names its place in the journal, so that a crash between any two of them
//! neither loses nor doubles anything: what is handed in again is found and passed over.

use callgate_core::decide::Ask;
use callgate_core::json::Limits;
use callgate_core::name::Name;
use callgate_core::request::Request;
use callgate_core::state::unchecked::{MAX_RECORDS, PointKey, UncheckedDelta, WindowDelta};
use callgate_core::state::{Change, Conflict};

use super::speaks_for;
use super::wire::{Backlog, BacklogOutcome, BacklogRecord, BacklogReply, WINDOW, WindowReply};
use crate::Credential;
use crate::commit::CommitFailure;
use crate::error::{ControlError, OutcomeError, Unavailable};
use crate::gate::Gate;
use crate::outcome::OutcomeReport;
use crate::reply::ReceiptReply;

/// The most records in one part of a backlog.
pub(crate) const MAX_PART: usize = 64;
/// How often one record is tried again because its session moved on meanwhile.
const MAX_ATTEMPTS: usize = 256;

impl Gate {
    /// Takes in a part of a journal: each action is receipted as `UNCHECKED` with what would have been decided,
    /// its outcome after it, and at the end the window. Handing in the same again changes nothing.
    ///
    /// # Errors
    /// [`ControlError`]; what came before the problem is taken in.
    pub async fn reconcile(&self, backlog: Backlog, who: &Credential) -> Result<BacklogReply, ControlError> {
        let key = checked(&backlog, who)?;
        let mut receipts = Vec::with_capacity(backlog.records.len());
        for record in &backlog.records {
            let receipt = self.take_in((&key, who), &backlog.journal, record).await?;
            if let Some(outcome) = &record.outcome {
                self.ended_unchecked(receipt, outcome, who).await?;
            }
            receipts.push(receipt);
        }
        if backlog.complete {
            self.close_window(&key, &backlog).await?;
        }
        let mut reply = BacklogReply { receipts, ..BacklogReply::default() };
        let closed = self.store.state(|state| {
            let journal = state.0.unchecked().journal(&key, &backlog.journal)?;
            (reply.exceeded, reply.refused) = (journal.exceeded, journal.refused);
            reply.next = u64::try_from(journal.receipts.len()).unwrap_or(u64::MAX);
            journal.closed
        });
        reply.closed = closed.is_some();
        reply.window = closed.map(|index| self.window(index)).transpose()?;
        Ok(reply)
    }

    /// What proves that a window is on the log.
    fn window(&self, index: u64) -> Result<WindowReply, Unavailable> {
        let read = self.receipt(index, &Credential::Local);
        let ReceiptReply { receipt_index, receipt, proof, .. } =
            read.map_err(|e| Unavailable::now(e.to_string()))?;
        Ok(WindowReply { receipt_index, receipt, proof })
    }

    /// The receipt of an action, made now unless there is one.
    async fn take_in(
        &self,
        (key, who): (&PointKey, &Credential),
        journal: &str,
        record: &BacklogRecord,
    ) -> Result<u64, ControlError> {
        let mut request = self.ran(key, record)?;
        if let Credential::Agent { team, .. } = who {
            // The key's team counts. A record that says another one is no reason to refuse it: it ran.
            request.agent.team = team.as_deref().and_then(|team| Name::new(team).ok());
        }
        for _ in 0..MAX_ATTEMPTS {
            if let Some(receipt) = self.taken_in(key, journal, record)? {
                return Ok(receipt);
            }
            match self.receipt_unchecked((key, who), journal, record, &request).await {
                Ok(receipt) => return Ok(receipt),
                Err(CommitFailure::Conflict(Conflict::Snapshot)) => drop(self.publishing.lock().await),
                Err(CommitFailure::Conflict(_)) => {}
                Err(CommitFailure::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        Err(Unavailable::now("this session has too many requests at once; hand it in again").into())
    }

    /// The receipt of an action that is on the log already; `None` for the one that comes next.
    fn taken_in(
        &self,
        key: &PointKey,
        journal: &str,
        record: &BacklogRecord,
    ) -> Result<Option<u64>, ControlError> {
        let at = usize::try_from(record.sequence).unwrap_or(usize::MAX);
        let (known, next, closed) = self.store.state(|state| {
            let journal = state.0.unchecked().journal(key, journal);
            let receipts = journal.map_or(&[][..], |journal| &journal.receipts);
            (receipts.get(at).copied(), receipts.len(), journal.is_some_and(|it| it.closed.is_some()))
        });
        match known {
            Some(receipt) => Ok(Some(receipt)),
            None if at != next => Err(ControlError::Invalid(format!(
                "`records`: after {next} action(s) of this journal, number {at} cannot come; hand them in in order"
            ))),
            None if closed => {
                Err(ControlError::Invalid("this journal's window is over; begin another journal".to_owned()))
            }
            None if next >= MAX_RECORDS => Err(ControlError::Invalid(format!(
                "a journal has at most {MAX_RECORDS} actions; begin another one"
            ))),
            None => Ok(None),
        }
    }

    /// Decides after the fact, on the facts as they are now, and commits that.
    async fn receipt_unchecked(
        &self,
        (key, who): (&PointKey, &Credential),
        journal: &str,
        record: &BacklogRecord,
        request: &Request,
    ) -> Result<u64, CommitFailure> {
        let at_ms = record.at_ms.min(self.now_ms());
        let exceeded = self.store.state(|state| {
            let unchecked = state.0.unchecked();
            unchecked.exceeded(key, journal, (record.lease, at_ms), request.action_name())
        });
        let unchecked = UncheckedDelta {
            at_ms,
            exceeded,
            journal: journal.to_owned(),
            lease: record.lease,
            point: key.point.clone(),
            // Deciding it tells.
            refused: false,
            sequence: record.sequence,
        };
        let active = self.active.load_full();
        let ask = Ask::Request(Box::new(Request { ts_ms: Some(self.now_ms()), ..request.clone() }));
        let entry = self.attempt_after(ask, who, &active, unchecked)?;
        let receipt = self.store.commit(entry).await?.index;
        self.watch_breakers();
        Ok(receipt)
    }

    /// The request of a record, if it is one of this agent.
    fn ran(&self, key: &PointKey, record: &BacklogRecord) -> Result<Request, ControlError> {
        let limits: &Limits = self.limits();
        let request = Request::parse(record.request.get().as_bytes(), limits)
            .map_err(|e| ControlError::Invalid(format!("`records`: number {}: {e}", record.sequence)))?;
        if request.agent.id.as_str() != key.agent || request.tenant.as_str() != key.tenant {
            return Err(ControlError::Stranger(request.agent.id.as_str().to_owned()));
        }
        Ok(request)
    }

    /// Records how an action ended, unless that is known.
    async fn ended_unchecked(
        &self,
        receipt: u64,
        outcome: &BacklogOutcome,
        who: &Credential,
    ) -> Result<(), ControlError> {
        let mut report = OutcomeReport::new(receipt, outcome.status);
        report.finished_at_ms = outcome.finished_at_ms;
        report.result_sha256.clone_from(&outcome.result_sha256);
        match self.report(report, who).await {
            Ok(_) | Err(OutcomeError::NotOpen(_)) => Ok(()),
            Err(OutcomeError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(other) => Err(ControlError::Invalid(other.to_string())),
        }
    }

    /// Writes down that a window is over, once.
    async fn close_window(&self, key: &PointKey, backlog: &Backlog) -> Result<(), ControlError> {
        let now_ms = self.now_ms();
        let window = self.store.state(|state| {
            let journal = state.0.unchecked().journal(key, &backlog.journal);
            let open = journal.is_none_or(|journal| journal.closed.is_none());
            open.then(|| WindowDelta {
                count: journal.map_or(0, |it| u64::try_from(it.receipts.len()).unwrap_or(u64::MAX)),
                damaged_bytes: backlog.damaged_bytes,
                exceeded: journal.map_or(0, |it| it.exceeded),
                from_ms: journal.map_or(now_ms, |it| it.first_ms),
                journal: backlog.journal.clone(),
                key: key.clone(),
                refused: journal.map_or(0, |it| it.refused),
                to_ms: journal.map_or(now_ms, |it| it.last_ms),
            })
        });
        let Some(window) = window else { return Ok(()) };
        let mut details = vec![
            ("agent", key.agent.clone()),
            ("count", window.count.to_string()),
            ("exceeded", window.exceeded.to_string()),
            ("from_ms", window.from_ms.to_string()),
            ("journal", window.journal.clone()),
            ("point", key.point.clone()),
            ("refused", window.refused.to_string()),
            ("tenant", key.tenant.clone()),
            ("to_ms", window.to_ms.to_string()),
        ];
        let damaged = (window.damaged_bytes > 0).then(|| ("damaged_bytes", window.damaged_bytes.to_string()));
        details.extend(damaged);
        let actor = format!("point:{}", key.point);
        self.note(WINDOW, &actor, &details, Change::UncheckedWindow(window), Vec::new()).await?;
        Ok(())
    }
}

/// Whose journal it is, if the credential may speak for it.
fn checked(backlog: &Backlog, who: &Credential) -> Result<PointKey, ControlError> {
    let Backlog { agent, tenant, point, journal, records, .. } = backlog;
    for (field, text) in [("agent", agent), ("tenant", tenant), ("point", point), ("journal", journal)] {
        Name::new(text).map_err(|e| ControlError::Invalid(format!("`{field}`: {e}")))?;
    }
    if records.len() > MAX_PART {
        return Err(ControlError::Invalid(format!("`records`: at most {MAX_PART} at a time")));
    }
    speaks_for(who, agent, tenant)?;
    Ok(PointKey { agent: agent.clone(), point: point.clone(), tenant: tenant.clone() })
}
