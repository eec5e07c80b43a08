//! Trees to types. Every shape of the language is declared once: it decodes, reporting every
//! problem it meets, and it writes its own JSON Schema.

mod fields;
#[macro_use]
mod record;
mod shapes;

pub(crate) use fields::Fields;
pub(crate) use record::{key, with};
pub(crate) use shapes::{
    Choice, Condition, Duration, Flag, List, Meant, MeantText, ModeWord, NameText, OneOrList, Patterns,
    Percent, Prose, Switch, Version, Whole, Word, Words, duration_ms, unknown_word,
};

use serde_json::Value as Json;

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Problems};
use crate::syntax::{Node, SourceFile, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Where a decoder reports to: one file's problems.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) file: &'a SourceFile<'a>,
    pub(crate) problems: &'a mut Problems,
}

impl Sink<'_> {
    pub(crate) fn add(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.problems.add(code, self.file, span, message)
    }

    /// Reports a value of another type.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", node.describe());
        let text = node.scalar().map(|text| text.text.clone());
        let found = self.add(Code::WrongType, node.span, message);
        match text {
            Some(text) if text.is_empty() => found.help("write a value, or leave the key out"),
            Some(text)
                if expected.contains("`true`") && matches!(text.as_str(), "yes" | "on" | "no" | "off") =>
            {
                found.help("YAML 1.2 has only `true` and `false`");
            }
            Some(text) if expected.contains("text") || expected.contains("name") => {
                found.help(format!("write it in quotes: \"{}\"", text.escape_debug()));
            }
            _ => {}
        }
        None
    }
}

/// A part of the language: how it is read, and its JSON Schema (draft 2020-12).
pub(crate) trait Shape {
    /// What it is read into.
    type Out;

    /// Reads `node`. Reports every problem; `None` only after a report.
    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out>;

    /// The schema of what [`Self::decode`] accepts.
    fn schema() -> Json;
}
