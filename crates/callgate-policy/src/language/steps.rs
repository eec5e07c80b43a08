//! The step order of a contract: a list, a comma-separated text, the line of an environment file,
//! or the name of an environment variable.

use callgate_core::name::Name;
use serde_json::{Value as Json, json};

use crate::codes::Code;
use crate::decode::{List, NameText, Shape, Sink, Spanned};
use crate::syntax::{Kind, Node};

/// The step order of a contract.
pub(crate) struct StepsText;

/// Where the order is written.
#[derive(Debug, Clone)]
pub(crate) enum Steps {
    /// Here.
    Here(Vec<Spanned<Name>>),
    /// In an environment variable.
    Variable(Spanned<String>),
}

record! {
    /// An environment variable that holds the order.
    struct StepsVariable {
        /// Its name.
        required env: Variable,
    }
}

/// The name of an environment variable.
pub(crate) struct Variable;

impl Shape for Variable {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        match node.scalar() {
            Some(text) if is_variable(&text.text) => Some(text.text.clone()),
            _ => sink.wrong_type(node, "the name of an environment variable"),
        }
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 256})
    }
}

impl Shape for StepsText {
    type Out = Steps;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Steps> {
        match &node.kind {
            Kind::List(_) => List::<NameText>::decode(node, sink).map(Steps::Here),
            Kind::Map(_) => StepsVariable::decode(node, sink)?.env.map(Steps::Variable),
            Kind::Scalar(text) if text.is_text() => match step_order(&text.text) {
                Ok(steps) => {
                    let spanned = steps.into_iter().map(|value| Spanned { value, span: node.span });
                    Some(Steps::Here(spanned.collect()))
                }
                Err(problem) => {
                    sink.add(Code::BadSteps, node.span, problem)
                        .help("separate the steps by commas, such as `intake,execution,settle`");
                    None
                }
            },
            Kind::Scalar(_) => sink.wrong_type(node, "the steps as a list or a comma-separated text"),
        }
    }

    fn schema() -> Json {
        json!({"oneOf": [
            List::<NameText>::schema(),
            {"type": "string", "minLength": 1},
            StepsVariable::schema(),
        ]})
    }
}

/// Whether `text` can be the name of an environment variable (POSIX.1-2017, chapter 8).
pub(crate) fn is_variable(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.len() <= 256 && text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Reads `a,b,c`, also as the line `NAME="a,b,c"` of an environment file.
pub(crate) fn step_order(text: &str) -> Result<Vec<Name>, String> {
    let text = text.trim();
    let text = match text.split_once('=') {
        Some((name, value)) if is_variable(name.trim()) => value.trim(),
        _ => text,
    };
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let text = quoted('"').or_else(|| quoted('\'')).unwrap_or(text);
    text.split(',')
        .enumerate()
        .map(|(at, step)| {
            Name::new(step.trim()).map_err(|error| format!("step {}: {error}", at.saturating_add(1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        step_order(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_order_is_read_as_people_write_it() {
        for text in ["a,b,c", " a , b,c\n", "ORDER=a,b,c", "ORDER=\"a,b,c\"", "'a,b,c'", "ORDER = 'a, b, c'"]
        {
            assert_eq!(words(text), ["a", "b", "c"], "{text}");
        }
        for text in ["", "a,,b", ",", "a,b,", "a,\u{200b}b"] {
            assert!(step_order(text).is_err(), "{text}");
        }
    }
}
