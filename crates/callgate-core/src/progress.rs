//! Whether an action that runs may go on.
//!
//! The same controls that were looked at before it began are looked at again while it runs, by a pure function of
//! the state and the time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::request::{Agent, Request, Session};
use crate::state::{OpenAction, Running, SessionKey, State};
use crate::value::Map;

/// Why an action that runs must stop, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Halt {
    /// An operator stopped it.
    AgentKilled,
    /// A breaker opened.
    BreakerOpen,
    /// It ran longer than its decision permits.
    RuntimeExceeded,
    /// It costs more than is left.
    BudgetExceeded,
}

impl Halt {
    /// All, in order.
    pub const ALL: [Self; 4] =
        [Self::AgentKilled, Self::BreakerOpen, Self::RuntimeExceeded, Self::BudgetExceeded];

    /// The word on the wire, such as `AGENT_KILLED`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentKilled => "AGENT_KILLED",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::RuntimeExceeded => "RUNTIME_EXCEEDED",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
        }
    }
}

/// What an action that runs has come into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The code.
    pub code: Halt,
    /// For the agent: never who stopped it, nor why.
    pub reason: String,
}

/// What stands against the action that runs on the receipt `decision`; `None` if it may go on.
#[must_use]
pub fn trouble_of(state: &State, decision: u64, open: &OpenAction, now_ms: i64) -> Option<Trouble> {
    stopped(state, open)
        .or_else(|| blocked(state, decision, open, now_ms))
        .or_else(|| out_of_time(open, now_ms))
        .or_else(|| overspent(state, open, now_ms))
}

fn stopped(state: &State, open: &OpenAction) -> Option<Trouble> {
    let stop = state.stops().on_open(open)?;
    Some(Trouble { code: Halt::AgentKilled, reason: stop.known().message() })
}

/// A breaker that opened while it ran.
fn blocked(state: &State, decision: u64, open: &OpenAction, now_ms: i64) -> Option<Trouble> {
    let request = as_asked(&open.key, open.team.as_deref(), &open.running)?;
    let breaker = state.meters().blocking(&request, decision, &open.expected.probes, now_ms)?;
    let reason = format!("breaker `{}` is open; a person has to look at what it counted", breaker.id);
    Some(Trouble { code: Halt::BreakerOpen, reason })
}

/// Who asked for what, as far as breakers tell requests apart.
pub(crate) fn as_asked(key: &SessionKey, team: Option<&str>, running: &Running) -> Option<Request> {
    let name = |text: &str| Name::new(text).ok();
    let agent = Agent {
        id: name(&key.agent)?,
        team: team.and_then(name),
        chain: running.chain.iter().filter_map(|id| name(id)).collect(),
        on_behalf_of: running.on_behalf_of.as_deref().and_then(name),
    };
    let session = Session { id: name(&key.session), ..Session::default() };
    Some(Request {
        tenant: name(&key.tenant)?,
        agent,
        session,
        tool: None,
        args: Map::default(),
        // What it is called stands here, whatever it was.
        topic: running.called.first().and_then(|called| name(called)),
        risk_tags: BTreeSet::new(),
        labels: BTreeMap::new(),
        environment: None,
        cost: BTreeMap::new(),
        confidence: None,
        nonce: None,
        ts_ms: None,
        pep: None,
    })
}

/// A budget that it reserved from is used up, by itself or by others.
fn overspent(state: &State, open: &OpenAction, now_ms: i64) -> Option<Trouble> {
    let reserved = state.meters().exceeded(&open.expected, now_ms)?;
    let limit = reserved.meter.split('@').next().unwrap_or_default();
    let reason = format!("budget `{limit}` of {} is exceeded", reserved.unit);
    Some(Trouble { code: Halt::BudgetExceeded, reason })
}

fn out_of_time(open: &OpenAction, now_ms: i64) -> Option<Trouble> {
    let most = open.running.max_runtime_ms?;
    let ran = u64::try_from(now_ms.saturating_sub(open.started_ms)).unwrap_or(0);
    (ran > most).then(|| Trouble {
        code: Halt::RuntimeExceeded,
        reason: format!("it ran for {ran} ms, and its decision permits {most} ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_the_wire() {
        for halt in Halt::ALL {
            assert_eq!(serde_json::to_value(halt).unwrap(), halt.as_str());
        }
        assert!(Halt::ALL.is_sorted());
    }
}
