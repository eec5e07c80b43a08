//! Tiers of agents, and what an enforcement point does while the gate cannot be reached.
//!
//! Closed is the answer wherever nothing says otherwise. A tier that may fail open is named in the bundle, with
//! how much may run unchecked; [`fail_mode`] is pure, and what it says reaches an enforcement point only in a
//! receipt.

use serde::{Deserialize, Serialize};

use crate::constraint::Constraints;
use crate::name::{Name, fold};
use crate::pattern::Pattern;
use crate::snapshot::Snapshot;

/// The risk class of an agent, from the riskiest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Never runs anything unchecked.
    Critical,
    /// Never runs anything unchecked.
    High,
    /// May fail open where the bundle says so.
    Medium,
    /// May fail open where the bundle says so.
    Low,
}

impl Tier {
    /// All tiers, the riskiest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The word in bundles and receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// The tier of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == word)
    }

    /// Whether a bundle can let it fail open.
    #[must_use]
    pub const fn may_fail_open(self) -> bool {
        matches!(self, Self::Medium | Self::Low)
    }
}

/// Which agents belong to which tier.
#[derive(Debug, Clone, Default)]
pub struct Tiers {
    members: Vec<(Tier, Pattern)>,
}

impl Tiers {
    /// From patterns over agents' names.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (Tier, Pattern)>) -> Self {
        // What is risky is found by folded names, so that a look-alike is no way out of its tier.
        let own = |(tier, pattern): (Tier, Pattern)| {
            let pattern = if tier.may_fail_open() { pattern } else { pattern.folded() };
            (tier, pattern)
        };
        Self { members: members.into_iter().map(own).collect() }
    }

    /// The riskiest tier that names the agent; an agent that none names is critical.
    #[must_use]
    pub fn of(&self, agent: &str) -> Tier {
        let folded = fold(agent);
        let names = |(tier, pattern): &&(Tier, Pattern)| {
            pattern.matches(if tier.may_fail_open() { agent } else { &folded })
        };
        self.members.iter().filter(names).map(|(tier, _)| *tier).min().unwrap_or(Tier::Critical)
    }
}

/// What a bundle permits while the gate cannot be reached.
#[derive(Debug, Clone)]
pub struct FailOpen {
    /// The tiers that may; only those of [`Tier::may_fail_open`] ever do.
    pub tiers: Vec<Tier>,
    /// How many actions of one agent may run unchecked within [`Self::window_ms`].
    pub max_actions: u64,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// The only actions that may, by exact names; any where none is written.
    pub tools: Option<Vec<Pattern>>,
    /// How long an enforcement point may rely on these terms without hearing from the gate, in milliseconds.
    pub lease_ms: u64,
    /// How long it waits for the gate, in milliseconds.
    pub deadline_ms: u64,
}

/// On what terms one agent's actions may run unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailTerms {
    /// Canonical JSON of what must be enforced of everything that runs.
    pub constraints: String,
    /// How long to wait for the gate, in milliseconds.
    pub deadline_ms: u64,
    /// How long the terms hold, in milliseconds.
    pub lease_ms: u64,
    /// How many actions within the window.
    pub max_actions: u64,
    /// The only actions that may, as patterns; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// The window, in milliseconds.
    pub window_ms: u64,
}

impl FailTerms {
    /// Whether an action of that name may run unchecked. A pattern that cannot be read names nothing.
    #[must_use]
    pub fn names(&self, action: &str) -> bool {
        let matches = |text: &String| Pattern::new(text).is_ok_and(|pattern| pattern.matches(action));
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(matches))
    }
}

/// What becomes of an agent's actions while the gate cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailMode {
    /// The agent's tier.
    pub tier: Tier,
    /// On what terms they may run; `None`: not at all.
    pub open: Option<FailTerms>,
}

/// What `snapshot` says of `agent` while the gate cannot be reached. Constraints that a point with `enforces`
/// cannot enforce close it, as they deny an action (law 9).
#[must_use]
pub fn fail_mode(snapshot: &Snapshot, agent: &Name, enforces: impl Fn(&str) -> bool) -> FailMode {
    let defaults = &snapshot.defaults;
    let tier = defaults.tiers.of(agent.as_str());
    let terms = defaults.fail_open.as_ref().filter(|open| tier.may_fail_open() && open.tiers.contains(&tier));
    let enforced = |constraints: &Constraints| constraints.kinds().all(|kind| enforces(kind.as_str()));
    let open = terms.filter(|_| enforced(&defaults.constraints)).map(|open| FailTerms {
        constraints: defaults.constraints.to_value().canonical(),
        deadline_ms: open.deadline_ms,
        lease_ms: open.lease_ms,
        max_actions: open.max_actions,
        tools: open.tools.as_ref().map(|tools| tools.iter().map(|tool| tool.as_str().to_owned()).collect()),
        window_ms: open.window_ms,
    });
    FailMode { tier, open }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(members: &[(Tier, &str)]) -> Tiers {
        Tiers::new(members.iter().map(|(tier, text)| (*tier, Pattern::new(text).unwrap())))
    }

    #[test]
    fn nobody_is_less_risky_than_the_riskiest_that_names_them() {
        let tiers = tiers(&[(Tier::Low, "**"), (Tier::High, "pay-*"), (Tier::Critical, "pay-root")]);
        for (agent, tier) in [
            ("helper", Tier::Low),
            ("pay-bot", Tier::High),
            ("PAY-BOT", Tier::High),
            ("pay-root", Tier::Critical),
            // A Cyrillic а.
            ("p\u{430}y-root", Tier::Critical),
        ] {
            assert_eq!(tiers.of(agent), tier, "{agent}");
        }
    }

    #[test]
    fn whoever_no_tier_names_is_critical_and_a_look_alike_is_not_low() {
        assert_eq!(Tiers::default().of("a"), Tier::Critical);
        let low = tiers(&[(Tier::Low, "helper")]);
        assert_eq!(low.of("helper"), Tier::Low);
        assert_eq!(low.of("Helper"), Tier::Critical);
        assert_eq!(low.of("h\u{435}lper"), Tier::Critical);
    }

    #[test]
    fn terms_name_actions_exactly() {
        let mut terms = FailTerms {
            constraints: "{}".into(),
            deadline_ms: 1,
            lease_ms: 1,
            max_actions: 1,
            tools: Some(vec!["files.read_*".into(), "..".into()]),
            window_ms: 1,
        };
        assert!(terms.names("files.read_file") && !terms.names("files.Read_file") && !terms.names("x.read_"));
        terms.tools = None;
        assert!(terms.names("anything"));
    }
}
