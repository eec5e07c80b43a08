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

/// One meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeterItem {
    /// Its name: the limit's id, and by whom it counts.
    pub name: String,
    /// What is used of it now, a decimal.
    pub used: String,
    /// What it counts, and over which time.
    #[schema(value_type = Object)]
    pub gauge: serde_json::Value,
    /// When it holds nothing any more, milliseconds since 1970 UTC.
    pub ends_ms: i64,
}

/// Meters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeterList {
    /// By name.
    pub meters: Vec<MeterItem>,
}
