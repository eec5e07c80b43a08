//! Whether an action that runs may go on.
//!
//! The same controls that were looked at before it began are looked at again while it runs, by a pure function of
//! the state and the time.

use serde::{Deserialize, Serialize};

use crate::state::{OpenAction, State};

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

/// What stands against an action that runs; `None` if it may go on.
#[must_use]
pub fn trouble_of(state: &State, open: &OpenAction, now_ms: i64) -> Option<Trouble> {
    stopped(state, open).or_else(|| out_of_time(open, now_ms))
}

fn stopped(state: &State, open: &OpenAction) -> Option<Trouble> {
    let stop = state.stops().on_open(open)?;
    Some(Trouble { code: Halt::AgentKilled, reason: stop.known().message() })
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
