//! Waiting for people, and writing down what nobody decided in time.

use std::time::Duration;

use callgate_core::state::Change;
use callgate_core::state::approvals::Status;
use tokio::time::Instant;

use super::view::ApprovalView;
use crate::Credential;
use crate::error::{ApprovalError, Unavailable};
use crate::gate::Gate;
use crate::reply::approval_id;

/// Who writes down what time alone ended.
const GATE: &str = "gate";
/// The longest sleep between two looks: the gate's clock may be set.
const LOOK: Duration = Duration::from_secs(5);

impl Gate {
    /// Waits until people have nothing to decide any more, or until `until`; gives how it stands then.
    ///
    /// # Errors
    /// When there is no such approval for this caller.
    pub async fn await_approval(
        &self,
        id: u64,
        who: &Credential,
        until: Instant,
    ) -> Result<ApprovalView, ApprovalError> {
        let mut moved = self.approvals_moved.subscribe();
        loop {
            moved.mark_unchanged();
            let now_ms = self.now_ms();
            let (view, open, ends_ms) = self.with_approval(id, who, |approval, _| {
                let view = ApprovalView::of(approval, now_ms);
                (view, approval.status_at(now_ms) == Status::Open, approval.hold.expires_at_ms)
            })?;
            if !open || Instant::now() >= until {
                return Ok(view);
            }
            let left = u64::try_from(ends_ms.saturating_sub(now_ms)).unwrap_or(0).saturating_add(1);
            let look = Duration::from_millis(left).min(LOOK);
            let next = Instant::now().checked_add(look).unwrap_or(until).min(until);
            // Woken, or late: either way it looks again.
            let _woken = tokio::time::timeout_at(next, moved.changed()).await;
        }
    }

    /// Tells whoever waits that something about approvals may be different.
    pub(crate) fn approvals_move(&self) {
        self.approvals_moved.send_replace(());
    }

    /// Writes down the approvals that ended without being used, so that whoever listens to the log
    /// hears of it. Gives how many.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub async fn expire_approvals(&self) -> Result<usize, Unavailable> {
        let now_ms = self.now_ms();
        let over: Vec<(u64, &'static str)> = self.store.state(|state| {
            let approvals = state.0.approvals();
            let word = |id| approvals.get(id).map_or("expired", |one| one.status_at(now_ms).as_str());
            approvals.unannounced(now_ms).map(|id| (id, word(id))).collect()
        });
        let mut written = 0usize;
        for (approval, status) in over {
            let details = [("approval", approval_id(approval)), ("status", status.to_owned())];
            self.note("approval.expire", GATE, &details, Change::ApprovalExpired { approval }, Vec::new())
                .await?;
            written = written.saturating_add(1);
        }
        if written > 0 {
            self.approvals_move();
        }
        Ok(written)
    }
}
