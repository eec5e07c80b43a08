//! What ties receipts to one another: the chain of a session, and outcomes to their decisions.
//!
//! Must never look at more than the statements given; the tree is someone else's.

use std::collections::HashMap;

use super::VerifyError;
use crate::hash::{Hash, sha256_of};
use crate::json::SafeInt;
use crate::statement::{Body, Decision, Outcome, Session, Statement, Status};

/// Whose receipt it is: tenant, agent and session, hashed so that long names cost nothing.
type Owner = Hash;

/// What later receipts may refer to.
#[derive(Debug, Clone, Copy)]
struct Past {
    payload: Hash,
    /// Present for decisions only.
    decision: Option<PastDecision>,
}

#[derive(Debug, Clone, Copy)]
struct PastDecision {
    owner: Owner,
    permits: bool,
    closed: bool,
}

/// Every session's last receipt, and every receipt's identity.
#[derive(Debug, Default)]
pub(super) struct Chains {
    last: HashMap<Owner, Hash>,
    past: Vec<Past>,
}

impl Chains {
    pub(super) fn sessions(&self) -> u64 {
        u64::try_from(self.last.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn without_outcome(&self) -> u64 {
        let open = self.past.iter().filter_map(|past| past.decision).filter(|one| one.permits && !one.closed);
        u64::try_from(open.count()).unwrap_or(u64::MAX)
    }

    /// Adds the next receipt.
    pub(super) fn follow(
        &mut self,
        index: u64,
        payload: Hash,
        statement: &Statement,
    ) -> Result<(), VerifyError> {
        let decision = match statement.body() {
            Body::Decision(one) => Some(self.follow_decision(index, payload, one)?),
            Body::Outcome(one) => {
                self.follow_outcome(index, payload, one)?;
                None
            }
            Body::Admin(_) => None,
        };
        self.past.push(Past { payload, decision });
        Ok(())
    }

    fn follow_decision(
        &mut self,
        index: u64,
        payload: Hash,
        one: &Decision,
    ) -> Result<PastDecision, VerifyError> {
        let owner = owner(&one.tenant, &one.agent.id, one.session.as_ref());
        self.link(index, payload, owner, one.session.as_ref(), one.prev)?;
        Ok(PastDecision { owner, permits: one.decision.may_have_run(), closed: false })
    }

    fn follow_outcome(&mut self, index: u64, payload: Hash, one: &Outcome) -> Result<(), VerifyError> {
        let owner = owner(&one.tenant, &one.agent.id, one.session.as_ref());
        self.link(index, payload, owner, one.session.as_ref(), one.prev)?;
        let decision = one.decision_receipt.index;
        let found = self.past_decision(decision, &one.decision_receipt.payload_sha256);
        let found = found.ok_or(VerifyError::NoDecision { index, decision })?;
        if found.owner != owner {
            return Err(VerifyError::OtherOwner { index, decision });
        }
        if found.closed {
            return Err(VerifyError::SecondOutcome { index, decision });
        }
        if !(found.permits || one.status == Status::NotRun) {
            return Err(VerifyError::RanUnpermitted { index, decision });
        }
        found.closed = true;
        Ok(())
    }

    fn past_decision(&mut self, index: SafeInt, payload: &Hash) -> Option<&mut PastDecision> {
        let past = self.past.get_mut(usize::try_from(index.get()).ok()?)?;
        past.decision.as_mut().filter(|_| past.payload == *payload)
    }

    /// Checks `prev` and makes this receipt the session's last.
    fn link(
        &mut self,
        index: u64,
        payload: Hash,
        owner: Owner,
        session: Option<&Session>,
        prev: Option<Hash>,
    ) -> Result<(), VerifyError> {
        let expected = if session.is_some() { self.last.insert(owner, payload) } else { None };
        match (expected, prev) {
            (expected, found) if expected == found => Ok(()),
            (None, Some(_)) if session.is_none() => Err(VerifyError::StrayPrev { index }),
            (None, Some(_)) => Err(VerifyError::MissingStart { index }),
            (Some(_), None) => Err(VerifyError::Restarted { index }),
            (Some(_), Some(_)) => Err(VerifyError::Broken { index }),
            (None, None) => Ok(()),
        }
    }
}

/// Hashes the names with their lengths, so that no two owners share a hash.
fn owner(tenant: &str, agent: &str, session: Option<&Session>) -> Owner {
    let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes();
    let id = session.map_or("", |session| session.id.as_str());
    sha256_of(&[
        &length(tenant),
        tenant.as_bytes(),
        &length(agent),
        agent.as_bytes(),
        &[u8::from(session.is_some())],
        id.as_bytes(),
    ])
}
