//! Cedar policies of a bundle: what they answer, what `check` says of them, what hostile input does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share fail like tests")]
#![expect(dead_code, reason = "the functions for bundles are shared with other tests, which use more")]

mod answers;
mod checks;
mod hostile;
#[path = "../bundle/support.rs"]
mod support;

use callgate_core::snapshot::Snapshot;
use callgate_policy::Bundle;

/// Two servers: a shop that takes amounts, and a database.
const SHOP: &str = r#"{"tools": [
  {"name": "refund", "inputSchema": {"type": "object", "required": ["amount", "customer"], "properties": {
     "amount": {"type": "number"}, "customer": {"type": "string"}, "units": {"type": "integer"},
     "rush": {"type": "boolean"}, "items": {"type": "array", "items": {"type": "string"}},
     "to": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
     "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}},
   "annotations": {"readOnlyHint": false}},
  {"name": "look", "inputSchema": {"type": "object", "properties": {"customer": {"type": "string"}}},
   "annotations": {"readOnlyHint": true}}]}"#;

const DB: &str = r#"{"tools": [{"name": "query", "inputSchema": {"type": "object", "required": ["sql"], "properties": {
  "sql": {"type": "string"}, "limit": {"type": "integer"}}}}]}"#;

fn with_tools(policies: &str) -> Bundle {
    support::bundle(&[("tools/shop.json", SHOP), ("tools/db.json", DB), ("policies/p.cedar", policies)])
}

fn policies(text: &str) -> Snapshot {
    support::snapshot(&with_tools(text))
}

/// The answer to an agent `bot` of the team `support`, with the rest of the request as given.
fn asked(snapshot: &Snapshot, rest: &str) -> String {
    let pep = r#""pep":{"id":"p","enforces":["max_runtime_ms","redact"]}"#;
    let answer =
        support::answer(snapshot, &format!(r#"{{"agent":{{"id":"bot","team":"support"}},{pep},{rest}}}"#));
    // Which of several policies is named beside an error is not what these tests are about.
    match answer.split_once(" POLICY_ERROR") {
        Some((decision, _)) => format!("{decision} POLICY_ERROR"),
        None => answer,
    }
}

fn refund(amount: &str, rest: &str) -> String {
    format!(
        r#""tool":{{"server":"shop","name":"refund"}},"args":{{"amount":{amount},"customer":"c-1"}}{rest}"#
    )
}
