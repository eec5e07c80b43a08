//! Patterns over dotted names: `*` is one segment or any run inside one, `**` any number of segments.
//!
//! Matching is linear in the name for each `*`; a pattern has at most [`MAX_STARS`] of them.

use crate::name::fold;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 256;
/// The most `*` in one pattern, so that matching stays bounded.
pub const MAX_STARS: usize = 8;

/// A compiled pattern, such as `job.mcp-bridge.read.*`, `support-*` or `**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

/// One dot-separated part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Text with `*` inside: the parts between the stars.
    Glob(Vec<String>),
    /// `**`: any number of segments, also none.
    Rest,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, or an empty segment.
    #[error("`{0}` has an empty segment; write `*` for any one segment or `**` for any number")]
    EmptySegment(String),
    /// `**` joined with other characters.
    #[error("in `{0}`, `**` must stand alone between dots; write `*` for part of a segment")]
    JoinedRest(String),
    /// Too long or too many stars.
    #[error("`{0}` is too long or has more than {MAX_STARS} stars; split it into several patterns")]
    TooComplex(String),
    /// A character no name can have.
    #[error("`{0}` has a character that no name may have")]
    Invisible(String),
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`PatternError`], with what to write instead.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let shown = || text.escape_debug().take(80).collect::<String>();
        if text.len() > MAX_PATTERN || text.matches('*').count() > MAX_STARS {
            return Err(PatternError::TooComplex(shown()));
        }
        if text.chars().any(crate::name::is_invisible) || text.trim() != text {
            return Err(PatternError::Invisible(shown()));
        }
        let segments = text.split('.').map(|part| segment(part, &shown)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `true` when the pattern names exactly one name.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// The compiled segments, for an index.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The same pattern over folded names.
    #[must_use]
    pub fn folded(&self) -> Self {
        let segments = self.segments.iter().map(Segment::folded).collect();
        Self { text: fold(&self.text), segments }
    }

    /// Whether `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.is_exact() {
            return self.text == name;
        }
        let parts: Vec<&str> = name.split('.').collect();
        match_segments(&self.segments, &parts)
    }
}

fn segment(part: &str, shown: &dyn Fn() -> String) -> Result<Segment, PatternError> {
    match part {
        "" => Err(PatternError::EmptySegment(shown())),
        "**" => Ok(Segment::Rest),
        _ if part.contains("**") => Err(PatternError::JoinedRest(shown())),
        _ if part.contains('*') => Ok(Segment::Glob(part.split('*').map(str::to_owned).collect())),
        _ => Ok(Segment::Literal(part.to_owned())),
    }
}

impl Segment {
    fn folded(&self) -> Self {
        match self {
            Self::Literal(text) => Self::Literal(fold(text)),
            Self::Glob(parts) => Self::Glob(parts.iter().map(|part| fold(part)).collect()),
            Self::Rest => Self::Rest,
        }
    }

    /// Whether one segment of a name matches; [`Segment::Rest`] matches any.
    #[must_use]
    pub fn matches(&self, part: &str) -> bool {
        match self {
            Self::Literal(text) => text == part,
            Self::Glob(parts) => match_glob(parts, part),
            Self::Rest => true,
        }
    }
}

/// Greedy matching with one point to return to: the last `**`.
fn match_segments(pattern: &[Segment], name: &[&str]) -> bool {
    let (mut p, mut n) = (0usize, 0usize);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let (segment, part) = (pattern.get(p), name.get(n));
        match (segment, part) {
            (None, None) => return true,
            (Some(Segment::Rest), _) => {
                retry = Some((p, n));
                p = p.saturating_add(1);
                continue;
            }
            (Some(segment), Some(part)) if segment.matches(part) => {
                p = p.saturating_add(1);
                n = n.saturating_add(1);
                continue;
            }
            _ => {}
        }
        // Mismatch: let the last `**` take one more segment.
        match retry {
            Some((rest, taken)) if taken < name.len() => {
                let taken = taken.saturating_add(1);
                retry = Some((rest, taken));
                p = rest.saturating_add(1);
                n = taken;
            }
            _ => return false,
        }
    }
}

fn match_glob(parts: &[String], text: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return text.is_empty() };
    let Some((last, middle)) = rest.split_last() else { return text == first };
    let Some(text) = text.strip_prefix(first.as_str()) else { return false };
    let Some(mut text) = text.strip_suffix(last.as_str()) else { return false };
    for part in middle {
        match text.split_once(part.as_str()) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn stars_are_segments() {
        assert!(matches("job.mcp-bridge.read.*", "job.mcp-bridge.read.issue"));
        assert!(!matches("job.mcp-bridge.read.*", "job.mcp-bridge.read.issue.all"));
        assert!(!matches("job.mcp-bridge.read.*", "job.mcp-bridge.read"));
        assert!(matches("job.**", "job"));
        assert!(matches("job.**.x", "job.a.b.x"));
        assert!(!matches("job.**.x", "job.a.b.y"));
        assert!(matches("**", "anything.at.all"));
        assert!(matches("support-*", "support-bot"));
        assert!(!matches("support-*", "support-bot.x"));
        assert!(matches("*-prod-*.read", "eu-prod-1.read"));
        assert!(!matches("ab*ba", "aba"));
    }

    #[test]
    fn bad_patterns_say_what_to_write() {
        assert!(matches!(Pattern::new(""), Err(PatternError::EmptySegment(_))));
        assert!(matches!(Pattern::new("a..b"), Err(PatternError::EmptySegment(_))));
        assert!(matches!(Pattern::new("a.b**"), Err(PatternError::JoinedRest(_))));
        assert!(matches!(Pattern::new(&"*a".repeat(9)), Err(PatternError::TooComplex(_))));
        assert!(matches!(Pattern::new("a\u{200b}"), Err(PatternError::Invisible(_))));
    }

    /// The definition, by recursion; exponential, so only for small inputs.
    fn oracle(pattern: &[Segment], name: &[&str]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((Segment::Rest, after)), rest) => {
                oracle(after, name) || rest.is_some_and(|(_, rest)| oracle(pattern, rest))
            }
            (Some((segment, after)), Some((part, rest))) => segment.matches(part) && oracle(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_its_definition(pattern in r"(\*\*|\*|a|b|a\*)(\.(\*\*|\*|a|b|\*b)){0,4}", name in r"[ab]{1,2}(\.[ab]{1,2}){0,5}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let parts: Vec<&str> = name.split('.').collect();
                prop_assert_eq!(pattern.matches(&name), oracle(pattern.segments(), &parts));
            }
        }

        #[test]
        fn a_folded_pattern_matches_what_the_exact_one_does(pattern in r"([a-zA-Z0-9|]{1,4}|\*)(\.([a-zA-Z0-9]{1,4}|\*|[a-z]\*)){0,2}", name in "[a-zA-Z0-9.|]{1,10}") {
            let pattern = Pattern::new(&pattern).unwrap();
            if pattern.matches(&name) {
                prop_assert!(pattern.folded().matches(&fold(&name)));
            }
        }
    }
}
