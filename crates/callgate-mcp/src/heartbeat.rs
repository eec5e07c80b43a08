//! The heartbeat of calls that run: the gate is asked again and again whether they may go on, and at once when
//! something was stopped. A call that may not is called off; its late result reaches nobody.

use std::sync::Arc;
use std::time::Duration;

use callgate_core::progress::Halt;
use callgate_gate::{AnyGate, Credential, Ground, OutcomeStatus, Progress, ProgressError, Unavailable};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::message::Id;
use crate::pending::{Entry, State};
use crate::relay::Relay;
use crate::upstream::PassThrough;

/// What the gate said of each running call.
pub(crate) type Beat = Vec<(Id, Ground, Result<Progress, ProgressError>)>;

/// How many calls the gate is asked about at once.
const AT_ONCE: usize = 64;
/// How long it may take to say of all of them; of what it has not said then, it has said nothing.
const PATIENCE: Duration = Duration::from_secs(12);

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
        let calls = self.pending.grounds();
        if calls.is_empty() {
            return;
        }
        let (gate, credential) = (self.gate.clone(), self.options.credential.clone());
        self.heart.asked.spawn(asked(gate, credential, calls));
    }

    /// Calls off what may not go on. No answer of the gate is no leave to go on either.
    pub(crate) fn heard(&mut self, beat: Result<Beat, JoinError>) {
        for (id, ground, progress) in beat.unwrap_or_default() {
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
            if self.pending.runs(&id, ground) {
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
        let on = match running.ground {
            Ground::Receipt(receipt) => format!("behind receipt {receipt}"),
            Ground::Unchecked(record) => format!("of record {record} of the journal"),
        };
        self.notes.note(&format!("the call {on} was called off: {reason}"));
        self.conclude(&running, status, Some("called off by the gate while it ran"), None);
        let what = format!(
            "it was called off while it ran: {reason}. It may have had some effect: look before you try again."
        );
        let word = if status == OutcomeStatus::TimedOut { "timed_out" } else { "cancelled" };
        self.stop_answer(id, &running, &what, word);
    }
}

/// Asks about all calls side by side, so that a gate that does not answer keeps none of them waiting for the others.
async fn asked(gate: AnyGate, credential: Credential, calls: Vec<(Id, String, Ground)>) -> Beat {
    let (places, mut asking) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (at, (_, name, ground)) in calls.iter().enumerate() {
        let (gate, credential, places) = (gate.clone(), credential.clone(), Arc::clone(&places));
        let (name, ground) = (name.clone(), *ground);
        asking.spawn(async move {
            let one = async {
                // It is never closed.
                let _place = places.acquire().await;
                gate.progress(ground, &name, &credential).await
            };
            (at, tokio::time::timeout(PATIENCE, one).await.ok())
        });
    }
    let mut said: Vec<_> = calls.iter().map(|_| None).collect();
    while let Some(done) = asking.join_next().await {
        // What died has said nothing.
        if let Ok((at, progress)) = done
            && let Some(place) = said.get_mut(at)
        {
            *place = progress;
        }
    }
    let silent = || Err(ProgressError::from(silence()));
    let one = |((id, _, ground), said): (_, Option<_>)| (id, ground, said.unwrap_or_else(silent));
    calls.into_iter().zip(said).map(one).collect()
}

fn silence() -> Unavailable {
    let message = "the gate did not say in time whether it may go on".to_owned();
    Unavailable { message, retryable: true }
}
