//! Which recorded decisions are looked at.

use std::collections::BTreeMap;

use callgate_core::decision::Decision;
use callgate_core::pattern::Pattern;

use super::recorded::Recorded;

/// A choice of recorded decisions; an empty one takes all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before this time, milliseconds since 1970 UTC.
    pub since_ms: Option<i64>,
    /// Before this time, milliseconds since 1970 UTC.
    pub until_ms: Option<i64>,
    /// Of these agents.
    pub agent: Option<Pattern>,
    /// Of these tools: `server.tool`, else what the action is called.
    pub tool: Option<Pattern>,
    /// That were decided so.
    pub decision: Option<Decision>,
    /// That this snapshot decided, such as `v42`.
    pub snapshot: Option<String>,
}

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        let Self { since_ms, until_ms, agent, tool, decision, snapshot } = self;
        since_ms.is_none()
            && until_ms.is_none()
            && agent.is_none()
            && tool.is_none()
            && decision.is_none()
            && snapshot.is_none()
    }

    /// Whether a receipt of that time is looked at.
    pub(super) fn is_in_time(&self, at_ms: i64) -> bool {
        self.since_ms.is_none_or(|since| at_ms >= since) && self.until_ms.is_none_or(|until| at_ms < until)
    }

    /// What is asked for, by name.
    pub(super) fn words(&self) -> BTreeMap<&'static str, String> {
        let words = [
            ("since_ms", self.since_ms.map(|at| at.to_string())),
            ("until_ms", self.until_ms.map(|at| at.to_string())),
            ("agent", self.agent.as_ref().map(|pattern| pattern.as_str().to_owned())),
            ("tool", self.tool.as_ref().map(|pattern| pattern.as_str().to_owned())),
            ("decision", self.decision.map(|decision| decision.to_string())),
            ("snapshot", self.snapshot.clone()),
        ];
        words.into_iter().filter_map(|(name, word)| Some((name, word?))).collect()
    }

    pub(super) fn takes(&self, recorded: &Recorded<'_>) -> bool {
        self.is_in_time(recorded.issued_at_ms)
            && self.decision.is_none_or(|decision| decision == recorded.decision)
            && self.snapshot.as_ref().is_none_or(|version| version == recorded.version())
            && self.agent.as_ref().is_none_or(|pattern| pattern.matches(recorded.agent()))
            && self.tool.as_ref().is_none_or(|pattern| pattern.matches(&recorded.tool()))
    }
}
