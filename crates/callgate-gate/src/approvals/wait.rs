//! Waiting for people, and writing down what nobody decided in time.

use std::time::Duration;

use callgate_core::state::Change;
use callgate_core::state::approvals::{Approval, Status};
use tokio::time::Instant;

use super::act::about;
use super::view::ApprovalView;
use crate::Credential;
use crate::error::{ApprovalError, Unavailable};
use crate::gate::Gate;

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
        let over: Vec<(u64, Vec<(&'static str, String)>)> = self.store.state(|state| {
            let over = state.0.approvals().unannounced(now_ms);
            let details = |approval: &Approval| {
                let mut details = about(approval);
                details.push(("status", approval.status_at(now_ms).as_str().to_owned()));
                details
            };
            over.map(|approval| (approval.id, details(approval))).collect()
        });
        let mut written = 0usize;
        for (approval, details) in over {
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
