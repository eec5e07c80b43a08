//! Text to a small tree in which every value knows where it stands.
//!
//! The tree is bounded while it is built: size, depth and number of values. Nothing is interpreted
//! yet: `yes` is text here, and stays text.

mod json;
mod node;
mod source;
mod yaml;

pub(crate) use node::{Kind, Node, Text};
pub(crate) use source::{SourceFile, Span};

use crate::codes::Code;
use crate::diagnostic::Problems;

/// The largest file, in bytes.
pub(crate) const MAX_FILE: usize = 1024 * 1024;
/// The most files in a bundle.
pub(crate) const MAX_FILES: usize = 20_000;
/// All files together, in bytes.
pub(crate) const MAX_BUNDLE: usize = 16 * 1024 * 1024;
/// How deep values nest.
pub(crate) const MAX_DEPTH: usize = 32;
/// The most values in one file.
pub(crate) const MAX_NODES: usize = 200_000;

/// Why a text has no tree.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    code: Code,
    span: Span,
    message: String,
    help: Option<&'static str>,
}

impl SyntaxError {
    fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: None }
    }

    fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    fn too_deep(span: Span) -> Self {
        Self::new(Code::TooDeep, span, format!("the file nests deeper than {MAX_DEPTH} levels"))
            .help("write it flatter; no part of the language needs so many levels")
    }

    fn too_many(span: Span) -> Self {
        Self::new(Code::TooDeep, span, format!("the file has more than {MAX_NODES} values"))
            .help("split it into several files")
    }
}

/// Reads a file by the ending of its name; reports why it cannot be read. A file that says nothing is
/// reported as empty.
pub(crate) fn parse(file: &SourceFile<'_>, problems: &mut Problems) -> Option<Node> {
    let parsed = if file.path().ends_with(".json") { json::parse(file) } else { yaml::parse(file) };
    match parsed {
        Ok(Some(node)) => Some(node),
        Ok(None) => {
            problems
                .whole(Code::Empty, file.path(), "the file is empty")
                .help("write what it is for, or delete it");
            None
        }
        Err(error) => {
            let found = problems.add(error.code, file, error.span, error.message);
            if let Some(help) = error.help {
                found.help(help);
            }
            None
        }
    }
}
