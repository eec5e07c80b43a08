//! Reads the text format of protocol buffers into fields, without a schema.

/// A message: its fields in the order of the text; repeated fields repeat.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Message(pub(crate) Vec<(String, Value)>);

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A number, an enum's name, or `true` and `false`, as written.
    Word(String),
    /// The octets of a quoted text; adjacent texts are joined.
    Text(Vec<u8>),
    Message(Message),
}

impl Message {
    /// The values of `name`.
    pub(crate) fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Value> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
    }

    fn first(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// The messages of `name`.
    pub(crate) fn messages<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Message> {
        self.all(name).filter_map(|value| match value {
            Value::Message(message) => Some(message),
            _ => None,
        })
    }

    pub(crate) fn message(&self, name: &str) -> Option<&Self> {
        match self.first(name)? {
            Value::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.first(name)? {
            Value::Text(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        match self.first(name)? {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// Where the text is not in the format.
pub(crate) fn parse(text: &str) -> Result<Message, String> {
    let mut reader = Reader { text, at: 0 };
    let message = reader.fields(None)?;
    Ok(message)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn wrong(&self, wanted: &str) -> String {
        let line = self.text.get(..self.at).unwrap_or("").lines().count();
        format!("line {line}: expected {wanted}")
    }

    /// Skips blanks and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let shorter = rest.trim_start();
            self.at = self.at.saturating_add(rest.len().saturating_sub(shorter.len()));
            if !shorter.starts_with('#') {
                return;
            }
            self.at = self.at.saturating_add(shorter.find('\n').unwrap_or(shorter.len()));
        }
    }

    fn accept(&mut self, sign: char) -> bool {
        self.blank();
        let found = self.rest().starts_with(sign);
        if found {
            self.at = self.at.saturating_add(sign.len_utf8());
        }
        found
    }

    fn fields(&mut self, close: Option<char>) -> Result<Message, String> {
        let mut found = Vec::new();
        loop {
            self.blank();
            match close {
                Some(close) if self.accept(close) => return Ok(Message(found)),
                None if self.rest().is_empty() => return Ok(Message(found)),
                _ => {}
            }
            let name = self.name()?;
            let colon = self.accept(':');
            self.values(&name, colon, &mut found)?;
            let _ = self.accept(',') || self.accept(';');
        }
    }

    /// A field's name, or the type of an `Any` in brackets.
    fn name(&mut self) -> Result<String, String> {
        if self.accept('[') {
            let end = self.rest().find(']').ok_or_else(|| self.wrong("`]`"))?;
            let name = self.rest().get(..end).unwrap_or("").trim().to_owned();
            self.at = self.at.saturating_add(end).saturating_add(1);
            return Ok(name);
        }
        self.word().ok_or_else(|| self.wrong("a field"))
    }

    fn word(&mut self) -> Option<String> {
        self.blank();
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-".contains(c))).unwrap_or(rest.len());
        self.at = self.at.saturating_add(end);
        rest.get(..end).filter(|word| !word.is_empty()).map(str::to_owned)
    }

    fn values(&mut self, name: &str, colon: bool, found: &mut Vec<(String, Value)>) -> Result<(), String> {
        if colon && self.accept('[') {
            while !self.accept(']') {
                found.push((name.to_owned(), self.value()?));
                self.accept(',');
            }
            return Ok(());
        }
        found.push((name.to_owned(), self.value()?));
        Ok(())
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.accept('{') {
            return self.fields(Some('}')).map(Value::Message);
        }
        if self.accept('<') {
            return self.fields(Some('>')).map(Value::Message);
        }
        let mut octets: Option<Vec<u8>> = None;
        while let Some(quote) = ['"', '\''].into_iter().find(|quote| self.accept(*quote)) {
            self.text(quote, octets.get_or_insert_default())?;
        }
        match octets {
            Some(octets) => Ok(Value::Text(octets)),
            None => self.word().map(Value::Word).ok_or_else(|| self.wrong("a value")),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at = self.at.saturating_add(c.len_utf8());
        Some(c)
    }

    fn text(&mut self, quote: char, out: &mut Vec<u8>) -> Result<(), String> {
        loop {
            match self.next().ok_or_else(|| self.wrong("the end of a text"))? {
                c if c == quote => return Ok(()),
                '\\' => self.escape(out)?,
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let c = self.next().ok_or_else(|| self.wrong("an escape"))?;
        let plain = match c {
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'v' => Some(11),
            '\\' | '\'' | '"' | '?' => u8::try_from(c).ok(),
            _ => None,
        };
        if let Some(octet) = plain {
            out.push(octet);
            return Ok(());
        }
        let (radix, most) = match c {
            'x' | 'X' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='7' => {
                self.at = self.at.saturating_sub(1);
                (8, 3)
            }
            _ => return Err(self.wrong("an escape")),
        };
        let digits: String = self.rest().chars().take(most).take_while(|c| c.is_digit(radix)).collect();
        self.at = self.at.saturating_add(digits.len());
        let code = u32::from_str_radix(&digits, radix).map_err(|_| self.wrong("digits"))?;
        if matches!(c, 'u' | 'U') {
            let c = char::from_u32(code).ok_or_else(|| self.wrong("a character"))?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).map_err(|_| self.wrong("an octet"))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};

    #[test]
    fn fields_of_every_form_are_read() {
        let text = "# a comment\nname: \"a\" 'b\\n\\303\\251\\u00e9'\nsection { n: -1.5e3, list: [1, 2]; [type.x/Y] { z: true } }";
        let message = parse(text).expect("well formed");
        assert_eq!(message.text("name"), Some("ab\n\u{e9}\u{e9}"));
        let section = message.message("section").expect("there");
        assert_eq!(section.word("n"), Some("-1.5e3"));
        assert_eq!(section.all("list").count(), 2);
        assert_eq!(section.message("type.x/Y").and_then(|any| any.word("z")), Some("true"));
        assert_eq!(parse("a: ''").expect("well formed").0, [("a".to_owned(), Value::Text(Vec::new()))]);
    }

    #[test]
    fn what_is_not_in_the_format_is_an_error() {
        for text in ["a: \"x", "a {", "a: \\", "= 1", "a: '\\q'"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
