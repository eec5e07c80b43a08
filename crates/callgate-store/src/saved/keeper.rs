//! When states are saved, and how without standing in a commit's way: a second state is folded from the newest saved
//! one and the log since, so that the state in use is neither copied nor locked. It costs the memory of a second state
//! while it lasts.

use std::sync::Arc;

use callgate_log::merkle::leaf_hash;
use callgate_log::segment::{Group, SegmentReader, Step};
use sha2::{Digest, Sha256};

use super::write::write;
use super::{Base, Whole, newest};
use crate::fold::Fold;
use crate::fs::read_from;
use crate::layout::{HEADER, segment_path};
use crate::shared::{Mark, OnDisk, Shared};
use crate::tree::Tree;

/// What was saved so far.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// Receipts of the newest attempt.
    tried: u64,
    /// Bytes of the log at the newest attempt, counted since the start.
    log_bytes: u64,
    /// Length of the newest saved state.
    length: u64,
}

/// Why no state was saved.
enum Stopped {
    /// The store is being closed.
    Closing,
    Failed(String),
}

impl Keeper {
    /// After a start with the saved state of so many receipts and bytes, or none.
    pub(crate) fn new(saved: Option<(u64, u64)>) -> Self {
        let (tried, length) = saved.unwrap_or_default();
        Self { tried, log_bytes: 0, length }
    }

    /// Saves a state if enough has happened since the last one, from a second fold.
    pub(crate) fn keep<S: Fold>(&mut self, shared: &Shared<S>) {
        let (size, bytes) = {
            let on_disk = shared.on_disk.read();
            (on_disk.size, on_disk.bytes)
        };
        let every = shared.options.save_every;
        let due = every > 0
            && size.saturating_sub(self.tried) >= every
            // What is saved is never more than what is logged.
            && bytes.saturating_sub(self.log_bytes) >= self.length;
        if !due || S::FORMAT.is_none() || shared.failed().is_some() {
            return;
        }
        shared.saving.lock().busy = true;
        let saved = follow(shared, size).and_then(|copy| self.write(shared, &copy.whole()));
        shared.saving.lock().busy = false;
        match saved {
            Ok(()) => shared.saving.lock().trouble = None,
            Err(Stopped::Closing) => return,
            Err(Stopped::Failed(why)) => shared.saving.lock().trouble = Some(why),
        }
        (self.tried, self.log_bytes) = (size, bytes);
    }

    /// Saves the state in use, once nothing is committed any more.
    pub(crate) fn last<S: Fold>(&mut self, shared: &Shared<S>) {
        let every = shared.options.save_every;
        let on_disk = shared.on_disk.read();
        let enough = every.div_ceil(100).max(1);
        let due = every > 0 && on_disk.size.saturating_sub(self.tried) >= enough;
        if !due || S::FORMAT.is_none() || shared.failed().is_some() {
            return;
        }
        let (state, tree) = (shared.state.read(), shared.tree.read());
        if tree.size() != on_disk.size {
            return;
        }
        let whole = Whole { state: &*state, tree: &tree, on_disk: &on_disk };
        if let Err(Stopped::Failed(why)) = self.write(shared, &whole) {
            shared.saving.lock().trouble = Some(why);
        }
        self.tried = on_disk.size;
    }

    fn write<S: Fold>(&mut self, shared: &Shared<S>, whole: &Whole<'_, S>) -> Result<(), Stopped> {
        let written = write(shared.fs.as_ref(), &shared.options, shared.signer.as_ref(), whole);
        self.length =
            written.map_err(|error| Stopped::Failed(format!("could not save the state: {error}")))?;
        shared.saving.lock().saved = Some(whole.on_disk.size);
        Ok(())
    }
}

/// Runs until the store is closed.
pub(crate) fn run<S: Fold>(shared: &Arc<Shared<S>>, mut keeper: Keeper) {
    let guarded = |work: &mut dyn FnMut()| {
        let whole = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if whole.is_err() {
            shared.saving.lock().trouble = Some("could not save the state: the program panicked".to_owned());
        }
    };
    while wait(shared) {
        guarded(&mut || keeper.keep(shared));
    }
    guarded(&mut || keeper.last(shared));
}

/// Waits a moment; `false` once the store is being closed.
fn wait<S: Fold>(shared: &Shared<S>) -> bool {
    let mut saving = shared.saving.lock();
    if !saving.closed {
        shared.kept.wait_for(&mut saving, shared.options.housekeeping);
    }
    !saving.closed
}

/// A state of its own, folded from the log.
struct Copy<S> {
    state: S,
    tree: Tree,
    on_disk: OnDisk,
}

impl<S: Fold> Copy<S> {
    const fn whole(&self) -> Whole<'_, S> {
        Whole { state: &self.state, tree: &self.tree, on_disk: &self.on_disk }
    }

    fn fold(&mut self, segment: u64, group: &Group<'_>) -> Result<(), String> {
        let first = self.tree.size();
        if group.first != first {
            return Err(format!("receipt {first} should begin at byte {}", group.offset));
        }
        for receipt in &group.receipts {
            let index = self.tree.size();
            if !S::belongs(receipt.payload, receipt.delta) {
                return Err(format!("the state change of receipt {index} was exchanged"));
            }
            let delta = S::decode(receipt.delta).map_err(|error| error.to_string())?;
            self.state.apply(index, &Sha256::digest(receipt.payload).into(), &delta);
            self.tree.push(leaf_hash(receipt.payload));
        }
        self.on_disk.note_group(Mark { first, segment, offset: group.offset }, group.end);
        self.on_disk.size = self.tree.size();
        self.on_disk.checkpoint = Some(group.note.into());
        Ok(())
    }
}

/// Folds a second state up to `size`, which is the end of a durable group.
fn follow<S: Fold>(shared: &Shared<S>, size: u64) -> Result<Copy<S>, Stopped> {
    let failed = |what: String| Stopped::Failed(format!("could not fold the state to save: {what}"));
    let base = newest::<S>(shared.fs.as_ref(), &shared.options, shared.signer.as_ref()).base;
    let mut copy = match base.filter(|base| base.on_disk.size <= size) {
        Some(Base { state, tree, on_disk, .. }) => Copy { state, tree, on_disk },
        None => {
            let state = S::load(&mut shared.blank.as_slice()).map_err(|e| failed(e.to_string()))?;
            Copy { state, tree: Tree::default(), on_disk: OnDisk::default() }
        }
    };
    let mut segment = u64::try_from(copy.on_disk.ends.len()).unwrap_or(u64::MAX).max(1);
    let mut from = copy.on_disk.ends.last().copied().unwrap_or(HEADER);
    while copy.tree.size() < size {
        let path = segment_path(segment);
        let file = shared.fs.open(&path).map_err(|e| failed(format!("`{path}`: {e}")))?;
        let bytes = read_from(file.as_ref(), from).map_err(|e| failed(format!("`{path}`: {e}")))?;
        let mut reader = SegmentReader::part(segment, from, &bytes);
        while copy.tree.size() < size {
            if shared.saving.lock().closed {
                return Err(Stopped::Closing);
            }
            match reader.step() {
                Step::Group(group) => {
                    copy.fold(segment, &group).map_err(|e| failed(format!("`{path}`: {e}")))?;
                }
                Step::End { .. } => break,
                Step::Torn { offset, .. } => {
                    return Err(failed(format!("`{path}`: the group at byte {offset} is not whole")));
                }
                Step::Corrupt(corruption) => return Err(failed(format!("`{path}`: damaged {corruption}"))),
            }
        }
        (segment, from) = (segment.saturating_add(1), HEADER);
    }
    // Whatever lies in the log: these are the receipts that the gate signed for.
    let signed = copy.on_disk.checkpoint.as_ref().and_then(|note| shared.signer.verify(note));
    if signed != Some((size, copy.tree.root().into_bytes())) || copy.tree.size() != size {
        return Err(failed("the log has other receipts than its checkpoint says".to_owned()));
    }
    Ok(copy)
}
