//! Deltas: what one receipt does to the state, as it lies beside the receipt.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::SessionKey;
use super::approvals::{Comment, Delegation, StandingEnd, Vote};
use super::meters::BreakerReset;
use super::release::{
    ControlRef, ModeScope, Point, RolloutStart, SimulationEvidence, SnapshotRef, Stage, Tried,
};
use super::stops::StopStart;
use super::unchecked::{LeaseDelta, UncheckedDelta, WindowDelta};
use crate::approval::ApprovalDelta;
use crate::facts::{Credential, Position};
use crate::history::{Kept, Monitor, Observation, Reads};
use crate::limit::{Amount, Charged, Ended};
use crate::progress::Halt;

/// A registered API key; only its hash is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whom it speaks for.
    pub holder: Holder,
    /// The key's public name.
    pub id: String,
    /// Lower-case hex SHA-256 of the key's secret.
    pub sha256: String,
}

/// Whom a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Holder {
    /// One agent.
    Agent {
        /// The agent.
        agent: String,
        /// The person who answers for it, and so cannot approve what it asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// The agent's team.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// The agent's tenant.
        tenant: String,
    },
    /// One person.
    Person {
        /// Who.
        person: String,
        /// The key that their signatures verify with: SPKI in PEM, Ed25519.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<String>,
        /// What they may do.
        roles: BTreeSet<String>,
        /// The only tenant they look after; every tenant if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
}

impl Holder {
    /// The credential that a key of this holder is.
    #[must_use]
    pub fn credential(&self) -> Credential {
        match self.clone() {
            Self::Agent { agent, team, tenant, .. } => Credential::Agent { agent, tenant, team },
            Self::Person { person, roles, tenant, .. } => {
                Credential::Person { id: person, roles: roles.into_iter().collect(), tenant }
            }
        }
    }
}

/// What one receipt does to the state: a change, and the clock it was made at. The clock of every
/// receipt counts, so that a restarted gate's time never goes back behind its own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The change.
    pub change: Change,
    /// The gate's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A decision's effects.
    Decision(DecisionDelta),
    /// An outcome closes an open action.
    Outcome(OutcomeDelta),
    /// A snapshot is kept, so that it can come into force.
    SnapshotStaged(Stage),
    /// A kept snapshot was simulated.
    SnapshotSimulated {
        /// How that came out.
        evidence: SimulationEvidence,
        /// The snapshot's version.
        version: u64,
    },
    /// A snapshot comes into force. One that was not staged is kept by this.
    SnapshotActivated(SnapshotRef),
    /// A candidate begins to be tried beside the snapshot in force.
    RolloutStarted(RolloutStart),
    /// The candidate is tried no more.
    RolloutStopped {},
    /// From now on decisions are only recorded, or bind again.
    ModeSet {
        /// Whether they are only recorded.
        monitor: bool,
        /// Whose.
        scope: ModeScope,
    },
    /// An enforcement point says what it can do, and with which snapshot it works.
    PointAcknowledged(Point),
    /// An enforcement point may rely on terms while the gate cannot be reached.
    PointLeased(LeaseDelta),
    /// A window in which actions ran unchecked is over.
    UncheckedWindow(WindowDelta),
    /// An enforcement point is gone.
    PointRetired {
        /// Its name.
        id: String,
    },
    /// The policy of the gate's own actions changes.
    ControlActivated(ControlRef),
    /// A key is registered.
    KeyCreated(ApiKey),
    /// A key is no longer accepted.
    KeyRevoked {
        /// The key's public name.
        id: String,
    },
    /// The key ring slot of a session was erased: its requests cannot be read again.
    SessionErased(SessionKey),
    /// Monitors that were not in force are filled from the log, before a snapshot needs them.
    HistoryFilled(HistoryFill),
    /// An endpoint for events has had, or will never have, those up to here.
    Delivered {
        /// The endpoint's id.
        endpoint: String,
        /// The last receipt that it is not told of any more.
        through: u64,
    },
    /// A person agrees to an approval, or rejects it.
    ApprovalVoted(Vote),
    /// A person hands their vote on an approval to another one.
    ApprovalDelegated(Delegation),
    /// A person says something about an approval; the text lies sealed beside the receipt.
    ApprovalCommented(Comment),
    /// It is written down that an approval ended without being used. The time alone had ended it.
    ApprovalExpired {
        /// The approval.
        approval: u64,
    },
    /// A person takes a standing approval back.
    StandingRevoked(StandingEnd),
    /// An action that still runs has already spent more than was reserved.
    ActionSpent {
        /// The decision receipt's index.
        decision: u64,
        /// How much so far, by folded unit.
        spent: BTreeMap<String, Amount>,
    },
    /// A person closes a breaker.
    BreakerReset(BreakerReset),
    /// It is written down that a breaker opened. What it counted had opened it.
    BreakerOpened {
        /// The breaker and whom it blocks.
        meter: String,
    },
    /// An operator stops something.
    StopCreated(StopStart),
    /// An operator lifts a stop.
    StopLifted {
        /// The stop's receipt.
        stop: u64,
    },
    /// An action that runs was told to stop, for the first time.
    ActionStopped {
        /// Why.
        code: Halt,
        /// The decision's receipt.
        decision: u64,
    },
    /// A receipt that changes nothing, such as the log's first.
    Noted {},
}

impl DecisionDelta {
    /// Whether a stop that came after its facts were read speaks against it: it lets an action run, or lets people
    /// be asked about one.
    #[must_use]
    pub fn can_be_stopped(&self) -> bool {
        use crate::approval::ApprovalEffect::{Meets, Opens, Uses, UsesStanding};
        let effect = self.approval.as_ref().map(|approval| &approval.effect);
        let holds = matches!(effect, Some(Opens { .. } | Meets { .. } | Uses { .. } | UsesStanding { .. }));
        !self.control && (self.open_until_ms.is_some() || holds)
    }
}

impl Change {
    /// What it adds to the history.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        match self {
            Self::Decision(decision) => &decision.observations,
            Self::Outcome(outcome) => &outcome.observations,
            _ => &[],
        }
    }
}

/// One piece of what the log holds for monitors that were not in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFill {
    /// The monitors that begin here, empty, whatever was kept of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begins: Vec<Monitor>,
    /// Their events, as a fold of the log keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
}

/// The effects of one decision. The versions are those its facts were read at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionDelta {
    /// Where the session stands now, if the decision moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Position>,
    /// What it does with the approvals of its action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<ApprovalDelta>>,
    /// What it counts against limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<Box<Charged>>,
    /// Whether the policy of the gate's own actions decided.
    #[serde(default, skip_serializing_if = "is_false")]
    pub control: bool,
    /// What else was in force when it was decided; nothing of it may have changed.
    pub epoch: u64,
    /// The session; `None` for a request too malformed to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SessionKey>,
    /// The nonce this request used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<NonceUse>,
    /// What the request adds to the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// Whether an action is now open, until its outcome or this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<i64>,
    /// What was read of the history; it must not have moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// What is looked at again while the action runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Box<Running>>,
    /// The key ring slot that seals this session's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The version of the snapshot that decided.
    pub snapshot: u64,
    /// The receipt of the newest stop when the facts were read; nothing may have been stopped since, unless this
    /// is a denial.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stops: u64,
    /// The agent's team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What came of the candidate beside the snapshot in force, while one is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// That the action ran before it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Box<UncheckedDelta>>,
    /// The session's receipts when the facts were read.
    pub version: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What of an action is looked at again while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// What it is called, see [`crate::request::Request::called`].
    pub called: Vec<String>,
    /// The agents that delegated to the one that asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_ms: Option<u64>,
    /// For whom the agent acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// A nonce and how long it must be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonceUse {
    /// Until when, milliseconds since 1970 UTC.
    pub until_ms: i64,
    /// The nonce.
    pub value: String,
}

/// Closes an open action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeDelta {
    /// The decision receipt's index.
    pub decision: u64,
    /// How it ended, for the limits that wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What was in force when its monitors were asked; nothing of it may have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Whose session it is.
    pub key: SessionKey,
    /// What the outcome adds to the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// What was read of the history; it must not have moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// What it cost, by folded unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spent: BTreeMap<String, Amount>,
    /// The session's receipts when the facts were read.
    pub version: u64,
}

/// What changed between reading facts and committing; the shell decides again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The session got another receipt.
    #[error("the session moved on")]
    Session,
    /// The nonce was used.
    #[error("the nonce was used")]
    Nonce,
    /// Another snapshot came into force.
    #[error("another snapshot came into force")]
    Snapshot,
    /// The action is closed or unknown.
    #[error("the action is closed or unknown")]
    Action,
    /// What was read of the history got another event.
    #[error("the history moved on")]
    History,
    /// A limit has less room than was read, or a breaker opened or closed.
    #[error("a limit moved on")]
    Limit,
    /// Another decision, vote or snapshot changed the approvals of the action.
    #[error("the approval moved on")]
    Approval,
    /// Something was stopped meanwhile.
    #[error("something was stopped")]
    Stopped,
    /// A version or key id is taken, or what is named is unknown, or a delivery is recorded already.
    #[error("the registry moved on")]
    Registry,
}
