//! Offline verification of a whole log, with a pinned public key and nothing else.
//!
//! The caller feeds what the log holds, in order, as borrowed bytes; where they come from is not this file's
//! concern. It must never take a key, an origin or a number from the log on trust: the origin is the pinned one or
//! the first one signed, and stays. The rules are the numbered ones of `docs/spec/log.md`.
//!
//! Memory: about 115 bytes per receipt and as many per session.

mod chain;
mod error;

use std::collections::BTreeMap;

pub use error::VerifyError;

use crate::checkpoint::Checkpoint;
use crate::dsse;
use crate::hash::{Hash, sha256};
use crate::keys::{KeyId, Signature, VerifyingKey};
use crate::merkle::{Frontier, leaf_hash};
use crate::segment::{Group, Receipt};
use crate::statement::{Body, DecisionKind, Statement};
use chain::Chains;

/// How far a receipt's time may lie behind the latest one before it, in milliseconds.
///
/// Receipts are dated when they are decided and logged when they are committed, so neighbours may swap by a little;
/// and a gate's clock may be set back. Five minutes is the freshness window of requests.
pub const TIME_TOLERANCE_MS: u64 = 300_000;

/// One thing a log holds.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The next receipt.
    Receipt {
        /// The payload, the leaf of the tree.
        payload: &'a [u8],
        /// The DSSE signature over the payload.
        signature: &'a Signature,
        /// The state delta beside the payload.
        delta: &'a [u8],
    },
    /// A checkpoint over all receipts so far.
    Checkpoint {
        /// The signed note.
        note: &'a [u8],
    },
}

/// What a verified log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// The key that signed the receipts.
    pub key_id: KeyId,
    /// How many receipts there are; equals the size of the last checkpoint.
    pub receipts: u64,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The root of the tree over all receipts.
    pub root: Hash,
    /// How many sessions appear.
    pub sessions: u64,
    /// How many decisions there are, by answer.
    pub decisions: BTreeMap<DecisionKind, u64>,
    /// How many outcomes there are.
    pub outcomes: u64,
    /// Permitted actions whose outcome is not in the log.
    pub without_outcome: u64,
    /// How many changes to the gate there are.
    pub admin: u64,
    /// The earliest and the latest time of issue, in milliseconds since 1970.
    pub issued_ms: Option<(i64, i64)>,
}

#[derive(Debug, Default)]
struct Counts {
    checkpoints: u64,
    decisions: BTreeMap<DecisionKind, u64>,
    outcomes: u64,
    admin: u64,
    issued_ms: Option<(i64, i64)>,
}

/// Verifies a log event by event. After an error it refuses everything, so that no caller can step over one.
#[derive(Debug)]
pub struct LogVerifier {
    receipt_key: VerifyingKey,
    checkpoint_key: VerifyingKey,
    tolerance_ms: u64,
    origin: Option<String>,
    held: Vec<Checkpoint>,
    frontier: Frontier,
    covered: Option<u64>,
    chains: Chains,
    counts: Counts,
    failed: bool,
}

impl LogVerifier {
    /// A verifier that trusts this key for receipts and checkpoints and, if given, expects this origin.
    #[must_use]
    pub fn new(pinned: &VerifyingKey, origin: Option<&str>) -> Self {
        Self {
            receipt_key: *pinned,
            checkpoint_key: *pinned,
            tolerance_ms: TIME_TOLERANCE_MS,
            origin: origin.map(str::to_owned),
            held: Vec::new(),
            frontier: Frontier::new(),
            covered: None,
            chains: Chains::default(),
            counts: Counts::default(),
            failed: false,
        }
    }

    /// Pins another key for checkpoints.
    #[must_use]
    pub fn with_checkpoint_key(mut self, pinned: &VerifyingKey) -> Self {
        self.checkpoint_key = *pinned;
        self
    }

    /// Sets how far time may step back between receipts; see [`TIME_TOLERANCE_MS`].
    #[must_use]
    pub const fn with_time_tolerance_ms(mut self, tolerance_ms: u64) -> Self {
        self.tolerance_ms = tolerance_ms;
        self
    }

    /// Demands that the log still contains a checkpoint that was kept from earlier. May be called repeatedly.
    ///
    /// # Errors
    /// [`VerifyError::Held`] when the kept note itself is not signed by the pinned key for the same log, and
    /// [`VerifyError::Differs`] when it is of an empty tree and its root is not the empty root.
    pub fn with_checkpoint(mut self, note: &[u8]) -> Result<Self, VerifyError> {
        let held = Checkpoint::open(note, &self.checkpoint_key, self.origin.as_deref())
            .map_err(|source| VerifyError::Held { source })?;
        self.origin = Some(held.origin.clone());
        self.held.push(held);
        self.check_held()?;
        Ok(self)
    }

    /// How many receipts were verified so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Verifies the next event.
    ///
    /// # Errors
    /// [`VerifyError`]; it says which receipt and what that means. Every later call fails, too.
    pub fn push(&mut self, event: Event<'_>) -> Result<(), VerifyError> {
        if self.failed {
            return Err(VerifyError::AlreadyFailed);
        }
        let result = match event {
            Event::Receipt { payload, signature, delta } => self.push_receipt(payload, signature, delta),
            Event::Checkpoint { note } => self.push_checkpoint(note),
        };
        self.failed = result.is_err();
        result
    }

    /// Verifies a group of a segment: its receipts, then the checkpoint that covers them.
    ///
    /// # Errors
    /// As for [`LogVerifier::push`].
    pub fn push_group(&mut self, group: &Group<'_>) -> Result<(), VerifyError> {
        for Receipt { payload, signature, delta, .. } in &group.receipts {
            self.push(Event::Receipt { payload, signature, delta })?;
        }
        self.push(Event::Checkpoint { note: group.note })
    }

    /// Ends the log: everything must be covered by a checkpoint, and every held checkpoint must have been met.
    ///
    /// # Errors
    /// [`VerifyError::Shorter`], [`VerifyError::NoCheckpoint`], [`VerifyError::Uncovered`],
    /// [`VerifyError::AlreadyFailed`].
    pub fn finish(self) -> Result<Report, VerifyError> {
        if self.failed {
            return Err(VerifyError::AlreadyFailed);
        }
        let receipts = self.frontier.size();
        if let Some(held) = self.held.iter().map(|held| held.size).max().filter(|held| *held > receipts) {
            return Err(VerifyError::Shorter { receipts, held });
        }
        let (Some(covered), Some(origin)) = (self.covered, self.origin) else {
            return Err(VerifyError::NoCheckpoint { receipts });
        };
        if covered != receipts {
            return Err(VerifyError::Uncovered { index: covered, receipts });
        }
        Ok(Report {
            origin,
            key_id: self.receipt_key.key_id(),
            receipts,
            checkpoints: self.counts.checkpoints,
            root: self.frontier.root(),
            sessions: self.chains.sessions(),
            decisions: self.counts.decisions,
            outcomes: self.counts.outcomes,
            without_outcome: self.chains.without_outcome(),
            admin: self.counts.admin,
            issued_ms: self.counts.issued_ms,
        })
    }

    fn push_receipt(
        &mut self,
        payload: &[u8],
        signature: &Signature,
        delta: &[u8],
    ) -> Result<(), VerifyError> {
        let index = self.frontier.size();
        dsse::verify(&self.receipt_key, payload, signature).map_err(|_| VerifyError::Signature { index })?;
        let statement = Statement::parse(payload).map_err(|source| VerifyError::Payload { index, source })?;
        if sha256(delta) != *statement.effects_digest() {
            return Err(VerifyError::Effects { index });
        }
        self.check_origin(index, &statement.gate().origin)?;
        self.check_time(index, statement.issued_at_ms().get())?;
        self.chains.follow(index, sha256(payload), &statement)?;
        self.count(&statement);
        self.frontier.append(leaf_hash(payload));
        self.check_held()
    }

    fn push_checkpoint(&mut self, note: &[u8]) -> Result<(), VerifyError> {
        let receipts = self.frontier.size();
        let checkpoint = Checkpoint::open(note, &self.checkpoint_key, self.origin.as_deref())
            .map_err(|source| VerifyError::Checkpoint { index: receipts, source })?;
        if checkpoint.size != receipts {
            return Err(VerifyError::Size { receipts, stated: checkpoint.size });
        }
        if checkpoint.root != self.frontier.root() {
            return Err(VerifyError::Root { receipts });
        }
        self.origin = Some(checkpoint.origin);
        self.covered = Some(receipts);
        self.counts.checkpoints = self.counts.checkpoints.saturating_add(1);
        Ok(())
    }

    fn check_origin(&mut self, index: u64, found: &str) -> Result<(), VerifyError> {
        match &self.origin {
            None => self.origin = Some(found.to_owned()),
            Some(expected) if expected == found => {}
            Some(expected) => {
                return Err(VerifyError::Origin {
                    index,
                    found: found.to_owned(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_time(&mut self, index: u64, issued: i64) -> Result<(), VerifyError> {
        let (first, latest) = self.counts.issued_ms.unwrap_or((issued, issued));
        // Times are within ±2^53, so the distance fits.
        let behind = u64::try_from(latest.saturating_sub(issued)).unwrap_or(0);
        if behind > self.tolerance_ms {
            return Err(VerifyError::Time { index, behind_ms: behind, tolerance_ms: self.tolerance_ms });
        }
        self.counts.issued_ms = Some((first.min(issued), latest.max(issued)));
        Ok(())
    }

    /// Compares the tree with the held checkpoints of exactly this size.
    fn check_held(&self) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        let mut same_size = self.held.iter().filter(|held| held.size == size).peekable();
        if same_size.peek().is_none() {
            return Ok(());
        }
        let root = self.frontier.root();
        if same_size.all(|held| held.root == root) { Ok(()) } else { Err(VerifyError::Differs { size }) }
    }

    fn count(&mut self, statement: &Statement) {
        let counter = match statement.body() {
            Body::Decision(decision) => self.counts.decisions.entry(decision.decision).or_default(),
            Body::Outcome(_) => &mut self.counts.outcomes,
            Body::Admin(_) => &mut self.counts.admin,
        };
        *counter = counter.saturating_add(1);
    }
}
