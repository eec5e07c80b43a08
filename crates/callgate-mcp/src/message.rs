//! JSON-RPC 2.0 messages, read once and kept as they were written.
//!
//! Only the envelope is read here. Two readers must not be able to disagree on it: a key that stands
//! twice, a key the envelope does not have and a batch are refused.

use std::fmt;

use callgate_core::json::{self, Limits};
use callgate_core::value::Value;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Bounds on an id.
const ID: Limits = Limits { bytes: 256, depth: 1, values: 1 };

/// The members of one JSON object in their order, values as written. Keys are unique.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; `None` for anything else and for a key that stands twice.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out: Self::Value = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom("a key stands twice"));
            }
            out.push((key, value));
        }
        Ok(out)
    }
}

/// A request's id: compared by value, written as it came.
#[derive(Debug, Clone)]
pub(crate) struct Id {
    raw: String,
    key: String,
}

impl Id {
    /// Reads a string or a number that any reader reads the same.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        let value = json::parse(raw.get().as_bytes(), &ID).ok()?;
        matches!(value, Value::Str(_) | Value::Int(_) | Value::Decimal(_))
            .then(|| Self { raw: raw.get().to_owned(), key: value.canonical() })
    }

    /// As the client wrote it.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// Equal for equal ids.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

/// One message.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// Asks for an answer.
    Request {
        /// Its id.
        id: Id,
        /// What it asks for.
        method: String,
        /// Its parameters, as written.
        params: Option<&'a RawValue>,
    },
    /// Asks for none.
    Notification {
        /// What it says.
        method: String,
        /// Its parameters, as written.
        params: Option<&'a RawValue>,
    },
    /// An answer.
    Response {
        /// The id of the request; absent when the other side could not read it.
        id: Option<Id>,
        /// The members.
        members: Members<'a>,
    },
}

/// Why a line is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the line is not a JSON object with unique keys")]
    NotAnObject,
    #[error("batches are not part of this protocol; send one message per line")]
    Batch,
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    #[error("a message has `jsonrpc`, `id`, `method` and `params`, or `result` or `error`, and nothing else")]
    Members,
    #[error("`method` must be a string")]
    Method,
    #[error("`id` must be a string of at most 250 bytes or a number that a double holds exactly")]
    Id,
}

impl<'a> Message<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// [`MessageError`].
    pub(crate) fn read(line: &'a str) -> Result<Self, MessageError> {
        if line.trim_ascii_start().starts_with('[') {
            return Err(MessageError::Batch);
        }
        let members = Members::read(line).ok_or(MessageError::NotAnObject)?;
        let version = members.get("jsonrpc").and_then(string);
        if version.as_deref() != Some("2.0") {
            return Err(MessageError::Version);
        }
        match members.get("method") {
            Some(method) => Self::asking(&members, method),
            None => Self::answering(members),
        }
    }

    fn asking(members: &Members<'a>, method: &RawValue) -> Result<Self, MessageError> {
        only(members, &["jsonrpc", "id", "method", "params"])?;
        let method = string(method).ok_or(MessageError::Method)?;
        let params = members.get("params");
        match members.get("id") {
            Some(id) => Ok(Self::Request { id: Id::read(id).ok_or(MessageError::Id)?, method, params }),
            None => Ok(Self::Notification { method, params }),
        }
    }

    fn answering(members: Members<'a>) -> Result<Self, MessageError> {
        only(&members, &["jsonrpc", "id", "result", "error"])?;
        if members.get("result").is_some() == members.get("error").is_some() {
            return Err(MessageError::Members);
        }
        let id = match members.get("id") {
            Some(id) if id.get() != "null" => Some(Id::read(id).ok_or(MessageError::Id)?),
            _ => None,
        };
        Ok(Self::Response { id, members })
    }
}

fn only(members: &Members<'_>, known: &[&str]) -> Result<(), MessageError> {
    members.iter().all(|(key, _)| known.contains(&key)).then_some(()).ok_or(MessageError::Members)
}

/// The string that `raw` is, if it is one.
pub(crate) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        let cases = [
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, MessageError::Batch),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, MessageError::NotAnObject),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
                MessageError::NotAnObject,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, MessageError::Members),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, MessageError::Members),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, MessageError::Members),
            (r#"{"jsonrpc":"2.0","id":1}"#, MessageError::Members),
            (r#"{"id":1,"method":"ping"}"#, MessageError::Version),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, MessageError::Id),
            (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, MessageError::Id),
            (r#"{"jsonrpc":"2.0","id":12345678901234567890,"method":"ping"}"#, MessageError::Id),
            (r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#, MessageError::Method),
            ("\"x\"", MessageError::NotAnObject),
            ("{", MessageError::NotAnObject),
        ];
        for (line, expected) in cases {
            assert_eq!(Message::read(line).unwrap_err(), expected, "{line}");
        }
    }

    #[test]
    fn ids_compare_by_value_and_are_written_as_they_came() {
        let id = |raw: &str| Id::read(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap();
        assert_eq!(id("\"\\u0031\"").key(), id("\"1\"").key());
        assert_eq!(id("1.0").key(), id("1").key());
        assert_ne!(id("\"1\"").key(), id("1").key());
        assert_eq!(id("1.0").raw(), "1.0");
    }

    proptest! {
        #[test]
        fn any_line_reads_or_errs(line in "\\PC{0,40}", inner in "[\\[\\]{}\",:a-z0-9 ]{0,40}") {
            let _total = Message::read(&line);
            let _total = Message::read(&format!("{{\"jsonrpc\":\"2.0\",\"id\":1,{inner}}}"));
        }
    }
}
