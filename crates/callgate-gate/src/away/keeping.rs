//! Beside the calls: the lease is renewed, and what ran unchecked is handed in once the gate is back.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::lease::KeptLease;
use super::stopgap::Stopgap;
use super::{Answer, Away, Question, refusal};
use crate::unchecked::reconcile::MAX_PART;
use crate::unchecked::wire::{BacklogReply, FailWord, LeaseReply, LeaseRequest};

/// How often it is looked at whether there is anything to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long a lease or a part of a journal may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the gate may take at the start, before the point begins without a lease.
const BEGINNING: Duration = Duration::from_secs(3);
/// How long between two attempts at a lease, and how long nothing may be heard of the gate before it is asked whether
/// it is there, in milliseconds.
const APART_MS: i64 = 5_000;

/// How an enforcement point is, for people and monitoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointHealth {
    /// `ready`; `unchecked` while the gate is away and a lease holds; `closed` while nothing can run.
    pub status: &'static str,
    /// Whether the gate answered last time.
    pub gate_reachable: bool,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// What was the matter last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The agent's tier, by the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'static str>,
    /// Until when actions may run unchecked, milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until_ms: Option<i64>,
    /// Why none may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails_closed: Option<String>,
    /// Actions that ran unchecked since the program began.
    pub unchecked: u64,
    /// Actions in the journal that the gate does not have yet.
    pub backlog: u64,
}

/// Whether the gate answered, and what it decides by.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    reachable: bool,
    since_ms: i64,
    problem: Option<String>,
    snapshot: Option<String>,
    /// When a lease was last asked for.
    asked_ms: i64,
    /// When something was last heard of the gate, or not heard.
    heard_ms: i64,
}

impl Away {
    /// Asks for a lease and hands in what an earlier program left, as far as the gate is there.
    pub async fn begin(&self) {
        let late = tokio::time::timeout(BEGINNING, self.tend()).await.is_err();
        if late {
            self.note("the gate did not answer yet");
        }
    }

    /// Keeps the lease and hands in the journal, for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.tend().await;
        }
    }

    /// Hands in what there is, renews the lease if it is time, and otherwise looks now and then whether the gate is
    /// there: nobody may have called for an hour.
    pub async fn tend(&self) {
        if let Some(stopgap) = &self.stopgap {
            self.keep_up(stopgap).await;
        }
        let silent = self.now_ms().saturating_sub(self.seen.lock().heard_ms);
        if silent >= APART_MS {
            let there = self.is_there().await;
            self.saw(
                there.then_some(None).ok_or_else(|| "the gate does not say that it is ready".to_owned()),
            );
        }
    }

    async fn keep_up(&self, stopgap: &Stopgap) {
        match self.hand_in(stopgap).await {
            Ok(true) => self.seen.lock().asked_ms = 0,
            Ok(false) => {}
            Err(problem) => self.saw(Err(problem)),
        }
        let now_ms = self.now_ms();
        let (snapshot, asked_ms) = {
            let seen = self.seen.lock();
            (seen.snapshot.clone(), seen.asked_ms)
        };
        let long_ago = now_ms.saturating_sub(asked_ms) >= APART_MS;
        if long_ago && stopgap.wants_lease(now_ms, snapshot.as_deref()) {
            self.seen.lock().asked_ms = now_ms;
            if let Err(problem) = self.renew(stopgap).await {
                self.saw(Err(problem));
            }
        }
    }

    /// Hands in journals, part by part. Says whether one is whole with the gate now.
    async fn hand_in(&self, stopgap: &Stopgap) -> Result<bool, String> {
        let Some(id) = stopgap.begin_handing_in()? else { return Ok(false) };
        let mut first = 0usize;
        loop {
            let part = stopgap.part(&id, first, MAX_PART)?;
            let body = serde_json::to_vec(&part).map_err(|e| e.to_string())?;
            let answer = self.carried(Question::post("/api/v1/unchecked", body, PATIENCE)).await?;
            let reply: BacklogReply = good(&answer)?;
            self.saw(Ok(None));
            if part.complete && reply.closed {
                stopgap.handed_in(&id)?;
                let count = reply.next;
                self.note(&format!(
                    "the gate is back and has what ran unchecked: {count} action(s), {} beyond the lease",
                    reply.exceeded
                ));
                return Ok(true);
            }
            if part.complete || part.records.is_empty() {
                return Err("the gate did not close the journal that was handed in".to_owned());
            }
            first = first.saturating_add(part.records.len());
        }
    }

    async fn renew(&self, stopgap: &Stopgap) -> Result<(), String> {
        let nonce = self.nonce().map_err(|e| e.to_string())?;
        let claim = &stopgap.claim;
        let asked = LeaseRequest {
            agent: claim.agent.clone(),
            enforces: claim.enforces.clone(),
            nonce: nonce.clone(),
            point: claim.point.clone(),
            tenant: claim.tenant.clone(),
        };
        let body = serde_json::to_vec(&asked).map_err(|e| e.to_string())?;
        let asked_at_ms = self.now_ms();
        let question = Question::post("/api/v1/enforcement-points/lease", body, PATIENCE);
        let answer = self.carried(question).await?;
        if (400..500).contains(&answer.status) {
            stopgap.forgo(&refusal(&answer))?;
        }
        let reply: LeaseReply = good(&answer)?;
        self.saw(Ok(None));
        match (reply.fail_mode, reply.receipt, reply.proof) {
            (FailWord::Open, Some(receipt), Some(proof)) => {
                let kept =
                    KeptLease { journals: Vec::new(), nonce, proof, receipt: receipt.get().to_owned() };
                stopgap.grant(&kept, &self.pinned, asked_at_ms)
            }
            // Whoever says so: to fail closed is always safe.
            _ => stopgap.forgo(&reply.reason.unwrap_or_else(|| "the gate gives no lease".to_owned())),
        }
    }

    /// Notes whether the gate answered, and the snapshot that its answer names.
    pub(super) fn saw(&self, answered: Result<Option<String>, String>) {
        let now_ms = self.now_ms();
        let mut seen = self.seen.lock();
        seen.heard_ms = now_ms;
        let reachable = answered.is_ok();
        if seen.reachable != reachable || seen.since_ms == 0 {
            (seen.reachable, seen.since_ms) = (reachable, now_ms);
        }
        match answered {
            Ok(snapshot) => {
                seen.problem = None;
                seen.snapshot = snapshot.or_else(|| seen.snapshot.take());
            }
            Err(problem) => seen.problem = Some(problem),
        }
    }

    /// How this enforcement point is.
    #[must_use]
    pub fn health(&self) -> PointHealth {
        let seen = self.seen.lock().clone();
        let told = self.stopgap.as_ref().map(|stopgap| stopgap.told(self.now_ms())).unwrap_or_default();
        let status = match (seen.reachable, told.lease_until_ms, &told.closed) {
            (true, _, _) => "ready",
            (false, Some(_), None) => "unchecked",
            (false, _, _) => "closed",
        };
        let without = "it has no folder for a journal".to_owned();
        PointHealth {
            status,
            gate_reachable: seen.reachable,
            since_ms: seen.since_ms,
            problem: seen.problem,
            tier: told.tier,
            lease_until_ms: told.lease_until_ms,
            fails_closed: if self.stopgap.is_some() { told.closed } else { Some(without) },
            unchecked: told.ran,
            backlog: told.backlog,
        }
    }
}

/// The JSON of a good answer.
fn good<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    if answer.status != 200 {
        return Err(refusal(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|e| format!("the gate's answer cannot be read: {e}"))
}
