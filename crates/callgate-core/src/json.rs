//! The one JSON reader of untrusted requests: strict RFC 8259, I-JSON (RFC 7493) in strings, keys
//! and numbers, bounded in size, depth and count.
//!
//! It refuses what would let two readers disagree: repeated keys, lone surrogates, numbers a double
//! cannot carry without loss. It never recurses deeper than its limit and never panics.

use crate::decimal::Decimal;
use crate::value::{MAX_SAFE_INTEGER, Map, Value};

/// Bounds on one document.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The whole text, in bytes.
    pub bytes: usize,
    /// Nesting of arrays and objects.
    pub depth: usize,
    /// Values in the document, all levels together.
    pub values: usize,
}

impl Limits {
    /// What a request may be: 256 KiB, 32 levels, 20,000 values.
    pub const REQUEST: Self = Self { bytes: 256 * 1024, depth: 32, values: 20_000 };
}

/// Why a text is not a document we accept, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {at})")]
pub struct JsonError {
    /// What is wrong.
    pub problem: Problem,
    /// The byte offset.
    pub at: usize,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Over [`Limits::bytes`].
    #[error("the document is larger than {0} bytes")]
    TooLarge(usize),
    /// Over [`Limits::depth`].
    #[error("the document is nested deeper than {0} levels")]
    TooDeep(usize),
    /// Over [`Limits::values`].
    #[error("the document has more than {0} values")]
    TooMany(usize),
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("expected {0}")]
    Expected(&'static str),
    /// An object key stands twice.
    #[error("the key `{0}` stands twice in one object")]
    RepeatedKey(String),
    /// An escape that is half a surrogate pair.
    #[error("a lone surrogate is not a character")]
    LoneSurrogate,
    /// A number that would change on its way through a double.
    #[error("the number `{0}` is not exact as an IEEE 754 double; send it as a string")]
    InexactNumber(String),
}

/// Reads one document.
///
/// # Errors
/// The first problem and its offset.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError { problem: Problem::TooLarge(limits.bytes), at: limits.bytes });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| JsonError { problem: Problem::NotUtf8, at: e.valid_up_to() })?;
    let mut reader = Reader { text, at: 0, limits, values: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.expected("the end of the document")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    limits: &'a Limits,
    values: usize,
}

impl Reader<'_> {
    fn error(&self, problem: Problem) -> JsonError {
        JsonError { problem, at: self.at }
    }

    fn expected(&self, what: &'static str) -> JsonError {
        self.error(Problem::Expected(what))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.skip(1);
        }
    }

    fn count(&mut self) -> Result<(), JsonError> {
        self.values = self.values.saturating_add(1);
        if self.values > self.limits.values {
            return Err(self.error(Problem::TooMany(self.limits.values)));
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.count()?;
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.expected("a JSON value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.skip(word.len());
            Ok(value)
        } else {
            Err(self.expected(word))
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        let next = depth.saturating_add(1);
        if next > self.limits.depth {
            return Err(self.error(Problem::TooDeep(self.limits.depth)));
        }
        Ok(next)
    }

    /// After an element: `true` when another follows, `false` when `close` ended the list.
    fn more(&mut self, close: u8, what: &'static str) -> Result<bool, JsonError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.skip(1);
                Ok(true)
            }
            Some(b) if b == close => {
                self.skip(1);
                Ok(false)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn opens_empty(&mut self, close: u8) -> bool {
        self.skip(1);
        self.space();
        let empty = self.peek() == Some(close);
        if empty {
            self.skip(1);
        }
        empty
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        if self.opens_empty(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if !self.more(b']', "`,` or `]`")? {
                return Ok(Value::List(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let depth = self.deeper(depth)?;
        if self.opens_empty(b'}') {
            return Ok(Value::empty_map());
        }
        let mut pairs = Vec::with_capacity(if depth == 1 { 16 } else { 4 });
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.skip(1);
            self.space();
            // Most values are text, which is measurably dearer on the way through `value`.
            if self.peek() == Some(b'"') {
                self.count()?;
                pairs.push((key, Value::Str(self.string()?)));
            } else {
                pairs.push((key, self.value(depth)?));
            }
            if !self.more(b'}', "`,` or `}`")? {
                break;
            }
        }
        Map::from_pairs(pairs).map(Value::Map).map_err(|key| self.error(Problem::RepeatedKey(key)))
    }

    /// The text up to the next character that means something in a string.
    fn plain(&mut self) -> &str {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        // All three are ASCII, which is no part of another character in UTF-8.
        let ends = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
        self.skip(rest.iter().position(ends).unwrap_or(rest.len()));
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.skip(1);
        let mut out = self.plain().to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.skip(1);
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.expected("an escaped control character")),
                None => return Err(self.expected("a closing double quote")),
            }
            out.push_str(self.plain());
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.skip(1);
        let escaped = self.peek();
        self.skip(1);
        Ok(match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.expected("an escape of RFC 8259")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        let code = if (0xD800..0xDC00).contains(&first) {
            if !self.text.get(self.at..).unwrap_or_default().starts_with("\\u") {
                return Err(self.error(Problem::LoneSurrogate));
            }
            self.skip(2);
            let second = self.hex4()?;
            if !(0xDC00..0xE000).contains(&second) {
                return Err(self.error(Problem::LoneSurrogate));
            }
            ((first & 0x3FF) << 10).saturating_add(second & 0x3FF).saturating_add(0x1_0000)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.error(Problem::LoneSurrogate))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at.saturating_add(4)).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.expected("four hex digits"));
        }
        self.skip(4);
        u32::from_str_radix(digits, 16).map_err(|_| self.expected("four hex digits"))
    }

    fn digits(&mut self, what: &'static str) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.skip(1);
        }
        if self.at == start { Err(self.expected(what)) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.skip(1);
        }
        if self.peek() == Some(b'0') {
            self.skip(1);
        } else {
            self.digits("a digit")?;
        }
        if self.peek() == Some(b'.') {
            self.skip(1);
            self.digits("a digit after the point")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.skip(1);
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.skip(1);
            }
            self.digits("a digit in the exponent")?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        exact_number(text).ok_or_else(|| {
            let shown = text.chars().take(64).collect();
            JsonError { problem: Problem::InexactNumber(shown), at: start }
        })
    }
}

/// The number, if its decimal value is exactly the one its double prints as.
fn exact_number(text: &str) -> Option<Value> {
    // So few digits are exact, and most numbers are such.
    if text.len() <= 15
        && let Ok(number) = text.parse()
    {
        return Some(Value::Int(number));
    }
    let exact: Decimal = text.parse().ok()?;
    if let Some(number) = exact.to_i64().filter(|n| n.unsigned_abs() <= MAX_SAFE_INTEGER.unsigned_abs()) {
        return Some(Value::Int(number));
    }
    let double: f64 = text.parse().ok()?;
    (Decimal::from_f64(double).ok()? == exact).then_some(Value::Decimal(exact))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Value, Problem> {
        parse(text.as_bytes(), &Limits::REQUEST).map_err(|e| e.problem)
    }

    #[test]
    fn what_two_readers_could_disagree_on_is_refused() {
        assert_eq!(read(r#"{"a":1,"\u0061":2}"#), Err(Problem::RepeatedKey("a".into())));
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#] {
            assert_eq!(read(text), Err(Problem::LoneSurrogate), "{text}");
        }
        for text in ["9007199254740993", "0.1000000000000000055", "1e400", "1e-400", "123456789012345678901"]
        {
            assert_eq!(read(text), Err(Problem::InexactNumber(text.into())), "{text}");
        }
        for text in [
            "", "NaN", "Infinity", "01", "+1", ".5", "1.", "'a'", "[1,]", "{a:1}", "nul", "1 2", "\"\n\"",
            "/**/1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"", &Limits::REQUEST).is_err());
    }

    #[test]
    fn limits_hold() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep), Err(Problem::TooDeep(32)));
        let many = format!("[{}1]", "1,".repeat(20_000));
        assert_eq!(read(&many), Err(Problem::TooMany(20_000)));
        assert_eq!(read(&" ".repeat(300_000)), Err(Problem::TooLarge(256 * 1024)));
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(read("1e2"), Ok(Value::Int(100)));
        assert_eq!(read("-0"), Ok(Value::Int(0)));
        assert_eq!(read("50.01"), Ok(Value::Decimal("50.01".parse().unwrap())));
        assert_eq!(read("9007199254740991"), Ok(Value::Int(MAX_SAFE_INTEGER)));
        assert_eq!(read("1e16"), Ok(Value::Decimal("1e16".parse().unwrap())));
        assert!(read("6.62607015e-34").is_ok());
    }

    fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-MAX_SAFE_INTEGER..MAX_SAFE_INTEGER).prop_map(Into::into),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_bytes_are_those_of_rfc_8785(document in arbitrary_json()) {
            let value = read(&document.to_string()).unwrap();
            let oracle = serde_json_canonicalizer::to_string(&document).unwrap();
            prop_assert_eq!(value.canonical(), oracle.clone());
            prop_assert_eq!(read(&oracle).unwrap(), value);
        }

        #[test]
        fn any_bytes_parse_or_err_and_what_parses_is_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if parse(&bytes, &Limits::REQUEST).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
        }

        #[test]
        fn any_text_of_json_characters_agrees_with_the_oracle(text in r#"[\[\]{},:"0-9eE+\-.a\\u ntrfals]{0,24}"#) {
            let oracle = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let ours = read(&text);
            if ours.is_ok() { prop_assert!(oracle) }
            if oracle {
                let stricter = matches!(ours, Ok(_) | Err(Problem::RepeatedKey(_) | Problem::InexactNumber(_)));
                prop_assert!(stricter, "{:?}", ours);
            }
        }
    }
}
