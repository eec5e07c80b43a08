//! What happened at the gate, for whoever wants to be told: names, ids, codes and times, never arguments.
//!
//! An event is derived from one receipt and has its place in the log for an id, so that it is never
//! stored twice and whoever missed some can ask for what came after the last one seen.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::facts::Credential;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is explained in docs/events.md")]
pub enum Kind {
    ApprovalRequested,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalExpired,
    ApprovalCommented,
    ApprovalDelegated,
    ApprovalUsed,
    ControlActivated,
    KeyCreated,
    KeyRevoked,
    ModeSet,
    ActionStopped,
    BreakerOpened,
    BreakerReset,
    StopCreated,
    StopLifted,
    RolloutStarted,
    RolloutStopped,
    SnapshotActivated,
    SnapshotSimulated,
    SnapshotStaged,
    SubjectErased,
    UncheckedWindow,
}

/// Who may be told of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Whoever answers for the tenant, and the agent it is about.
    Tenant,
    /// The same, without the agent: what people say among themselves.
    Reviewers,
    /// People, of whatever tenant: what the gate decides by.
    Policy,
    /// Operators and auditors.
    Operators,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::ApprovalRequested,
        Self::ApprovalGranted,
        Self::ApprovalRejected,
        Self::ApprovalExpired,
        Self::ApprovalCommented,
        Self::ApprovalDelegated,
        Self::ApprovalUsed,
        Self::ControlActivated,
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::ModeSet,
        Self::ActionStopped,
        Self::BreakerOpened,
        Self::BreakerReset,
        Self::StopCreated,
        Self::StopLifted,
        Self::RolloutStarted,
        Self::RolloutStopped,
        Self::SnapshotActivated,
        Self::SnapshotSimulated,
        Self::SnapshotStaged,
        Self::SubjectErased,
        Self::UncheckedWindow,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalRequested => "approval.requested",
            Self::ApprovalGranted => "approval.granted",
            Self::ApprovalRejected => "approval.rejected",
            Self::ApprovalExpired => "approval.expired",
            Self::ApprovalCommented => "approval.commented",
            Self::ApprovalDelegated => "approval.delegated",
            Self::ApprovalUsed => "approval.used",
            Self::ControlActivated => "control.activated",
            Self::KeyCreated => "key.created",
            Self::KeyRevoked => "key.revoked",
            Self::ModeSet => "mode.set",
            Self::ActionStopped => "action.stopped",
            Self::BreakerOpened => "breaker.opened",
            Self::BreakerReset => "breaker.reset",
            Self::StopCreated => "stop.created",
            Self::StopLifted => "stop.lifted",
            Self::RolloutStarted => "rollout.started",
            Self::RolloutStopped => "rollout.stopped",
            Self::SnapshotActivated => "snapshot.activated",
            Self::SnapshotSimulated => "snapshot.simulated",
            Self::SnapshotStaged => "snapshot.staged",
            Self::SubjectErased => "subject.erased",
            Self::UncheckedWindow => "unchecked.window",
        }
    }

    const fn audience(self) -> Audience {
        match self {
            Self::ApprovalRequested
            | Self::ApprovalGranted
            | Self::ApprovalRejected
            | Self::ApprovalExpired
            | Self::ApprovalUsed
            | Self::ActionStopped
            | Self::UncheckedWindow => Audience::Tenant,
            Self::ApprovalCommented | Self::ApprovalDelegated => Audience::Reviewers,
            Self::ControlActivated
            | Self::ModeSet
            | Self::RolloutStarted
            | Self::RolloutStopped
            | Self::SnapshotActivated
            | Self::SnapshotSimulated
            | Self::SnapshotStaged
            | Self::BreakerOpened
            | Self::BreakerReset
            | Self::StopCreated
            | Self::StopLifted => Audience::Policy,
            Self::KeyCreated | Self::KeyRevoked | Self::SubjectErased => Audience::Operators,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One value of an event's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Field {
    /// A name, an id, a code, a moment (RFC 3339), or a rule's own sentence.
    Text(String),
    /// A count.
    Number(u64),
    /// Names.
    Names(Vec<String>),
}

impl Field {
    /// The text, of a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Names(_) => None,
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// What an event says, by name.
pub type Data = BTreeMap<&'static str, Field>;

/// Something that happened. Its JSON form is what subscribers and webhooks get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The receipt's place in the log.
    #[serde(skip)]
    pub id: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// When the gate recorded it, RFC 3339 in UTC.
    pub timestamp: String,
    /// The same, milliseconds since 1970 UTC.
    #[serde(skip)]
    pub time_ms: i64,
    /// To whom, by whom, which.
    pub data: Data,
}

impl Event {
    /// A text of the data.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.data.get(name).and_then(Field::as_text)
    }
}

/// Whether the holder of `credential` may be told of `event`. Operators and auditors are told everything,
/// an agent only of its own approvals, an enforcement point what is in force, and nobody of a tenant that is
/// not theirs.
#[must_use]
pub fn sees(credential: &Credential, event: &Event) -> bool {
    let audience = event.kind.audience();
    match credential {
        Credential::Local | Credential::Development => true,
        Credential::Agent { agent, tenant, .. } => {
            let own = event.text("agent") == Some(agent) && event.text("tenant") == Some(tenant);
            own && audience == Audience::Tenant
        }
        Credential::Person { roles, .. } if roles.iter().all(|role| role == "point") => {
            audience == Audience::Policy
        }
        Credential::Person { tenant, .. } => {
            let home = match (tenant, event.text("tenant")) {
                (None, _) => true,
                (Some(tenant), Some(of)) => tenant == of,
                (Some(_), None) => audience == Audience::Policy,
            };
            let oversees = credential.has_role("operator") || credential.has_role("auditor");
            home && (audience != Audience::Operators || oversees)
        }
    }
}

/// An event on its way to somebody outside.
#[derive(Debug)]
pub struct Letter<'a> {
    /// The same for every attempt, and for no other event or receiver; no dots.
    pub id: &'a str,
    /// The event.
    pub event: &'a Event,
    /// The gate's clock at this attempt, milliseconds since 1970 UTC.
    pub sent_ms: i64,
}

/// What came of an attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Taken,
    /// The receiver wants nothing more, ever.
    Gone,
    /// Try again.
    Failed {
        /// Why, for the operator. Holds no part of an address and nothing the receiver said.
        why: String,
        /// How long the receiver asks to be left alone.
        wait: Option<Duration>,
    },
}

/// A delivery that is under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;

/// Whoever takes letters to one receiver. Bounds the time of an attempt, and never tries twice itself.
pub trait Courier: Debug + Send + Sync {
    /// Tries once.
    fn deliver<'a>(&'a self, letter: &'a Letter<'a>) -> Delivering<'a>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, tenant: Option<&str>, agent: Option<&str>) -> Event {
        let data = [("tenant", tenant), ("agent", agent)];
        let data = data.into_iter().filter_map(|(name, value)| Some((name, value?.into()))).collect();
        Event { id: 7, kind, timestamp: "2025-06-15T15:06:40.000Z".to_owned(), time_ms: 0, data }
    }

    fn person(roles: &[&str], tenant: Option<&str>) -> Credential {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Credential::Person { id: "ana".to_owned(), roles, tenant: tenant.map(str::to_owned) }
    }

    fn agent(agent: &str, tenant: &str) -> Credential {
        Credential::Agent { agent: agent.to_owned(), tenant: tenant.to_owned(), team: None }
    }

    #[test]
    fn kinds_have_words_of_their_own() {
        let words: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        assert!(words.iter().all(|word| word.split('.').count() == 2));
    }

    #[test]
    fn who_is_told_of_what() {
        use Kind::{ApprovalCommented, ApprovalRequested, KeyCreated, SnapshotActivated, SubjectErased};
        let bots = |kind| event(kind, Some("acme"), Some("bot"));
        let policy = event(SnapshotActivated, None, None);
        let (asked, said, key, erased) =
            (bots(ApprovalRequested), bots(ApprovalCommented), bots(KeyCreated), bots(SubjectErased));
        let revoked = event(Kind::KeyRevoked, None, None);
        // Each with whether it is told of: asked, said, policy, key, erased, revoked.
        let table = [
            (Credential::Local, [true; 6]),
            (Credential::Development, [true; 6]),
            (person(&["operator"], None), [true; 6]),
            (person(&["auditor"], None), [true; 6]),
            (person(&["operator"], Some("acme")), [true, true, true, true, true, false]),
            (person(&["operator"], Some("other")), [false, false, true, false, false, false]),
            (person(&["reviewer"], None), [true, true, true, false, false, false]),
            (person(&["reviewer"], Some("acme")), [true, true, true, false, false, false]),
            (person(&["publisher"], Some("other")), [false, false, true, false, false, false]),
            (person(&["finance"], Some("acme")), [true, true, true, false, false, false]),
            (person(&["point"], None), [false, false, true, false, false, false]),
            (person(&["point", "reviewer"], None), [true, true, true, false, false, false]),
            (agent("bot", "acme"), [true, false, false, false, false, false]),
            (agent("bot", "other"), [false; 6]),
            (agent("other", "acme"), [false; 6]),
        ];
        for (credential, expected) in table {
            let told =
                [&asked, &said, &policy, &key, &erased, &revoked].map(|event| sees(&credential, event));
            assert_eq!(told, expected, "{credential:?}");
        }
    }

    /// A name that is missing is nobody's, not everybody's.
    #[test]
    fn an_event_without_names_is_no_agents() {
        for kind in Kind::ALL {
            assert!(!sees(&agent("bot", "acme"), &event(kind, None, None)), "{kind}");
            assert!(!sees(&agent("bot", "acme"), &event(kind, Some("acme"), None)), "{kind}");
        }
    }

    #[test]
    fn the_json_form_has_three_parts() {
        let text = serde_json::to_string(&event(Kind::KeyRevoked, None, Some("bot"))).unwrap();
        assert_eq!(
            text,
            r#"{"type":"key.revoked","timestamp":"2025-06-15T15:06:40.000Z","data":{"agent":"bot"}}"#
        );
    }
}
