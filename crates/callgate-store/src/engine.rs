//! The committer: turns waiting entries into durable groups. One owner, one group in flight.
//!
//! It must never answer before the sync that covers the answer, and never write again after a write or sync failed.

use std::collections::VecDeque;
use std::sync::Arc;

use callgate_log::segment::{GroupBuilder, Receipt, SECTOR, SegmentHeader};
use tokio::sync::oneshot;

use crate::error::{CommitError, StoreFailure};
use crate::fold::{CheckpointSigner, Durable, Entry, Fold};
use crate::fs::File;
use crate::housekeeper;
use crate::layout::{HEAD, HEADER, Prepared, segment_path};
#[cfg(feature = "mutants")]
use crate::options::Mutant;
use crate::shared::{Mark, Outcome, Queued, Shared};

/// Room kept for a note beyond the longest one seen: the size in it grows by a digit now and then.
const NOTE_SLACK: usize = 64;

/// The segment being written.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) length: u64,
    /// Byte offset of the next group; [`HEADER`] when the header is still to be written.
    pub(crate) offset: u64,
    pub(crate) file: Box<dyn File>,
}

impl Active {
    pub(crate) fn unused(prepared: Prepared) -> Self {
        let Prepared { number, length, file } = prepared;
        Self { number, length, offset: HEADER, file }
    }
}

/// An entry in the group being built, and who waits for it.
struct Pending<C> {
    index: u64,
    reply: oneshot::Sender<Outcome<C>>,
}

/// Whether an entry can be written now.
enum Room {
    Yes,
    Full,
}

/// Writes groups.
pub(crate) struct Engine<S: Fold> {
    shared: Arc<Shared<S>>,
    signer: Arc<dyn CheckpointSigner>,
    active: Active,
    builder: GroupBuilder,
    /// Entries of the group in flight; answered whatever happens.
    pending: Vec<Pending<S::Conflict>>,
    /// Longest note seen.
    note_len: usize,
    /// Prepares segments in line instead of waiting for the housekeeper.
    stepped: bool,
}

impl<S: Fold> Engine<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, active: Active, stepped: bool) -> Self {
        let signer = Arc::clone(&shared.signer);
        let note_len = shared.on_disk.read().checkpoint.as_ref().map_or(0, |note| note.len());
        let note_len =
            if note_len == 0 { signer.sign(0, shared.tree.read().root().as_bytes()).len() } else { note_len };
        let builder = GroupBuilder::default();
        Self { shared, signer, active, builder, pending: Vec::new(), note_len, stepped }
    }

    /// Commits one group from the front of `batch`, or answers its first entry.
    ///
    /// # Errors
    /// The failure that stopped the store; every entry of the group has been answered.
    pub(crate) fn group(&mut self, batch: &mut VecDeque<Queued<S>>) -> Result<(), Arc<StoreFailure>> {
        let Some(front) = batch.front() else { return Ok(()) };
        self.start();
        match self.make_room(&front.entry)? {
            Room::Yes => {}
            Room::Full => {
                if let Some(refused) = batch.pop_front() {
                    let _ = refused.reply.send(Err(CommitError::Full));
                }
                return Ok(());
            }
        }
        self.admit(batch);
        if self.builder.count() == 0 {
            return Ok(());
        }
        let written = self.write();
        match written {
            Ok(durable) => self.acknowledge(&durable),
            Err(failure) => self.refuse(&failure),
        }
    }

    /// Answers everything in flight after a panic.
    pub(crate) fn abandon(&mut self, failure: &Arc<StoreFailure>) {
        for pending in self.pending.drain(..) {
            let _ = pending.reply.send(Err(CommitError::Failed(Arc::clone(failure))));
        }
    }

    fn start(&mut self) {
        let sector = u64::try_from(SECTOR).unwrap_or(u64::MAX);
        let first = self.shared.tree.read().size();
        self.builder.start(self.active.number, self.active.offset.checked_div(sector).unwrap_or(0), first);
    }

    fn note_room(&self) -> usize {
        self.note_len.saturating_add(NOTE_SLACK)
    }

    /// Whether the group with `entry` added fits in front of `limit`.
    fn fits(&self, entry: &Entry<S::Delta>, limit: u64) -> bool {
        let length = self.builder.length_with(&receipt(entry), self.note_room());
        self.active.offset.saturating_add(length) <= limit
    }

    /// The byte the group may not pass: the end of the segment, less the reserve while there is no next one.
    fn limit(&self) -> u64 {
        let supply = self.shared.supply.lock();
        let short = supply.next.is_none() && supply.trouble.is_some();
        self.active.length.saturating_sub(if short { self.shared.options.reserve_bytes } else { 0 })
    }

    /// Makes sure that the first entry of a group fits, in the next segment if need be.
    fn make_room(&mut self, entry: &Entry<S::Delta>) -> Result<Room, Arc<StoreFailure>> {
        if self.fits(entry, self.limit()) {
            return Ok(Room::Yes);
        }
        if self.fits(entry, self.active.length) && self.stepped {
            housekeeper::supply(&self.shared);
            if self.fits(entry, self.limit()) {
                return Ok(Room::Yes);
            }
        }
        let Some(next) = self.next_segment()? else { return Ok(Room::Full) };
        self.active = Active::unused(next);
        self.start();
        Ok(if self.fits(entry, self.limit()) { Room::Yes } else { Room::Full })
    }

    /// Takes the next segment; waits while it is being prepared, gives `None` when it cannot be.
    fn next_segment(&self) -> Result<Option<Prepared>, Arc<StoreFailure>> {
        if self.stepped {
            housekeeper::supply(&self.shared);
        }
        let mut supply = self.shared.supply.lock();
        loop {
            if let Some(failure) = self.shared.failed() {
                return Err(failure);
            }
            if let Some(next) = supply.next.take() {
                supply.wanted = next.number.saturating_add(1);
                self.shared.supplied.notify_all();
                return Ok(Some(next));
            }
            if supply.trouble.is_some() || supply.closed || self.stepped {
                return Ok(None);
            }
            self.shared.supplied.wait(&mut supply);
        }
    }

    /// Checks and applies entries until the group is full; the changed state is visible at once.
    fn admit(&mut self, batch: &mut VecDeque<Queued<S>>) {
        let limit = self.limit();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.write();
        let mut tree = shared.tree.write();
        while self.pending.len() < shared.options.max_group {
            let Some(queued) = batch.front() else { break };
            if !self.fits(&queued.entry, limit) {
                break;
            }
            let Some(Queued { entry, payload_sha256, leaf, reply }) = batch.pop_front() else { break };
            // Whoever waits is known before anything can panic, so that a panic answers with the failure.
            let index = tree.size();
            self.pending.push(Pending { index, reply });
            if let Err(conflict) = self.check(&state, &entry) {
                self.turn_away(CommitError::Conflict(conflict));
                continue;
            }
            if let Err(error) = self.builder.push(&receipt(&entry)) {
                self.turn_away(CommitError::TooLarge(error));
                continue;
            }
            tree.push(leaf);
            state.apply(index, &payload_sha256, &entry.delta);
        }
    }

    /// Answers the entry that was taken last and leaves it out of the group.
    fn turn_away(&mut self, error: CommitError<S::Conflict>) {
        if let Some(pending) = self.pending.pop() {
            let _ = pending.reply.send(Err(error));
        }
    }

    fn check(&self, state: &S, entry: &Entry<S::Delta>) -> Result<(), S::Conflict> {
        #[cfg(feature = "mutants")]
        if self.shared.options.is(Mutant::SkipCheck) {
            return Ok(());
        }
        state.check(&entry.delta)
    }

    /// One write, one sync.
    fn write(&mut self) -> Result<Durable, Arc<StoreFailure>> {
        let (size, root) = {
            let tree = self.shared.tree.read();
            (tree.size(), tree.root().into_bytes())
        };
        let note = self.signer.sign(size, &root);
        if note.is_empty() {
            return Err(self.shared.fail("sign", "checkpoint", "the signer refused".to_owned()));
        }
        let first = self.pending.first().map_or(size, |pending| pending.index);
        #[cfg(feature = "mutants")]
        self.before_sync(size, &root, &note);
        let end = self.put(first, &note)?;
        let mark = Mark { first, segment: self.active.number, offset: self.active.offset };
        self.active.offset = end;
        self.note_len = self.note_len.max(note.len());
        let checkpoint: Arc<[u8]> = note.into();
        {
            let mut on_disk = self.shared.on_disk.write();
            on_disk.note_group(mark, end);
            on_disk.size = size;
            on_disk.checkpoint = Some(Arc::clone(&checkpoint));
        }
        let marked = self.shared.head.lock().write(size, &root);
        marked.map_err(|e| self.shared.fail("write", HEAD, e.to_string()))?;
        Ok(Durable { index: first, size, checkpoint })
    }

    /// Writes and syncs the group, with the segment's header before its first one; gives the byte after it.
    fn put(&mut self, first: u64, note: &[u8]) -> Result<u64, Arc<StoreFailure>> {
        let path = segment_path(self.active.number);
        let fail = |operation, reason: String| self.shared.fail(operation, &path, reason);
        let group = self.builder.finish(note).map_err(|e| fail("close a group in", e.to_string()))?;
        let end = self.active.offset.saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX));
        if end > self.active.length {
            return Err(fail("close a group in", "the checkpoint note has outgrown its room".to_owned()));
        }
        let written = if self.active.offset == HEADER {
            let (segment, length) = (self.active.number, self.active.length);
            let header = SegmentHeader { segment, first, log_id: self.shared.options.log_id, length };
            let mut bytes = header.encode();
            bytes.extend_from_slice(group);
            self.active.file.write_at(&bytes, 0)
        } else {
            self.active.file.write_at(group, self.active.offset)
        };
        written.map_err(|e| fail("write", e.to_string()))?;
        self.sync().map_err(|e| fail("sync", e.to_string()))?;
        Ok(end)
    }

    #[cfg(not(feature = "mutants"))]
    fn sync(&self) -> std::io::Result<()> {
        self.active.file.sync_data()
    }

    #[cfg(feature = "mutants")]
    fn sync(&self) -> std::io::Result<()> {
        match self.shared.options.mutant {
            Some(Mutant::SkipGroupSync) => Ok(()),
            Some(Mutant::RetryAfterFailedSync) => {
                self.active.file.sync_data().or_else(|_| self.active.file.sync_data())
            }
            _ => self.active.file.sync_data(),
        }
    }

    #[cfg(feature = "mutants")]
    fn before_sync(&mut self, size: u64, root: &[u8; 32], note: &[u8]) {
        match self.shared.options.mutant {
            Some(Mutant::AckBeforeSync) => {
                let durable = Durable { index: 0, size, checkpoint: note.into() };
                let _ = self.acknowledge(&durable);
            }
            Some(Mutant::HeadBeforeSync) => {
                let _ = self.shared.head.lock().write(size, root);
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, group: &Durable) -> Result<(), Arc<StoreFailure>> {
        for pending in self.pending.drain(..) {
            let _ = pending.reply.send(Ok(Durable { index: pending.index, ..group.clone() }));
        }
        Ok(())
    }

    fn refuse(&mut self, failure: &Arc<StoreFailure>) -> Result<(), Arc<StoreFailure>> {
        self.abandon(failure);
        Err(Arc::clone(failure))
    }
}

/// An entry as the codec sees it.
pub(crate) fn receipt<D>(entry: &Entry<D>) -> Receipt<'_> {
    Receipt {
        payload: &entry.payload,
        signature: &entry.signature,
        delta: &entry.delta_bytes,
        attachment: &entry.attachment,
    }
}
