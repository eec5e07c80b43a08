//! The policy of the model, and the numbers in it.

use callgate_gate::Bundle;

use crate::kit::{usd, with};

/// Amounts are cents, times milliseconds.
pub(crate) const DAY: i64 = 86_400_000;
pub(crate) const HOUR: i64 = 3_600_000;
/// How long an outcome is waited for.
pub(crate) const OPEN: i64 = DAY;
/// What `files.pay` and `files.buy` cost at least.
pub(crate) const ESTIMATE: i64 = 50;
/// Windows that no clock of the test ends on: it goes by whole seconds.
pub(crate) const ROLL: i64 = 599_400;
pub(crate) const SLIDE: i64 = 59_500;
pub(crate) const TRIP: i64 = 299_500;
/// How long `files.pay` and `files.get` may run.
pub(crate) const RUNTIME: i64 = 120_000;
/// After how long what was lent for `files.buy` is given back.
pub(crate) const LENT: i64 = 90_000;
/// How many calls of `files.ask` a day need nobody's consent, and how many of `files.near` an hour.
pub(crate) const ASK: i64 = 2;
pub(crate) const NEAR: i64 = 3;

/// What agent 2 may run while the gate is away: so much within that time, on a lease of that length.
pub(crate) const AWAY: i64 = 3;
pub(crate) const AWAY_WINDOW: i64 = 599_500;
pub(crate) const LEASE: i64 = HOUR;
pub(crate) const AWAY_TOOLS: [&str; 3] = ["get", "pay", "drop"];

const TIMED: &str = r#"
version: v1
rules:
  - {id: timed, match: {tools: [files.pay, files.get]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 120}}
"#;
pub(crate) const SETTINGS: &str = r#"
version: v1
tiers: {low: [bot-2]}
fail_open: {tiers: [low], max_actions: 3, window: 599500ms, tools: [files.get, files.pay, files.drop], lease: 1h}
"#;

/// The numbers of a policy; all the rest of it stays the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) agent: i64,
    pub(crate) team: i64,
    pub(crate) roll: Option<i64>,
    /// What the sliding window is called.
    pub(crate) slide: &'static str,
    pub(crate) often: i64,
    /// Of a session's life, settled upward.
    pub(crate) up: i64,
    /// A day's, given back when no outcome comes.
    pub(crate) lent: i64,
}

const USUAL: Numbers = Numbers {
    agent: 1_000,
    team: 1_500,
    roll: Some(1_200),
    slide: "slide",
    often: 9,
    up: 1_500,
    lent: 1_000,
};

pub(crate) const NUMBERS: [Numbers; 6] = [
    USUAL,
    Numbers { agent: 400, up: 400, ..USUAL },
    Numbers { agent: 3_000, team: 2_500, roll: Some(600), lent: 300, ..USUAL },
    Numbers { roll: None, ..USUAL },
    Numbers { slide: "other", ..USUAL },
    Numbers { team: 800, often: 4, up: 4_000, ..USUAL },
];

impl Numbers {
    pub(crate) fn bundle(&self) -> Bundle {
        with(&self.text(), &[("rules/timed.yaml", TIMED), ("callgate.yaml", SETTINGS)])
    }

    fn text(&self) -> String {
        let roll = self.roll.map_or_else(String::new, |roll| {
            format!("  - {{id: roll, match: {{tools: [files.pay]}}, unit: usd, limit: \"{}\", per: [tenant], over: {ROLL}ms, estimate: \"0.50\"}}\n", usd(roll))
        });
        let Self { slide, often, .. } = self;
        let [agent, team, up, lent] = [self.agent, self.team, self.up, self.lent].map(usd);
        format!(
            r#"
budgets:
  - {{id: spend, match: {{tools: [files.pay]}}, unit: usd, levels: {{agent: "{agent}", team: "{team}"}}, over: day, estimate: "0.50"}}
  - {{id: up, match: {{tools: [files.buy]}}, unit: usd, limit: "{up}", per: [session], over: execution, estimate: "0.50", settle: upward, near: {{at: 50%}}}}
  - {{id: lent, match: {{tools: [files.buy]}}, unit: usd, limit: "{lent}", per: [agent], over: day, estimate: "0.50", release: {LENT}ms}}
  - {{id: ask, match: {{tools: [files.ask]}}, unit: calls, limit: "{ASK}", per: [agent], over: day, exceed: require_approval, approval: {{reviewers: ["role:ops"]}}}}
  - {{id: near, match: {{tools: [files.near]}}, unit: calls, limit: "100", per: [team], over: hour, near: {{at: {NEAR}%, then: require_approval, approval: {{reviewers: ["role:ops"]}}}}}}
{roll}throttles:
  - {{id: {slide}, match: {{tools: [files.get]}}, at_most: 4, within: {SLIDE}ms, per: [chain]}}
  - {{id: bucket, match: {{tools: [files.pay]}}, rate: 2/1m, burst: 3, per: [agent]}}
breakers:
  - {{id: often, per: [agent], trip: {{allowed: {often}, within: {TRIP}ms}}, half_open: {{after: 2m}}}}
  - {{id: denied, per: [team], trip: {{denials: 4, codes: [DENIED_BY_RULE], within: {TRIP}ms}}, half_open: {{after: 2m}}}}
  - {{id: failing, match: {{tools: [files.get]}}, per: [tool], trip: {{failures: 50%, at_least: 3, within: {TRIP}ms}}, half_open: {{after: 1m, probes: 2}}}}
"#
        )
    }
}

/// Whether what `limit` counted at `at` still counts.
pub(crate) fn counts(limit: &str, at: i64, now: i64) -> bool {
    let same = |length: i64| at.div_euclid(length) == now.div_euclid(length);
    match limit {
        "spend/agent" | "spend/team" | "lent" | "ask" => same(DAY),
        "near" => same(HOUR),
        "roll" => at + ROLL > now,
        "slide" | "other" => at + SLIDE > now,
        _ => true,
    }
}

/// Whether outcomes settle it: those limits sum what actions cost.
pub(crate) fn is_money(limit: &str) -> bool {
    matches!(limit, "spend/agent" | "spend/team" | "roll" | "up" | "lent")
}

/// Whether it is a budget: nothing that never began counts, and what runs must stop when it is exceeded.
pub(crate) fn is_budget(limit: &str) -> bool {
    is_money(limit) || matches!(limit, "ask" | "near")
}
