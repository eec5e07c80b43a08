//! Replay: deciding every receipt again from its recorded snapshot, request and facts.
//!
//! Law 4, *replay equals live*: the payload written again must be the same bytes, and the facts recorded
//! of session and history must be those the log folds to. Nothing here writes, and no clock is read.

mod past;

use std::collections::BTreeMap;

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta, OutcomeDelta, State};
use callgate_log::Statement;
use callgate_log::hash::sha256;
use callgate_log::statement::{Body, Decision, Status};
use callgate_policy::Explanation;
use callgate_store::{Keyring, StoredReceipt};
use serde_json::Value;

use crate::commit::{action_bytes, presented};
use crate::fold::encode;
use crate::publish::compile_archive;
use crate::receipt::{Binding, Letterhead};
use crate::vault::{self, Attachment, Record};
use past::Requests;

/// What came of replaying one receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Decided again to the same bytes.
    Same,
    /// Its request was erased; the receipt still verifies, but cannot be decided again.
    Erased,
    /// No decision: an outcome, whose part in the history is as it must be, or a change to the gate itself.
    NotADecision,
    /// Decided again, and it came out differently.
    Differs(Vec<Difference>),
    /// What replay needs is damaged or missing.
    Unreadable(String),
}

/// One field that came out differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field of the receipt's predicate.
    pub field: String,
    /// What the receipt says.
    pub recorded: String,
    /// What deciding again says.
    pub replayed: String,
}

/// A decision made again, and the version of the snapshot that made it.
struct Redecided {
    decided: Decided,
    version: String,
}

/// Replays receipts in log order.
#[derive(Debug, Default)]
pub struct Replay {
    state: State,
    snapshots: BTreeMap<String, Snapshot>,
    requests: Requests,
}

impl Replay {
    /// Begins before the first receipt.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state the log folds to so far.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Replays the next receipt; call it for every receipt of the log, in order.
    pub fn push(&mut self, receipt: &StoredReceipt, keyring: &Keyring) -> Replayed {
        self.push_decided(receipt, keyring).0
    }

    /// As [`Self::push`], and explains the decision from the evaluation that replayed it. There is an
    /// explanation exactly when it was decided again to the same bytes.
    pub fn explain(&mut self, receipt: &StoredReceipt, keyring: &Keyring) -> (Replayed, Option<Explanation>) {
        let (replayed, decided) = self.push_decided(receipt, keyring);
        let decided = decided.filter(|_| replayed == Replayed::Same);
        let explanation = decided.and_then(|Redecided { decided, version }| {
            self.snapshots.get(&version).map(|snapshot| Explanation::of(snapshot, &decided))
        });
        (replayed, explanation)
    }

    fn push_decided(&mut self, receipt: &StoredReceipt, keyring: &Keyring) -> (Replayed, Option<Redecided>) {
        let payload_sha256 = sha256(&receipt.payload).into_bytes();
        let delta: Delta = match serde_json::from_slice(&receipt.delta) {
            Ok(delta) => delta,
            Err(e) => {
                return (Replayed::Unreadable(format!("its state change cannot be read: {e}")), None);
            }
        };
        let replayed = self
            .replay(receipt, &payload_sha256, &delta, keyring)
            .unwrap_or_else(|problem| (Replayed::Unreadable(problem), None));
        self.state.apply(receipt.index, &payload_sha256, &delta);
        let ended = match &delta.change {
            Change::Outcome(outcome) => Some(outcome.decision),
            _ => None,
        };
        self.requests.forget(&self.state, ended);
        replayed
    }

    fn replay(
        &mut self,
        receipt: &StoredReceipt,
        payload_sha256: &[u8; 32],
        delta: &Delta,
        keyring: &Keyring,
    ) -> Result<(Replayed, Option<Redecided>), String> {
        let statement = Statement::parse(&receipt.payload).map_err(|e| e.to_string())?;
        if let Change::SnapshotActivated(activated) = &delta.change {
            let attachment = vault::open(keyring, &receipt.attachment, payload_sha256)?;
            let snapshot = compile_archive(&attachment)?;
            if snapshot.digest.to_string() != activated.digest {
                return Err("the bundle's text does not have the digest that was signed".to_owned());
            }
            self.snapshots.insert(format!("v{}", activated.version), snapshot);
        }
        let decision = match (statement.body(), &delta.change) {
            (Body::Decision(decision), _) => decision,
            (Body::Outcome(ended), Change::Outcome(outcome)) => {
                return Ok((self.outcome(outcome, ended.status, delta.now_ms)?, None));
            }
            _ => return Ok((Replayed::NotADecision, None)),
        };
        match vault::open(keyring, &receipt.attachment, payload_sha256)? {
            Attachment::Erased => Ok((Replayed::Erased, None)),
            Attachment::Record(record) => self.redecide(&record, decision, delta, receipt),
            Attachment::Plain(_) | Attachment::Empty => Err("its request is not beside it".to_owned()),
        }
    }

    fn outcome(&self, outcome: &OutcomeDelta, status: Status, now_ms: i64) -> Result<Replayed, String> {
        let version = outcome.snapshot.map(|version| format!("v{version}"));
        let unknown = |version: &String| format!("snapshot {version} is not in the log");
        let find = |version| self.snapshots.get(&version).ok_or_else(|| unknown(&version));
        let snapshot = version.map(find).transpose()?;
        let differences = self.requests.outcome_differs(&self.state, snapshot, outcome, status, now_ms);
        Ok(if differences.is_empty() { Replayed::NotADecision } else { Replayed::Differs(differences) })
    }

    fn redecide(
        &mut self,
        record: &Record,
        recorded: &Decision,
        delta: &Delta,
        receipt: &StoredReceipt,
    ) -> Result<(Replayed, Option<Redecided>), String> {
        let Change::Decision(effects) = &delta.change else {
            return Err("its state change is not a decision's".to_owned());
        };
        let facts: Facts = serde_json::from_slice(&record.facts).map_err(|e| e.to_string())?;
        let ask = ask(record)?;
        let version = &recorded.snapshot.version;
        let snapshot =
            self.snapshots.get(version).ok_or_else(|| format!("snapshot {version} is not in the log"))?;
        let mut differences = self.facts_differ(&ask, &facts);
        differences.extend(past::history_differs(&self.state, snapshot, &ask, &facts));
        let mut decided = decide(snapshot, ask, &facts);
        // The shell's own two fields; the fold checks them.
        decided.effects.slot = effects.slot;
        decided.effects.snapshot = effects.snapshot;
        let again = Delta { change: Change::Decision(decided.effects.clone()), now_ms: facts.now_ms };
        let delta_bytes = encode(&again).map_err(|e| e.to_string())?;
        let action_bytes = action_bytes(&decided.ask);
        let binding = Binding {
            salt: &record.salt,
            action_bytes: action_bytes.as_bytes(),
            request_bytes: &record.request,
            facts_bytes: &record.facts,
            delta_bytes: &delta_bytes,
            prev: recorded.prev.map(callgate_log::Hash::into_bytes),
            now_ms: facts.now_ms,
            digest: *snapshot.digest.as_bytes(),
            version,
            presented: presented(&facts.credential),
        };
        let gate = recorded.gate.clone();
        let letterhead = Letterhead { origin: gate.origin, version: gate.version };
        let payload = letterhead.decision(&decided, &binding).to_payload().map_err(|e| e.to_string())?;
        if payload != receipt.payload {
            differences.extend(fields_that_differ(&receipt.payload, &payload));
        }
        self.requests.learn(&facts);
        // Only a policy that looks back asks about the end of an action.
        if let Ask::Request(request) = &decided.ask
            && effects.open_until_ms.is_some()
            && self.snapshots.values().any(Snapshot::looks_back)
        {
            self.requests.keep(receipt.index, request.clone());
        }
        let replayed = if differences.is_empty() { Replayed::Same } else { Replayed::Differs(differences) };
        Ok((replayed, Some(Redecided { decided, version: version.clone() })))
    }

    /// The session facts must be those the log folds to at this place.
    fn facts_differ(&self, ask: &Ask, facts: &Facts) -> Vec<Difference> {
        let Ask::Request(request) = ask else { return Vec::new() };
        let folded = self.state.facts(Some(request), facts.credential.clone(), facts.now_ms);
        let claims_another = matches!(&facts.credential,
            Credential::Agent { agent, .. } if agent != request.agent.id.as_str())
            || matches!(&facts.credential, Credential::Person { .. });
        if folded.session == facts.session || claims_another {
            return Vec::new();
        }
        vec![Difference {
            field: "facts.session".to_owned(),
            recorded: format!("{:?}", facts.session),
            replayed: format!("{:?}", folded.session),
        }]
    }
}

/// What was asked, as it was recorded.
pub(crate) fn ask(record: &Record) -> Result<Ask, String> {
    // What was accepted once is read again without the limits of today.
    let generous =
        Limits { bytes: usize::MAX, depth: Limits::REQUEST.depth.saturating_mul(2), values: usize::MAX };
    let limits = if record.malformed { Limits::REQUEST } else { generous };
    match (Request::parse(&record.request, &limits), record.malformed) {
        (Ok(request), false) => Ok(Ask::Request(Box::new(request))),
        (Err(problem), true) => Ok(Ask::Malformed(problem.to_string())),
        (Err(problem), false) => Err(format!("its request cannot be read: {problem}")),
        (Ok(_), true) => Err("its request was refused as malformed, but this version accepts it".to_owned()),
    }
}

/// Compares two payloads field by field.
fn fields_that_differ(recorded: &[u8], replayed: &[u8]) -> Vec<Difference> {
    let read = |bytes: &[u8]| -> BTreeMap<String, Value> {
        let whole: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let mut fields: BTreeMap<String, Value> = whole
            .get("predicate")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect();
        fields.insert("subject".to_owned(), whole.get("subject").cloned().unwrap_or_default());
        fields
    };
    let (recorded, replayed) = (read(recorded), read(replayed));
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(replayed.keys()).collect();
    let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
    names
        .into_iter()
        .filter(|name| recorded.get(*name) != replayed.get(*name))
        .map(|name| Difference {
            field: name.clone(),
            recorded: text(recorded.get(name)),
            replayed: text(replayed.get(name)),
        })
        .collect()
}
