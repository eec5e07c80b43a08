//! Fingerprints: digests of what rules mean, whatever their layout and comments.
//!
//! They say that a rule of one snapshot is that of another. Equal ones mean the same; different ones
//! may still mean the same, said otherwise.

use callgate_core::digest::Digest;
use callgate_core::value::{Map, Value};

use crate::engine::Lexis;
use crate::syntax::Node;

/// The key that is only for the people who maintain a bundle.
const DESCRIPTION: &str = "description";

/// Of a mapping of the language, and of what counts beside it.
pub(crate) fn of_mapping(node: &Node, beside: &[(&str, Value)]) -> Digest {
    let mut meant = Map::default();
    if let Value::Map(written) = node.to_value() {
        for (key, value) in written.iter().filter(|(key, _)| *key != DESCRIPTION) {
            meant.insert(key.to_owned(), value.clone());
        }
    }
    let mut whole = Map::default();
    whole.insert("written".to_owned(), Value::Map(meant));
    for (key, value) in beside {
        whole.insert((*key).to_owned(), value.clone());
    }
    Digest::of(Value::Map(whole).canonical().as_bytes())
}

/// Of a text in which line ends are blanks like others.
pub(crate) fn of_text(text: &str, lexis: Lexis) -> Digest {
    Digest::of(squeezed(text, lexis, false).as_bytes())
}

/// A text without comments, in which lines count, but neither empty ones nor how they are indented.
pub(crate) fn of_lines(text: &str, lexis: Lexis) -> String {
    squeezed(text, lexis, true)
}

/// The text with comments removed, and with each run of blanks as one or none. Strings stay.
fn squeezed(text: &str, lexis: Lexis, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = Blank::None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with(lexis.comment) {
            blank = blank.max(Blank::Space);
            rest.find('\n').unwrap_or(rest.len())
        } else if c.is_whitespace() {
            blank = blank.max(if lines && c == '\n' { Blank::Line } else { Blank::Space });
            c.len_utf8()
        } else {
            let length = token(rest, c, lexis);
            blank.write(&mut out, c);
            blank = Blank::None;
            out.push_str(rest.get(..length).unwrap_or_default());
            length
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// What stands between two tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blank {
    None,
    Space,
    Line,
}

impl Blank {
    /// Writes what must stand between `out` and `next`, so that words do not run together.
    fn write(self, out: &mut String, next: char) {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        match self {
            Self::Line if !out.is_empty() => out.push('\n'),
            Self::Space if out.ends_with(word) && word(next) => out.push(' '),
            _ => {}
        }
    }
}

/// How long the token is that begins with `c`: a string, or one character.
fn token(text: &str, c: char, lexis: Lexis) -> usize {
    let raw = lexis.raw_quote == Some(c);
    if c != '"' && !raw {
        return c.len_utf8();
    }
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' if !raw => escaped = true,
            end if end == c => return at.saturating_add(end.len_utf8()),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEDAR: Lexis = Lexis { comment: "//", raw_quote: None };
    const REGO: Lexis = Lexis { comment: "#", raw_quote: Some('`') };

    #[test]
    fn layout_and_comments_say_nothing() {
        let one = "permit (principal, action, resource)\n  when { context.a == \"x  // y\" };";
        let other = "// why\npermit(principal,action,resource) when{context . a==\"x  // y\"}\t;";
        assert_eq!(of_text(one, CEDAR), of_text(other, CEDAR));
        for different in
            ["permitx", "permit x", "x // y", "x / / y", "\"a b\"", "\"a  b\"", "\"a\\\" b\"", "\"a\\\"  b\""]
        {
            assert_ne!(of_text(different, CEDAR), of_text(one, CEDAR));
        }
        assert_ne!(of_text("\"a  b\"", CEDAR), of_text("\"a b\"", CEDAR));
        assert_ne!(of_text("a b", CEDAR), of_text("ab", CEDAR));
    }

    #[test]
    fn in_rego_lines_count() {
        let one = "deny if {\n\tinput.a == `x  # y` # why\n\n\t# more\n\tinput.b\n}\n";
        let other = "deny  if {\n  input.a==`x  # y`\n  input.b\n}";
        assert_eq!(of_lines(one, REGO), of_lines(other, REGO));
        assert_ne!(of_lines("a if b\nc", REGO), of_lines("a if b c", REGO));
        assert_ne!(of_lines("x := `a  b`", REGO), of_lines("x := `a b`", REGO));
    }
}
