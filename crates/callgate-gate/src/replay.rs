//! Replay: deciding every receipt again from its recorded snapshot, request and facts.
//!
//! Law 4, *replay equals live*: the payload written again must be the same bytes, and the facts recorded
//! of session and history must be those the log folds to. Nothing here writes, and no clock is read.

mod past;

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::decide::{self, Ask, Decided};
use callgate_core::facts::{Credential, Facts};
use callgate_core::in_force::{Candidate, InForce};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::unchecked::UncheckedDelta;
use callgate_core::state::{Change, DecisionDelta, Delta, OutcomeDelta, State};
use callgate_log::Statement;
use callgate_log::hash::sha256;
use callgate_log::statement::{Body, Decision, Status};
use callgate_policy::Explanation;
use callgate_store::{Keyring, StoredReceipt};
use serde_json::Value;

use crate::commit::{action_bytes, presented};
use crate::fold::encode;
use crate::receipt::{Binding, Letterhead};
use crate::release::compile_archive;
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
    /// What decided.
    snapshot: Arc<Snapshot>,
}

/// Replays receipts in log order.
#[derive(Debug, Default)]
pub struct Replay {
    state: State,
    snapshots: BTreeMap<u64, Arc<Snapshot>>,
    /// The policies of the gate's own actions.
    control: BTreeMap<u64, Arc<Snapshot>>,
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
        let explanation = decided.map(|Redecided { decided, snapshot }| Explanation::of(&snapshot, &decided));
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
        self.learn(&delta.change, receipt, payload_sha256, keyring)?;
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

    /// Compiles the texts in the log.
    fn learn(
        &mut self,
        change: &Change,
        receipt: &StoredReceipt,
        payload_sha256: &[u8; 32],
        keyring: &Keyring,
    ) -> Result<(), String> {
        let (digest, version) = match change {
            Change::SnapshotStaged(stage) => (&stage.digest, stage.version),
            Change::SnapshotActivated(activated) => {
                if let Some(kept) = self.snapshots.get(&activated.version) {
                    let same = kept.digest.to_string() == activated.digest;
                    let wrong = || Err(format!("v{} is another snapshot", activated.version));
                    return if same { Ok(()) } else { wrong() };
                }
                (&activated.digest, activated.version)
            }
            Change::ControlActivated(control) => (&control.digest, control.version),
            _ => return Ok(()),
        };
        let attachment = vault::open(keyring, &receipt.attachment, payload_sha256)?;
        let snapshot = compile_archive(&attachment)?;
        if snapshot.digest.to_string() != *digest {
            return Err("the bundle's text does not have the digest that was signed".to_owned());
        }
        let known = match change {
            Change::ControlActivated(_) => &mut self.control,
            _ => &mut self.snapshots,
        };
        known.insert(version, Arc::new(snapshot));
        Ok(())
    }

    fn snapshot(&self, version: u64) -> Result<&Arc<Snapshot>, String> {
        self.snapshots.get(&version).ok_or_else(|| format!("snapshot v{version} is not in the log"))
    }

    /// What was in force at this place of the log.
    fn in_force(&self) -> Result<InForce<'_>, String> {
        let release = self.state.release();
        let live = self.snapshot(release.active_version())?;
        let candidate = match release.rollout() {
            None => None,
            Some(rollout) => {
                let version = rollout.start.candidate.version;
                let snapshot = self.snapshot(version)?;
                Some(Candidate { snapshot, trial: &rollout.start.trial, version })
            }
        };
        Ok(InForce { live, candidate })
    }

    fn outcome(&self, outcome: &OutcomeDelta, status: Status, now_ms: i64) -> Result<Replayed, String> {
        let force = outcome.epoch.map(|_| self.in_force()).transpose()?;
        let differences = self.requests.outcome_differs(&self.state, force.as_ref(), outcome, status, now_ms);
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
        let force = if effects.control {
            let snapshot = self.control.get(&effects.snapshot);
            InForce::alone(snapshot.ok_or_else(|| format!("control policy {version} is not in the log"))?)
        } else {
            self.in_force()?
        };
        let (by, is_candidate) = force.deciding(&ask, &facts.credential);
        let snapshot = if effects.control {
            self.control.get(&effects.snapshot).cloned()
        } else {
            self.snapshots.get(&effects.snapshot).cloned()
        };
        let snapshot = snapshot.ok_or_else(|| format!("snapshot {version} is not in the log"))?;
        let candidate =
            force.candidate.map(|it| (*it.snapshot.digest.as_bytes(), format!("v{}", it.version)));
        let decided_by = if effects.control {
            format!("c{}", effects.snapshot)
        } else if is_candidate {
            candidate.as_ref().map_or_else(String::new, |(_, name)| name.clone())
        } else {
            format!("v{}", self.state.release().active_version())
        };
        let mut differences = self.facts_differ(&ask, &facts, effects);
        differences.extend(past::approval_differs(&self.state, &ask, &facts, effects));
        differences.extend(past::limits_differ(&self.state, &facts, effects));
        differences.extend(past::history_differs(&self.state, &force, &ask, &facts));
        let mut decided = force.decide(ask, &facts);
        if let Some(unchecked) = &effects.unchecked {
            decide::after_the_fact(&mut decided, UncheckedDelta::clone(unchecked), &facts);
        }
        // The shell's own fields; the fold checks them.
        decided.effects.slot = effects.slot;
        decided.effects.snapshot = effects.snapshot;
        decided.effects.epoch = effects.epoch;
        decided.effects.control = effects.control;
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
            digest: *by.digest.as_bytes(),
            version: &decided_by,
            candidate: candidate.as_ref().map(|(digest, name)| (*digest, name.as_str())),
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
            && self.snapshots.values().any(|snapshot| snapshot.looks_back())
        {
            self.requests.keep(receipt.index, request.clone());
        }
        let replayed = if differences.is_empty() { Replayed::Same } else { Replayed::Differs(differences) };
        Ok((replayed, Some(Redecided { decided, snapshot })))
    }

    /// The session facts must be those the log folds to at this place.
    fn facts_differ(&self, ask: &Ask, facts: &Facts, effects: &DecisionDelta) -> Vec<Difference> {
        let Ask::Request(request) = ask else { return Vec::new() };
        let folded = self.state.facts(Some(request), facts.credential.clone(), facts.now_ms);
        let claims_another = matches!(&facts.credential,
            Credential::Agent { agent, .. } if agent != request.agent.id.as_str())
            || matches!(&facts.credential, Credential::Person { .. });
        let mut differences = Vec::new();
        if folded.session != facts.session && !claims_another {
            differences.push(Difference {
                field: "facts.session".to_owned(),
                recorded: format!("{:?}", facts.session),
                replayed: format!("{:?}", folded.session),
            });
        }
        // What is denied, or ran already, may have been stopped or freed between reading and committing.
        let stops = |facts: &Facts| (facts.stops, facts.stopped.clone());
        let matters = effects.can_be_stopped() && effects.unchecked.is_none();
        if matters && stops(&folded) != stops(facts) {
            differences.push(Difference {
                field: "facts.stopped".to_owned(),
                recorded: format!("{:?}", stops(facts)),
                replayed: format!("{:?}", stops(&folded)),
            });
        }
        if (folded.monitor && !effects.control) != facts.monitor {
            differences.push(Difference {
                field: "facts.monitor".to_owned(),
                recorded: facts.monitor.to_string(),
                replayed: folded.monitor.to_string(),
            });
        }
        differences
    }
}

/// What was asked, as it was recorded.
pub(crate) fn ask(record: &Record) -> Result<Ask, String> {
    read_ask(&record.request, record.malformed)
}

/// What was asked, from its recorded bytes.
pub(crate) fn read_ask(request: &[u8], malformed: bool) -> Result<Ask, String> {
    // What was accepted once is read again without the limits of today.
    let generous =
        Limits { bytes: usize::MAX, depth: Limits::REQUEST.depth.saturating_mul(2), values: usize::MAX };
    let limits = if malformed { Limits::REQUEST } else { generous };
    match (Request::parse(request, &limits), malformed) {
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
