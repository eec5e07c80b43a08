//! Results of the server on their way to the client: read no further than needed, changed only where
//! this file says so.
//!
//! A decided call's result gets its receipt's index in `_meta`; whatever the server put under this
//! wrapper's prefix is dropped, so that it cannot speak for the gate. A list of tools loses those
//! that the policy denies with any arguments. That is for the model's convenience only: what is not
//! listed is decided all the same when it is called.

use std::collections::BTreeSet;

use callgate_core::value::write_string;
use callgate_gate::{Ground, OutcomeStatus};
use serde_json::value::RawValue;

use crate::answer::META;
use crate::message::{Members, string};

/// What a decided call's response says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// How it ended.
    pub(crate) status: OutcomeStatus,
    /// For the outcome's receipt; never the server's words.
    pub(crate) detail: Option<&'static str>,
}

impl Told {
    const fn new(status: OutcomeStatus, detail: Option<&'static str>) -> Self {
        Self { status, detail }
    }

    /// A JSON-RPC error.
    pub(crate) const ERROR: Self =
        Self::new(OutcomeStatus::Failed, Some("the server answered with an error"));
    /// A result that is no object, or that two readers could take differently.
    pub(crate) const UNREADABLE: Self =
        Self::new(OutcomeStatus::Unknown, Some("the server's result could not be read"));

    /// Reads a result.
    pub(crate) fn of(result: &Members<'_>) -> Self {
        let kind = result.get("resultType").and_then(string);
        if result.get("isError").is_some_and(|flag| flag.get() == "true") {
            return Self::new(OutcomeStatus::Failed, Some("the tool reported an error"));
        }
        match kind.as_deref() {
            Some("input_required") => Self::new(
                OutcomeStatus::Unknown,
                Some("the server asked for more input; the next call is decided again"),
            ),
            Some("task") => Self::new(OutcomeStatus::Unknown, Some("the call goes on as a task")),
            _ if result.get("task").is_some() => {
                Self::new(OutcomeStatus::Unknown, Some("the call goes on as a task"))
            }
            _ => Self::new(OutcomeStatus::Succeeded, None),
        }
    }
}

/// The result with what it ran on: the receipt's index, or the word that nobody decided it.
pub(crate) fn with_ground(result: &Members<'_>, ground: Ground) -> String {
    let mut out = Object::default();
    for (key, value) in result.iter().filter(|(key, _)| *key != "_meta") {
        out.put(key, value.get());
    }
    let mut meta = Object::default();
    let theirs = result.get("_meta").and_then(|raw| Members::read(raw.get()));
    for (key, value) in theirs.iter().flat_map(Members::iter) {
        if !key.starts_with(META) {
            meta.put(key, value.get());
        }
    }
    match ground {
        Ground::Receipt(receipt) => meta.put(&format!("{META}receipt_index"), &receipt.to_string()),
        Ground::Unchecked(record) => {
            meta.put(&format!("{META}decision"), r#""UNCHECKED""#);
            meta.put(&format!("{META}journal_record"), &record.to_string());
        }
    }
    out.put("_meta", &meta.end());
    out.end()
}

/// The list without what `hidden` says, marked as this client's own on revisions that have a mark.
/// `None` when it cannot be read.
pub(crate) fn filter_tools(
    result: &Members<'_>,
    modern: bool,
    hidden: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let tools = tools(result)?;
    let shown: Vec<&str> =
        tools.iter().filter(|tool| is_shown(tool, hidden)).map(|tool| tool.get()).collect();
    let private = modern || result.get("resultType").is_some() || result.get("cacheScope").is_some();
    let mut out = Object::default();
    for (key, value) in result.iter() {
        match key {
            "tools" => out.put(key, &format!("[{}]", shown.join(","))),
            "cacheScope" => {}
            _ => out.put(key, value.get()),
        }
    }
    if private {
        out.put("cacheScope", "\"private\"");
    }
    Some(out.end())
}

/// The names of the tools in a list, each once. `None` when it cannot be read.
pub(crate) fn tool_names(result: &Members<'_>) -> Option<BTreeSet<String>> {
    Some(tools(result)?.into_iter().filter_map(tool_name).collect())
}

fn tools<'a>(result: &Members<'a>) -> Option<Vec<&'a RawValue>> {
    match result.get("tools") {
        Some(tools) => serde_json::from_str(tools.get()).ok(),
        None => Some(Vec::new()),
    }
}

fn tool_name(tool: &RawValue) -> Option<String> {
    Members::read(tool.get()).and_then(|members| members.get("name").and_then(string))
}

/// A tool without a name that can be read cannot be called, so it is not shown.
fn is_shown(tool: &RawValue, hidden: &dyn Fn(&str) -> bool) -> bool {
    tool_name(tool).is_some_and(|name| !hidden(&name))
}

/// A JSON object being written from values that are JSON already.
#[derive(Default)]
struct Object(String);

impl Object {
    fn put(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        write_string(key, &mut self.0);
        self.0.push(':');
        self.0.push_str(value);
    }

    fn end(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn members(text: &str) -> Members<'_> {
        Members::read(text).unwrap()
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn results_say_how_the_call_ended() {
        let status = |text: &str| Told::of(&members(text)).status;
        assert_eq!(status(r#"{"content":[]}"#), OutcomeStatus::Succeeded);
        assert_eq!(status(r#"{"content":[],"isError":true}"#), OutcomeStatus::Failed);
        assert_eq!(status(r#"{"content":[],"isError":false}"#), OutcomeStatus::Succeeded);
        assert_eq!(status(r#"{"resultType":"input_required"}"#), OutcomeStatus::Unknown);
        assert_eq!(status(r#"{"resultType":"task","taskId":"1"}"#), OutcomeStatus::Unknown);
        assert_eq!(status(r#"{"task":{"taskId":"1"}}"#), OutcomeStatus::Unknown);
    }

    #[test]
    fn a_server_cannot_speak_for_the_gate() {
        let text = r#"{"content":[],"_meta":{"callgate/receipt_index":99,"callgate/decision":"ALLOW","x/y":12345678901234567890}}"#;
        let found = with_ground(&members(text), Ground::Receipt(7));
        assert!(found.contains("12345678901234567890"));
        assert_eq!(value(&found)["_meta"]["callgate/receipt_index"], 7);
        assert!(value(&found)["_meta"].get("callgate/decision").is_none());
        let of = |ground| value(&with_ground(&members("{}"), ground));
        assert_eq!(of(Ground::Receipt(7)), json!({"_meta": {"callgate/receipt_index": 7}}));
        let unchecked = json!({"_meta": {"callgate/decision": "UNCHECKED", "callgate/journal_record": 3}});
        assert_eq!(of(Ground::Unchecked(3)), unchecked);
    }

    #[test]
    fn lists_lose_what_is_hidden_and_nothing_else() {
        let text = r#"{"tools":[{"name":"a","x":1},{"name":"b"},{"name":"c","name":"b"},{"x":1}],"nextCursor":"n","cacheScope":"public","ttlMs":5}"#;
        let hidden = |name: &str| name == "b";
        let found = value(&filter_tools(&members(text), false, &hidden).unwrap());
        assert_eq!(found["tools"], json!([{"name": "a", "x": 1}]));
        assert_eq!(
            (&found["nextCursor"], &found["cacheScope"], &found["ttlMs"]),
            (&json!("n"), &json!("private"), &json!(5))
        );
        let legacy = value(&filter_tools(&members(r#"{"tools":[]}"#), false, &hidden).unwrap());
        assert_eq!(legacy, json!({"tools": []}));
        assert!(filter_tools(&members(r#"{"tools":{}}"#), false, &hidden).is_none());
    }
}
