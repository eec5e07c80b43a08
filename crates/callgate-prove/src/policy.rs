//! The policy the suite plays under. Everything it permits is harmless; what counts is that nothing else runs.

use std::collections::BTreeMap;

use callgate_policy::Bundle;

const RULES: &str = r#"version: v1
rules:
  - {id: pay, match: {tools: [vault.pay]}, decision: allow}
  - {id: last, match: {tools: [vault.last]}, decision: allow}
  - {id: never, match: {tools: [vault.wipe]}, decision: deny, reason: The vault is never wiped}
  - id: sign
    match: {tools: [vault.sign]}
    decision: require_approval
    reason: A person must agree
    approval: {reviewers: ["role:finance"], quorum: 1, expires: 30m}
"#;

/// Who may go on for a while without the gate: one agent, with one tool. A gate on a busy machine is not away yet, so
/// that a point waits for it as long as one without a lease.
const SETTINGS: &str = r#"version: v1
tiers: {high: [prover], low: [helper]}
fail_open: {tiers: [low], max_actions: 6, window: 10m, tools: [vault.pay], lease: 1h, deadline: 5s}
"#;

const TOOLS: &str = r#"{"tools": [
  {"name": "pay", "inputSchema": {"type": "object", "properties": {"n": {"type": "string"}, "amount": {"type": "string"}}}},
  {"name": "wipe", "inputSchema": {"type": "object", "properties": {"n": {"type": "string"}, "amount": {"type": "string"}}}},
  {"name": "sign", "inputSchema": {"type": "object", "properties": {"n": {"type": "string"}, "amount": {"type": "string"}}}},
  {"name": "last", "inputSchema": {"type": "object", "properties": {"n": {"type": "string"}, "amount": {"type": "string"}}}}
]}
"#;

const COUNT: &str = r#"@id("once-a-day")
@reason("Once a day")
forbid (principal, action == Action::"vault.last", resource)
when temporal { count_within(24h, Action::"vault.last"::allowed{}) > 1 };
"#;

/// What is there once, by each kind of limit, and a budget of many units.
const LIMITED: &str = r#"version: v1
rules:
  - {id: pay, match: {tools: [vault.pay, vault.spend, vault.save, vault.burst, vault.trip]}, decision: allow}
  - {id: never, match: {tools: [vault.wipe]}, decision: deny, reason: The vault is never wiped}
"#;

const LIMITS: &str = r#"version: v1
budgets:
  - {id: spend, match: {tools: [vault.spend]}, unit: usd, limit: "1.50", per: [agent], over: day, amount: dec(args.amount)}
  - {id: save, match: {tools: [vault.save]}, unit: usd, limit: "25.00", per: [agent], over: 24h, amount: dec(args.amount)}
throttles:
  - {id: burst, match: {tools: [vault.burst]}, rate: 1/1h, per: [agent]}
breakers:
  - {id: trip, match: {tools: [vault.trip]}, per: [agent], trip: {allowed: 1, within: 1h}}
"#;

fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    Bundle::new(files, BTreeMap::new())
}

/// The policy in force.
pub(crate) fn sound() -> Bundle {
    bundle(&[("callgate.yaml", SETTINGS), ("rules/vault.yaml", RULES)])
}

/// The same with leases that are soon over.
pub(crate) fn briefly() -> Bundle {
    bundle(&[("callgate.yaml", &SETTINGS.replace("lease: 1h", "lease: 6s")), ("rules/vault.yaml", RULES)])
}

/// The same, and what may run once a day.
pub(crate) fn counting() -> Bundle {
    bundle(&[
        ("callgate.yaml", SETTINGS),
        ("rules/vault.yaml", RULES),
        ("tools/vault.json", TOOLS),
        ("policies/count.dogwood", COUNT),
    ])
}

/// The same with budgets, a throttle and a breaker.
pub(crate) fn limited() -> Bundle {
    bundle(&[("callgate.yaml", SETTINGS), ("rules/vault.yaml", LIMITED), ("limits/vault.yaml", LIMITS)])
}

/// Policies that are none, each of which would permit what must never run if any part of it were taken.
pub(crate) fn broken() -> Vec<Bundle> {
    const OPEN: &str =
        "version: v1\nrules:\n  - {id: open, match: {tools: [\"vault.*\"]}, decision: allow}\n";
    vec![
        // A sound file that permits everything, beside one that is cut off.
        bundle(&[
            ("rules/open.yaml", OPEN),
            ("rules/vault.yaml", "version: v1\nrules:\n  - {id: never, mat"),
        ]),
        // The same beside a rule with a condition that does not compile.
        bundle(&[(
            "rules/open.yaml",
            &format!(
                "{OPEN}  - {{id: odd, match: {{tools: [vault.pay]}}, when: \"args.\", decision: deny}}\n"
            ),
        )]),
        // An unknown key, which might have been a typing error in a restriction.
        bundle(&[("rules/open.yaml", &format!("{OPEN}    unless: {{agents: [prover]}}\n"))]),
        // Nothing at all.
        bundle(&[]),
    ]
}
