//! Events: what receipts say happened, for whoever wants to be told.
//!
//! The log is all there is of them. The fold notes the place of each receipt that is an event while it
//! applies it, and wakes who waits; a decision that is none costs a look at its kind. Readers read the
//! log by themselves and at their own pace, so a slow one holds up nobody and loses nothing.

mod derive;
mod feed;

use std::sync::Arc;
use std::time::Duration;

use callgate_core::event::Event;
use tokio::sync::watch;

use crate::error::Unavailable;
use crate::gate::Gate;
use derive::derive;
pub(crate) use feed::{Feed, Next, Places, Tide};

/// The most receipts that are looked through at once for a reader far behind.
const STRETCH: usize = 16_384;
/// How often a receipt that is not yet durable is looked for.
const PULSE: Duration = Duration::from_millis(1);

/// The events after a place in the log, in its order, for ever: first those there are, then each when it
/// is durable.
pub struct Events {
    gate: Arc<Gate>,
    /// The first receipt that was not looked at.
    next: u64,
    tide: watch::Receiver<Tide>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Gate {
    /// The events of the receipts after index `after`; of those after the newest one now, if `None`.
    #[must_use]
    pub fn events(self: &Arc<Self>, after: Option<u64>) -> Events {
        let tide = self.store.state(|state| state.2.watch());
        let next = after.map_or_else(|| self.store.size(), |after| after.saturating_add(1));
        Events { gate: Arc::clone(self), next, tide }
    }
}

impl Events {
    /// Waits for the next event; `None` once the gate is closed. May be dropped at any time and asked again.
    ///
    /// # Errors
    /// When the log cannot be read, or the store has failed.
    pub async fn next(&mut self) -> Result<Option<Event>, Unavailable> {
        loop {
            // Before looking: what comes in between is seen at the next look.
            let closed = self.tide.borrow_and_update().closed;
            let found = match self.gate.store.state(|state| state.2.next(self.next)) {
                Next::At(index) => {
                    self.durable(index).await?;
                    self.read(index, index.saturating_add(1)).await?
                }
                Next::Unknown { until } => self.read(self.next, until).await?,
                Next::NoneYet if closed => return Ok(None),
                Next::NoneYet => {
                    if self.tide.changed().await.is_err() {
                        return Ok(None);
                    }
                    continue;
                }
            };
            self.next = found.next;
            if found.event.is_some() {
                return Ok(found.event);
            }
        }
    }

    async fn durable(&self, index: u64) -> Result<(), Unavailable> {
        while self.gate.store.size() <= index {
            if let Some(failure) = self.gate.failure() {
                return Err(Unavailable::for_good(failure));
            }
            tokio::time::sleep(PULSE).await;
        }
        Ok(())
    }

    /// Looks through receipts from `from` to before `until`, or a stretch of them.
    async fn read(&self, from: u64, until: u64) -> Result<Found, Unavailable> {
        let gate = Arc::clone(&self.gate);
        let read = tokio::task::spawn_blocking(move || gate.look(from, until)).await;
        read.unwrap_or_else(|e| Err(Unavailable::now(format!("reading the log ended: {e}"))))
    }
}

/// What a look at the log found.
struct Found {
    event: Option<Event>,
    /// Where the next look begins.
    next: u64,
}

impl Gate {
    fn look(&self, from: u64, until: u64) -> Result<Found, Unavailable> {
        let mut next = from;
        for receipt in self.store.scan(from).take(STRETCH) {
            let receipt = receipt.map_err(|e| Unavailable::for_good(e.to_string()))?;
            if receipt.index >= until {
                break;
            }
            next = receipt.index.saturating_add(1);
            if let Some(event) = derive(&receipt).map_err(Unavailable::for_good)? {
                return Ok(Found { event: Some(event), next });
            }
        }
        Ok(Found { event: None, next })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use callgate_core::event::Kind;
    use callgate_core::state::Holder;
    use callgate_policy::Bundle;
    use callgate_store::OsRandom;
    use callgate_store::sim::{Faults, SimFs};

    use super::*;
    use crate::clock::ManualClock;
    use crate::gate::{Asked, GateOptions};
    use crate::{Credential, KeyRecord};

    const RULES: &str = "version: v1\nrules: [{id: any, match: {tools: ['**']}, decision: allow}]\n";

    async fn open(fs: &SimFs) -> Arc<Gate> {
        let files = BTreeMap::from([("rules/r.yaml".to_owned(), RULES.to_owned())]);
        let bundle = Bundle::new(files, BTreeMap::new());
        let options = GateOptions { segment_bytes: 4 << 20, ..GateOptions::default() };
        let clock = Arc::new(ManualClock::new(1_750_000_000_000));
        let opened =
            Gate::open(Arc::new(fs.clone()), clock, Arc::new(OsRandom), Some(&bundle), options).await;
        opened.unwrap().gate
    }

    async fn decide(gate: &Gate) {
        let request = br#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"t"},"args":{"pin":"4711"}}"#;
        gate.decide(Asked::Bytes(request.to_vec()), Credential::Local).await.unwrap();
    }

    fn holder(agent: &str) -> Holder {
        Holder::Agent { agent: agent.to_owned(), owner: None, team: None, tenant: "default".to_owned() }
    }

    async fn create(gate: &Gate, agent: &str) -> KeyRecord {
        gate.create_key(holder(agent), "ana").await.unwrap().0
    }

    /// The next event, which must be there soon.
    async fn soon(events: &mut Events) -> Event {
        let next = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
        next.expect("in time").unwrap().expect("an event")
    }

    async fn nothing(events: &mut Events) {
        let next = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    #[tokio::test]
    async fn an_event_says_who_and_what_and_no_more() {
        let gate = open(&SimFs::new(1)).await;
        let mut events = gate.events(Some(0));
        let started = soon(&mut events).await;
        assert_eq!((started.id, started.kind), (1, Kind::SnapshotActivated));
        assert_eq!(started.text("snapshot"), Some("v1"));
        assert!(started.text("digest").unwrap().starts_with("sha256:"));
        decide(&gate).await;
        let record = create(&gate, "bot").await;
        let created = soon(&mut events).await;
        assert_eq!((created.id, created.kind, created.time_ms), (3, Kind::KeyCreated, 1_750_000_000_000));
        assert_eq!(
            serde_json::to_string(&created).unwrap(),
            format!(
                r#"{{"type":"key.created","timestamp":"2025-06-15T15:06:40.000Z","data":{{"agent":"bot","by":"ana","key":"{}","tenant":"default"}}}}"#,
                record.id
            )
        );
        gate.revoke_key(&record.id, "ana").await.unwrap();
        let revoked = soon(&mut events).await;
        assert_eq!((revoked.kind, revoked.text("key")), (Kind::KeyRevoked, Some(record.id.as_str())));
        nothing(&mut events).await;
    }

    #[tokio::test]
    async fn a_reader_without_a_place_hears_only_what_comes() {
        let gate = open(&SimFs::new(2)).await;
        create(&gate, "before").await;
        let mut events = gate.events(None);
        nothing(&mut events).await;
        create(&gate, "after").await;
        assert_eq!(soon(&mut events).await.text("agent"), Some("after"));
        assert_eq!(soon(&mut gate.events(Some(1))).await.text("agent"), Some("before"));
        nothing(&mut gate.events(Some(u64::MAX))).await;
    }

    /// From the log and live, in the log's order, nothing lost and nothing doubled, however far behind.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everybody_hears_everything_once() {
        let fs = SimFs::new(3);
        let gate = open(&fs).await;
        let agents: Vec<String> = (0..60).map(|number| format!("bot-{number}")).collect();
        for agent in agents.get(..20).unwrap() {
            create(&gate, agent).await;
            decide(&gate).await;
        }
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let mut events = gate.events(Some(1));
                tokio::spawn(async move {
                    let mut heard = Vec::new();
                    while heard.len() < 60 {
                        // One is slow, and one asks again and again.
                        if reader == 0 {
                            tokio::time::sleep(Duration::from_millis(3)).await;
                        }
                        let patience = Duration::from_micros(if reader == 1 { 300 } else { 20_000_000 });
                        if let Ok(event) = tokio::time::timeout(patience, events.next()).await {
                            heard.push(event.unwrap().unwrap());
                        }
                    }
                    heard
                })
            })
            .collect();
        let deciding = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                for _ in 0..100 {
                    decide(&gate).await;
                }
            }
        });
        for agent in agents.get(20..).unwrap() {
            create(&gate, agent).await;
        }
        for reader in readers {
            let heard = reader.await.unwrap();
            let names: Vec<&str> = heard.iter().filter_map(|event| event.text("agent")).collect();
            assert_eq!(names, agents);
            assert!(heard.is_sorted_by(|a, b| a.id < b.id));
        }
        deciding.await.unwrap();
        gate.close();
        drop(gate);
        // A restart knows where they are, too, and goes on from any place.
        let gate = open(&fs).await;
        let mut events = gate.events(Some(1));
        for agent in &agents {
            assert_eq!(soon(&mut events).await.text("agent"), Some(agent.as_str()));
        }
        nothing(&mut events).await;
    }

    #[tokio::test]
    async fn a_closed_gate_ends_it() {
        let gate = open(&SimFs::new(4)).await;
        let mut events = gate.events(Some(0));
        gate.close();
        assert_eq!(soon(&mut events).await.kind, Kind::SnapshotActivated, "what there was is still told");
        assert_eq!(events.next().await, Ok(None));
        assert_eq!(gate.events(None).next().await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_not_durable_is_not_told() {
        let fs = SimFs::new(5);
        let gate = open(&fs).await;
        let mut events = gate.events(None);
        let mut faults = Faults::default();
        faults.fail_sync_at = Some(fs.syncs() + 1);
        fs.set_faults(faults);
        assert!(gate.create_key(holder("bot"), "ana").await.is_err());
        let told = tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap();
        assert!(told.is_err(), "{told:?}");
    }
}
