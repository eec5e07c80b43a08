//! The tree: scalars, lists and mappings with their spans.

use callgate_core::json::{self, Limits};
use callgate_core::value::{Map, Value};

use super::Span;

/// One value of a file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Text),
    List(Vec<Node>),
    /// Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A scalar as written.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Without quotes and not a block: only then it may be a number, a boolean or null.
    pub(crate) plain: bool,
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Text {
    /// YAML 1.2 core schema: `null`, or nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// YAML 1.2 core schema: `true` and `false` only; `yes` and `on` are text.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// A decimal whole number without underscores.
    pub(crate) fn integer(&self) -> Option<i64> {
        let digits = self.text.strip_prefix(['+', '-']).unwrap_or(&self.text);
        let whole = self.plain && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole { self.text.parse().ok() } else { None }
    }

    /// Whether some YAML 1.2 reader may take it for something else than text.
    pub(crate) fn is_text(&self) -> bool {
        !self.plain || !(self.is_null() || self.boolean().is_some() || self.looks_numeric())
    }

    /// What the core schema (YAML 1.2.2 section 10.3.2) resolves to a number.
    fn looks_numeric(&self) -> bool {
        let text = self.text.as_str();
        let body = text.strip_prefix(['+', '-']).unwrap_or(text);
        let based = |prefix, radix| {
            text.strip_prefix(prefix)
                .is_some_and(|rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
        };
        matches!(body, ".inf" | ".Inf" | ".INF")
            || matches!(text, ".nan" | ".NaN" | ".NAN")
            || based("0x", 16)
            || based("0o", 8)
            || (body.starts_with(|c: char| c.is_ascii_digit() || c == '.') && body.parse::<f64>().is_ok())
    }
}

impl Node {
    /// What a person calls it.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Scalar(text) if text.is_null() => "nothing",
            Kind::Scalar(text) if text.boolean().is_some() => "a boolean",
            Kind::Scalar(text) if !text.is_text() => "a number",
            Kind::Scalar(_) => "text",
        }
    }

    /// The scalar, if this is one.
    pub(crate) const fn scalar(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key`, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The elements, none if this is no list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The same as a JSON value. A number that a double cannot carry becomes its text.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::List(items) => Value::List(items.iter().map(Self::to_value).collect()),
            Kind::Map(entries) => {
                let mut map = Map::default();
                for (key, node) in entries {
                    map.insert(key.text.clone(), node.to_value());
                }
                Value::Map(map)
            }
            Kind::Scalar(text) if text.is_null() => Value::Null,
            Kind::Scalar(text) => match text.boolean() {
                Some(flag) => Value::Bool(flag),
                None if text.is_text() => Value::Str(text.text.clone()),
                None => json::parse(text.text.as_bytes(), &Limits::REQUEST)
                    .unwrap_or_else(|_| Value::Str(text.text.clone())),
            },
        }
    }
}
