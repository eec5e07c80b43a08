//! Beside the calls: the lease is renewed, and what ran unchecked is handed in once the gate is back.

use std::sync::Arc;
use std::time::Duration;

use callgate_log::{Body, VerifyingKey};
use serde::Serialize;

use super::lease::KeptLease;
use super::proven::proven;
use super::stopgap::{Claim, Stopgap};
use super::{Answer, Away, Question, is_ready, refusal};
use crate::unchecked::reconcile::MAX_PART;
use crate::unchecked::wire::{BacklogReply, FailWord, Holding, LeaseReply, LeaseRequest, WINDOW};

/// How often it is looked at whether there is anything to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long a lease or a part of a journal may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the gate may take at the start, before the point begins without a lease.
const BEGINNING: Duration = Duration::from_secs(3);
/// How long between two questions for a lease, or whether it is still right, in milliseconds.
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
    /// Why they cannot be handed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_problem: Option<String>,
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
    /// Why a journal cannot be handed in.
    stuck: Option<String>,
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

    /// Hands in what there is, then asks whether the lease is still right, or for another one if it is time.
    pub async fn tend(&self) {
        if let Some(stopgap) = &self.stopgap {
            let handed_in = self.hand_in(stopgap).await;
            let mut seen = self.seen.lock();
            seen.asked_ms = if handed_in == Ok(true) { 0 } else { seen.asked_ms };
            seen.stuck = handed_in.err();
        }
        let now_ms = self.now_ms();
        let snapshot = {
            let mut seen = self.seen.lock();
            if now_ms.saturating_sub(seen.asked_ms) < APART_MS {
                return;
            }
            seen.asked_ms = now_ms;
            seen.snapshot.clone()
        };
        // This also keeps a connection at hand for when it matters.
        let mut asked = match self.asked(Question::look(PATIENCE)).await {
            Ok(answer) if answer.status == 200 && !is_ready(&answer) => {
                let problem = "the gate does not say that it is ready".to_owned();
                self.saw(Err(problem.clone()));
                Err(problem)
            }
            answer => answer.map(drop),
        };
        if let Some(stopgap) = &self.stopgap {
            asked = self.renew(stopgap, stopgap.holding(now_ms, snapshot.as_deref())).await;
        }
        if let Err(problem) = asked {
            self.seen.lock().problem = Some(problem);
        }
    }

    /// One question; whether the gate is there is seen by the answer.
    async fn asked(&self, question: Question) -> Result<Answer, String> {
        let answer = self.carried(question).await;
        match &answer {
            Ok(answer) if answer.status < 500 => self.saw(Ok(None)),
            Ok(answer) => self.saw(Err(refusal(answer))),
            Err(problem) => self.saw(Err(problem.clone())),
        }
        answer
    }

    /// Hands in journals, part by part. Says whether one is whole with the gate now.
    async fn hand_in(&self, stopgap: &Stopgap) -> Result<bool, String> {
        let Some(id) = stopgap.begin_handing_in()? else { return Ok(false) };
        let mut first = 0usize;
        loop {
            let part = stopgap.part(&id, first, MAX_PART)?;
            let body = serde_json::to_vec(&part).map_err(|e| e.to_string())?;
            let answer = self.asked(Question::post("/api/v1/unchecked", body, PATIENCE)).await?;
            let reply: BacklogReply = good(&answer)?;
            if part.complete && reply.closed {
                let count = first.saturating_add(part.records.len());
                taken_in(&reply, &self.pinned, (&stopgap.claim, &id), count)?;
                stopgap.handed_in(&id)?;
                self.note(&format!(
                    "the gate is back and has what ran unchecked: {count} action(s), {} beyond the lease, {} it would \
                     have refused",
                    reply.exceeded, reply.refused
                ));
                return Ok(true);
            }
            if part.complete || part.records.is_empty() {
                return Err("the gate did not close the journal that was handed in".to_owned());
            }
            first = first.saturating_add(part.records.len());
        }
    }

    /// Asks for a lease; where the point `holds` one that is not over soon, only whether that is still right: an
    /// operator may have stopped the agent, or the policy may be another one.
    async fn renew(&self, stopgap: &Stopgap, holds: Option<Holding>) -> Result<(), String> {
        let nonce = self.nonce().map_err(|e| e.to_string())?;
        let claim = &stopgap.claim;
        let asked = LeaseRequest {
            agent: claim.agent.clone(),
            enforces: claim.enforces.clone(),
            holds: holds.clone(),
            nonce: nonce.clone(),
            point: claim.point.clone(),
            team: claim.team.clone(),
            tenant: claim.tenant.clone(),
        };
        let body = serde_json::to_vec(&asked).map_err(|e| e.to_string())?;
        let asked_at_ms = self.now_ms();
        let question = Question::post("/api/v1/enforcement-points/lease", body, PATIENCE);
        let answer = self.asked(question).await?;
        if (400..500).contains(&answer.status) {
            stopgap.forgo(&refusal(&answer))?;
        }
        let reply: LeaseReply = good(&answer)?;
        match (reply.fail_mode, reply.receipt, reply.proof) {
            (FailWord::Open, Some(receipt), Some(proof)) => {
                let kept =
                    KeptLease { journals: Vec::new(), nonce, proof, receipt: receipt.get().to_owned() };
                stopgap.grant(&kept, &self.pinned, asked_at_ms)
            }
            (FailWord::Open, None, None) if holds.is_some() => Ok(()),
            // Whoever says so: to fail closed is always safe.
            _ => stopgap.forgo(&reply.reason.unwrap_or_else(|| "the gate gives no lease".to_owned())),
        }
    }

    /// Notes whether the gate answered, and the snapshot that its answer names.
    pub(super) fn saw(&self, answered: Result<Option<String>, String>) {
        let now_ms = self.now_ms();
        let mut seen = self.seen.lock();
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
            backlog_problem: seen.stuck,
        }
    }
}

/// Whether the gate has a journal of so many actions whole. Only its signed receipt of the window says so: whoever
/// else could say it would have what ran unchecked forgotten.
fn taken_in(
    reply: &BacklogReply,
    pinned: &VerifyingKey,
    (claim, journal): (&Claim, &str),
    count: usize,
) -> Result<(), String> {
    let unproven = |problem: &str| format!("the gate does not prove that it has the journal: {problem}");
    let window = reply.window.as_ref().ok_or_else(|| unproven("there is no receipt"))?;
    let (statement, _) =
        proven(&window.receipt.to_string(), &window.proof, pinned).map_err(|e| unproven(&e))?;
    let Body::Admin(admin) = statement.body() else { return Err(unproven("the receipt is of no window")) };
    let says = |name: &str, text: &str| admin.details.get(name).is_some_and(|it| it == text);
    let whose = says("agent", &claim.agent) && says("tenant", &claim.tenant) && says("point", &claim.point);
    if admin.operation != WINDOW || !whose || !says("journal", journal) {
        return Err(unproven("the receipt is of another window"));
    }
    let known = admin.details.get("count").and_then(|text| text.parse::<usize>().ok());
    if known.is_none_or(|known| known < count) {
        return Err(unproven("it has fewer actions than ran"));
    }
    Ok(())
}

/// The JSON of a good answer.
fn good<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    if answer.status != 200 {
        return Err(refusal(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|e| format!("the gate's answer cannot be read: {e}"))
}
