//! Answers that were given before, and questions that are asked once for all who wait.
//!
//! The key is the digest of everything the judge is shown, so an answer holds under any snapshot.
//! Only answers are kept; a failure is gone with those who waited for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callgate_core::digest::Digest;
use callgate_core::finding::{Answer, Answering, Failure, Finding, Judge, Question};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// Bounds of a cache.
#[derive(Debug, Clone, Copy)]
pub struct CacheOptions {
    /// The most answers that are kept; 10,000.
    pub entries: usize,
    /// How long an answer is good; an hour.
    pub ttl: Duration,
    /// The most questions that are under way at once; 64. Others wait, as long as they may.
    pub under_way: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { entries: 10_000, ttl: Duration::from_secs(60 * 60), under_way: 64 }
    }
}

/// A question that is under way or answered.
type Slot = Arc<OnceCell<Kept>>;

#[derive(Debug)]
struct Kept {
    finding: Finding,
    at: Instant,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    /// When it was last wanted, counted in questions.
    wanted: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_question: HashMap<Digest, Entry>,
    clock: u64,
}

/// A judge that asks another one, and remembers what it said.
#[derive(Debug)]
pub struct CachedJudge<J> {
    judge: J,
    options: CacheOptions,
    entries: Mutex<Entries>,
    permits: Semaphore,
}

impl<J: Judge> CachedJudge<J> {
    /// Remembers what `judge` says.
    #[must_use]
    pub fn new(judge: J, options: CacheOptions) -> Self {
        let permits = Semaphore::new(options.under_way.clamp(1, Semaphore::MAX_PERMITS));
        Self { judge, options, entries: Mutex::default(), permits }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // What is kept is valid after any panic: no entry is ever half made.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of a question: the one that is there while it is good, else a new one.
    fn slot(&self, question: &Digest) -> Slot {
        let mut entries = self.entries();
        entries.clock = entries.clock.saturating_add(1);
        let (clock, now) = (entries.clock, Instant::now());
        let good = |slot: &Slot| slot.get().is_none_or(|kept| !self.is_stale(kept, now));
        if let Some(entry) = entries.by_question.get_mut(question)
            && good(&entry.slot)
        {
            entry.wanted = clock;
            return Arc::clone(&entry.slot);
        }
        if entries.by_question.len() >= self.options.entries {
            entries.by_question.retain(|_, entry| good(&entry.slot));
            entries.make_room(self.options.entries);
        }
        let slot = Slot::default();
        let entry = Entry { slot: Arc::clone(&slot), wanted: clock };
        if entries.by_question.len() < self.options.entries {
            entries.by_question.insert(*question, entry);
        }
        slot
    }

    fn is_stale(&self, kept: &Kept, now: Instant) -> bool {
        now.saturating_duration_since(kept.at) >= self.options.ttl
    }

    /// Forgets a slot that holds no answer, unless another has taken its place.
    fn forget(&self, question: &Digest, slot: &Slot) {
        let mut entries = self.entries();
        if entries.by_question.get(question).is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            entries.by_question.remove(question);
        }
    }

    async fn ask(&self, question: &Question) -> Kept {
        let finding = match self.permits.acquire().await {
            Ok(_permit) => self.judge.answer(question).await,
            Err(_) => Finding::failed(question.digest, Failure::Internal, 0),
        };
        Kept { finding: finding.checked(question), at: Instant::now() }
    }
}

impl Entries {
    /// Forgets the answer that was not wanted for the longest time. What is under way stays: whoever
    /// waits for it would ask again.
    fn make_room(&mut self, most: usize) {
        if self.by_question.len() < most {
            return;
        }
        let waited_for = |slot: &Slot| !slot.initialized() && Arc::strong_count(slot) > 1;
        let idle = self.by_question.iter().filter(|(_, entry)| !waited_for(&entry.slot));
        let oldest = idle.min_by_key(|(_, entry)| entry.wanted).map(|(question, _)| *question);
        if let Some(oldest) = oldest {
            self.by_question.remove(&oldest);
        }
    }
}

impl<J: Judge> Judge for CachedJudge<J> {
    fn answer<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            let slot = self.slot(&question.digest);
            let mut asked = false;
            let span = Duration::from_millis(question.timeout_ms);
            // Who asked may go away; then the next in line asks.
            let waited = tokio::time::timeout(
                span,
                slot.get_or_init(|| {
                    asked = true;
                    self.ask(question)
                }),
            );
            let Ok(kept) = waited.await else {
                self.forget(&question.digest, &slot);
                return Finding::failed(question.digest, Failure::Timeout, question.timeout_ms);
            };
            if matches!(kept.finding.answer, Answer::Failed { .. }) {
                self.forget(&question.digest, &slot);
            }
            Finding { cached: !asked, ..kept.finding.clone() }
        })
    }
}
