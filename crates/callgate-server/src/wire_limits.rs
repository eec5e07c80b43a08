//! The shapes of stops, heartbeats, breakers and meters on the wire, for `openapi.json`. What the gate reads is its
//! own, stricter types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A sign of life of an action that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"receipt_index": 41, "cost": {"usd": "0.75"}}))]
pub struct Heartbeat {
    /// The allow's receipt.
    pub receipt_index: u64,
    /// What it has cost so far, by unit, decimals in strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, String>,
}

/// Whether an action that runs may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"continue": true, "next_ms": 5000}))]
pub struct Progress {
    /// `false`: stop it now, and report how it ended.
    #[serde(rename = "continue")]
    pub goes_on: bool,
    /// Why it must stop: `AGENT_KILLED`, `BREAKER_OPEN`, `RUNTIME_EXCEEDED`, `BUDGET_EXCEEDED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When to ask again at the latest, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// The code in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is to be stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"scope": "agent", "agent": "support-bot", "note": "refunds in a loop"}))]
pub struct NewStop {
    /// `everything`, `tenant`, `team`, `agent`, `session` or `tool`.
    pub scope: String,
    /// The agent, of `agent` and `session`; what it delegated is stopped, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The tenant; every tenant if absent, of a session `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The tool: `server.name`, or the name alone for that of every server; a topic or function, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A stop in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopItem {
    /// Its id, such as `stop-12`.
    pub id: String,
    /// What kind of thing is stopped.
    pub scope: String,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The tenant; every tenant if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// By whom.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// Its receipt.
    pub receipt_index: u64,
}

/// What stopping came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopReply {
    /// Whether it is new.
    pub created: bool,
    /// The stop in effect.
    pub stop: StopItem,
}

/// Stops in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopList {
    /// How many there are, those left out counted.
    pub count: usize,
    /// Newest first.
    pub stops: Vec<StopItem>,
}

/// Why something may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"note": "the loop is fixed"}))]
pub struct Lift {
    /// For people.
    pub note: String,
}

/// A breaker that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerItem {
    /// Its name: the limit's id, and whom it blocks.
    pub name: String,
    /// The limit's id in the bundle.
    pub limit: String,
    /// Whom it blocks; empty means everybody.
    pub blocks: String,
    /// Whether it is only monitored, and so blocks nobody.
    pub monitor: bool,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// The receipt that opened it.
    pub receipt_index: u64,
    /// The receipts that it counted, oldest first, the newest 32.
    pub violations: Vec<u64>,
    /// The last of them: what a reset says as `through`.
    pub through: u64,
    /// Whether it lets single actions through to find out by itself.
    pub half_open: bool,
}

/// Open breakers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerList {
    /// The one that opened last first.
    pub breakers: Vec<BreakerItem>,
    /// How many there are, those left out counted.
    pub count: usize,
}

/// Closes a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "denials@1a2b3c4d:agent=bot", "note": "a typo in a path; fixed", "through": 97}))]
pub struct Reset {
    /// Its name.
    pub name: String,
    /// Why it may go on, for people.
    pub note: String,
    /// The last receipt that was looked at; refused if it counted a later one.
    pub through: u64,
}

/// A limit of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitItem {
    /// Its id; of one level of a budget with the level, such as `refunds/team`.
    pub id: String,
    /// `budget`, `throttle` or `breaker`.
    pub kind: String,
    /// `enforce`, or `monitor`: counted and told, never enforced.
    pub mode: String,
    /// Where it stands in the bundle.
    pub source: String,
    /// Whom it counts by; nothing counts everybody together.
    pub per: Vec<String>,
    /// The most, a decimal: of a budget or throttle what fits, of a breaker where it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<String>,
    /// What it counts; `calls` of a throttle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Over which time: `hour`, `day`, `month`, `execution`, or any time of a length such as `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Beyond it: `deny` or `require_approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceed: Option<String>,
    /// From where on it is near, a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_at: Option<String>,
    /// Of failures: the share at which it opens, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_bp: Option<u32>,
    /// Of failures: from how many outcomes on, a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
}

/// One meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeterItem {
    /// Its name: the limit's id, and by whom it counts.
    pub name: String,
    /// Whom it counts, names folded; empty: everybody.
    pub counts: String,
    /// What is used of it now, a decimal. Of a token bucket, what is missing in it.
    pub used: String,
    /// What still fits, a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// Whether it has the least left of the enforced budgets of its unit that count whoever was asked about.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// Of a breaker, whether it is open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Of a throttle, how long until one more fits; 0 is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// When it begins at nothing again, milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at_ms: Option<i64>,
    /// Of failures, how many outcomes there were, a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<String>,
    /// How it counts, and over which time.
    #[schema(value_type = Object)]
    pub gauge: serde_json::Value,
    /// When it holds nothing any more, milliseconds since 1970 UTC; absent where nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<i64>,
    /// `in_force`; `tried` where only the candidate that is tried has the limit; `gone` where nothing is held
    /// against it any more.
    pub standing: String,
    /// The limit; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitItem>,
}

/// A limit that may bound whoever was asked about, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnseenItem {
    /// Why not all that it counts is shown.
    pub why: String,
    /// The limit.
    pub limit: LimitItem,
}

/// Meters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeterList {
    /// By name; of somebody, budgets first, and of each unit the one with the least left first.
    pub meters: Vec<MeterItem>,
    /// Of somebody: limits of which not everything is shown that may count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Vec<UnseenItem>>,
}
