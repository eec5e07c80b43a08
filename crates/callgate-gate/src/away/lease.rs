//! A lease as an enforcement point holds it: the terms of a receipt that verified, and until when they hold here.

use callgate_core::constraint::{Constraints, Kind, Limit};
use callgate_core::fail::{FailTerms, Tier};
use callgate_core::json::{self, Limits};
use callgate_core::request::Request;
use callgate_core::value::Value;
use callgate_log::{Body, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::proven::proven;
use super::stopgap::Claim;
use crate::unchecked::wire::Granted;

/// How far back the clock may have gone since a lease that was kept, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// A lease as it is kept in a file: what proves it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptLease {
    /// The journals of what ran and was not handed in; one that is not in the folder is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) journals: Vec<String>,
    pub(super) nonce: String,
    pub(super) proof: String,
    pub(super) receipt: String,
}

/// The right to run some actions while the gate is away.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Its receipt.
    pub(super) index: u64,
    pub(super) tier: Tier,
    pub(super) terms: FailTerms,
    /// The snapshot it was given under.
    pub(super) snapshot: String,
    /// What must be enforced of everything that runs.
    constraints: Constraints,
    issued_at_ms: i64,
    /// Until when by the local clock.
    pub(super) until_ms: i64,
}

impl Lease {
    /// Verifies a lease that was asked for at `asked_at_ms`, or is kept from then.
    ///
    /// # Errors
    /// What does not hold; then there is none.
    pub(super) fn verify(
        kept: &KeptLease,
        pinned: &VerifyingKey,
        claim: &Claim,
        asked_at_ms: Option<i64>,
    ) -> Result<Self, String> {
        let (statement, index) = proven(&kept.receipt, &kept.proof, pinned)?;
        let Body::Admin(admin) = statement.body() else {
            return Err("the receipt is of no lease".to_owned());
        };
        let granted = Granted::read(admin).ok_or("the receipt is of no lease")?;
        if granted.nonce != kept.nonce {
            return Err("the lease answers another question".to_owned());
        }
        if (&granted.agent, &granted.tenant, &granted.point) != (&claim.agent, &claim.tenant, &claim.point) {
            return Err("the lease is another point's".to_owned());
        }
        if !granted.tier.may_fail_open() {
            return Err(format!("the tier `{}` never runs unchecked", granted.tier.as_str()));
        }
        let span = i64::try_from(granted.terms.lease_ms).unwrap_or(i64::MAX);
        let here = asked_at_ms.map_or(i64::MAX, |asked| asked.saturating_add(span));
        Ok(Self {
            index,
            tier: granted.tier,
            constraints: constraints(&granted.terms.constraints)?,
            terms: granted.terms,
            snapshot: admin.details.get("version").cloned().unwrap_or_default(),
            issued_at_ms: admin.issued_at_ms.get(),
            until_ms: granted.expires_at_ms.min(here),
        })
    }

    /// Whether it holds at `now_ms`.
    pub(super) const fn holds(&self, now_ms: i64) -> bool {
        now_ms >= self.issued_at_ms.saturating_sub(SKEW_MS) && now_ms < self.until_ms
    }

    /// Whether it should be renewed: half of its time is over.
    pub(super) fn is_half_over(&self, now_ms: i64) -> bool {
        let half = i64::try_from(self.terms.lease_ms).unwrap_or(i64::MAX).checked_div(2).unwrap_or(0);
        now_ms >= self.until_ms.saturating_sub(half)
    }

    /// The constraints under which `request` may run.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn covers(&self, request: &Request) -> Result<Constraints, String> {
        match self.constraints.kinds().find(|kind| !request.enforces(kind.as_str())) {
            Some(kind) => Err(format!("nobody here enforces `{}`", kind.as_str())),
            None => Ok(self.constraints.clone()),
        }
    }
}

fn constraints(text: &str) -> Result<Constraints, String> {
    let value = json::parse(text.as_bytes(), &Limits::REQUEST).map_err(|e| e.to_string())?;
    let Value::Map(map) = value else { return Err("its constraints are no object".to_owned()) };
    let mut all = Constraints::default();
    for (word, value) in map.iter() {
        let kind = Kind::from_word(word).ok_or_else(|| format!("the constraint `{word}` is not known"))?;
        all.tighten(kind, Limit::from_value(kind, value).map_err(|e| e.to_string())?);
    }
    Ok(all)
}
