//! What the gate did not let run, by name: while it is away, that does not run unchecked either.
//!
//! Else an agent would wait for the gate to fail, or make it fail, and send what was denied or held again. The
//! arguments do not matter, or it would send it a little otherwise; nor do look-alikes of the name.

use std::collections::BTreeMap;

use callgate_core::name::fold;
use serde::{Deserialize, Serialize};

/// The most names; with more, nothing runs unchecked.
const MAX_NAMES: usize = 1_000;
/// How long a denied or held action is remembered, in milliseconds: a day.
pub(super) const LASTING_MS: i64 = 24 * 60 * 60 * 1000;
/// How much longer something must be remembered than it is in the folder, to be written there again.
const WORTH_MS: i64 = 60 * 60 * 1000;

/// The names, and until when each is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refused {
    until_ms: BTreeMap<String, i64>,
    /// Until when there were more than are remembered.
    crowded_until_ms: i64,
}

impl Refused {
    /// Remembers an action for so long; says whether that is worth writing down.
    pub(super) fn note(&mut self, action: &str, now_ms: i64, span_ms: i64) -> bool {
        self.until_ms.retain(|_, until| *until > now_ms);
        let (name, until) = (fold(action), now_ms.saturating_add(span_ms));
        let known = self.until_ms.get(&name).copied();
        let longer = until.saturating_sub(known.unwrap_or(now_ms)) > WORTH_MS;
        if known.is_none() && self.until_ms.len() >= MAX_NAMES {
            self.crowded_until_ms = until.max(self.crowded_until_ms);
        } else if longer || known.is_none_or(|known| until > known && span_ms <= WORTH_MS) {
            self.until_ms.insert(name, until);
        }
        longer
    }

    /// Whether an action is remembered.
    pub(super) fn names(&self, action: &str, now_ms: i64) -> bool {
        self.crowded_until_ms > now_ms
            || self.until_ms.get(&fold(action)).is_some_and(|until| *until > now_ms)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.until_ms.is_empty() && self.crowded_until_ms == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_remembered_for_a_day_whatever_it_looks_like() {
        let mut refused = Refused::default();
        assert!(refused.is_empty() && refused.note("s.drop", 0, LASTING_MS));
        assert!(!refused.note("s.drop", WORTH_MS, LASTING_MS), "that is written down well enough");
        assert!(refused.note("S.DROP", WORTH_MS + 1, LASTING_MS));
        for name in ["s.drop", "s.Drop", "s.dr\u{43e}p"] {
            assert!(refused.names(name, LASTING_MS + WORTH_MS), "{name}");
            assert!(!refused.names(name, LASTING_MS + WORTH_MS + 1), "{name}");
        }
        assert!(!refused.names("s.drops", 1));
    }

    #[test]
    fn what_came_too_often_is_remembered_until_its_turn_and_written_nowhere() {
        let mut refused = Refused::default();
        assert!(!refused.note("s.read", 0, 5_000) && refused.names("s.read", 4_999));
        assert!(!refused.note("s.read", 4_000, 5_000) && refused.names("s.read", 8_999));
        assert!(!refused.names("s.read", 9_000));
        assert!(refused.note("s.read", 8_000, LASTING_MS));
        assert!(
            !refused.note("s.read", 8_001, 5_000) && refused.names("s.read", LASTING_MS),
            "not shortened"
        );
    }

    #[test]
    fn with_too_many_names_nothing_is_let_through() {
        let mut refused = Refused::default();
        for n in 0..MAX_NAMES {
            refused.note(&format!("s.{n}"), 0, LASTING_MS);
        }
        assert!(!refused.names("t.another", 1));
        assert!(refused.note("s.more", 0, LASTING_MS) && refused.names("t.another", 1));
        assert!(!refused.names("t.another", LASTING_MS));
    }
}
