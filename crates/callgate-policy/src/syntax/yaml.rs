//! YAML 1.2 events to a tree. Anchors, aliases, tags and further documents are refused: they hide
//! what a file says from the person who reviews it.

use saphyr_parser::{Event, Parser, ScalarStyle, Span as EventSpan, Tag};

use super::node::{Key, Kind, Node, Text};
use super::{MAX_DEPTH, MAX_NODES, SourceFile, Span, SyntaxError};
use crate::codes::Code;

/// The most keys of one mapping, since each is compared with those before it.
const MAX_KEYS: usize = 1000;

/// Reads one document; `None` when the file has none.
pub(super) fn parse(file: &SourceFile<'_>) -> Result<Option<Node>, SyntaxError> {
    let mut builder = Builder { file, open: Vec::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str(file.text()) {
        let (event, span) = event.map_err(|error| {
            let at = file.offset(error.marker().line(), error.marker().col());
            SyntaxError::new(Code::Syntax, Span::new(at, at), format!("not YAML: {}", error.info()))
                .help("check indentation, quotes and brackets here and on the line above")
        })?;
        builder.take(event, builder.span(span))?;
    }
    Ok(builder.root.filter(|node| !node.scalar().is_some_and(Text::is_null)))
}

/// A collection whose end has not come.
enum Open {
    List(Span, Vec<Node>),
    Map(Span, Vec<(Key, Node)>, Option<Key>),
}

struct Builder<'a> {
    file: &'a SourceFile<'a>,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    fn span(&self, span: EventSpan) -> Span {
        let start = self.file.offset(span.start.line(), span.start.col());
        let end = self.file.offset(span.end.line(), span.end.col());
        Span::new(start, end.max(start))
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(feature(span, "a second document")),
            Event::Alias(_) => Err(feature(span, "an alias")),
            Event::Scalar(text, style, anchor, tag) => {
                plainly(span, anchor, tag.as_deref())?;
                let plain = style == ScalarStyle::Plain;
                let span = trimmed(self.file, span);
                self.count(span)?;
                self.add(Node { span, kind: Kind::Scalar(Text { text: text.into_owned(), plain }) })
            }
            Event::SequenceStart(anchor, tag) => {
                plainly(span, anchor, tag.as_deref())?;
                self.enter(Open::List(head(self.file, span), Vec::new()), span)
            }
            Event::MappingStart(anchor, tag) => {
                plainly(span, anchor, tag.as_deref())?;
                self.enter(Open::Map(head(self.file, span), Vec::new(), None), span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(span, items)) => self.add(Node { span, kind: Kind::List(items) }),
                Some(Open::Map(span, entries, _)) => self.add(Node { span, kind: Kind::Map(entries) }),
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn count(&mut self, span: Span) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES { Err(SyntaxError::too_many(span)) } else { Ok(()) }
    }

    fn enter(&mut self, open: Open, span: Span) -> Result<(), SyntaxError> {
        self.count(span)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError::too_deep(span));
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), SyntaxError> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => match key.take() {
                None => *key = Some(as_key(node, entries, self.file)?),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node, entries: &[(Key, Node)], file: &SourceFile<'_>) -> Result<Key, SyntaxError> {
    let Kind::Scalar(text) = node.kind else {
        return Err(SyntaxError::new(Code::Syntax, node.span, "a key is text, not a list or mapping"));
    };
    if text.text.is_empty() {
        let error = SyntaxError::new(Code::Syntax, node.span, "a key cannot be empty");
        return Err(error.help("write a key before the `:`"));
    }
    repeated(&text.text, node.span, entries, file)?;
    Ok(Key { text: text.text, span: node.span })
}

/// Refuses a key that is there already.
pub(super) fn repeated(
    key: &str,
    span: Span,
    entries: &[(Key, Node)],
    file: &SourceFile<'_>,
) -> Result<(), SyntaxError> {
    if entries.len() >= MAX_KEYS {
        return Err(SyntaxError::new(
            Code::TooDeep,
            span,
            format!("a mapping has more than {MAX_KEYS} keys"),
        ));
    }
    let Some((first, _)) = entries.iter().find(|(known, _)| known.text == key) else { return Ok(()) };
    let line = file.place(first.span).line;
    let shown: String = key.escape_debug().take(64).collect();
    let message = format!("the key `{shown}` stands twice in this mapping, first on line {line}");
    let error = SyntaxError::new(Code::RepeatedKey, span, message);
    Err(error.help("keep one of the two; readers disagree on which of them counts"))
}

fn feature(span: Span, what: &str) -> SyntaxError {
    SyntaxError::new(Code::YamlFeature, span, format!("{what} is not used in bundles"))
        .help("write the value out where it is used, in one document per file")
}

fn plainly(span: Span, anchor: usize, tag: Option<&Tag>) -> Result<(), SyntaxError> {
    match tag {
        Some(_) => Err(feature(span, "a tag")),
        None if anchor != 0 => Err(feature(span, "an anchor")),
        None => Ok(()),
    }
}

/// A scalar's span without the line breaks a block ends with.
fn trimmed(file: &SourceFile<'_>, span: Span) -> Span {
    let text = file.slice(span);
    Span::new(span.start, span.start.saturating_add(text.trim_end().len()))
}

/// The first word of a collection, which stands for it in an excerpt.
fn head(file: &SourceFile<'_>, span: Span) -> Span {
    let rest = file.text().get(span.start..).unwrap_or_default();
    let word = rest.find(|c: char| c.is_whitespace() || matches!(c, ':' | ',')).unwrap_or(rest.len());
    Span::new(span.start, span.start.saturating_add(word.max(1).min(rest.len())))
}
