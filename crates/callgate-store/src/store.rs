//! The store as its owner sees it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use callgate_log::merkle::leaf_hash;
use callgate_log::segment::GroupBuilder;
use parking_lot::{Condvar, Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::engine::{Engine, receipt};
use crate::error::{CommitError, OpenError, StoreFailure};
use crate::fold::{CheckpointSigner, Durable, Entry, Fold};
use crate::fs::{Fs, Lock, LockError};
use crate::housekeeper;
use crate::layout::LOCK;
use crate::options::Options;
use crate::recover::{self, Recovery, io_error};
use crate::saved::{self, Keeper};
use crate::shared::{FailureCell, Outcome, Queue, Queued, Saving, Shared, Supply};

/// The log and the state folded from it. Shared by reference; dropping it closes it.
pub struct SegmentStore<S: Fold> {
    pub(crate) shared: Arc<Shared<S>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The committer of a store that is driven step by step.
    stepped: Mutex<Option<Stepped<S>>>,
    lock: Mutex<Option<Box<dyn Lock>>>,
}

struct Stepped<S: Fold> {
    engine: Engine<S>,
    published: Option<u64>,
    keeper: Keeper,
}

/// How the saving of states goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Receipts in the newest saved state, if there is one.
    pub receipts: Option<u64>,
    /// Whether one is being made.
    pub busy: bool,
    /// Why there is no newer one.
    pub trouble: Option<String>,
}

impl<S: Fold> std::fmt::Debug for SegmentStore<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentStore").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl<S: Fold> SegmentStore<S> {
    /// Locks the data folder, replays the log into `state` and starts the committer.
    ///
    /// # Errors
    /// When the folder is in use, the log is damaged or not this one, or the system refuses.
    pub fn open(
        fs: Arc<dyn Fs>,
        options: Options,
        signer: Box<dyn CheckpointSigner>,
        state: S,
    ) -> Result<(Self, Recovery), OpenError> {
        let (store, engine, keeper, recovery) = Self::build(fs, options, signer, state, false)?;
        let committer = Arc::clone(&store.shared);
        let house = Arc::clone(&store.shared);
        let states = Arc::clone(&store.shared);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(io_error("start", name))
        };
        let handle = spawn("callgate-commit", Box::new(move || housekeeper::committer(&committer, engine)))?;
        store.threads.lock().push(handle);
        let handle = spawn("callgate-keep", Box::new(move || housekeeper::run(&house)))?;
        store.threads.lock().push(handle);
        if S::FORMAT.is_some() && store.shared.options.save_every > 0 {
            let handle = spawn("callgate-state", Box::new(move || saved::run(&states, keeper)))?;
            store.threads.lock().push(handle);
        }
        Ok((store, recovery))
    }

    /// As [`SegmentStore::open`], but nothing happens before [`SegmentStore::step`]: the same calls in the same order
    /// for the same seed.
    ///
    /// # Errors
    /// As [`SegmentStore::open`].
    #[cfg(feature = "sim")]
    pub fn open_stepped(
        fs: Arc<dyn Fs>,
        options: Options,
        signer: Box<dyn CheckpointSigner>,
        state: S,
    ) -> Result<(Self, Recovery), OpenError> {
        let (store, engine, keeper, recovery) = Self::build(fs, options, signer, state, true)?;
        *store.stepped.lock() = Some(Stepped { engine, published: None, keeper });
        Ok((store, recovery))
    }

    fn build(
        fs: Arc<dyn Fs>,
        options: Options,
        signer: Box<dyn CheckpointSigner>,
        mut state: S,
        stepped: bool,
    ) -> Result<(Self, Engine<S>, Keeper, Recovery), OpenError> {
        options.check()?;
        let lock = fs.lock(LOCK).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Locked(pid),
            LockError::Io(source) => io_error("lock", LOCK)(source),
        })?;
        let mut blank = Vec::new();
        if S::FORMAT.is_some() && state.save(&mut blank).is_err() {
            return Err(OpenError::Options("the state cannot be saved, though it says that it can"));
        }
        let opened = recover::open(fs.as_ref(), &options, signer.as_ref(), &mut state)?;
        let keeper = Keeper::new(opened.base);
        let wanted = opened.active.number.saturating_add(1);
        let shared = Arc::new(Shared {
            fs,
            options,
            state: RwLock::new(state),
            queue: Mutex::new(Queue { waiting: VecDeque::new(), closed: false }),
            arrived: Condvar::new(),
            tree: RwLock::new(opened.tree),
            on_disk: RwLock::new(opened.on_disk),
            supply: Mutex::new(Supply { wanted, ..Supply::default() }),
            supplied: Condvar::new(),
            head: Mutex::new(opened.head),
            failure: Arc::new(OnceLock::new()),
            signer: Arc::from(signer),
            blank,
            saving: Mutex::new(Saving { saved: opened.base.map(|(size, _)| size), ..Saving::default() }),
            kept: Condvar::new(),
        });
        let engine = Engine::new(Arc::clone(&shared), opened.active, stepped);
        let store = Self {
            shared,
            threads: Mutex::new(Vec::new()),
            stepped: Mutex::new(None),
            lock: Mutex::new(Some(lock)),
        };
        Ok((store, engine, keeper, opened.recovery))
    }

    /// Reads the state. It holds everything admitted so far, durable or not yet; `read` must be short.
    pub fn state<R>(&self, read: impl FnOnce(&S) -> R) -> R {
        read(&self.shared.state.read())
    }

    /// Queues an entry at once, before the result is awaited. Dropping the result neither loses nor undoes the entry.
    pub fn commit(&self, entry: Entry<S::Delta>) -> Commit<S::Conflict> {
        let (reply, receiver) = oneshot::channel();
        let failure = Arc::clone(&self.shared.failure);
        let refused = self.enqueue(entry, reply).err().map(Err);
        Commit { refused, receiver, failure }
    }

    /// Commits and waits. Not for use inside an async task.
    ///
    /// # Errors
    /// As the awaited result of [`SegmentStore::commit`].
    pub fn commit_blocking(&self, entry: Entry<S::Delta>) -> Result<Durable, CommitError<S::Conflict>> {
        self.commit(entry).wait()
    }

    fn enqueue(
        &self,
        entry: Entry<S::Delta>,
        reply: oneshot::Sender<Outcome<S::Conflict>>,
    ) -> Result<(), CommitError<S::Conflict>> {
        GroupBuilder::check(&receipt(&entry))?;
        let length = entry.payload.len().saturating_add(entry.delta_bytes.len());
        let length = length.saturating_add(entry.attachment.len());
        if length > self.shared.options.max_entry {
            return Err(CommitError::TooLarge(callgate_log::segment::EncodeError::Receipt(length)));
        }
        // Hashing here keeps it off the one thread that writes.
        let payload_sha256 = Sha256::digest(&entry.payload).into();
        let leaf = leaf_hash(&entry.payload);
        let mut queue = self.shared.queue.lock();
        if let Some(failure) = self.shared.failed() {
            return Err(CommitError::Failed(failure));
        }
        if queue.closed {
            return Err(CommitError::Closed);
        }
        if queue.waiting.len() >= self.shared.options.queue {
            return Err(CommitError::Busy);
        }
        queue.waiting.push_back(Queued { entry, payload_sha256, leaf, reply });
        drop(queue);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// Commits everything that waits, then keeps house, on the caller's thread.
    #[cfg(feature = "sim")]
    pub fn step(&self) {
        let mut batch = std::mem::take(&mut self.shared.queue.lock().waiting);
        if let Some(stepped) = self.stepped.lock().as_mut() {
            housekeeper::drain(&self.shared, &mut stepped.engine, &mut batch);
        }
    }

    /// Prepares the next segment and publishes the newest checkpoint, on the caller's thread.
    #[cfg(feature = "sim")]
    pub fn keep_house(&self) {
        if let Some(stepped) = self.stepped.lock().as_mut() {
            housekeeper::supply(&self.shared);
            housekeeper::publish(&self.shared, &mut stepped.published);
        }
    }

    /// Saves the state if it is time to, on the caller's thread.
    #[cfg(feature = "sim")]
    pub fn save_state(&self) {
        if let Some(stepped) = self.stepped.lock().as_mut() {
            stepped.keeper.keep(&self.shared);
        }
    }

    /// How the saving of states goes. Decisions need none of it; a start does.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let saving = self.shared.saving.lock();
        Saved { receipts: saving.saved, busy: saving.busy, trouble: saving.trouble.clone() }
    }

    /// Number of durable receipts.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.on_disk.read().size
    }

    /// The newest durable checkpoint; `None` while the log is empty.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Arc<[u8]>> {
        self.shared.on_disk.read().checkpoint.clone()
    }

    /// The failure that stopped the store for good.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<StoreFailure>> {
        self.shared.failed()
    }

    /// What keeps the housekeeper from its work, such as a full disk; commits may still succeed.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let supply = self.shared.supply.lock();
        supply.trouble.clone().or_else(|| supply.unpublished.clone())
    }

    /// Commits what waits, publishes the last checkpoint, stops the threads and unlocks the folder. Later commits are
    /// refused; reading still works.
    pub fn close(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            self.shared.arrived.notify_all();
        }
        let mut threads = std::mem::take(&mut *self.threads.lock()).into_iter();
        // The committer first: it may still need a segment.
        if let Some(committer) = threads.next() {
            let _ = committer.join();
        }
        {
            let mut supply = self.shared.supply.lock();
            supply.closed = true;
            self.shared.supplied.notify_all();
        }
        {
            let mut saving = self.shared.saving.lock();
            saving.closed = true;
            self.shared.kept.notify_all();
        }
        threads.for_each(|thread| drop(thread.join()));
        if let Some(mut stepped) = self.stepped.lock().take() {
            let mut batch = std::mem::take(&mut self.shared.queue.lock().waiting);
            housekeeper::drain(&self.shared, &mut stepped.engine, &mut batch);
            housekeeper::publish(&self.shared, &mut stepped.published);
            stepped.keeper.last(&self.shared);
        }
        self.lock.lock().take();
    }
}

impl<S: Fold> Drop for SegmentStore<S> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The result of a commit, to be awaited or waited for.
#[derive(Debug)]
#[must_use = "an entry is durable only when this says so"]
pub struct Commit<C> {
    refused: Option<Outcome<C>>,
    receiver: oneshot::Receiver<Outcome<C>>,
    failure: FailureCell,
}

impl<C> Unpin for Commit<C> {}

impl<C> Commit<C> {
    /// Waits for the result. Not for use inside an async task.
    ///
    /// # Errors
    /// Why the entry was not committed.
    pub fn wait(self) -> Result<Durable, CommitError<C>> {
        let Self { refused, receiver, failure } = self;
        refused.unwrap_or_else(|| receiver.blocking_recv().unwrap_or_else(|_| Err(unanswered(&failure))))
    }
}

impl<C> Future for Commit<C> {
    type Output = Result<Durable, CommitError<C>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(refused) = self.refused.take() {
            return Poll::Ready(refused);
        }
        let answer = Pin::new(&mut self.receiver).poll(context);
        answer.map(|answer| answer.unwrap_or_else(|_| Err(unanswered(&self.failure))))
    }
}

/// Why the committer dropped an entry without an answer.
fn unanswered<C>(failure: &FailureCell) -> CommitError<C> {
    failure.get().map_or(CommitError::Closed, |failure| CommitError::Failed(Arc::clone(failure)))
}
