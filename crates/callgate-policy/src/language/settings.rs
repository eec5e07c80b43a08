//! `callgate.yaml`.

use super::constraints::ConstraintsText;
use super::judge::JudgeSettingsText;
use crate::decode::{Duration, Flag, NameText, Prose, Version};

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
