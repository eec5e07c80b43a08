//! Approvals at the gate: what waits, what people say about it, and who hears of it.
//!
//! The state is a fold of the log ([`callgate_core::state::approvals`]); here are the receipts that people
//! add to it, and what they are shown. Must never show an argument that looks like a secret, nor decide
//! anything itself: whether a grant lets a call run is for `decide` to say.

mod act;
mod detail;
mod mask;
mod so_far;
mod suggest;
mod view;
mod wait;

use callgate_core::state::State;
use callgate_core::state::approvals::{Approval, Reviewer};

use crate::Credential;
use crate::error::ApprovalError;
use crate::gate::Gate;

pub use act::{Said, StandingAsk};
pub use detail::{ApprovalDetail, DelegationView, RemarkView, RuleView, SimilarView, VoteView};
pub use so_far::{EarlierView, SoFarView};
pub use suggest::{EvidenceView, Suggestion};
pub use view::{ApprovalView, PrincipalView, StageView, StandingView};

/// Which approvals are listed.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// Those that nobody has to decide any more, too.
    pub include_resolved: bool,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this agent's.
    pub agent: Option<String>,
}

/// Whether this caller may know of it: an agent of its own, a person of their tenant's.
fn may_see(who: &Credential, tenant: &str, agent: &str) -> bool {
    match who {
        Credential::Agent { agent: own, tenant: of, .. } => own == agent && of == tenant,
        // An enforcement point has a person's key and decides nothing.
        Credential::Person { roles, .. } if roles.iter().any(|role| role == "point") && roles.len() == 1 => {
            false
        }
        other => Reviewer::of(other).is_some_and(|person| person.looks_after(tenant)),
    }
}

/// The number in an approval's id.
///
/// # Errors
/// When it is none.
pub fn approval_number(id: &str) -> Result<u64, ApprovalError> {
    number(id, "apr-")
}

/// The number in a standing approval's id.
///
/// # Errors
/// When it is none.
pub fn standing_number(id: &str) -> Result<u64, ApprovalError> {
    number(id, "std-")
}

/// Only the one way to write a number: no sign, no leading zero.
fn number(id: &str, prefix: &str) -> Result<u64, ApprovalError> {
    let unknown =
        || ApprovalError::Unknown(id.chars().take(40).collect::<String>().escape_debug().to_string());
    let number: u64 = id.strip_prefix(prefix).and_then(|digits| digits.parse().ok()).ok_or_else(unknown)?;
    if format!("{prefix}{number}") == id { Ok(number) } else { Err(unknown()) }
}

impl Gate {
    /// What waits for people, oldest first; with `include_resolved` also what did not long ago.
    #[must_use]
    pub fn approvals(&self, filter: &ApprovalFilter, who: &Credential) -> Vec<ApprovalView> {
        let now_ms = self.now_ms();
        let wanted = |approval: &&Approval| {
            let key = &approval.key;
            (filter.include_resolved || !approval.status_at(now_ms).is_resolved())
                && filter.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant)
                && filter.agent.as_ref().is_none_or(|agent| *agent == key.agent)
                && may_see(who, &key.tenant, &key.agent)
        };
        self.store.state(|state| {
            let found = state.0.approvals().iter().filter(wanted);
            found.map(|approval| ApprovalView::of(approval, now_ms)).collect()
        })
    }

    /// The standing approvals, oldest first; with `include_resolved` also those that ended not long ago.
    #[must_use]
    pub fn standing_approvals(&self, filter: &ApprovalFilter, who: &Credential) -> Vec<StandingView> {
        let now_ms = self.now_ms();
        self.store.state(|state| {
            let all = state.0.approvals().standings();
            let views = all.map(|standing| StandingView::of(standing, now_ms));
            let wanted = |view: &StandingView| {
                (filter.include_resolved || view.status == "in_effect")
                    && filter.tenant.as_ref().is_none_or(|tenant| *tenant == view.tenant)
                    && filter.agent.as_ref().is_none_or(|agent| *agent == view.agent)
                    && may_see(who, &view.tenant, &view.agent)
            };
            views.filter(wanted).collect()
        })
    }

    /// Reads one approval that this caller may know of.
    fn with_approval<R>(
        &self,
        id: u64,
        who: &Credential,
        read: impl FnOnce(&Approval, &State) -> R,
    ) -> Result<R, ApprovalError> {
        let unknown = || ApprovalError::Unknown(crate::reply::approval_id(id));
        self.store.state(|state| {
            let approval = state.0.approvals().get(id).ok_or_else(unknown)?;
            if !may_see(who, &approval.key.tenant, &approval.key.agent) {
                return Err(unknown());
            }
            Ok(read(approval, &state.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_one_way() {
        assert_eq!(approval_number("apr-12").ok(), Some(12));
        for id in
            ["", "12", "apr-", "apr-+1", "apr-01", "apr--1", "std-1", "apr-1 ", "apr-99999999999999999999"]
        {
            assert!(approval_number(id).is_err(), "{id}");
        }
        assert_eq!(standing_number("std-0").ok(), Some(0));
    }
}
