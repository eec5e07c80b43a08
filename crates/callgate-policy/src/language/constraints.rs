//! `constraints:` wherever they stand.

use callgate_core::constraint::{Constraints, Kind as Constraint, Limit, Shape as LimitShape};
use callgate_core::fields::nearest;
use callgate_core::value::Value;
use serde_json::{Value as Json, json};

use crate::codes::Code;
use crate::decode::{Shape, Sink};
use crate::syntax::{Kind, Node, Span};

/// The word that takes seconds where the canonical one takes milliseconds.
const MAX_RUNTIME_SEC: &str = "max_runtime_sec";

/// Constraints by their words.
pub(crate) struct ConstraintsText;

impl Shape for ConstraintsText {
    type Out = Constraints;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Constraints> {
        let Kind::Map(entries) = &node.kind else {
            return sink.wrong_type(node, "a mapping of constraints");
        };
        if entries.is_empty() {
            sink.add(Code::Empty, node.span, "the mapping is empty")
                .help("add a constraint, or leave the key out");
            return None;
        }
        let mut constraints = Constraints::default();
        for (key, value) in entries {
            let Some(kind) = kind_of(&key.text, key.span, sink) else { continue };
            if constraints.get(kind).is_some() {
                sink.add(Code::BadConstraint, key.span, format!("`{kind}` is limited twice here"))
                    .help("keep one of the two");
            } else if let Some(limit) = limit(kind, key.text == MAX_RUNTIME_SEC, value, sink) {
                constraints.tighten(kind, limit);
            }
        }
        Some(constraints)
    }

    fn schema() -> Json {
        let mut properties = serde_json::Map::new();
        for kind in Constraint::ALL {
            properties.insert(kind.as_str().to_owned(), schema_of(kind));
        }
        properties.insert(MAX_RUNTIME_SEC.to_owned(), schema_of(Constraint::MaxRuntimeMs));
        json!({
            "type": "object", "properties": properties, "minProperties": 1, "additionalProperties": false,
        })
    }
}

fn schema_of(kind: Constraint) -> Json {
    match kind.shape() {
        LimitShape::Least => json!({"type": "integer", "minimum": 0}),
        LimitShape::Switch => json!({"const": true}),
        LimitShape::Allowlist | LimitShape::Denylist => {
            json!({"type": "array", "items": {"type": "string", "minLength": 1}})
        }
    }
}

fn kind_of(word: &str, span: Span, sink: &mut Sink<'_>) -> Option<Constraint> {
    let known = || Constraint::ALL.iter().map(|kind| kind.as_str()).chain([MAX_RUNTIME_SEC]);
    if word == MAX_RUNTIME_SEC {
        return Some(Constraint::MaxRuntimeMs);
    }
    let kind = Constraint::from_word(word);
    if kind.is_none() {
        let shown: String = word.escape_debug().take(64).collect();
        let words = || known().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let help = nearest(word, known()).map_or_else(
            || format!("the constraints are {}", words()),
            |near| format!("did you mean `{near}`?"),
        );
        sink.add(Code::BadConstraint, span, format!("`{shown}` is not a constraint")).help(help);
    }
    kind
}

fn limit(kind: Constraint, seconds: bool, node: &Node, sink: &mut Sink<'_>) -> Option<Limit> {
    let mut value = node.to_value();
    if let Value::Int(number) = value
        && seconds
    {
        value = number.checked_mul(1000).map_or(Value::Null, Value::Int);
    }
    match Limit::from_value(kind, &value) {
        Ok(Limit::Switch(false)) => {
            sink.add(Code::BadConstraint, node.span, format!("`{kind}: false` constrains nothing"))
                .help("write `true`, or leave the key out");
            None
        }
        Ok(limit) => Some(limit),
        Err(error) => {
            sink.add(Code::BadConstraint, node.span, error.to_string());
            None
        }
    }
}
