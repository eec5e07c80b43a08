//! Text to tokens: names, literals and signs, each with its span. Knows no grammar.

use std::ops::Range;

use super::ast::Literal;
use super::error::{CelError, shown};

#[derive(Debug)]
pub(super) enum Token {
    /// An identifier, keyword or reserved word.
    Name(String),
    /// A field name in backticks.
    Quoted(String),
    Literal(Literal),
    /// Digits that fit no literal without the minus sign before them: 9223372036854775808.
    MinimumDigits,
    Sign(&'static str),
    End,
}

#[derive(Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

/// Splits `source` into tokens, the last of which is [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Spanned>, Vec<CelError>> {
    let mut lexer = Lexer { source, at: 0 };
    let mut found = Vec::new();
    let mut errors = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.token();
        let span = start..lexer.at;
        match token {
            Ok(Token::End) => {
                found.push(Spanned { token: Token::End, span });
                break;
            }
            Ok(token) => found.push(Spanned { token, span }),
            Err((message, hint)) => errors.push(CelError { span, message, hint: hint.map(str::to_owned) }),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

type Failure = (String, Option<&'static str>);

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.source.len());
    }

    /// Takes the longest prefix whose characters satisfy `wanted`.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.advance(end);
        rest.get(..end).unwrap_or("")
    }

    fn skip_blank(&mut self) {
        loop {
            self.take(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take(|c| c != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Failure> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some((prefix, quote)) = string_opening(rest) {
            self.advance(prefix.len());
            return self.string(prefix, quote);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(word(self.take(|c| c.is_ascii_alphanumeric() || c == '_')));
        }
        let fraction = first == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_digit() || fraction {
            return self.number();
        }
        if first == '`' {
            return self.quoted();
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            self.advance(sign.len());
            return Ok(Token::Sign(sign));
        }
        self.advance(first.len_utf8());
        Err(stray(first))
    }

    fn quoted(&mut self) -> Result<Token, Failure> {
        self.advance(1);
        let name = self.take(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c));
        if self.rest().starts_with('`') && !name.is_empty() {
            self.advance(1);
            return Ok(Token::Quoted(name.to_owned()));
        }
        let hint =
            "letters, digits, spaces and `_.-/` may stand between backticks; use `m[\"key\"]` for others";
        Err(("the name in backticks does not end".to_owned(), Some(hint)))
    }

    fn number(&mut self) -> Result<Token, Failure> {
        let start = self.at;
        if let Some(hex) = self.rest().strip_prefix("0x").or_else(|| self.rest().strip_prefix("0X"))
            && hex.starts_with(|c: char| c.is_ascii_hexdigit())
        {
            self.advance(2);
            let digits = self.take(|c| c.is_ascii_hexdigit());
            return self.integer(digits, 16);
        }
        let digits = self.take(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.rest().starts_with('.') && self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) {
            whole = false;
            self.advance(1);
            self.take(|c| c.is_ascii_digit());
        }
        whole &= !self.exponent();
        if whole {
            return self.integer(digits, 10);
        }
        let written = self.source.get(start..self.at).unwrap_or("");
        match written.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                Ok(Token::Literal(Literal::Double { value, written: plain(written) }))
            }
            _ => Err((format!("`{}` is too large a number", shown(written)), None)),
        }
    }

    /// Takes an exponent, if a whole one is there.
    fn exponent(&mut self) -> bool {
        let Some(after) = self.rest().strip_prefix(['e', 'E']) else { return false };
        let unsigned = after.strip_prefix(['+', '-']).unwrap_or(after);
        if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        self.advance(self.rest().len().saturating_sub(unsigned.len()));
        self.take(|c| c.is_ascii_digit());
        true
    }

    fn integer(&mut self, digits: &str, radix: u32) -> Result<Token, Failure> {
        let unsigned = self.rest().starts_with(['u', 'U']);
        if unsigned {
            self.advance(1);
        }
        let number = u64::from_str_radix(digits, radix).ok();
        let literal = match number {
            Some(number) if unsigned => Some(Token::Literal(Literal::Uint(number))),
            Some(number) => match i64::try_from(number) {
                Ok(number) => Some(Token::Literal(Literal::Int(number))),
                Err(_) => (number == i64::MIN.unsigned_abs()).then_some(Token::MinimumDigits),
            },
            None => None,
        };
        if self.rest().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            self.take(|c| c.is_ascii_alphanumeric() || c == '_');
            return Err(("a number runs into a name".to_owned(), Some("put a space or a sign between them")));
        }
        literal.ok_or_else(|| {
            let hint = "whole numbers have 64 bits; write `dec(\"…\")` for larger ones";
            (format!("`{}` is too large a number", shown(digits)), Some(hint))
        })
    }

    /// Reads the text after the opening quote.
    fn string(&mut self, prefix: &str, quote: &'static str) -> Result<Token, Failure> {
        let raw = prefix.contains(['r', 'R']);
        let bytes = prefix.contains(['b', 'B']);
        let mut out = Unescaped { octets: Vec::new(), bytes };
        let mut failure = None;
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.advance(quote.len());
                break;
            }
            let Some(c) = rest.chars().next() else {
                return Err((format!("the text that begins with {quote} does not end"), None));
            };
            self.advance(c.len_utf8());
            match c {
                '\n' | '\r' if quote.len() == 1 => {
                    let hint = "write \\n, or use three quotes";
                    return Err(("a line break inside a text".to_owned(), Some(hint)));
                }
                '\\' if !raw => {
                    if let Err(error) = self.escape(&mut out) {
                        failure.get_or_insert(error);
                    }
                }
                c => out.push(c),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let literal = if bytes {
            Literal::Bytes(out.octets)
        } else {
            // Only whole characters are pushed when it is no byte text.
            Literal::Str(String::from_utf8(out.octets).unwrap_or_default())
        };
        Ok(Token::Literal(literal))
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, out: &mut Unescaped) -> Result<(), Failure> {
        let unknown = || {
            let hint = "write \\\\ for a backslash, or put an r before the quote";
            ("this backslash begins no escape sequence".to_owned(), Some(hint))
        };
        let c = self.rest().chars().next().ok_or_else(unknown)?;
        if let Some(plain) = simple_escape(c) {
            self.advance(1);
            out.push(plain);
            return Ok(());
        }
        let (skip, length, radix) = match c {
            'x' | 'X' => (1, 2, 16),
            'u' if !out.bytes => (1, 4, 16),
            'U' if !out.bytes => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => return Err(unknown()),
        };
        self.advance(skip);
        let digits = self.rest().get(..length).filter(|d| d.chars().all(|c| c.is_digit(radix)));
        let digits = digits.ok_or_else(unknown)?;
        self.advance(length);
        let code = u32::from_str_radix(digits, radix).map_err(|_| unknown())?;
        out.push_code(code).ok_or_else(|| (format!("`\\{c}{digits}` is no Unicode character"), None))
    }
}

/// The content of a text literal, with escapes resolved.
struct Unescaped {
    octets: Vec<u8>,
    bytes: bool,
}

impl Unescaped {
    fn push(&mut self, c: char) {
        self.octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// In byte texts a code is an octet, otherwise a character.
    fn push_code(&mut self, code: u32) -> Option<()> {
        if self.bytes {
            self.octets.push(u8::try_from(code).ok()?);
        } else {
            self.push(char::from_u32(code)?);
        }
        Some(())
    }
}

/// The prefix with the quote, and the quote alone, if a text begins here.
fn string_opening(rest: &str) -> Option<(&str, &'static str)> {
    let letters = rest.find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B'))?;
    let prefix = rest.get(..letters)?;
    let known = matches!(prefix.to_ascii_lowercase().as_str(), "" | "r" | "b" | "br" | "rb");
    let body = rest.get(letters..).filter(|_| known)?;
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote))?;
    Some((rest.get(..letters.saturating_add(quote.len()))?, quote))
}

const fn simple_escape(c: char) -> Option<char> {
    Some(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '?' | '"' | '\'' | '`' => c,
        _ => return None,
    })
}

fn word(text: &str) -> Token {
    match text {
        "true" => Token::Literal(Literal::Bool(true)),
        "false" => Token::Literal(Literal::Bool(false)),
        "null" => Token::Literal(Literal::Null),
        "in" => Token::Sign("in"),
        name => Token::Name(name.to_owned()),
    }
}

/// The literal in the form decimals are read from: with a digit before the point.
fn plain(written: &str) -> String {
    if written.starts_with('.') { format!("0{written}") } else { written.to_owned() }
}

fn stray(c: char) -> Failure {
    let hint = match c {
        '=' => Some("write `==` to compare"),
        '&' => Some("write `&&`"),
        '|' => Some("write `||`"),
        '“' | '”' | '‘' | '’' | '«' | '»' => Some("write straight quotes"),
        '#' => Some("a comment begins with `//`"),
        _ => None,
    };
    (format!("`{}` means nothing here", c.escape_debug()), hint)
}
