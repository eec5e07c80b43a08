//! What enforcement points and gates say to each other of leases and of what ran on them.

use std::collections::BTreeSet;

use callgate_core::fail::{FailTerms, Tier};
use callgate_core::object;
use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::unchecked::LeaseDelta;
use callgate_log::statement::Admin;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::outcome::OutcomeStatus;

/// The operation of a lease's receipt.
pub(crate) const OPERATION: &str = "point.leased";
/// The operation of a window's receipt.
pub(crate) const WINDOW: &str = "unchecked.window";

fn default_tenant() -> String {
    DEFAULT_TENANT.to_owned()
}

/// An enforcement point asks what it may do while the gate cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// The agent it works for.
    pub agent: String,
    /// The constraints it can enforce.
    #[serde(default)]
    pub enforces: BTreeSet<String>,
    /// The lease it has, if it only asks whether that is still right: then the answer has no new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holding>,
    /// A value used once, which comes back in the receipt.
    pub nonce: String,
    /// Its name.
    pub point: String,
    /// The agent's team, where no key says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The agent's tenant; `default` if absent.
    #[serde(default = "default_tenant")]
    pub tenant: String,
}

/// What a lease that a point has says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// On what terms.
    pub terms: FailTerms,
    /// The agent's tier.
    pub tier: Tier,
}

/// What it may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseReply {
    /// `open`, with a receipt unless it is the lease that the point has; or `closed`.
    pub fail_mode: FailWord,
    /// Why it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent's tier.
    pub tier: Tier,
    /// The lease's place in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_index: Option<u64>,
    /// The lease: a DSSE envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<RawValue>>,
    /// A C2SP tlog-proof that it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Whether anything may run unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailWord {
    /// Nothing.
    Closed,
    /// What the lease says.
    Open,
}

impl LeaseReply {
    pub(super) fn closed(tier: Tier, why: &str) -> Self {
        let reason = Some(why.to_owned());
        Self { fail_mode: FailWord::Closed, reason, tier, receipt_index: None, receipt: None, proof: None }
    }

    /// The lease that the point has is still right.
    pub(super) const fn unchanged(tier: Tier) -> Self {
        let fail_mode = FailWord::Open;
        Self { fail_mode, reason: None, tier, receipt_index: None, receipt: None, proof: None }
    }

    pub(super) fn open(tier: Tier, index: u64, receipt: Box<RawValue>, proof: String) -> Self {
        Self {
            fail_mode: FailWord::Open,
            reason: None,
            tier,
            receipt_index: Some(index),
            receipt: Some(receipt),
            proof: Some(proof),
        }
    }
}

/// What a lease's receipt says. All of it is text, as in every receipt of a change to the gate.
pub(super) fn details(lease: &LeaseDelta, nonce: &str, snapshot: &str) -> Vec<(&'static str, String)> {
    let LeaseDelta { key, expires_at_ms, terms, tier, .. } = lease;
    let mut details = vec![
        ("agent", key.agent.clone()),
        ("constraints", terms.constraints.clone()),
        ("deadline_ms", terms.deadline_ms.to_string()),
        ("expires_at_ms", expires_at_ms.to_string()),
        ("lease_ms", terms.lease_ms.to_string()),
        ("max_actions", terms.max_actions.to_string()),
        ("nonce", nonce.to_owned()),
        ("point", key.point.clone()),
        ("tenant", key.tenant.clone()),
        ("tier", tier.as_str().to_owned()),
        ("version", snapshot.to_owned()),
        ("window_ms", terms.window_ms.to_string()),
    ];
    // No pattern has a space in it.
    details.extend(terms.tools.as_ref().map(|tools| ("tools", tools.join(" "))));
    details
}

/// What a lease's receipt grants, read back.
pub(crate) struct Granted {
    pub(crate) agent: String,
    pub(crate) expires_at_ms: i64,
    pub(crate) nonce: String,
    pub(crate) point: String,
    pub(crate) tenant: String,
    pub(crate) terms: FailTerms,
    pub(crate) tier: Tier,
}

impl Granted {
    /// Reads the details; `None` where they are not those of a lease.
    pub(crate) fn read(admin: &Admin) -> Option<Self> {
        let text = |name: &str| admin.details.get(name).cloned();
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        if admin.operation != OPERATION {
            return None;
        }
        Some(Self {
            agent: text("agent")?,
            expires_at_ms: text("expires_at_ms")?.parse().ok()?,
            nonce: text("nonce")?,
            point: text("point")?,
            tenant: text("tenant")?,
            terms: FailTerms {
                constraints: text("constraints")?,
                deadline_ms: number("deadline_ms")?,
                lease_ms: number("lease_ms")?,
                max_actions: number("max_actions")?,
                tools: text("tools").map(|tools| tools.split(' ').map(str::to_owned).collect()),
                window_ms: number("window_ms")?,
            },
            tier: Tier::from_word(&text("tier")?)?,
        })
    }
}

/// What ran while the gate could not be reached, a part of a journal at a time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backlog {
    /// The agent.
    pub agent: String,
    /// Whether this is the end of the journal, so that its window is over.
    #[serde(default)]
    pub complete: bool,
    /// How many bytes of the journal cannot be read.
    #[serde(default)]
    pub damaged_bytes: u64,
    /// The journal's id.
    pub journal: String,
    /// The enforcement point.
    pub point: String,
    /// The actions, in order.
    #[serde(default, deserialize_with = "object::each")]
    pub records: Vec<BacklogRecord>,
    /// The agent's tenant; `default` if absent.
    #[serde(default = "default_tenant")]
    pub tenant: String,
}

/// One action that ran unchecked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BacklogRecord {
    /// When it ran, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The receipt of the lease it ran on.
    pub lease: u64,
    /// How it ended, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object::maybe")]
    pub outcome: Option<BacklogOutcome>,
    /// The request, as it would have been decided.
    pub request: Box<RawValue>,
    /// Its place among the journal's actions, from 0.
    pub sequence: u64,
}

/// How an action that ran unchecked ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BacklogOutcome {
    /// When, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_ms: Option<i64>,
    /// SHA-256 of what the action returned, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_sha256: Option<String>,
    /// How.
    pub status: OutcomeStatus,
}

/// What the gate has of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogReply {
    /// Whether the journal's window is on the log, so that it can go.
    pub closed: bool,
    /// How many of its actions were beyond their lease.
    pub exceeded: u64,
    /// The sequence that comes next.
    pub next: u64,
    /// The receipts of the actions that were handed in now, in order.
    pub receipts: Vec<u64>,
    /// How many of its actions would not have run, had they been decided.
    pub refused: u64,
    /// What proves that the window is on the log: without it a journal must be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowReply>,
}

/// The receipt of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowReply {
    /// Its place in the log.
    pub receipt_index: u64,
    /// The receipt: a DSSE envelope.
    pub receipt: Value,
    /// A C2SP tlog-proof that it is in the log.
    pub proof: String,
}
