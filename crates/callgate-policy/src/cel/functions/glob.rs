//! `glob.matches(path, "src/**/*.rs")`: patterns of paths, compiled with the rule to linear time.

use super::super::error::{EvalError, shown};
use super::super::fuel::Fuel;
use super::pattern::Pattern;
use super::{BOOL, Definition, STR, Style, define, sig, unsuited};

/// The longest pattern.
const LONGEST: usize = 512;

pub(super) const TABLE: &[Definition] = &[
    // Lowered to a compiled pattern; never called.
    define("glob.matches", Style::Function, &[sig(&[STR, STR], BOOL)], |args, _| {
        Err(unsuited("glob.matches", args))
    }),
];

/// A compiled glob.
pub(in super::super) struct Glob(Pattern);

impl Glob {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it, as a message.
    pub(in super::super) fn new(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| format!("`{}` is no pattern of paths: {reason}", shown(text));
        if text.len() > LONGEST {
            return Err(wrong("it has more than 512 bytes"));
        }
        let translated = translate(text).map_err(wrong)?;
        Pattern::new(&translated).map(Self).map_err(|_| wrong("it is too large"))
    }

    /// Whether all of `text` fits. A text with `..`, `.` or empty parts, backslashes or control
    /// characters may lead elsewhere than it says, and is an error.
    pub(in super::super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, EvalError> {
        fuel.burn_bytes(text.len())?;
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let unclear = |part: &str| matches!(part, "" | "." | "..");
        if text.contains('\\') || text.chars().any(char::is_control) || inner.split('/').any(unclear) {
            let reason = "it has `.`, `..` or empty parts, a backslash or a control character";
            return Err(EvalError::argument("glob.matches", text, reason));
        }
        self.0.is_match(text, fuel)
    }
}

/// The regular expression of a glob.
fn translate(text: &str) -> Result<String, &'static str> {
    if text.contains('\\') {
        return Err("write a sign that means itself in brackets, as `[*]`");
    }
    let mut out = String::from("(?s)\\A");
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "**" if last => out.push_str(".+"),
            "**" => out.push_str("(?:[^/]+/)*"),
            segment if segment.contains("**") => return Err("`**` stands alone between slashes"),
            segment => {
                part(segment, &mut out)?;
                out.push_str(if last { "" } else { "/" });
            }
        }
    }
    out.push_str("\\z");
    Ok(out)
}

fn part(segment: &str, out: &mut String) -> Result<(), &'static str> {
    let mut chars = segment.chars();
    let mut open = false;
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => class(&mut chars, out)?,
            '{' if open => return Err("braces do not nest"),
            '{' => {
                open = true;
                out.push_str("(?:");
            }
            '}' if open => {
                open = false;
                out.push(')');
            }
            ',' if open => out.push('|'),
            ']' | '}' => return Err("a bracket closes that is not open"),
            c => literal(c, out),
        }
    }
    if open { Err("a brace does not close before the next slash") } else { Ok(()) }
}

fn literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// `[abc]`, `[a-z]`, `[!a-z]`, after the opening bracket. Never a slash.
fn class(chars: &mut std::str::Chars<'_>, out: &mut String) -> Result<(), &'static str> {
    let (body, rest) = chars.as_str().split_once(']').ok_or("a bracket does not close")?;
    *chars = rest.chars();
    let (negated, members) = match body.strip_prefix('!') {
        Some(members) => (true, members),
        None => (false, body),
    };
    if members.is_empty() {
        return Err("brackets hold at least one character");
    }
    out.push_str(if negated { "[^/" } else { "[" });
    for (at, c) in members.char_indices() {
        let inner = at > 0 && at.saturating_add(1) < members.len();
        if c == '-' && inner {
            out.push('-');
        } else {
            literal(c, out);
        }
    }
    out.push(']');
    Ok(())
}
