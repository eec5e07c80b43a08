//! `callgate.yaml`.

use super::constraints::ConstraintsText;
use super::judge::JudgeSettingsText;
use crate::decode::{Duration, Flag, ModeWord, NameText, Patterns, Percent, Prose, Version, Whole};

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
