//! The heartbeat of calls that run: the gate is asked again and again whether they may go on, and at once when
//! something was stopped. A call that may not is called off; its late result reaches nobody.

use callgate_core::progress::Halt;
use callgate_gate::{OutcomeStatus, Progress, ProgressError};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::message::Id;
use crate::pending::{Entry, State};
use crate::relay::Relay;
use crate::upstream::PassThrough;

/// What the gate said of each running call.
pub(crate) type Beat = Vec<(Id, u64, Result<Progress, ProgressError>)>;

/// What asks, and when.
pub(crate) struct Heart {
    /// Told when something was stopped.
    pub(crate) halts: watch::Receiver<()>,
    /// At most one.
    pub(crate) asked: JoinSet<Beat>,
    /// When it was asked last.
    last: Instant,
    /// Whether something was stopped while it was being asked.
    again: bool,
}

impl Heart {
    pub(crate) fn new(halts: watch::Receiver<()>) -> Self {
        Self { halts, asked: JoinSet::new(), last: Instant::now(), again: false }
    }
}

impl Relay {
    /// When the gate is asked next; never while nothing runs, or while it is being asked.
    pub(crate) fn next_beat(&self) -> Option<Instant> {
        let beats = self.heart.asked.is_empty() && self.pending.has_running();
        let next = self.heart.last.checked_add(self.options.bounds.heartbeat);
        next.filter(|_| beats)
    }

    /// Asks the gate about every running call.
    pub(crate) fn beat(&mut self) {
        self.heart.last = Instant::now();
        if !self.heart.asked.is_empty() {
            self.heart.again = true;
            return;
        }
        let calls = self.pending.receipts();
        if calls.is_empty() {
            return;
        }
        let (gate, credential) = (self.gate.clone(), self.options.credential.clone());
        self.heart.asked.spawn(async move {
            let mut said = Vec::with_capacity(calls.len());
            for (id, receipt) in calls {
                let progress = gate.progress(receipt, &credential).await;
                said.push((id, receipt, progress));
            }
            said
        });
    }

    /// Calls off what may not go on. No answer of the gate is no leave to go on either.
    pub(crate) fn heard(&mut self, beat: Result<Beat, JoinError>) {
        for (id, receipt, progress) in beat.unwrap_or_default() {
            let (reason, status) = match progress {
                Ok(Progress { goes_on: true, .. }) => continue,
                Ok(Progress { code, reason, .. }) => {
                    let late = code == Some(Halt::RuntimeExceeded);
                    let code = code.map_or("AGENT_KILLED", Halt::as_str);
                    let status = if late { OutcomeStatus::TimedOut } else { OutcomeStatus::Cancelled };
                    (format!("{code}: {}", reason.unwrap_or_default()), status)
                }
                Err(problem) => (problem.to_string(), OutcomeStatus::Cancelled),
            };
            // It may have ended meanwhile, or its id may be another call's.
            if self.pending.runs(&id, receipt) {
                self.call_off(&id, &reason, status);
            }
        }
        if std::mem::take(&mut self.heart.again) {
            self.beat();
        }
    }

    fn call_off(&mut self, id: &Id, reason: &str, status: OutcomeStatus) {
        let Some(Entry { state: State::Running(running), .. }) = self.pending.retire(id) else { return };
        if let Some(upstream) = &self.upstream {
            upstream.pass(PassThrough::cancel(id, "stopped"));
        }
        self.notes
            .note(&format!("the call behind receipt {} was called off: {reason}", running.ground.number()));
        self.conclude(&running, status, Some("called off by the gate while it ran"), None);
        let what = format!(
            "it was called off while it ran: {reason}. It may have had some effect: look before you try again."
        );
        let word = if status == OutcomeStatus::TimedOut { "timed_out" } else { "cancelled" };
        self.stop_answer(id, &running, &what, word);
    }
}
