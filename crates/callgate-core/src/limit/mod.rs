//! Limits: budgets, throttles and breakers of a snapshot, and what a decision makes of them.
//!
//! A limit that speaks of a request gives a [`Charge`]. Each charge is counted on one or more **meters**,
//! named by the limit and by whom it counts. A decision reads the levels of its meters at one moment; one
//! that lets the action run **takes** from all of them or from none, and the committer sees to it that what
//! was read still holds: not that the number stayed, but that the answer would still be the same.

mod amount;
mod apply;
mod delta;
mod meter;
mod whom;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraints;
use crate::decision::{Code, Mode, Source};
use crate::digest::Digest;
use crate::rule::ApprovalTerms;

pub use amount::{Amount, AmountError, MAX_UNITS};
pub use apply::{Ask, Level, LimitFacts, OpenBreaker, Reading, asks};
pub(crate) use apply::{Limited, beside, judge};
pub use delta::{Charged, Ended, HalfOpen, Mark, NearTake, Settle, Take};
pub use meter::{Gauge, Meter, Span, keys, named, names, principals};
pub use whom::Whom;

/// The unit that counts actions: the gate does, whatever is reported.
pub const CALLS: &str = "calls";

/// Whom a limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The tenant.
    Tenant,
    /// The agent's team.
    Team,
    /// The agent that asks, whatever its tenant.
    Agent,
    /// The agent that asks and every agent that delegated to it: each has a meter of its own.
    Chain,
    /// For whom the agent acts.
    User,
    /// The session of one agent of one tenant.
    Session,
    /// The action's name: the tool, topic or function.
    Tool,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Tenant, Self::Team, Self::Agent, Self::Chain, Self::User, Self::Session, Self::Tool];

    /// The word, such as `agent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Team => "team",
            Self::Agent => "agent",
            Self::Chain => "chain",
            Self::User => "user",
            Self::Session => "session",
            Self::Tool => "tool",
        }
    }

    /// The dimension of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One limit of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Unique among rules, contracts and limits of the snapshot.
    pub id: Arc<str>,
    /// Where it stands.
    pub source: Source,
    /// Whether it is enforced.
    pub mode: Mode,
    /// For a person; shown to the agent.
    pub reason: Option<String>,
    /// Whom it counts by, sorted, each once; empty counts everybody together.
    pub per: Vec<Dimension>,
    /// The digest of what its meters count, without the numbers that they are held against: a limit that
    /// is only raised or lowered goes on where it was.
    pub lineage: Digest,
    /// As [`crate::rule::Rule::fingerprint`].
    pub fingerprint: Digest,
    /// What it does.
    pub does: Does,
}

/// What a limit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// It bounds a sum.
    Budget(Budget),
    /// It bounds a rate.
    Throttle(Throttle),
    /// It stops everything when something happens too often.
    Breaker(Breaker),
}

/// A bound on a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What is summed, such as `usd` or `calls`.
    pub unit: Arc<str>,
    /// The most.
    pub limit: Amount,
    /// Over which time.
    pub span: Span,
    /// What happens beyond it.
    pub exceed: Exceed,
    /// What happens from a share of it on.
    pub near: Option<Near>,
    /// What outcomes do to what was reserved.
    pub settle: Settle,
    /// After how long a reservation without outcome is given back, in milliseconds; never if absent: it
    /// then counts as spent.
    pub release_ms: Option<u64>,
}

/// What happens beyond a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exceed {
    /// The action is denied.
    Deny,
    /// People must agree; what they agree to counts on.
    Approval(ApprovalTerms),
}

/// What happens from some amount on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// From here on.
    pub at: Amount,
    /// What then happens.
    pub then: Then,
}

/// What happens near a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The decision says so.
    Warn,
    /// These constraints, too.
    Constrain(Constraints),
    /// People must agree.
    Approval(ApprovalTerms),
}

/// A bound on a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// A token bucket, or a sliding window.
    pub rate: Rate,
}

/// How a rate is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// A token bucket: `burst` at once, one more each `interval_ns`.
    Bucket {
        /// The most at once.
        burst: u32,
        /// Nanoseconds for one to come back.
        interval_ns: u64,
    },
    /// At most `limit` in any `window_ms`.
    Sliding {
        /// The most.
        limit: u32,
        /// The window, in milliseconds.
        window_ms: u64,
    },
}

/// What stops everything when something happens too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// What is counted.
    pub trip: Trip,
    /// The count, the sum or, for [`Trip::Failed`], the least number of outcomes at which it opens.
    pub at: Amount,
    /// Within which time, in milliseconds.
    pub window_ms: u64,
    /// How it may close without a person.
    pub half_open: Option<HalfOpen>,
}

/// What a breaker counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trip {
    /// Denials with one of these codes; all but those that follow from stops and breakers if empty.
    Denied(Vec<Code>),
    /// What ran: how often, or a sum over what the charge says.
    Allowed,
    /// Different values among what ran.
    Distinct,
    /// The share of actions that ran and failed, in basis points.
    Failed {
        /// From this share on it opens.
        share_bp: u32,
    },
}

/// What a limit makes of a request that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub limit: Arc<Limit>,
    /// How much; an action whose amount cannot be told does not run.
    pub amount: Result<Amount, String>,
    /// For [`Trip::Distinct`], what must be different.
    pub name: Option<Digest>,
}

impl Limit {
    /// The engine's name in rules, verdicts and traces.
    #[must_use]
    pub const fn module(&self) -> &'static str {
        match self.does {
            Does::Budget(_) => "budget",
            Does::Throttle(_) => "throttle",
            Does::Breaker(_) => "breaker",
        }
    }

    /// What the names of its meters begin with, before the colon: its id, and the beginning of its lineage.
    #[must_use]
    pub fn stem(&self) -> String {
        let lineage = self.lineage.hex();
        format!("{}@{}", self.id, lineage.get(..8).unwrap_or_default())
    }

    /// The most that one of its meters may hold; `None` of a breaker, which bounds nothing.
    #[must_use]
    pub fn most(&self) -> Option<Amount> {
        match &self.does {
            Does::Budget(budget) => Some(budget.limit),
            Does::Throttle(throttle) => Some(match throttle.rate {
                Rate::Bucket { burst, .. } => Amount::whole(burst),
                Rate::Sliding { limit, .. } => Amount::whole(limit),
            }),
            Does::Breaker(_) => None,
        }
    }

    /// How its meters count.
    #[must_use]
    pub const fn gauge(&self) -> Gauge {
        match &self.does {
            Does::Budget(budget) => Gauge::Sum { over: budget.span },
            Does::Throttle(throttle) => match throttle.rate {
                Rate::Bucket { interval_ns, .. } => Gauge::Bucket { interval_ns },
                Rate::Sliding { window_ms, .. } => Gauge::Sum { over: Span::Rolling { ms: window_ms } },
            },
            Does::Breaker(breaker) => match breaker.trip {
                Trip::Denied(_) | Trip::Allowed => {
                    Gauge::Sum { over: Span::Rolling { ms: breaker.window_ms } }
                }
                Trip::Distinct => Gauge::Distinct { ms: breaker.window_ms },
                Trip::Failed { .. } => Gauge::Failures { ms: breaker.window_ms },
            },
        }
    }
}
