//! How often each action failed in this session, for `max_retries`.
//!
//! The wrapper never sends a call a second time by itself: it cannot know whether doing it twice is
//! harmless. What it caps is the agent: after a first failure, the same action (tool and arguments)
//! runs at most `max_retries` more times until it succeeds once.

use std::collections::HashMap;

use callgate_core::digest::Digest;

/// The most actions that are remembered. When there is no room for another, calls under
/// `max_retries` are refused rather than counted wrong.
const MAX_ACTIONS: usize = 65_536;

/// Consecutive failures by action.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    failures: HashMap<Digest, u64>,
}

impl Ledger {
    /// Whether an action under `max_retries` may run once more; if not, how often it failed.
    pub(crate) fn may_run(&self, action: Digest, max_retries: u64) -> Result<(), u64> {
        match self.failures.get(&action) {
            Some(failed) if *failed > max_retries => Err(*failed),
            Some(_) => Ok(()),
            None if self.failures.len() >= MAX_ACTIONS => Err(0),
            None => Ok(()),
        }
    }

    pub(crate) fn failed(&mut self, action: Digest) {
        if self.failures.len() < MAX_ACTIONS || self.failures.contains_key(&action) {
            let count = self.failures.entry(action).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn succeeded(&mut self, action: Digest) {
        self.failures.remove(&action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_action_may_be_tried_again_as_often_as_permitted_and_no_more() {
        let (mut ledger, action, other) = (Ledger::default(), Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(ledger.may_run(action, 0), Ok(()));
        ledger.failed(action);
        assert_eq!(ledger.may_run(action, 0), Err(1));
        assert_eq!(ledger.may_run(action, 1), Ok(()));
        ledger.failed(action);
        assert_eq!(ledger.may_run(action, 1), Err(2));
        assert_eq!(ledger.may_run(other, 0), Ok(()));
        ledger.succeeded(action);
        assert_eq!(ledger.may_run(action, 0), Ok(()));
    }
}
