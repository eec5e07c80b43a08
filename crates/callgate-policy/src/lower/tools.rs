//! `tools/*.json`, which servers write, to the catalogue.
//!
//! The format is the `tools/list` result of the Model Context Protocol: unknown keys of a tool are
//! its server's business. Only explicit hints make tags; a hint that is absent says nothing.

use std::collections::BTreeSet;

use callgate_core::catalogue::{Catalogue, CatalogueTool};
use callgate_core::name::Name;
use callgate_core::request::Tool;

use super::Part;
use crate::codes::Code;
use crate::decode::{Fields, Flag, NameText, OneOrList, Shape, Sink};
use crate::diagnostic::Problems;
use crate::language::measures::CostText;
use crate::syntax::{Kind, Node, SourceFile, Span, Text};

record! {
    /// What a catalogue says of a tool beside what its server says.
    struct ToolExtra {
        /// Risk tags that every call of the tool carries.
        optional risk_tags: OneOrList<NameText>,
        /// What a call of the tool costs at least, by unit.
        optional cost: CostText,
    }
}

/// The keys of a `tools/list` result, and ours.
const KEYS: [&str; 4] = ["tools", "server", "nextCursor", "_meta"];

/// Reads all tools.
pub(super) fn lower(parts: &[Part<'_, Node>], problems: &mut Problems) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for Part { file, text: root, .. } in parts {
        let sink = &mut Sink { file, problems };
        let Some(server) = server(file, root, sink) else { continue };
        for tool in list(root, sink).unwrap_or_default() {
            let Some(read) = tool_of(&server, tool, sink) else { continue };
            if let Err(refused) = catalogue.insert(read) {
                let message = format!("the tool `{refused}`, or one that looks alike, is there already");
                sink.add(Code::RepeatedTool, name_span(tool), message).help("keep one of the two");
            }
        }
    }
    catalogue
}

fn name_span(tool: &Node) -> Span {
    tool.get("name").unwrap_or(tool).span
}

/// The list of tools: the value itself, or its `tools`.
fn list<'n>(root: &'n Node, sink: &mut Sink<'_>) -> Option<&'n [Node]> {
    if matches!(root.kind, Kind::List(_)) {
        return Some(root.items());
    }
    Fields::open(root, &KEYS, sink)?;
    if let Some(cursor) = root.get("nextCursor").filter(|node| !node.scalar().is_some_and(Text::is_null)) {
        sink.add(Code::BadSchema, cursor.span, "the list has further pages, so tools are missing here")
            .help("ask the server for all pages and join their `tools`");
    }
    let Some(tools) = root.get("tools") else {
        sink.add(Code::MissingKey, root.span, "the key `tools` is missing here")
            .help("write the server's `tools/list` result, or the list of tools alone");
        return None;
    };
    if matches!(tools.kind, Kind::List(_)) {
        Some(tools.items())
    } else {
        sink.wrong_type(tools, "a list of tools")
    }
}

/// The server: `server`, or the file's name.
fn server(file: &SourceFile<'_>, root: &Node, sink: &mut Sink<'_>) -> Option<Name> {
    let (name, span) = match root.get("server") {
        Some(node) => (NameText::decode(node, sink)?, node.span),
        None => {
            let stem = file.path().rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
            (Name::new(stem.unwrap_or_default()).ok()?, root.span)
        }
    };
    if name.as_str().contains('.') {
        sink.add(
            Code::BadName,
            span,
            format!("the server `{name}` has a dot, which separates it from its tools"),
        )
        .help("name it by `\"server\": \"…\"` beside `\"tools\"`, with `-` for `.`");
        return None;
    }
    Some(name)
}

fn tool_of(server: &Name, tool: &Node, sink: &mut Sink<'_>) -> Option<CatalogueTool> {
    if !matches!(tool.kind, Kind::Map(_)) {
        return sink.wrong_type(tool, "a tool, a mapping with a `name`");
    }
    let Some(name) = tool.get("name") else {
        sink.add(Code::MissingKey, tool.span, "the tool has no `name`");
        return None;
    };
    let name = NameText::decode(name, sink);
    let extra = extra(tool, sink);
    let risk_tags = risk_tags(tool, extra.as_ref(), sink);
    let schema = tool.get("inputSchema");
    if let Some(schema) = schema.filter(|schema| !matches!(schema.kind, Kind::Map(_))) {
        return sink.wrong_type(schema, "a JSON Schema, a mapping");
    }
    let cost = extra?.cost.map(|cost| cost.value).unwrap_or_default();
    match Tool::new(Some(server.clone()), name?) {
        Ok(known) => Some(CatalogueTool {
            identity: known.identity,
            input_schema: schema.map(Node::to_value),
            risk_tags: risk_tags?,
            cost,
        }),
        Err(error) => {
            sink.add(Code::BadSchema, name_span(tool), error.to_string());
            None
        }
    }
}

/// What the catalogue says of a tool beside what its server says; `None` only after a report.
fn extra(tool: &Node, sink: &mut Sink<'_>) -> Option<ToolExtra> {
    match tool.get("x-callgate") {
        Some(node) => ToolExtra::decode(node, sink),
        None => Some(ToolExtra { risk_tags: None, cost: None }),
    }
}

/// The tags that the hints and the catalogue give a tool. A read-only tool cannot be destructive,
/// whatever `destructiveHint` says (MCP, ToolAnnotations).
fn risk_tags(tool: &Node, extra: Option<&ToolExtra>, sink: &mut Sink<'_>) -> Option<BTreeSet<Name>> {
    let annotations = tool.get("annotations");
    let mut hint = |word: &str| -> Option<Option<bool>> {
        annotations
            .and_then(|hints| hints.get(word))
            .map_or(Some(None), |node| Flag::decode(node, sink).map(Some))
    };
    let (read_only, destructive, external) =
        (hint("readOnlyHint"), hint("destructiveHint"), hint("openWorldHint"));
    let (read_only, destructive, external) = (read_only?, destructive?, external?);
    let words = [
        (read_only == Some(true), "read"),
        (read_only == Some(false), "write"),
        (destructive == Some(true) && read_only != Some(true), "destructive"),
        (external == Some(true), "external"),
    ];
    let hinted = words.into_iter().filter(|(holds, _)| *holds).filter_map(|(_, word)| Name::new(word).ok());
    let written = extra?.risk_tags.iter().flat_map(|tags| &tags.value).map(|tag| tag.value.clone());
    Some(hinted.chain(written).collect())
}
