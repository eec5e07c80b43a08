//! What the committer, the housekeeper and the callers of a store share.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use callgate_log::Hash;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use crate::error::{CommitError, StoreFailure};
use crate::fold::{CheckpointSigner, Durable, Entry, Fold};
use crate::fs::Fs;
use crate::layout::Prepared;
use crate::options::Options;
use crate::tree::Tree;

/// What a commit comes to.
pub(crate) type Outcome<C> = Result<Durable, CommitError<C>>;
/// The failure of a store, set at most once.
pub(crate) type FailureCell = Arc<OnceLock<Arc<StoreFailure>>>;

/// An entry waiting for the committer; what can be computed beforehand has been.
pub(crate) struct Queued<S: Fold> {
    pub(crate) entry: Entry<S::Delta>,
    pub(crate) payload_sha256: [u8; 32],
    pub(crate) leaf: Hash,
    pub(crate) reply: oneshot::Sender<Outcome<S::Conflict>>,
}

/// Entries that wait.
pub(crate) struct Queue<S: Fold> {
    pub(crate) waiting: VecDeque<Queued<S>>,
    pub(crate) closed: bool,
}

/// Where the first of a run of groups lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Index of the first receipt.
    pub(crate) first: u64,
    pub(crate) segment: u64,
    /// Byte offset of its group.
    pub(crate) offset: u64,
}

/// What is on disk for good.
#[derive(Default)]
pub(crate) struct OnDisk {
    /// Durable receipts.
    pub(crate) size: u64,
    /// The checkpoint that covers them.
    pub(crate) checkpoint: Option<Arc<[u8]>>,
    /// One mark per [`STRIDE`] bytes, in order.
    pub(crate) marks: Vec<Mark>,
    /// Byte offset after the last group of each segment, from segment 1 on.
    pub(crate) ends: Vec<u64>,
    /// The last group.
    pub(crate) last: Option<Mark>,
    /// Number of groups.
    pub(crate) groups: u64,
    /// Bytes of the groups that were noted here; those behind a saved state count for nothing.
    pub(crate) bytes: u64,
}

/// Bytes of log between two marks: a bound on what reading one receipt costs, and on memory.
const STRIDE: u64 = 128 << 10;

impl OnDisk {
    /// Notes a group that is durable.
    pub(crate) fn note_group(&mut self, group: Mark, end: u64) {
        let near = self.marks.last().is_some_and(|mark| {
            mark.segment == group.segment && group.offset.saturating_sub(mark.offset) < STRIDE
        });
        if !near {
            self.marks.push(group);
        }
        self.last = Some(group);
        self.groups = self.groups.saturating_add(1);
        self.bytes = self.bytes.saturating_add(end.saturating_sub(group.offset));
        let number = usize::try_from(group.segment).unwrap_or(usize::MAX);
        if self.ends.len() < number {
            self.ends.resize(number, 0);
        }
        if let Some(last) = self.ends.last_mut() {
            *last = end;
        }
    }
}

/// What the housekeeper provides, and what keeps it from it.
#[derive(Default)]
pub(crate) struct Supply {
    pub(crate) next: Option<Prepared>,
    /// Number of the segment to prepare.
    pub(crate) wanted: u64,
    /// Why there is no next segment.
    pub(crate) trouble: Option<String>,
    /// Why the newest checkpoint is not in its file.
    pub(crate) unpublished: Option<String>,
    pub(crate) closed: bool,
}

/// How the saving of states goes.
#[derive(Default)]
pub(crate) struct Saving {
    /// Receipts of the newest saved state.
    pub(crate) saved: Option<u64>,
    /// Whether one is being made.
    pub(crate) busy: bool,
    /// Why there is no newer one.
    pub(crate) trouble: Option<String>,
    pub(crate) closed: bool,
}

/// Everything shared.
pub(crate) struct Shared<S: Fold> {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) options: Options,
    pub(crate) state: RwLock<S>,
    pub(crate) queue: Mutex<Queue<S>>,
    /// Wakes the committer.
    pub(crate) arrived: Condvar,
    pub(crate) tree: RwLock<Tree>,
    pub(crate) on_disk: RwLock<OnDisk>,
    pub(crate) supply: Mutex<Supply>,
    /// Wakes the housekeeper, and a committer that waits for a segment.
    pub(crate) supplied: Condvar,
    pub(crate) head: Mutex<crate::witness::Head>,
    pub(crate) failure: FailureCell,
    pub(crate) signer: Arc<dyn CheckpointSigner>,
    /// The state before the first receipt, as [`Fold::save`] writes it; empty if it does not.
    pub(crate) blank: Vec<u8>,
    pub(crate) saving: Mutex<Saving>,
    /// Wakes whoever saves states.
    pub(crate) kept: Condvar,
}

impl<S: Fold> Shared<S> {
    /// Stops the store for good. The first failure is kept; everything waiting is told.
    pub(crate) fn fail(&self, operation: &'static str, file: &str, reason: String) -> Arc<StoreFailure> {
        let failure = StoreFailure { operation, file: file.to_owned(), reason };
        #[cfg(feature = "mutants")]
        if self.options.is(crate::Mutant::ForgetFailure) {
            return Arc::new(failure);
        }
        let failure = Arc::clone(self.failure.get_or_init(|| Arc::new(failure)));
        // A commit looks for the failure under the queue's lock, so none can slip in behind this.
        let waiting = {
            let mut queue = self.queue.lock();
            self.arrived.notify_all();
            std::mem::take(&mut queue.waiting)
        };
        for queued in waiting {
            let _ = queued.reply.send(Err(CommitError::Failed(Arc::clone(&failure))));
        }
        let _supply = self.supply.lock();
        self.supplied.notify_all();
        failure
    }

    pub(crate) fn failed(&self) -> Option<Arc<StoreFailure>> {
        self.failure.get().map(Arc::clone)
    }
}
