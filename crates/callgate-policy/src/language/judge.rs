//! `judge:` in a rule and in `callgate.yaml`.

use callgate_core::decimal::Decimal;
use serde_json::{Value as Json, json};

use crate::codes::Code;
use crate::decode::{Duration, NameText, OneOrList, Shape, Sink, Whole, Word};
use crate::syntax::Node;

/// The longest policy, in characters.
const MAX_POLICY: usize = 4000;
/// The longest time an answer is waited for, in milliseconds: the gate must still have time to decide
/// again and to keep evidence.
const MAX_WAIT_MS: u64 = 1500;
/// The longest path, in bytes.
const MAX_PATH: usize = 256;

record! {
    /// The model that rules with `judge` ask. Where it answers is for the operator to say.
    struct JudgeSettingsText {
        /// The model's name at its endpoint.
        required model: NameText,
        /// How long an answer is waited for; 800ms unless written, at most 1500ms.
        optional timeout: WaitText,
        /// The longest answer, in tokens; 128 unless written.
        optional max_tokens: Whole<32, 4096>,
    }
}

record! {
    /// A policy in plain language, which a model judges; it can only make a decision stricter.
    struct JudgeText {
        /// What must or must not be, in plain language.
        required policy: PolicyText,
        /// What the judge is shown, such as `args.body`; all arguments unless written.
        optional sees: OneOrList<PathText>,
        /// How sure the judge must be, from 0 to 1; 0.8 unless written.
        optional min_confidence: ShareText,
        /// What the rule answers when the judge does not, or is not sure; its decision unless written.
        optional on_failure: Word,
    }
}

/// A policy in plain language.
pub(crate) struct PolicyText;
/// A path into the request; whether it leads anywhere is checked later.
pub(crate) struct PathText;
/// A number from 0 to 1.
pub(crate) struct ShareText;
/// How long to wait for an answer.
pub(crate) struct WaitText;

fn text<'n>(node: &'n Node, expected: &str, sink: &mut Sink<'_>) -> Option<&'n str> {
    match node.scalar() {
        Some(text) if text.is_text() => Some(&text.text),
        _ => sink.wrong_type(node, expected),
    }
}

impl Shape for PolicyText {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        let text = text(node, "a policy in plain language", sink)?.trim();
        if text.is_empty() || text.chars().count() > MAX_POLICY {
            let message = format!("a policy has 1 to {MAX_POLICY} characters");
            sink.add(Code::OutOfRange, node.span, message).help("say in a few sentences what must not be");
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": MAX_POLICY})
    }
}

impl Shape for PathText {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        let text = text(node, "a path, such as `args.body`", sink)?;
        if text.len() > MAX_PATH {
            sink.add(Code::BadSight, node.span, format!("a path has at most {MAX_PATH} bytes"));
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": MAX_PATH})
    }
}

impl Shape for WaitText {
    type Out = u64;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<u64> {
        let wait = Duration::decode(node, sink)?;
        if wait <= MAX_WAIT_MS {
            return Some(wait);
        }
        let message = format!("a judge is waited for at most {MAX_WAIT_MS} ms");
        sink.add(Code::OutOfRange, node.span, message)
            .help("the gate decides within 2 s, and needs the rest to keep evidence");
        None
    }

    fn schema() -> Json {
        Duration::schema()
    }
}

impl Shape for ShareText {
    type Out = Decimal;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Decimal> {
        let number = node.scalar().and_then(|text| text.text.parse::<Decimal>().ok());
        let Some(number) = number else {
            return sink.wrong_type(node, "a number from 0 to 1, such as `0.8`");
        };
        if (Decimal::from(0)..=Decimal::from(1)).contains(&number) {
            return Some(number);
        }
        sink.add(Code::OutOfRange, node.span, format!("`{number}` is not from 0 to 1"))
            .help("write a share, such as `0.8`");
        None
    }

    fn schema() -> Json {
        json!({"oneOf": [
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": "^[0-9]+([.][0-9]+)?$"},
        ]})
    }
}
