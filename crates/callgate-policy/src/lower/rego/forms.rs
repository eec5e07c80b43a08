//! Forms of Rego v1 that the parser does not take, found where it gave up, so that they are refused
//! by name.

use crate::syntax::Span;

/// Words that cannot stand behind a dot.
const KEYWORDS: [&str; 14] = [
    "as", "default", "else", "every", "false", "if", "import", "in", "not", "null", "package", "some",
    "true", "with",
];

/// A form that is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) span: Span,
    /// Its name.
    pub(super) name: String,
    /// What to write instead.
    pub(super) help: &'static str,
}

/// The first such form of `text`, outside strings and comments.
pub(super) fn find(text: &str) -> Option<Form> {
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let at = text.len().saturating_sub(rest.len());
        let found = match c {
            '$' => interpolation(rest),
            '.' if before.is_alphanumeric() || matches!(before, '_' | ']' | ')') => keyword(rest),
            _ => None,
        };
        if let Some((length, name, help)) = found {
            return Some(Form { span: Span::new(at, at.saturating_add(length)), name, help });
        }
        before = c;
        rest = rest.get(skipped(rest, c)..)?;
    }
    None
}

/// The bytes of what begins with `c`: a comment, a string or the character.
fn skipped(rest: &str, c: char) -> usize {
    let until = |end: char| rest.get(1..).and_then(|inner| inner.find(end)).map(|at| at.saturating_add(2));
    match c {
        '#' => until('\n').unwrap_or(rest.len()),
        '`' => until('`').unwrap_or(rest.len()),
        '"' => {
            let mut escaped = true;
            let end = rest.char_indices().find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |(at, _)| at.saturating_add(1))
        }
        c => c.len_utf8(),
    }
}

fn interpolation(rest: &str) -> Option<(usize, String, &'static str)> {
    let opens = rest.starts_with("$\"") || rest.starts_with("$`");
    opens.then(|| (2, "$\"…\"".to_owned(), "use `sprintf` or `concat`"))
}

fn keyword(rest: &str) -> Option<(usize, String, &'static str)> {
    let after = rest.get(1..)?;
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    let word = after.get(..end)?;
    let found = KEYWORDS.contains(&word);
    found.then(|| {
        (end.saturating_add(1), format!(".{word}"), "write the word as text in brackets, such as `[\"if\"]`")
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn forms_are_found_outside_strings_and_comments() {
        let name = |text: &str| find(text).map(|form| form.name);
        assert_eq!(name("x := $\"{y}\"").as_deref(), Some("$\"…\""));
        assert_eq!(name("x := \"é\\\"\" # .if\ny := $`z`").as_deref(), Some("$\"…\""));
        assert_eq!(name("x := data.a.if").as_deref(), Some(".if"));
        assert_eq!(name("x[1].with := 1").as_deref(), Some(".with"));
        for text in
            ["", "x := \"a.if $\\\"\"", "# a.if", "x := `a.if`", "data.iffy.in_", "x . if", "\"", "é$ "]
        {
            assert_eq!(name(text), None, "{text}");
        }
    }
}
