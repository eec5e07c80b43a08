//! The report for people and for programs.

use std::fmt::{self, Write as _};

use callgate_core::name::is_invisible;

use crate::codes::Severity;
use crate::diagnostic::{Diagnostic, Place, Report};

impl Report {
    /// The report for people: each problem with its excerpt and a caret below the place.
    #[must_use]
    pub fn render(&self) -> String {
        self.to_string()
    }

    /// The report for programs: `{"diagnostics":[…],"errors":n,"warnings":n}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "diagnostics": self.diagnostics(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
        })
        .to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in self.diagnostics() {
            writeln!(f, "{found}")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        writeln!(f, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))
    }
}

impl std::error::Error for Report {}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity.as_str(), self.code, shown(&self.message))?;
        let mut margin = 2;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            margin = number.len().saturating_add(1);
            writeln!(f, "{:margin$}--> {}:{}:{}", "", shown(&self.file), place.line, place.column)?;
            if let Some(excerpt) = &self.excerpt {
                writeln!(f, "{:margin$} |", "")?;
                writeln!(f, "{number:>margin$} | {}", shown(excerpt).trim_end())?;
                writeln!(f, "{:margin$} | {}", "", self.carets(excerpt, place))?;
            }
        } else if !self.file.is_empty() {
            writeln!(f, "{:margin$}--> {}", "", shown(&self.file))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:margin$} = help: {}", "", shown(help))?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// Carets below the place, at least one, at most to the end of the line.
    fn carets(&self, excerpt: &str, place: &Place) -> String {
        let width = |text: &str| shown(text).chars().count();
        let column = usize::try_from(place.column.saturating_sub(self.excerpt_column)).unwrap_or(0);
        let length = if place.end_line == place.line {
            usize::try_from(place.end_column.saturating_sub(place.column)).unwrap_or(1)
        } else {
            usize::MAX
        };
        let before: String = excerpt.chars().take(column).collect();
        let marked: String = excerpt.chars().skip(column).take(length).collect();
        format!("{}{}", " ".repeat(width(&before)), "^".repeat(width(marked.trim_end()).max(1)))
    }
}

/// Text without characters that could play tricks on a terminal; tabs become spaces.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            // Writing to a `String` cannot fail.
            c if is_invisible(c) => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
