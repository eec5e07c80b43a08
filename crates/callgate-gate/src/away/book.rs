//! One journal with what its lines say: the actions that ran unchecked, and how they ended.

use callgate_store::journal::{Journal, JournalError, Journalled};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::unchecked::wire::{BacklogOutcome, BacklogRecord};

/// The longest request that can be handed in, and the most that is handed in at once, in bytes.
pub(super) const MAX_BYTES: usize = 128 * 1024;

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// An action is about to run.
    Ran { at_ms: i64, lease: u64, request: String },
    /// One that ran ended.
    Ended { of: u64, outcome: BacklogOutcome },
}

/// An action that ran unchecked.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    /// The line that says so.
    pub(super) line: u64,
    pub(super) at_ms: i64,
    lease: u64,
    request: String,
    outcome: Option<BacklogOutcome>,
    /// Whether this program runs it now.
    running: bool,
}

/// A journal and what it says.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) id: String,
    journal: Journal,
    pub(super) actions: Vec<Ran>,
    pub(super) damaged_bytes: u64,
}

impl Book {
    pub(super) const fn new(id: String, journal: Journal) -> Self {
        Self { id, journal, actions: Vec::new(), damaged_bytes: 0 }
    }

    /// Reads back what an earlier program wrote. A line that says nothing counts as damage.
    pub(super) fn read(id: String, journal: Journal, found: Journalled) -> Self {
        let mut book = Self { damaged_bytes: found.damaged_bytes, ..Self::new(id, journal) };
        for (line, body) in (0u64..).zip(found.bodies) {
            match serde_json::from_str(&body) {
                Ok(Line::Ran { at_ms, lease, request }) => {
                    book.actions.push(Ran { line, at_ms, lease, request, outcome: None, running: false });
                }
                Ok(Line::Ended { of, outcome }) => book.close(of, outcome),
                Err(_) => {
                    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
                    book.damaged_bytes = book.damaged_bytes.saturating_add(length);
                }
            }
        }
        book
    }

    /// Why nothing more can be written.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.journal.stopped()
    }

    /// Writes that an action is about to run, durably; gives the line.
    pub(super) fn ran(&mut self, at_ms: i64, lease: u64, request: String) -> Result<u64, JournalError> {
        let line = Line::Ran { at_ms, lease, request: request.clone() };
        let text = serde_json::to_string(&line).map_err(|e| JournalError::Stopped(e.to_string()))?;
        let line = self.journal.append(&text)?;
        self.actions.push(Ran { line, at_ms, lease, request, outcome: None, running: true });
        Ok(line)
    }

    /// Writes how an action ended. That it ended is known here even where the line cannot be written.
    pub(super) fn ended(&mut self, of: u64, outcome: BacklogOutcome) -> Result<(), JournalError> {
        self.close(of, outcome.clone());
        let text = serde_json::to_string(&Line::Ended { of, outcome });
        self.journal.append(&text.map_err(|e| JournalError::Stopped(e.to_string()))?).map(|_| ())
    }

    fn close(&mut self, of: u64, outcome: BacklogOutcome) {
        if let Some(ran) = self.actions.iter_mut().find(|ran| ran.line == of) {
            ran.outcome = Some(outcome);
            ran.running = false;
        }
    }

    /// Whether one of its actions runs in this program.
    pub(super) fn is_running(&self) -> bool {
        self.actions.iter().any(|ran| ran.running)
    }

    pub(super) fn has(&self, line: u64) -> bool {
        self.actions.iter().any(|ran| ran.line == line)
    }

    /// How many actions ran after `since_ms`.
    pub(super) fn ran_since(&self, since_ms: i64) -> u64 {
        let ran = self.actions.iter().filter(|ran| ran.at_ms > since_ms);
        u64::try_from(ran.count()).unwrap_or(u64::MAX)
    }

    /// Up to `most` actions, and as many as one body takes, from the one at `first`, as they are handed in.
    pub(super) fn part(&self, first: usize, most: usize) -> Result<Vec<BacklogRecord>, String> {
        let mut bytes = 0usize;
        let fits = |(_, ran): &(u64, &Ran)| {
            let before = bytes;
            bytes = bytes.saturating_add(ran.request.len());
            before == 0 || bytes <= MAX_BYTES
        };
        let actions = (0u64..).zip(&self.actions).skip(first).take(most).take_while(fits);
        let record = |(sequence, ran): (u64, &Ran)| {
            Ok(BacklogRecord {
                at_ms: ran.at_ms,
                lease: ran.lease,
                outcome: ran.outcome.clone(),
                request: RawValue::from_string(ran.request.clone()).map_err(|e| e.to_string())?,
                sequence,
            })
        };
        actions.map(record).collect()
    }
}
