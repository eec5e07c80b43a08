//! Work that must not stand in a commit's way: preparing the next segment, publishing the latest checkpoint.
//!
//! What fails here for want of room is tried again and shown as trouble; it never loses or changes a receipt.

use std::sync::Arc;

use crate::error::CommitError;
use crate::fold::Fold;
use crate::layout::{CHECKPOINT, HEAD, prepare, segment_path};
use crate::shared::Shared;
use crate::witness::write_checkpoint;

/// Runs until the store is closed.
pub(crate) fn run<S: Fold>(shared: &Arc<Shared<S>>) {
    let mut published = None;
    loop {
        supply(shared);
        publish(shared, &mut published);
        let mut supply = shared.supply.lock();
        if supply.closed {
            break;
        }
        if supply.next.is_some() || supply.trouble.is_some() || shared.failed().is_some() {
            shared.supplied.wait_for(&mut supply, shared.options.housekeeping);
        }
    }
    publish(shared, &mut published);
}

/// Prepares the next segment when there is none.
pub(crate) fn supply<S: Fold>(shared: &Shared<S>) {
    let wanted = {
        let supply = shared.supply.lock();
        if supply.next.is_some() || supply.closed || shared.failed().is_some() {
            return;
        }
        supply.wanted
    };
    let made = prepare(shared.fs.as_ref(), &shared.options, wanted);
    let mut supply = shared.supply.lock();
    match made {
        Ok(next) => (supply.next, supply.trouble) = (Some(next), None),
        Err(error) => supply.trouble = Some(format!("could not prepare `{}`: {error}", segment_path(wanted))),
    }
    shared.supplied.notify_all();
}

/// Writes the newest checkpoint to its own file and makes the head durable, when there is anything new.
pub(crate) fn publish<S: Fold>(shared: &Shared<S>, published: &mut Option<u64>) {
    let (size, note) = {
        let on_disk = shared.on_disk.read();
        (on_disk.size, on_disk.checkpoint.clone())
    };
    let Some(note) = note.filter(|_| *published != Some(size) && shared.failed().is_none()) else { return };
    if let Err(error) = shared.head.lock().sync() {
        shared.fail("sync", HEAD, error.to_string());
        return;
    }
    let written = write_checkpoint(shared.fs.as_ref(), &shared.options, &note);
    if written.is_ok() {
        *published = Some(size);
    }
    let why = written.err().map(|error| format!("could not write `{CHECKPOINT}`: {error}"));
    shared.supply.lock().unpublished = why;
}

/// The committer's loop: everything that waits, group by group.
pub(crate) fn committer<S: Fold>(shared: &Arc<Shared<S>>, mut engine: crate::engine::Engine<S>) {
    loop {
        let mut batch = {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() && !queue.closed && shared.failed().is_none() {
                shared.arrived.wait(&mut queue);
            }
            std::mem::take(&mut queue.waiting)
        };
        if batch.is_empty() {
            break;
        }
        drain(shared, &mut engine, &mut batch);
    }
}

/// Commits a batch; a panic counts as a failure.
pub(crate) fn drain<S: Fold>(
    shared: &Shared<S>,
    engine: &mut crate::engine::Engine<S>,
    batch: &mut std::collections::VecDeque<crate::shared::Queued<S>>,
) {
    while !batch.is_empty() && shared.failed().is_none() {
        let group = std::panic::AssertUnwindSafe(|| engine.group(batch));
        if std::panic::catch_unwind(group).is_err() {
            let failure = shared.fail("commit to", "log", "the program panicked".to_owned());
            engine.abandon(&failure);
        }
    }
    let Some(failure) = shared.failed() else { return };
    for queued in batch.drain(..) {
        let _ = queued.reply.send(Err(CommitError::Failed(Arc::clone(&failure))));
    }
}
