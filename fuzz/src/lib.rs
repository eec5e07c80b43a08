//! What the targets share: a bundle around the text under test, and requests that reach into it.

use std::collections::BTreeMap;

use callgate_core::decide::{Ask, decide};
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::state::State;
use callgate_policy::Bundle;

/// A catalogue with an argument of every type.
const TOOLS: &str = r#"{"tools": [
  {"name": "refund", "annotations": {"readOnlyHint": false},
   "inputSchema": {"type": "object", "required": ["amount"], "properties": {
     "amount": {"type": "number"}, "count": {"type": "integer"}, "note": {"type": "string"}, "urgent": {"type": "boolean"},
     "to": {"type": "array", "items": {"type": "string"}},
     "card": {"type": "object", "required": ["holder"], "properties": {"holder": {"type": "string"}}}}}},
  {"name": "read", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}}]}"#;

/// Requests with every kind of argument, right and wrong.
const REQUESTS: [&str; 4] = [
    r#"{"agent":{"id":"bot","team":"support","chain":["planner"],"on_behalf_of":"user:ana"},"session":{"id":"s"},"tool":{"server":"shop","name":"refund"},"args":{"amount":80.5,"count":3,"note":"a b; rm -rf /","urgent":true,"to":["a@example.com"],"card":{"holder":"Ana"}},"risk_tags":["prod"],"labels":{"k":"v"},"environment":"prod","cost":{"usd":"0.02"},"confidence":0.5,"pep":{"id":"x","enforces":["max_runtime_ms"]}}"#,
    r#"{"agent":{"id":"bot"},"tool":{"server":"shop","name":"refund"},"args":{"amount":"80","count":[],"note":7,"to":"x","card":null}}"#,
    r#"{"agent":{"id":"b\u043et"},"tool":{"server":"shop","name":"re\uff46und"},"args":{"amount":9007199254740991,"note":"\u202e../../etc"}}"#,
    r#"{"agent":{"id":"bot"},"topic":"job.shop.refund"}"#,
];

/// Checks a bundle of `text` at `path`; what is accepted decides every request, twice, to the same end.
pub fn bundle(path: &str, text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let files = [("tools/shop.json", TOOLS), (path, text)];
    let files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let bundle = Bundle::new(files, BTreeMap::new());
    let Ok(snapshot) = callgate_policy::compile(&bundle) else { return };
    for text in REQUESTS {
        let Ok(request) = Request::parse(text.as_bytes(), &Limits::REQUEST) else { continue };
        let facts = facts(&request);
        let ask = || Ask::Request(Box::new(request.clone()));
        let (once, again) = (decide(&snapshot, ask(), &facts), decide(&snapshot, ask(), &facts));
        assert_eq!(once.settled, again.settled, "deciding again came to something else");
        assert_eq!(once.trace, again.trace);
    }
}

fn facts(request: &Request) -> Facts {
    State::default().facts(Some(request), Credential::Local, 1_772_352_000_000)
}
