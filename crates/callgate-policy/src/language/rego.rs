//! The routing header of a Rego package: `custom: {callgate: …}` of its metadata.

use super::rules::TagsText;
use crate::decode::{ModeWord, NameText, OneOrList, Patterns, Prose, Switch, Whole};

record! {
    /// Which requests a package is asked about, and what its answers weigh.
    struct HeaderText {
        /// Unique in the bundle; the package's path, if left out.
        optional id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Tools, as `server.name` or patterns.
        optional tools: Patterns,
        /// Topics, as dotted names or patterns.
        optional topics: Patterns,
        /// Risk tags: a list means all of them.
        optional risk_tags: TagsText,
        /// Agents, as names or patterns.
        optional agents: Patterns,
        /// Higher outranks lower; 0 unless written.
        optional priority: Whole<-1_000_000, 1_000_000>,
        /// Whether its answers are enforced; with `monitor` they are only recorded, and never block.
        optional mode: ModeWord,
        /// Whether nothing outranks its answers.
        optional invariants: Switch,
        /// The controls this package is evidence for, such as `soc2/cc6.1`.
        optional controls: OneOrList<NameText>,
    }
}
