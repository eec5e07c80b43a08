//! One file and where its lines begin.

use callgate_core::decision::Source;

use crate::diagnostic::Place;

/// A stretch of a file, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// How many characters lie between two marks of [`SourceFile::marks`].
const STRIDE: usize = 16;
/// How much of a line an excerpt shows, and how much of it before the place.
const EXCERPT: usize = 160;
const BEFORE: usize = 60;

/// A file of the bundle. Offsets, lines and columns are found in constant or logarithmic time, so
/// that one endless line is no harder than many short ones.
#[derive(Debug)]
pub(crate) struct SourceFile<'a> {
    path: &'a str,
    text: &'a str,
    /// The byte offset of each line; breaks are `\n`, `\r\n` and `\r`, as in YAML 1.2 section 5.4.
    lines: Vec<usize>,
    /// The byte offset of every [`STRIDE`]th character.
    marks: Vec<usize>,
}

impl<'a> SourceFile<'a> {
    /// Takes the text at `path`; a byte order mark is not part of it.
    pub(crate) fn new(path: &'a str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = vec![0];
        let mut bytes = text.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            let paired = byte == b'\r' && matches!(bytes.peek(), Some((_, b'\n')));
            if byte == b'\n' || (byte == b'\r' && !paired) {
                lines.push(at.saturating_add(1));
            }
        }
        let marks = text.char_indices().step_by(STRIDE).map(|(at, _)| at).collect();
        Self { path, text, lines, marks }
    }

    pub(crate) const fn path(&self) -> &'a str {
        self.path
    }

    pub(crate) const fn text(&self) -> &'a str {
        self.text
    }

    /// The text of a span; empty if it is none of this file's.
    pub(crate) fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn start_of(&self, line: usize) -> usize {
        line.checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or(self.text.len())
    }

    /// How many characters lie before a byte offset.
    fn characters_before(&self, offset: usize) -> usize {
        let mark = self.marks.partition_point(|at| *at <= offset).saturating_sub(1);
        let from = self.marks.get(mark).copied().unwrap_or(0);
        let rest = self.text.get(from..offset).unwrap_or_default();
        mark.saturating_mul(STRIDE).saturating_add(rest.chars().count())
    }

    /// The byte offset of line `line` (from 1), column `column` (from 0, in characters).
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let character = self.characters_before(self.start_of(line)).saturating_add(column);
        let (mark, left) = (character.div_euclid(STRIDE), character.rem_euclid(STRIDE));
        let from = self.marks.get(mark).copied().unwrap_or(self.text.len());
        let rest = self.text.get(from..).unwrap_or_default();
        from.saturating_add(rest.char_indices().nth(left).map_or(rest.len(), |(at, _)| at))
    }

    /// Line and column of a byte offset, both from 1; the column in characters.
    fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= offset);
        let before = self.characters_before(self.start_of(line));
        let column = self.characters_before(offset).saturating_sub(before).saturating_add(1);
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    pub(crate) fn place(&self, span: Span) -> Place {
        let (line, column) = self.position(span.start);
        let (end_line, end_column) = self.position(span.end.max(span.start));
        Place { line, column, end_line, end_column }
    }

    /// The line a span begins on, or the part of it around the span, and the first column shown.
    pub(crate) fn excerpt(&self, span: Span) -> (String, u32) {
        let (line, column) = self.position(span.start);
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let start = self.start_of(line);
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let whole = self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let skipped = if whole.len() <= EXCERPT { 0 } else { column.saturating_sub(BEFORE) };
        let from = if skipped == 0 { start } else { self.offset(line, skipped) };
        let shown = self.text.get(from..end).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let first = u32::try_from(skipped.saturating_add(1)).unwrap_or(u32::MAX);
        (shown.chars().take(EXCERPT).collect(), first)
    }

    /// The place of a rule or contract, as decisions cite it.
    pub(crate) fn source(&self, span: Span) -> Source {
        let (line, column) = self.position(span.start);
        Source { file: self.path.into(), line, column }
    }
}
