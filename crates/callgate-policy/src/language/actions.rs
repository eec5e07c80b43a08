//! The action map of a contract: a mapping, or a text with lines such as
//! `"intake": ["CHECK_STATE", "READ_INPUT"]` and `//` comments.

use callgate_core::json::{self, Limits};
use callgate_core::name::Name;
use callgate_core::value::Value;
use serde_json::{Value as Json, json};

use super::rules::Names;
use crate::codes::Code;
use crate::decode::{Shape, Sink, Spanned};
use crate::syntax::{Kind, Node, Span};

/// The action map of a contract.
pub(crate) struct ActionsText;

/// Function and the action types it permits.
pub(crate) type ActionEntry = (Spanned<Name>, Vec<Spanned<Name>>);

impl Shape for ActionsText {
    type Out = Vec<ActionEntry>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let entries = match &node.kind {
            Kind::Map(_) => mapping(node, sink),
            Kind::Scalar(text) if text.is_text() => lines(&text.text, node.span, sink)?,
            _ => return sink.wrong_type(node, "a mapping of functions to action types"),
        };
        if entries.is_empty() {
            sink.add(Code::Empty, node.span, "the action map is empty")
                .help("add a function, or leave the key out to enforce the order alone");
        }
        Some(entries)
    }

    fn schema() -> Json {
        json!({"oneOf": [
            {"type": "object", "additionalProperties": Names::schema(), "minProperties": 1},
            {"type": "string", "minLength": 1},
        ]})
    }
}

fn mapping(node: &Node, sink: &mut Sink<'_>) -> Vec<ActionEntry> {
    let Kind::Map(entries) = &node.kind else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in entries {
        let actions = Names::decode(value, sink);
        match Name::new(&key.text) {
            Ok(value) => found.extend(actions.map(|actions| (Spanned { value, span: key.span }, actions))),
            Err(error) => drop(sink.add(Code::BadName, key.span, error.to_string())),
        }
    }
    found
}

fn lines(text: &str, span: Span, sink: &mut Sink<'_>) -> Option<Vec<ActionEntry>> {
    let mut found: Vec<ActionEntry> = Vec::new();
    let mut sound = true;
    let code = |line: &&str| !line.is_empty() && !line.starts_with("//") && !line.starts_with('#');
    for line in text.lines().map(str::trim).filter(code) {
        let span = place(line, span, sink);
        let Some((function, actions)) = entry(line) else {
            sound = false;
            let shown: String = line.escape_debug().take(80).collect();
            sink.add(Code::BadActions, span, format!("`{shown}` is not a line of an action map"))
                .help("write `\"function\": [\"ACTION\", \"ACTION\"]`, one function per line");
            continue;
        };
        if found.iter().any(|(known, _)| known.value == function) {
            sound = false;
            sink.add(Code::BadActions, span, format!("the function `{function}` stands twice"))
                .help("write all its action types on one line");
        }
        let spanned = |value| Spanned { value, span };
        found.push((spanned(function), actions.into_iter().map(spanned).collect()));
    }
    sound.then_some(found)
}

/// Where a line of the text stands; the whole text where it is written with escapes.
fn place(line: &str, span: Span, sink: &Sink<'_>) -> Span {
    sink.file.slice(span).rfind(line).map_or(span, |at| {
        let start = span.start.saturating_add(at);
        Span::new(start, start.saturating_add(line.len()))
    })
}

/// One line, which is a JSON member.
fn entry(line: &str) -> Option<(Name, Vec<Name>)> {
    let member = format!("{{{}}}", line.strip_suffix(',').unwrap_or(line));
    let Ok(Value::Map(map)) = json::parse(member.as_bytes(), &Limits::REQUEST) else { return None };
    let mut members = map.iter();
    let (function, Value::List(items)) = members.next()? else { return None };
    let none_left = members.next().is_none();
    let actions: Option<Vec<Name>> =
        items.iter().map(|item| item.as_str().and_then(|text| Name::new(text).ok())).collect();
    Some((Name::new(function).ok()?, actions?)).filter(|_| none_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_member() {
        let (function, actions) = entry(r#""intake": ["CHECK_STATE", "READ_INPUT"],"#).unwrap();
        assert_eq!(function.as_str(), "intake");
        assert_eq!(actions.len(), 2);
        for line in ["intake: [A]", r#""a": "B""#, r#""a": [1]"#, r#""a": [], "b": []"#, "}", r#""": []"#] {
            assert!(entry(line).is_none(), "{line}");
        }
    }
}
