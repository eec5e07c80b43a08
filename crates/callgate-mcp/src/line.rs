//! Lines: one message each way, bounded when read and unmistakable when written.
//!
//! A line that one reader takes for one message and another for two would let a call past the gate:
//! some runtimes also end lines at a carriage return or at U+0085, U+2028 and U+2029. What is written
//! therefore has none of them; JSON allows that without changing what the text means.

use std::borrow::Cow;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What one line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line of text, without its end.
    Text(String),
    /// A line over the bound; none of it was kept.
    TooLong,
    /// A line that is not UTF-8.
    NotText,
}

/// Reads lines of at most `limit` bytes.
pub(crate) struct LineReader<R> {
    from: BufReader<R>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(from: R, limit: usize) -> Self {
        Self { from: BufReader::with_capacity(64 * 1024, from), limit }
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// When reading fails.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            match self.line().await? {
                Some(Line::Text(text)) if text.trim_ascii().is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    async fn line(&mut self) -> std::io::Result<Option<Line>> {
        let mut kept = Vec::new();
        let mut seen: usize = 0;
        loop {
            let chunk = self.from.fill_buf().await?;
            if chunk.is_empty() {
                return Ok((seen > 0).then(|| self.finish(kept, seen)));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            seen = seen.saturating_add(part.len());
            if seen <= self.limit {
                kept.extend_from_slice(part);
            } else {
                kept = Vec::new();
            }
            let used = part.len().saturating_add(usize::from(end.is_some()));
            self.from.consume(used);
            if end.is_some() {
                return Ok(Some(self.finish(kept, seen)));
            }
        }
    }

    fn finish(&self, mut kept: Vec<u8>, seen: usize) -> Line {
        if seen > self.limit {
            return Line::TooLong;
        }
        if kept.last() == Some(&b'\r') {
            kept.pop();
        }
        String::from_utf8(kept).map_or(Line::NotText, Line::Text)
    }
}

/// The same JSON text without any character that ends a line for some reader. A carriage return can
/// only be white space between tokens, the others only stand inside strings.
pub(crate) fn one_line(json: &str) -> Cow<'_, str> {
    let ends_a_line = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if !json.contains(ends_a_line) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len().saturating_add(16));
    for c in json.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '\u{85}' => out.push_str("\\u0085"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn lines(bytes: &[u8], limit: usize) -> Vec<Line> {
        let mut reader = LineReader::new(bytes, limit);
        let mut out = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            out.push(line);
        }
        out
    }

    fn text(line: &str) -> Line {
        Line::Text(line.to_owned())
    }

    #[tokio::test]
    async fn lines_are_bounded_and_long_ones_are_skipped_whole() {
        let found = lines(b"{}\r\n\n  \n0123456789\n[]\n\xff\nlast", 9).await;
        assert_eq!(found, [text("{}"), Line::TooLong, text("[]"), Line::NotText, text("last")]);
        let long = [vec![b'x'; 1 << 20], b"\nafter\n".to_vec()].concat();
        assert_eq!(lines(&long, 64).await, [Line::TooLong, text("after")]);
    }

    #[test]
    fn a_carriage_return_cannot_hide_a_second_message() {
        let smuggled = "{\"method\":\"ping\",\"params\":\r{\"method\":\"tools/call\"}\r}";
        assert_eq!(one_line(smuggled), "{\"method\":\"ping\",\"params\": {\"method\":\"tools/call\"} }");
    }

    proptest! {
        #[test]
        fn one_line_is_one_line_and_means_the_same(text in any::<String>(), breaks in "[\r\u{85}\u{2028}\u{2029}a]{0,6}") {
            let value = serde_json::json!({ "a": text, "b": breaks });
            let json = format!("{{\r\"x\":\r{value}}}");
            let line = one_line(&json);
            let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
            prop_assert!(!line.contains(breaks));
            let (a, b): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&json).unwrap(), serde_json::from_str(&line).unwrap());
            prop_assert_eq!(a, b);
        }
    }
}
