//! What a session did before it was held, as its receipts say.

use callgate_core::state::approvals::Approval;
use callgate_log::Statement;
use callgate_log::statement::Body;
use serde::Serialize;

use crate::gate::Gate;

/// How many receipts are looked at, backwards, and how many of the session are shown.
const LOOKED_AT: u64 = 2000;
const SHOWN: usize = 20;

/// What the session did before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SoFarView {
    /// Its newest decisions and outcomes before this one, newest first; at most 20.
    pub receipts: Vec<EarlierView>,
    /// How many receipts of the log were looked at, backwards; at most 2,000.
    pub looked_at: u64,
    /// Whether these are all there are.
    pub complete: bool,
}

/// One earlier receipt of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlierView {
    /// The receipt.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What was asked, for a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The decision, or how the action ended.
    pub what: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The decision that an outcome closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
}

impl Gate {
    /// Looks backwards through a bounded part of the log.
    pub(super) fn so_far(&self, approval: &Approval) -> SoFarView {
        let key = &approval.key;
        if !key.is_chained() {
            return SoFarView { complete: true, ..SoFarView::default() };
        }
        let named = serde_json::to_vec(&key.session).unwrap_or_default();
        let mut found = SoFarView::default();
        for index in (0..approval.id).rev() {
            if found.looked_at >= LOOKED_AT || found.receipts.len() >= SHOWN {
                return found;
            }
            found.looked_at = found.looked_at.saturating_add(1);
            let Ok(Some(stored)) = self.store.read(index) else { return found };
            // Reading a receipt's JSON costs more than looking for the session's name in it.
            if !stored.payload.windows(named.len().max(1)).any(|part| part == named) {
                continue;
            }
            let Ok(statement) = Statement::parse(&stored.payload) else { continue };
            let Some((earlier, first)) = earlier(index, statement.body(), approval) else { continue };
            found.receipts.push(earlier);
            if first {
                found.complete = true;
                return found;
            }
        }
        found.complete = true;
        found
    }
}

/// A receipt of the session, and whether it is its first.
fn earlier(receipt: u64, body: &Body, approval: &Approval) -> Option<(EarlierView, bool)> {
    let key = &approval.key;
    let of = |agent: &str, tenant: &str, session: Option<&str>| {
        agent == key.agent && tenant == key.tenant && session == Some(key.session.as_str())
    };
    match body {
        Body::Decision(one)
            if of(&one.agent.id, &one.tenant, one.session.as_ref().map(|it| it.id.as_str())) =>
        {
            let view = EarlierView {
                receipt,
                at_ms: one.issued_at_ms.get(),
                action: Some(one.action.identity()),
                what: one.decision.to_string(),
                rule: one.matched_rule.clone(),
                decision: None,
            };
            Some((view, one.prev.is_none()))
        }
        Body::Outcome(one)
            if of(&one.agent.id, &one.tenant, one.session.as_ref().map(|it| it.id.as_str())) =>
        {
            let status = serde_json::to_value(one.status).ok();
            let what = status.and_then(|status| status.as_str().map(str::to_owned)).unwrap_or_default();
            let view = EarlierView {
                receipt,
                at_ms: one.issued_at_ms.get(),
                action: None,
                what,
                rule: None,
                decision: u64::try_from(one.decision_receipt.index.get()).ok(),
            };
            Some((view, one.prev.is_none()))
        }
        _ => None,
    }
}
