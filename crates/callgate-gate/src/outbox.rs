//! The outbox: events on their way to receivers outside. The log is all there is of it.
//!
//! Each receiver has a place in the log up to which it was told, and is told what comes after it, in
//! order, one event at a time, until it takes it or the event is given up. Its place is written to the log
//! after that: a crash in between delivers an event again, under the same id, and loses none. Nothing here
//! is waited for by a decision.

use std::sync::Arc;
use std::time::Duration;

use callgate_core::digest::Digest;
use callgate_core::event::{Courier, Delivery, Event, Letter};
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::state::Change;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::Unavailable;
use crate::events::Events;
use crate::gate::Gate;
use crate::release::{GATE, OPERATOR};

/// The longest that a receiver may ask to be left alone.
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);
/// How long to wait before a place is written again that could not be.
const PAUSE: Duration = Duration::from_secs(1);
/// The most events that are given up with one receipt, and how long more are waited for.
const BATCH: (u64, Duration) = (1000, Duration::from_millis(100));

/// Somebody outside who wants to be told.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// What the log calls it. Under another name it is another one, which is told only what comes from then on.
    pub id: Name,
    /// The kinds of event it is told.
    pub wants: Vec<Pattern>,
    /// How old an event may get that it does not take.
    pub give_up: Duration,
    /// Who takes letters there.
    pub courier: Arc<dyn Courier>,
}

/// Settings of an outbox.
#[derive(Clone)]
pub struct OutboxOptions {
    /// The most deliveries that are under way at once; 8.
    pub under_way: usize,
    /// How long to wait after the first failure, and twice as long after each that follows; 1 s.
    pub first_wait: Duration,
    /// The longest wait; 15 min.
    pub longest_wait: Duration,
    /// Where lines for the operator go; nowhere by default.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for OutboxOptions {
    fn default() -> Self {
        Self {
            under_way: 8,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(15 * 60),
            log: Arc::new(|_| ()),
        }
    }
}

impl std::fmt::Debug for OutboxOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxOptions").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

/// Deliveries at work.
#[derive(Debug)]
pub struct Outbox {
    stop: watch::Sender<bool>,
    rounds: JoinSet<()>,
}

impl Outbox {
    /// Begins to tell everybody what they were not told yet. Who is new is told what comes from now on.
    ///
    /// # Errors
    /// When the place where somebody new begins cannot be recorded.
    pub async fn start(
        gate: &Arc<Gate>,
        addressees: Vec<Addressee>,
        options: &OutboxOptions,
    ) -> Result<Self, Unavailable> {
        let (stop, stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(options.under_way.clamp(1, Semaphore::MAX_PERMITS)));
        let mut rounds = JoinSet::new();
        for addressee in addressees {
            let told = gate.place_of(&addressee).await?;
            let round = Round {
                events: gate.events(Some(told)),
                gate: Arc::clone(gate),
                addressee,
                options: options.clone(),
                places: Arc::clone(&places),
                stopping: stopping.clone(),
                failures: 0,
                dropped: None,
            };
            rounds.spawn(round.run());
        }
        Ok(Self { stop, rounds })
    }

    /// Lets deliveries under way end, and begins no other. Close the gate afterwards.
    pub async fn close(mut self) {
        // Nobody listens only when every round has ended.
        let _ = self.stop.send(true);
        while self.rounds.join_next().await.is_some() {}
    }
}

impl Gate {
    /// The last receipt that an addressee is not told of any more; recorded for one that is new.
    async fn place_of(&self, addressee: &Addressee) -> Result<u64, Unavailable> {
        let id = addressee.id.as_str();
        if let Some(through) = self.store.state(|state| state.0.delivered(id)) {
            return Ok(through);
        }
        let through = self.store.size().saturating_sub(1);
        let change = Change::Delivered { endpoint: id.to_owned(), through };
        let details = [("endpoint", id.to_owned()), ("after", through.to_string())];
        self.note("webhook.begin", OPERATOR, &details, change, Vec::new()).await?;
        Ok(through)
    }
}

/// One addressee, told one event after the other.
struct Round {
    gate: Arc<Gate>,
    addressee: Addressee,
    options: OutboxOptions,
    events: Events,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    /// Attempts that failed since one did not.
    failures: u32,
    dropped: Option<Dropped>,
}

/// Events that were given up, and not yet recorded as such.
#[derive(Debug, Clone, Copy)]
struct Dropped {
    first: u64,
    last: u64,
    count: u64,
}

/// Why a round ends; what is to be said was said.
struct Ended;

impl Round {
    async fn run(mut self) {
        // It ends when told to, or when nothing can be told or recorded any more.
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let Some(event) = self.next().await? else { return self.record_dropped().await };
        if !self.addressee.wants.iter().any(|pattern| pattern.matches(event.kind.as_str())) {
            return Ok(());
        }
        if self.failures > 0 && self.is_too_old(&event) {
            return self.give_up(&event).await;
        }
        self.record_dropped().await?;
        self.deliver(&event).await
    }

    /// The next event; `None` when what was given up should be recorded first.
    async fn next(&mut self) -> Result<Option<Event>, Ended> {
        let patience = if self.dropped.is_some() { BATCH.1 } else { Duration::MAX };
        let next = tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => None,
            next = tokio::time::timeout(patience, self.events.next()) => Some(next),
        };
        match next {
            Some(Ok(Ok(Some(event)))) => Ok(Some(event)),
            Some(Err(_)) => Ok(None),
            Some(Ok(Err(trouble))) => {
                self.say(&format!("no more events are delivered: {trouble}"));
                Err(Ended)
            }
            None | Some(Ok(Ok(None))) => {
                self.record_dropped().await?;
                Err(Ended)
            }
        }
    }

    /// Tries until the event is taken or given up.
    async fn deliver(&mut self, event: &Event) -> Result<(), Ended> {
        let id = self.letter_id(event);
        let mut rest = None;
        for attempt in 1_u32.. {
            if self.failures > 0 {
                self.wait(rest).await?;
            }
            match self.attempt(&id, event).await? {
                Delivery::Taken => {
                    if self.failures > 0 {
                        self.failures = 0;
                        self.say("it takes events again");
                    }
                    let details = [("attempts", attempt.to_string()), ("event", event.id.to_string())];
                    return self.record("webhook.deliver", &details, event.id).await;
                }
                Delivery::Gone => return self.retire(event).await,
                Delivery::Failed { why, wait } => {
                    if self.failures == 0 {
                        self.say(&format!("{why}; events wait in the log and are tried again"));
                    }
                    self.failures = self.failures.saturating_add(1);
                    rest = wait;
                    if self.is_too_old(event) {
                        return self.give_up(event).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn attempt(&mut self, id: &str, event: &Event) -> Result<Delivery, Ended> {
        let place = tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => return Err(Ended),
            place = Arc::clone(&self.places).acquire_owned() => place,
        };
        let (courier, id, event) = (Arc::clone(&self.addressee.courier), id.to_owned(), event.clone());
        let sent_ms = self.gate.clock.now_ms();
        // A task of its own, so that a courier that panics has only failed.
        let trip = tokio::spawn(async move {
            let delivery = courier.deliver(&Letter { id: &id, event: &event, sent_ms }).await;
            drop(place);
            delivery
        });
        Ok(trip.await.unwrap_or_else(|e| Delivery::Failed { why: format!("it failed: {e}"), wait: None }))
    }

    /// Waits twice as long after each failure, give or take, and as long as the receiver asks.
    async fn wait(&mut self, rest: Option<Duration>) -> Result<(), Ended> {
        let doubled = self.failures.saturating_sub(1).min(20);
        let most = self.options.first_wait.saturating_mul(2_u32.saturating_pow(doubled));
        let most = most.min(self.options.longest_wait);
        let span = most.saturating_sub(most.mul_f64(self.chance() / 2.0));
        let span = span.max(rest.unwrap_or_default().min(LONGEST_REST));
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => Err(Ended),
            () = tokio::time::sleep(span) => Ok(()),
        }
    }

    /// From 0 to 1; 0 when the system has no random bytes.
    fn chance(&self) -> f64 {
        let mut bytes = [0; 2];
        let filled = self.gate.random.fill(&mut bytes);
        filled.map_or(0.0, |()| f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
    }

    fn is_too_old(&self, event: &Event) -> bool {
        let age = self.gate.clock.now_ms().saturating_sub(event.time_ms);
        let most = i64::try_from(self.addressee.give_up.as_millis()).unwrap_or(i64::MAX);
        age >= most
    }

    /// Those that are too old while the receiver fails are given up together.
    async fn give_up(&mut self, event: &Event) -> Result<(), Ended> {
        let dropped = self.dropped.get_or_insert(Dropped { first: event.id, last: event.id, count: 0 });
        dropped.last = event.id;
        dropped.count = dropped.count.saturating_add(1);
        if dropped.count >= BATCH.0 { self.record_dropped().await } else { Ok(()) }
    }

    async fn record_dropped(&mut self) -> Result<(), Ended> {
        let Some(Dropped { first, last, count }) = self.dropped.take() else { return Ok(()) };
        self.say(&format!(
            "{count} of its events are given up: it did not take them in time (receipts {first} to {last})"
        ));
        let details =
            [("count", count.to_string()), ("first", first.to_string()), ("last", last.to_string())];
        self.record("webhook.give_up", &details, last).await
    }

    /// The receiver wants nothing more. At the next start it is asked once again.
    async fn retire(&self, event: &Event) -> Result<(), Ended> {
        self.say("it says that it is gone for good, so it is told nothing more until the gate starts again");
        let details = [("endpoint", self.addressee.id.to_string()), ("event", event.id.to_string())];
        // Told or not, it ends: at the next start the same is found out.
        let _ = self.gate.note("webhook.stop", GATE, &details, Change::Noted {}, Vec::new()).await;
        Err(Ended)
    }

    /// Records up to where the receiver is told, however often that must be tried.
    async fn record(&mut self, operation: &str, more: &[(&str, String)], through: u64) -> Result<(), Ended> {
        let endpoint = self.addressee.id.to_string();
        let mut details = vec![("endpoint", endpoint.clone())];
        details.extend(more.iter().cloned());
        loop {
            let change = Change::Delivered { endpoint: endpoint.clone(), through };
            match self.gate.note(operation, GATE, &details, change, Vec::new()).await {
                Ok(_) => return Ok(()),
                // Somebody else delivers under this name, and was first.
                Err(trouble) if trouble.retryable && self.is_told(through) => {
                    return Ok(());
                }
                Err(trouble) if trouble.retryable && !*self.stopping.borrow() => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(trouble) => {
                    self.say(&format!(
                        "that it was told cannot be recorded, so it will be told again: {trouble}"
                    ));
                    return Err(Ended);
                }
            }
        }
    }

    fn is_told(&self, through: u64) -> bool {
        self.gate.store.state(|state| state.0.delivered(self.addressee.id.as_str())) >= Some(through)
    }

    /// The same for every attempt, and for no other event, receiver or log.
    fn letter_id(&self, event: &Event) -> String {
        let named =
            [self.gate.identity.origin(), self.addressee.id.as_str(), &event.id.to_string()].join("\n");
        let digest = Digest::of(named.as_bytes()).hex();
        format!("msg_{}", digest.chars().take(32).collect::<String>())
    }

    fn say(&self, what: &str) {
        (self.options.log)(&format!("webhook `{}`: {what}", self.addressee.id));
    }
}
