//! Reading a mapping key by key, so that what is left over is reported.

use callgate_core::fields::nearest;

use super::{Shape, Sink, Spanned};
use crate::codes::Code;
use crate::syntax::{Kind, Node};

/// The fields of one mapping.
pub(crate) struct Fields<'n> {
    node: &'n Node,
}

impl<'n> Fields<'n> {
    /// Opens a mapping and reports the keys that are not in `known`.
    pub(crate) fn open(node: &'n Node, known: &[&'static str], sink: &mut Sink<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            return sink.wrong_type(node, "a mapping of keys and values");
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let shown: String = key.text.escape_debug().take(64).collect();
            let help = nearest(&key.text, known.iter().copied()).map_or_else(
                || format!("the keys here are {}", listed(known)),
                |near| format!("did you mean `{near}`?"),
            );
            sink.add(Code::UnknownKey, key.span, format!("`{shown}` is not a key here")).help(help);
        }
        Some(Self { node })
    }

    /// Reads `key` if it is there.
    pub(crate) fn optional<S: Shape>(&self, key: &str, sink: &mut Sink<'_>) -> Option<Spanned<S::Out>> {
        let node = self.node.get(key)?;
        S::decode(node, sink).map(|value| Spanned { value, span: node.span })
    }

    /// Reads `key` and reports when it is not there.
    pub(crate) fn required<S: Shape>(&self, key: &str, sink: &mut Sink<'_>) -> Option<Spanned<S::Out>> {
        if self.node.get(key).is_none() {
            sink.add(Code::MissingKey, self.node.span, format!("the key `{key}` is missing here"))
                .help(format!("add `{key}:`"));
        }
        self.optional::<S>(key, sink)
    }
}

/// Words in backticks, separated by commas.
pub(crate) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
