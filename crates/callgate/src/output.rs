//! What people and programs see: data on standard output, everything else on standard error.
//!
//! Colours are for terminals only, and never when `NO_COLOR` is set. Text from outside goes through [`plain`], so that
//! nothing in a log or a bundle can move the cursor.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// How data is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Writes a line of data.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).map_err(Failure::unexpected)?)
}

/// Writes a value as JSON on one line, for streams.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(Failure::unexpected)?)
}

/// Says something beside the data.
pub(crate) fn note(text: &str) {
    // When standard error is gone, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong.
pub(crate) fn complain(message: &str) {
    note(&format!("{}: {}", Paint::stderr().red("error"), message.trim_end()));
}

/// Says what should not be overlooked.
pub(crate) fn warn(message: &str) {
    note(&format!("{}: {}", Paint::stderr().yellow("warning"), message.trim_end()));
}

/// Text without characters that could play tricks on a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || callgate_core::name::is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A moment, `2026-11-20T09:30:00.123Z`.
pub(crate) fn moment(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms);
    at.map_or_else(|_| format!("{ms} ms"), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// What a rule or guard said, and where the rule stands.
pub(crate) fn reason(message: &str, rule: Option<&String>, source: Option<&String>) -> String {
    let place = source.map(|source| format!(" at {}", plain(source))).unwrap_or_default();
    match rule {
        // A rule without a sentence of its own says its name.
        Some(rule) if message.contains(&format!("`{rule}`")) => format!("{}{place}", plain(message)),
        Some(rule) => format!("{} (`{}`{place})", plain(message), plain(rule)),
        None => plain(message),
    }
}

/// Who must agree, such as `1 of role:finance, then 2 of any reviewer`.
pub(crate) fn stages<N: std::fmt::Display>(stages: &[(N, &[String])]) -> String {
    let one = |(quorum, reviewers): &(N, &[String])| match reviewers {
        [] => format!("{quorum} of any reviewer"),
        named => format!("{quorum} of {}", plain(&named.join(", "))),
    };
    stages.iter().map(one).collect::<Vec<_>>().join(", then ")
}

/// `1 receipt`, `2 receipts`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn stdout() -> Self {
        Self { on: io::stdout().is_terminal() && wanted() }
    }

    pub(crate) fn stderr() -> Self {
        Self { on: io::stderr().is_terminal() && wanted() }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31;1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with("32;1", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33;1", text)
    }

    /// A decision in its colour; it may be padded.
    pub(crate) fn decision(self, word: &str) -> String {
        match word.trim_end() {
            "ALLOW" | "ALLOW_WITH_CONSTRAINTS" => self.green(word),
            "DENY" => self.red(word),
            _ => self.yellow(word),
        }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{202e}ü"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{202e}ü");
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(1_715_508_000_123), "2024-05-12T10:00:00.123Z");
        assert_eq!(moment(1_715_508_000_000), "2024-05-12T10:00:00.000Z");
    }
}
