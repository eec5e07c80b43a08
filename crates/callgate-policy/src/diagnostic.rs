//! What `check` found: every problem with its code, place, excerpt and what to write instead.

use serde::Serialize;

use crate::codes::{Code, Severity};
use crate::syntax::{SourceFile, Span};

/// A stretch of a file; lines and columns count from 1, columns in characters. The end is the place
/// behind the last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The first line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// The last line.
    pub end_line: u32,
    /// The column behind the last character.
    pub end_column: u32,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code, such as `CG0201`.
    pub code: &'static str,
    /// Whether it stops the bundle.
    pub severity: Severity,
    /// The path inside the bundle; empty when the problem is the bundle as a whole.
    pub file: String,
    /// Where in the file.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The line it begins on, as written; of a long line, the part around the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// The column of the excerpt's first character; more than 1 only for long lines.
    pub(crate) excerpt_column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// All problems of a bundle, by file, line, column and code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by(|a, b| key(a).cmp(&key(b)));
        diagnostics.dedup();
        Self { diagnostics }
    }

    /// The problems in order.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether nothing was found, not even a warning.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether the bundle is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many problems there are of that severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == severity).count()
    }
}

fn key(found: &Diagnostic) -> (&str, Option<Place>, &str, &str) {
    (&found.file, found.place, found.code, &found.message)
}

/// The most errors and warnings that are kept; counted apart, so that an error is never lost among
/// warnings.
const MAX_ERRORS: usize = 1000;
const MAX_WARNINGS: usize = 200;

/// Collects problems while a bundle is read.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Diagnostic>,
    /// The last problem that was not kept.
    dropped: Option<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Problems {
    /// Adds a problem at `span` of `file`.
    pub(crate) fn add(
        &mut self,
        code: Code,
        file: &SourceFile<'_>,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let place = file.place(span);
        let (excerpt, excerpt_column) = file.excerpt(span);
        self.push(Diagnostic {
            code: code.as_str(),
            severity: code.severity(),
            file: file.path().to_owned(),
            place: Some(place),
            excerpt: Some(excerpt),
            excerpt_column,
            message: message.into(),
            help: None,
        })
    }

    /// Adds a problem of a whole file, or with an empty path of the whole bundle.
    pub(crate) fn whole(&mut self, code: Code, path: &str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic {
            code: code.as_str(),
            severity: code.severity(),
            file: path.to_owned(),
            place: None,
            excerpt: None,
            excerpt_column: 1,
            message: message.into(),
            help: None,
        })
    }

    /// Keeps the problem, unless there are too many to be read.
    fn push(&mut self, found: Diagnostic) -> &mut Diagnostic {
        let (count, most) = match found.severity {
            Severity::Error => (&mut self.errors, MAX_ERRORS),
            Severity::Warning => (&mut self.warnings, MAX_WARNINGS),
        };
        *count = count.saturating_add(1);
        if *count > most {
            return self.dropped.insert(found);
        }
        let at = self.found.len();
        self.found.push(found);
        #[expect(clippy::indexing_slicing, reason = "`at` was the length before the push")]
        &mut self.found[at]
    }

    /// Whether no more errors are kept, so that looking for more is in vain.
    pub(crate) const fn is_full(&self) -> bool {
        self.errors > MAX_ERRORS
    }

    /// How many errors there are so far.
    pub(crate) const fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn into_report(self) -> Report {
        Report::new(self.found)
    }
}

impl Diagnostic {
    /// Says what to write instead.
    pub(crate) fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}
