//! JSON (RFC 8259) to the same tree: strict, with spans, for files that other programs write.

use super::node::{Key, Kind, Node, Text};
use super::yaml::repeated;
use super::{MAX_DEPTH, MAX_NODES, SourceFile, Span, SyntaxError};
use crate::codes::Code;

/// Reads one value; `None` when the file is blank.
pub(super) fn parse(file: &SourceFile<'_>) -> Result<Option<Node>, SyntaxError> {
    let mut reader = Reader { file, at: 0, nodes: 0 };
    reader.space();
    if reader.peek().is_none() {
        return Ok(None);
    }
    let node = reader.value(0)?;
    reader.space();
    if reader.peek().is_some() {
        return Err(reader.expected("the end of the file"));
    }
    Ok(Some(node).filter(|node| !node.scalar().is_some_and(Text::is_null)))
}

struct Reader<'a> {
    file: &'a SourceFile<'a>,
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.file.text().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, c: char) {
        self.at = self.at.saturating_add(c.len_utf8());
    }

    fn space(&mut self) {
        while let Some(c @ (' ' | '\t' | '\n' | '\r')) = self.peek() {
            self.skip(c);
        }
    }

    fn here(&self) -> Span {
        let end = self.peek().map_or(self.at, |c| self.at.saturating_add(c.len_utf8()));
        Span::new(self.at, end)
    }

    fn expected(&self, what: &str) -> SyntaxError {
        SyntaxError::new(Code::Syntax, self.here(), format!("not JSON: expected {what}"))
    }

    /// Takes `c`, which must be next.
    fn take(&mut self, c: char, what: &str) -> Result<(), SyntaxError> {
        self.space();
        if self.peek() != Some(c) {
            return Err(self.expected(what));
        }
        self.skip(c);
        Ok(())
    }

    /// Takes `c` if it is next.
    fn taken(&mut self, c: char) -> bool {
        self.space();
        let next = self.peek() == Some(c);
        if next {
            self.skip(c);
        }
        next
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        self.space();
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::too_many(self.here()));
        }
        if depth > MAX_DEPTH {
            return Err(SyntaxError::too_deep(self.here()));
        }
        let head = self.here();
        match self.peek() {
            Some('{') => Ok(Node { kind: self.object(depth.saturating_add(1))?, span: head }),
            Some('[') => Ok(Node { kind: self.array(depth.saturating_add(1))?, span: head }),
            Some('"') => {
                let (text, span) = self.string()?;
                Ok(Node { kind: Kind::Scalar(Text { text, plain: false }), span })
            }
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.skip('{');
        let mut entries: Vec<(Key, Node)> = Vec::new();
        if self.taken('}') {
            return Ok(Kind::Map(entries));
        }
        loop {
            self.space();
            if self.peek() != Some('"') {
                return Err(self.expected("a key in double quotes"));
            }
            let (text, span) = self.string()?;
            repeated(&text, span, &entries, self.file)?;
            self.take(':', "`:` after the key")?;
            let value = self.value(depth)?;
            entries.push((Key { text, span }, value));
            if self.taken(',') {
                continue;
            }
            self.take('}', "`,` or `}`")?;
            return Ok(Kind::Map(entries));
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.skip('[');
        let mut items = Vec::new();
        if self.taken(']') {
            return Ok(Kind::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.taken(',') {
                continue;
            }
            self.take(']', "`,` or `]`")?;
            return Ok(Kind::List(items));
        }
    }

    /// `true`, `false`, `null` or a number, as text.
    fn word(&mut self) -> Result<Node, SyntaxError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default().to_owned();
        if !matches!(text.as_str(), "true" | "false" | "null") && !is_number(&text) {
            return Err(self.expected("a value"));
        }
        let span = Span::new(self.at, self.at.saturating_add(end));
        self.at = span.end;
        Ok(Node { span, kind: Kind::Scalar(Text { text, plain: true }) })
    }

    /// A string and its span with the quotes.
    fn string(&mut self) -> Result<(String, Span), SyntaxError> {
        let start = self.at;
        self.skip('"');
        let mut text = String::new();
        loop {
            let c = self.peek().ok_or_else(|| self.expected("`\"` at the end of the string"))?;
            match c {
                '"' => {
                    self.skip(c);
                    return Ok((text, Span::new(start, self.at)));
                }
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return Err(self.expected("no control character in a string")),
                c => {
                    self.skip(c);
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        self.skip('\\');
        let c = self.peek().ok_or_else(|| self.expected("an escape"))?;
        let meant = match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return Err(self.expected("one of the escapes of JSON")),
        };
        self.skip(c);
        Ok(meant)
    }

    /// `u` and four hex digits, or two of these for a character beyond U+FFFF.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.unit()?;
        let unit = if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            self.skip('\\');
            let second = self.unit()?;
            let mut pair = char::decode_utf16([first, second]);
            return pair.next().and_then(Result::ok).ok_or_else(|| self.expected("a whole surrogate pair"));
        } else {
            first
        };
        char::from_u32(u32::from(unit)).ok_or_else(|| self.expected("no lone surrogate"))
    }

    fn unit(&mut self) -> Result<u16, SyntaxError> {
        self.skip('u');
        let digits = self.rest().get(..4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|text| u16::from_str_radix(text, 16).ok());
        let unit = unit.ok_or_else(|| self.expected("four hex digits"))?;
        self.at = self.at.saturating_add(4);
        Ok(unit)
    }
}

/// The number grammar of RFC 8259 section 6.
fn is_number(text: &str) -> bool {
    let body = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = body.split_once(['e', 'E']).map_or((body, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}
