//! The routing header of a Rego file: the metadata right above its package clause.

use callgate_core::name::Name;

use crate::codes::Code;
use crate::decode::{Shape as _, Sink};
use crate::diagnostic::Problems;
use crate::language::rego::HeaderText;
use crate::syntax::{self, Node, SourceFile, Span};

/// Reads the header above the package clause at byte `package`, and its tree; reports what is wrong with it.
pub(super) fn read(
    file: &SourceFile<'_>,
    package: usize,
    problems: &mut Problems,
) -> Option<(HeaderText, Node)> {
    let block = block(file.text(), package);
    stray(file, block, problems);
    let block = block?;
    let yaml = bared(file.text(), block);
    if yaml.trim().is_empty() {
        return None;
    }
    let root = syntax::parse(&SourceFile::new(file.path(), &yaml), problems)?;
    if let Some(scope) = root.get("scope")
        && scope.scalar().is_none_or(|text| text.text != "package")
        && custom(&root).is_some()
    {
        problems
            .add(Code::RegoHeader, file, scope.span, "a routing header is that of its package")
            .help("write `scope: package`, or leave `scope` out");
    }
    let written = custom(&root)?;
    Some((HeaderText::decode(written, &mut Sink { file, problems })?, written.clone()))
}

fn custom(root: &Node) -> Option<&Node> {
    root.get("custom")?.get("callgate")
}

/// The lines below `# METADATA` in the comment that ends at the package clause.
fn block(text: &str, package: usize) -> Option<Span> {
    let mut start = text.get(..package)?.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let end = start;
    while let Some(above) = start.checked_sub(1) {
        let line = text.get(..above)?.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let written = text.get(line..above)?.trim();
        if !written.starts_with('#') {
            return None;
        }
        if written.trim_start_matches('#').trim() == "METADATA" {
            return Some(Span::new(start, end));
        }
        start = line;
    }
    None
}

/// The block alone, without its comment marks; everything stands where it stood.
fn bared(text: &str, block: Span) -> String {
    let mut out = String::with_capacity(block.end);
    let mut mark = true;
    for (at, c) in text.char_indices().take_while(|(at, _)| *at < block.end) {
        let keep = at >= block.start && !(mark && c == '#');
        if at >= block.start && !c.is_whitespace() {
            mark = false;
        }
        match c {
            '\n' => {
                out.push('\n');
                mark = true;
            }
            c if keep => out.push(c),
            c => out.extend(std::iter::repeat_n(' ', c.len_utf8())),
        }
    }
    out
}

/// A header anywhere else would be silently without effect.
fn stray(file: &SourceFile<'_>, block: Option<Span>, problems: &mut Problems) {
    let mut start = 0usize;
    for line in file.text().split_inclusive('\n') {
        let span = Span::new(start, start.saturating_add(line.trim_end().len()));
        start = start.saturating_add(line.len());
        let inside = block.is_some_and(|block| (block.start..block.end).contains(&span.start));
        let comment = line.trim_start().strip_prefix('#');
        if !inside && comment.is_some_and(|comment| comment.trim_start().starts_with("callgate:")) {
            problems
                .add(Code::RegoHeader, file, span, "the routing header is not where it is read")
                .help("put it under `# METADATA` in the comment right above `package`");
        }
    }
}

/// The id of a package: the header's, else its path.
pub(super) fn id(header: Option<&HeaderText>, package: &[String]) -> Result<(Name, Option<Span>), String> {
    match header.and_then(|header| header.id.as_ref()) {
        Some(id) => Ok((id.value.clone(), Some(id.span))),
        None => Name::new(&package.join(".")).map(|name| (name, None)).map_err(|error| error.to_string()),
    }
}
