//! From a decision to a durable receipt: bind, sign, seal, commit.

use callgate_core::approval::{ApprovalFacts, ApprovalNames};
use callgate_core::decide::{self, Ask};
use callgate_core::digest::{Digest, hex};
use callgate_core::facts::{Credential, Facts};
use callgate_core::finding::{Finding, Question};
use callgate_core::state::approvals::Under;
use callgate_core::state::unchecked::UncheckedDelta;
use callgate_core::state::{Change, Conflict, Delta, SessionKey};
use callgate_log::Statement;
use callgate_log::dsse::{self, Envelope};
use callgate_log::hash::sha256;
use callgate_log::proof::TlogProof;
use callgate_store::{CommitError, Durable, Entry};
use serde_json::value::RawValue;

use crate::error::Unavailable;
use crate::fold::encode;
use crate::gate::{Active, Gate, Named};
use crate::receipt::Binding;
use crate::reply::Evidence;
use crate::vault::Record;

/// One attempt at a decision: everything but the durability.
pub(crate) struct Attempt {
    pub(crate) decided: decide::Decided,
    /// The snapshot that decided.
    pub(crate) by: Named,
    pub(crate) now_ms: i64,
    pub(crate) signed: Signed,
    /// The digest of the action that was decided.
    pub(crate) action: Digest,
    salt: [u8; 32],
}

/// What was read to decide.
pub(crate) struct Consulted {
    pub(crate) facts: Facts,
    /// The session's last receipt.
    prev: Option<[u8; 32]>,
    /// The session's key ring slot.
    slot: Option<u64>,
}

/// What came of an attempt.
pub(crate) enum Tried {
    /// It can be committed.
    Ready(Box<(Attempt, Entry<Delta>)>),
    /// A judge is to be asked first; nothing was written or reserved.
    Open { ask: Ask, questions: Vec<Question> },
}

/// A payload with its signature.
pub(crate) struct Signed {
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: [u8; 64],
}

/// What was asked, as it arrived.
pub(crate) struct Arrived {
    pub(crate) ask: Ask,
    /// The raw bytes of something that is no request.
    pub(crate) raw: Vec<u8>,
}

impl Gate {
    /// Decides once on the facts as they are now, with the findings there are, and prepares the receipt.
    pub(crate) fn attempt(
        &self,
        ask: Ask,
        raw: &[u8],
        credential: &Credential,
        active: &Active,
        findings: &[Finding],
    ) -> Result<Tried, Unavailable> {
        let by = active.deciding(&ask, credential).clone();
        let (decided, consulted) = self.decide_now(ask, credential, active, findings);
        if !decided.questions.is_empty() {
            return Ok(Tried::Open { ask: decided.ask, questions: decided.questions });
        }
        self.prepared(decided, consulted, by, raw, credential, active)
            .map(|ready| Tried::Ready(Box::new(ready)))
    }

    /// Decides an action that ran already, and prepares the receipt of that.
    pub(crate) fn attempt_after(
        &self,
        ask: Ask,
        credential: &Credential,
        active: &Active,
        unchecked: UncheckedDelta,
    ) -> Result<Entry<Delta>, Unavailable> {
        let by = active.deciding(&ask, credential).clone();
        let (mut decided, consulted) = self.decide_now(ask, credential, active, &[]);
        decide::after_the_fact(&mut decided, unchecked, &consulted.facts);
        if decided.effects.key.is_none() {
            // Its place in the journal would not be on the log, and it would be taken in again and again.
            return Err(Unavailable::for_good("what ran is not of the agent whose key is shown"));
        }
        Ok(self.prepared(decided, consulted, by, &[], credential, active)?.1)
    }

    /// Binds, signs and seals a decision.
    fn prepared(
        &self,
        mut decided: decide::Decided,
        Consulted { facts, prev, slot: known_slot }: Consulted,
        by: Named,
        raw: &[u8],
        credential: &Credential,
        active: &Active,
    ) -> Result<(Attempt, Entry<Delta>), Unavailable> {
        decided.effects.snapshot = by.version;
        decided.effects.epoch = active.epoch;
        decided.effects.control = active.control;
        let slot = known_slot.map_or_else(|| self.vault.reserve(), Ok).map_err(keyring)?;
        decided.effects.slot = Some(slot);
        let record = self.record(&decided.ask, raw, &facts)?;
        let prev = prev.filter(|_| decided.effects.key.is_some());
        let delta = Delta { change: Change::Decision(decided.effects.clone()), now_ms: facts.now_ms };
        let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
        let (agent, tenant) = presented(credential);
        let action_bytes = action_bytes(&decided.ask);
        let binding = Binding {
            salt: &record.salt,
            action_bytes: action_bytes.as_bytes(),
            request_bytes: &record.request,
            facts_bytes: &record.facts,
            delta_bytes: &delta_bytes,
            prev,
            now_ms: facts.now_ms,
            digest: *by.snapshot.digest.as_bytes(),
            version: &by.name,
            candidate: active
                .candidate
                .as_ref()
                .map(|(named, _)| (*named.snapshot.digest.as_bytes(), &*named.name)),
            presented: (agent, tenant),
        };
        let signed = self.sign(&self.letterhead.decision(&decided, &binding))?;
        let payload_sha256 = sha256(&signed.payload).into_bytes();
        let attachment =
            self.vault.seal(slot, &record, &payload_sha256, self.random.as_ref()).map_err(keyring)?;
        let entry = signed.entry(delta, delta_bytes, attachment);
        let action = Digest::of(action_bytes.as_bytes());
        Ok((Attempt { decided, by, now_ms: facts.now_ms, signed, action, salt: record.salt }, entry))
    }

    /// Decides on the facts as they are now. What a rule holds is decided again with what is known of its
    /// approvals among the facts, all of them read again at one moment: that evaluation is the one that counts.
    pub(crate) fn decide_now(
        &self,
        ask: Ask,
        credential: &Credential,
        active: &Active,
        findings: &[Finding],
    ) -> (decide::Decided, Consulted) {
        let decide = |ask: Ask, held: bool| {
            let mut consulted = self.consult(&ask, credential, active, held);
            consulted.facts.findings = findings.to_vec();
            (active.in_force().decide(ask, &consulted.facts), consulted)
        };
        let first = decide(ask, false);
        if first.0.held && first.0.questions.is_empty() { decide(first.0.ask, true) } else { first }
    }

    /// Reads facts, the session's last receipt and its key ring slot, all at one moment. What the
    /// snapshot asks about the past is planned before. What is known of approvals is read only for an
    /// action that is `held`, by its names as it was decided.
    fn consult(&self, ask: &Ask, credential: &Credential, active: &Active, held: bool) -> Consulted {
        let request = match ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        let clock = self.clock.now_ms();
        let blind = self.identity.blind();
        let queries = active.in_force().plan(ask, credential, &blind);
        let asks = active.in_force().levels(ask, credential);
        let names = request.filter(|_| held).map(|request| ApprovalNames::of(request, &blind));
        let under = Under { control: active.control, version: active.deciding(ask, credential).version };
        self.store.state(|state| {
            let state = &state.0;
            let now_ms = clock.max(state.latest_ms());
            let mut facts = state.facts_of(request, credential.clone(), now_ms, asks.as_deref());
            if active.control {
                // Nothing limits people, or nobody could close a breaker.
                facts.limits = None;
            }
            if let Some(limits) = &mut facts.limits {
                limits.blind = Some(blind);
            }
            // Nobody's actions on the gate itself are only monitored.
            facts.monitor &= !active.control;
            // Nor stopped, or nobody could lift a stop.
            if active.control {
                (facts.stopped, facts.stops) = (None, 0);
            }
            facts.history = queries.map(|queries| state.history().read(queries, now_ms, blind));
            let key = request.map(SessionKey::of);
            let session = key.as_ref().filter(|key| key.is_chained()).and_then(|key| state.session(key));
            let slot = key.as_ref().and_then(|key| state.slot(key));
            facts.approval = names.zip(key.as_ref()).map(|(names, key)| ApprovalFacts {
                blind,
                seen: state.approvals().seen(&names, key, under, now_ms),
            });
            Consulted { prev: session.and_then(|session| session.last), facts, slot }
        })
    }

    fn record(&self, ask: &Ask, raw: &[u8], facts: &Facts) -> Result<Record, Unavailable> {
        let mut salt = [0u8; 32];
        self.random
            .fill(&mut salt)
            .map_err(|e| Unavailable::now(format!("the system gave no random bytes: {e}")))?;
        let (malformed, request) = match ask {
            Ask::Request(request) => (false, request.canonical().into_bytes()),
            Ask::Malformed(_) => (true, raw.to_vec()),
        };
        let facts = serde_json::to_vec(facts).map_err(|e| Unavailable::for_good(e.to_string()))?;
        Ok(Record { salt, malformed, request, facts })
    }

    pub(crate) fn sign(&self, statement: &Statement) -> Result<Signed, Unavailable> {
        let payload = statement.to_payload().map_err(|e| Unavailable::for_good(e.to_string()))?;
        let signature = dsse::sign(self.identity.key(), &payload);
        Ok(Signed { payload, signature })
    }

    /// Commits a receipt that no request stands behind: an outcome or a change to the gate itself.
    pub(crate) async fn commit_delta(
        &self,
        statement: &Statement,
        delta: Delta,
        delta_bytes: Vec<u8>,
        attachment: Vec<u8>,
    ) -> Result<(Signed, Durable), CommitFailure> {
        let signed = self.sign(statement)?;
        let entry = signed.entry(delta, delta_bytes, attachment);
        let durable = self.store.commit(entry).await?;
        Ok((signed, durable))
    }

    /// The evidence of a durable receipt.
    pub(crate) fn evidence(
        &self,
        signed: &Signed,
        durable: &Durable,
    ) -> Result<(Box<RawValue>, String), Unavailable> {
        let envelope = Envelope::new(signed.payload.clone(), self.identity.key().key_id(), signed.signature);
        let envelope =
            RawValue::from_string(envelope.to_json()).map_err(|e| Unavailable::for_good(e.to_string()))?;
        Ok((envelope, self.proof(durable.index, durable.size, &durable.checkpoint)?))
    }

    /// The tlog-proof of a receipt under a checkpoint.
    pub(crate) fn proof(&self, index: u64, size: u64, checkpoint: &[u8]) -> Result<String, Unavailable> {
        let path =
            self.store.prove_inclusion(index, size).map_err(|e| Unavailable::for_good(e.to_string()))?;
        let missing =
            || Unavailable::for_good(format!("receipt {index} cannot be proved in the tree of {size}"));
        let hashes = path.ok_or_else(missing)?;
        let checkpoint = String::from_utf8_lossy(checkpoint).into_owned();
        Ok(TlogProof { extra: None, index, hashes, checkpoint }.to_text())
    }

    pub(crate) fn attempt_evidence(
        &self,
        attempt: &Attempt,
        durable: &Durable,
    ) -> Result<Evidence, Unavailable> {
        let (envelope, proof) = self.evidence(&attempt.signed, durable)?;
        Ok(Evidence { index: durable.index, envelope, proof, salt: hex(&attempt.salt) })
    }
}

impl Signed {
    fn entry(&self, delta: Delta, delta_bytes: Vec<u8>, attachment: Vec<u8>) -> Entry<Delta> {
        Entry { payload: self.payload.clone(), signature: self.signature, delta_bytes, delta, attachment }
    }
}

/// Why a receipt without a request behind it was not committed.
pub(crate) enum CommitFailure {
    Conflict(Conflict),
    Unavailable(Unavailable),
}

impl From<Unavailable> for CommitFailure {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl From<CommitError<Conflict>> for CommitFailure {
    fn from(error: CommitError<Conflict>) -> Self {
        match error {
            CommitError::Conflict(conflict) => Self::Conflict(conflict),
            other => Self::Unavailable(unavailable(&other)),
        }
    }
}

impl CommitFailure {
    /// A conflict that deciding again cannot solve here.
    pub(crate) fn settled(self) -> Unavailable {
        match self {
            Self::Conflict(conflict) => Unavailable::now(format!("{conflict}; try again")),
            Self::Unavailable(unavailable) => unavailable,
        }
    }
}

pub(crate) fn unavailable(error: &CommitError<Conflict>) -> Unavailable {
    let message = error.to_string();
    match error {
        CommitError::Busy | CommitError::Full | CommitError::Conflict(_) => Unavailable::now(message),
        CommitError::TooLarge(_) | CommitError::Failed(_) | CommitError::Closed => {
            Unavailable::for_good(message)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
fn keyring(error: callgate_store::KeyringError) -> Unavailable {
    Unavailable::for_good(error.to_string())
}

/// The canonical action of what was asked; empty for what is no request.
pub(crate) fn action_bytes(ask: &Ask) -> String {
    match ask {
        Ask::Request(request) => request.action_bytes(),
        Ask::Malformed(_) => String::new(),
    }
}

/// The agent and tenant a credential speaks for.
pub(crate) fn presented(credential: &Credential) -> (&str, &str) {
    match credential {
        Credential::Agent { agent, tenant, .. } => (agent, tenant),
        Credential::Local | Credential::Development | Credential::Person { .. } => {
            ("unknown", callgate_core::request::DEFAULT_TENANT)
        }
    }
}
