//! What waits for people, and what they said: a fold of the log like all state.
//!
//! An approval is opened by a decision, decided by people, and ends by being used once, rejected,
//! expired, or lapsed with the snapshot it was asked under. Whether its time is over is a function of
//! the time, whoever looks. What ended is remembered for a while; the log keeps everything.

mod change;
mod fold;
mod people;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DecisionDelta, SessionKey};
use crate::approval::{ApprovalNames, Hold, Known, KnownState, Seen};
use crate::digest::Digest;
use crate::rule::Stage;

pub use change::{
    Comment, Delegation, MAX_FIXED, MAX_STANDING_MS, MAX_STANDING_USES, StandingEnd, StandingTerms, Vote,
};
pub use people::{DEVELOPER, OPERATOR, REVIEWER, Refusal, Reviewer};
pub use standing::{Standing, StandingStatus};

/// The most requests of one agent that wait at a time; what comes then is put off.
pub const MAX_WAITING: u64 = 1000;
/// The most approvals that are open or in effect at a time.
const MAX_IN_EFFECT: usize = 100_000;
/// How many approvals that ended are remembered, and for how long.
const ENDED_KEPT: usize = 2000;
const ENDED_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// The most votes, remarks or delegations of one approval.
const MAX_SAID: usize = 200;

/// What decided: a snapshot, or the policy of the gate's own actions, which has versions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Under {
    /// Whether it is the policy of the gate's own actions.
    pub control: bool,
    /// The version.
    pub version: u64,
}

impl Under {
    /// What decided this.
    #[must_use]
    pub const fn of(decision: &DecisionDelta) -> Self {
        Self { control: decision.control, version: decision.snapshot }
    }
}

impl std::fmt::Display for Under {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.control { 'c' } else { 'v' }, self.version)
    }
}

/// One request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The receipt that opened it: the number in `apr-N`.
    pub id: u64,
    /// Whose session it is.
    pub key: SessionKey,
    /// The agent's team.
    pub team: Option<String>,
    /// The snapshot it was asked under.
    pub under: Under,
    /// When it was opened, milliseconds since 1970 UTC.
    pub opened_at_ms: i64,
    /// What waits.
    pub hold: Hold,
    /// By what names it is found again.
    pub names: ApprovalNames,
    /// The stage that is being decided; the number of stages when all agreed.
    pub stage: u32,
    /// What was said, in order.
    pub votes: Vec<Cast>,
    /// Who handed their vote to whom.
    pub delegations: Vec<Delegation>,
    /// Remarks without a vote.
    pub remarks: Vec<Remark>,
    /// What became of it, as the log says.
    pub status: Status,
    /// Whether its end without use is written down.
    pub announced: bool,
}

/// A vote, where and when it was cast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// The vote.
    pub vote: Vote,
    /// Its receipt.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// A remark; the text lies sealed beside its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// Who.
    pub person: String,
    /// Its receipt.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// What became of an approval. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Status {
    /// It waits.
    Open,
    /// Everyone agreed; it can be used once.
    Granted {
        /// When.
        at_ms: i64,
        /// Until when it can be used.
        until_ms: i64,
    },
    /// Everyone agreed to a standing approval.
    Standing {
        /// When.
        at_ms: i64,
        /// The standing approval.
        standing: u64,
    },
    /// Somebody said no.
    Rejected {
        /// When.
        at_ms: i64,
        /// Until when asking again is denied.
        until_ms: i64,
    },
    /// The action was allowed by it.
    Used {
        /// When.
        at_ms: i64,
        /// The receipt of the call that used it.
        receipt: u64,
    },
    /// Its time was over, before it was granted or before it was used.
    Expired {
        /// When.
        at_ms: i64,
    },
    /// An operator stopped what asked for it, or the tool.
    Stopped {
        /// When.
        at_ms: i64,
        /// The stop.
        stop: u64,
    },
    /// Another snapshot came into force.
    Lapsed {
        /// When.
        at_ms: i64,
    },
}

impl Status {
    /// The word in replies and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Granted { .. } => "granted",
            Self::Standing { .. } => "standing",
            Self::Rejected { .. } => "rejected",
            Self::Used { .. } => "used",
            Self::Expired { .. } => "expired",
            Self::Stopped { .. } => "stopped",
            Self::Lapsed { .. } => "lapsed",
        }
    }

    /// Whether people have nothing to decide any more.
    #[must_use]
    pub const fn is_resolved(self) -> bool {
        !matches!(self, Self::Open)
    }

    /// Whether it ended without people having decided, or without what they granted having been used.
    #[must_use]
    pub const fn is_over_unused(self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Stopped { .. } | Self::Lapsed { .. })
    }

    /// When that came about; `None` while it is open.
    #[must_use]
    pub const fn at_ms(self) -> Option<i64> {
        match self {
            Self::Open => None,
            Self::Granted { at_ms, .. }
            | Self::Standing { at_ms, .. }
            | Self::Rejected { at_ms, .. }
            | Self::Used { at_ms, .. }
            | Self::Expired { at_ms }
            | Self::Stopped { at_ms, .. }
            | Self::Lapsed { at_ms } => Some(at_ms),
        }
    }
}

impl Approval {
    /// What became of it by `now_ms`.
    #[must_use]
    pub const fn status_at(&self, now_ms: i64) -> Status {
        match self.status {
            Status::Open if now_ms > self.hold.expires_at_ms => {
                Status::Expired { at_ms: self.hold.expires_at_ms }
            }
            Status::Granted { until_ms, .. } if now_ms > until_ms => Status::Expired { at_ms: until_ms },
            status => status,
        }
    }

    /// The stage that is being decided, while there is one.
    #[must_use]
    pub fn current(&self) -> Option<&Stage> {
        self.hold.stages.get(usize::try_from(self.stage).ok()?)
    }

    /// Who agreed, each once, in order; or who rejected it.
    #[must_use]
    pub fn by(&self) -> Vec<String> {
        let rejected = matches!(self.status, Status::Rejected { .. });
        let said = self.votes.iter().filter(|cast| cast.vote.approve != rejected);
        said.map(|cast| cast.vote.person.clone()).collect()
    }

    fn known(&self, now_ms: i64) -> Option<Known> {
        let (state, until_ms) = match self.status_at(now_ms) {
            Status::Open => (KnownState::Open, self.hold.expires_at_ms),
            Status::Granted { until_ms, .. } => (KnownState::Granted, until_ms),
            Status::Rejected { until_ms, .. } if now_ms <= until_ms => (KnownState::Rejected, until_ms),
            _ => return None,
        };
        let by = if state == KnownState::Open { Vec::new() } else { self.by() };
        Some(Known { approval: self.id, by, state, terms: self.hold.terms, until_ms })
    }
}

/// All approvals that are open, in effect, or ended not long ago.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    all: BTreeMap<u64, Approval>,
    /// Those that a decision may meet: open, granted or rejected.
    by_action: BTreeMap<Digest, BTreeSet<u64>>,
    /// When those end.
    ends: BTreeSet<(i64, u64)>,
    /// The others, by when they ended.
    ended: BTreeSet<(i64, u64)>,
    /// How many are open, by tenant and agent.
    waiting: BTreeMap<(String, String), u64>,
    standing: BTreeMap<u64, Standing>,
    /// Those that can be used.
    by_scope: BTreeMap<Digest, BTreeSet<u64>>,
    standing_ends: BTreeSet<(i64, u64)>,
    standing_ended: BTreeSet<(i64, u64)>,
}

impl Approvals {
    /// One approval, if it is remembered.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Approval> {
        self.all.get(&id)
    }

    /// All that are remembered, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Approval> {
        self.all.values()
    }

    /// One standing approval, if it is remembered.
    #[must_use]
    pub fn standing(&self, id: u64) -> Option<&Standing> {
        self.standing.get(&id)
    }

    /// All standing approvals that are remembered, oldest first.
    pub fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.standing.values()
    }

    /// Those whose end without use is not written down yet.
    pub fn unannounced(&self, now_ms: i64) -> impl Iterator<Item = &Approval> {
        let over = move |approval: &&Approval| approval.status_at(now_ms).is_over_unused();
        self.all.values().filter(|approval| !approval.announced).filter(over)
    }

    /// When the next of those in effect ends, milliseconds since 1970 UTC.
    #[must_use]
    pub fn next_end_ms(&self) -> Option<i64> {
        self.ends.first().map(|(at_ms, _)| *at_ms)
    }

    /// What is known of an action, asked by this agent, for what decides `under` that.
    #[must_use]
    pub fn seen(&self, names: &ApprovalNames, key: &SessionKey, under: Under, now_ms: i64) -> Seen {
        let of = |ids: Option<&BTreeSet<u64>>| ids.into_iter().flatten().copied().collect::<Vec<u64>>();
        let known = of(self.by_action.get(&names.action)).into_iter().filter_map(|id| self.all.get(&id));
        let known = known.filter(|approval| approval.under == under && approval.key == *key);
        let standing = of(self.by_scope.get(&names.scope)).into_iter();
        let standing = standing.filter_map(|id| self.standing.get(&id)?.known(under, now_ms));
        Seen {
            crowded: self.is_crowded(key, now_ms),
            known: known.filter_map(|approval| approval.known(now_ms)).collect(),
            standing: standing.collect(),
        }
    }

    fn is_crowded(&self, key: &SessionKey, now_ms: i64) -> bool {
        let waiting = self.waiting.get(&(key.tenant.clone(), key.agent.clone())).copied().unwrap_or(0);
        if waiting < MAX_WAITING && self.ends.len() < MAX_IN_EFFECT {
            return false;
        }
        // Those whose time is over wait no more, though the next receipt has yet to say so.
        let over = self.ends.iter().take_while(|(at_ms, _)| *at_ms < now_ms);
        let over: Vec<&Approval> = over.filter_map(|(_, id)| self.all.get(id)).collect();
        let own = |one: &&&Approval| {
            one.status == Status::Open && one.key.agent == key.agent && one.key.tenant == key.tenant
        };
        let own = u64::try_from(over.iter().filter(own).count()).unwrap_or(u64::MAX);
        waiting.saturating_sub(own) >= MAX_WAITING
            || self.ends.len().saturating_sub(over.len()) >= MAX_IN_EFFECT
    }
}
