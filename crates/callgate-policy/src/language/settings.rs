//! `callgate.yaml`.

use callgate_core::fail::Tier;
use serde_json::{Value as Json, json};

use super::constraints::ConstraintsText;
use super::judge::JudgeSettingsText;
use crate::codes::Code;
use crate::decode::{
    Duration, Flag, ModeWord, NameText, OneOrList, Patterns, Percent, Prose, Shape, Sink, Version, Whole,
};
use crate::syntax::Node;

record! {
    /// What holds for the whole bundle.
    struct SettingsFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// The bundle's name.
        optional name: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// What holds where no rule says otherwise.
        optional defaults: DefaultsText,
        /// The model that rules with `judge` ask.
        optional judge: JudgeSettingsText,
        /// Whether anything is enforced; with `monitor` all is only recorded, and nothing blocks.
        optional mode: ModeWord,
        /// What is only recorded, and never blocked.
        optional monitor: MonitorText,
        /// How much may change when this bundle takes the place of another.
        optional rollout: RolloutText,
        /// Which agents are how risky; whoever is not named is treated as critical.
        optional tiers: TiersText,
        /// What may run unchecked while the gate cannot be reached; nothing unless written.
        optional fail_open: FailOpenText,
    }
}

record! {
    /// Which agents are how risky. An agent in two tiers has the riskier one.
    struct TiersText {
        /// Agents whose actions never run unchecked.
        optional critical: Patterns,
        /// Agents whose actions never run unchecked.
        optional high: Patterns,
        /// Agents that may fail open; they are compared exactly.
        optional medium: Patterns,
        /// Agents that may fail open; they are compared exactly.
        optional low: Patterns,
    }
}

record! {
    /// What may run unchecked while the gate cannot be reached.
    struct FailOpenText {
        /// The tiers that may: `medium`, `low` or both.
        required tiers: OneOrList<OpenTier>,
        /// How many actions of one agent may run unchecked within the window.
        required max_actions: Whole<1, 10_000>,
        /// The window; 5m unless written.
        optional window: Duration,
        /// The only actions that may, as names or patterns; they are compared exactly. Any unless written.
        optional tools: Patterns,
        /// How long an enforcement point may rely on this without hearing from the gate; 24h unless written.
        optional lease: Duration,
        /// How long an enforcement point waits for the gate; 2s unless written.
        optional deadline: Duration,
    }
}

/// A tier that may fail open.
pub(crate) struct OpenTier;

impl Shape for OpenTier {
    type Out = Tier;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Tier> {
        let Some(word) = node.scalar().filter(|text| !text.is_null()) else {
            return sink.wrong_type(node, "a tier in text");
        };
        let help = "write `medium` or `low`";
        match Tier::from_word(&word.text) {
            Some(tier) if tier.may_fail_open() => Some(tier),
            Some(tier) => {
                let message = format!("the tier `{}` always fails closed", tier.as_str());
                sink.add(Code::ClosedTier, node.span, message)
                    .help("remove it, or move the agents that may fail open to `medium` or `low`");
                None
            }
            None => {
                let shown: String = word.text.escape_debug().take(64).collect();
                sink.add(Code::UnknownWord, node.span, format!("`{shown}` is not a tier")).help(help);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({"enum": ["medium", "low"]})
    }
}

record! {
    /// What is only recorded, and never blocked.
    struct MonitorText {
        /// Agents, as names or patterns; they are compared exactly.
        required agents: Patterns,
    }
}

record! {
    /// How much may change when this bundle takes the place of another.
    struct RolloutText {
        /// Shares of the simulated decisions that may come out otherwise.
        optional max_flips: FlipsText,
        /// Who may go beyond these limits.
        optional r#override: OverrideText,
        /// How far the mix of decisions of a canary may drift before it is rolled back; 10% unless written.
        optional max_drift: Percent,
        /// How many decisions a canary makes before its drift counts; 100 unless written.
        optional min_decisions: Whole<1, 1_000_000_000>,
    }
}

record! {
    /// Shares of the simulated decisions that may come out otherwise.
    struct FlipsText {
        /// More permissive; 5% unless written.
        optional loosen: Percent,
        /// More restrictive; 20% unless written.
        optional tighten: Percent,
    }
}

record! {
    /// Who may go beyond the limits of a rollout.
    struct OverrideText {
        /// Whether a second person must agree; otherwise the publisher may do it alone, and says why.
        optional second_person: Flag,
    }
}

record! {
    /// What holds where no rule says otherwise.
    struct DefaultsText {
        /// Constraints of everything that may run.
        optional constraints: ConstraintsText,
        /// How far a request's time may be from the gate's clock; 5m unless written.
        optional freshness: Duration,
        /// How long an approval request waits; 30m unless written.
        optional approval_expires: Duration,
        /// How long an allow may be acted on; 1m unless written.
        optional permit_ttl: Duration,
        /// When a throttled caller may ask again; 1s unless written.
        optional retry_after: Duration,
        /// Whether every request needs a nonce and a time.
        optional require_nonce: Flag,
    }
}
