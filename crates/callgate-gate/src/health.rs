//! How the gate is, in numbers: nothing of what was asked.

use crate::gate::Gate;

/// How a gate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateHealth {
    /// Why it cannot decide now, if it cannot.
    pub trouble: Option<String>,
    /// Whether only closing and opening it again can help.
    pub failed: bool,
    /// How many receipts the log has.
    pub receipts: u64,
    /// The snapshot in force, such as `v42`.
    pub snapshot: String,
    /// For how long, in milliseconds; absent before the first.
    pub snapshot_age_ms: Option<u64>,
    /// How long the last receipt is ago, in milliseconds; absent before the first.
    pub last_commit_age_ms: Option<u64>,
    /// How many windows in which actions ran unchecked are on the log.
    pub unchecked_windows: u64,
    /// How many actions ran unchecked.
    pub unchecked_actions: u64,
    /// How many of these would not have run, had they been decided.
    pub unchecked_refused: u64,
}

impl Gate {
    /// How the gate is.
    #[must_use]
    pub fn health(&self) -> GateHealth {
        let now_ms = self.now_ms();
        let since = |at_ms: i64| u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
        let (activated_ms, latest_ms, (windows, actions, refused)) = self.store.state(|state| {
            let activated = state.0.release().active().map(|active| active.at_ms);
            (activated, state.0.latest_ms(), state.0.unchecked().totals())
        });
        GateHealth {
            trouble: self.trouble(),
            failed: self.failure().is_some(),
            receipts: self.size(),
            snapshot: self.snapshot().0,
            snapshot_age_ms: activated_ms.map(since),
            last_commit_age_ms: (latest_ms > 0).then(|| since(latest_ms)),
            unchecked_windows: windows,
            unchecked_actions: actions,
            unchecked_refused: refused,
        }
    }
}
