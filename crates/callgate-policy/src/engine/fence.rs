//! The fence around parsers and evaluators that others wrote: a look at the text before they see it,
//! a stack with room, and a guard against panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The stack of a parser, in bytes: what [`prescan`] lets through needs a fraction of it.
const ROOM: usize = 64 << 20;

/// Runs `work`, and turns a panic into an error.
///
/// # Errors
/// That it panicked; the panic's message stays out, since it may quote an argument.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the engine failed".to_owned())
}

/// Runs `work` on a thread with a large stack; for parsers and compilers, which recurse.
///
/// # Errors
/// That it panicked, or that there is no thread to be had.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(ROOM).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| format!("no thread to read it on: {e}"))?;
        thread.join().map_err(|_| "the parser failed".to_owned())
    })
}

/// The few things about a language's text that must be known to find its brackets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexis {
    /// What begins a comment to the end of the line.
    pub(crate) comment: &'static str,
    /// The quote of strings without escapes, which may span lines.
    pub(crate) raw_quote: Option<char>,
}

/// Where a text nests too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nesting {
    /// The byte offset of the bracket.
    pub(crate) at: usize,
    /// How deep it may be.
    pub(crate) most: usize,
}

/// Finds the first bracket that nests deeper than `most`. Brackets in strings and comments do not
/// count, and a closing bracket closes only what is open.
///
/// # Errors
/// The bracket.
pub(crate) fn prescan(text: &str, lexis: Lexis, most: usize) -> Result<(), Nesting> {
    let mut depth = 0usize;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => skip_string(&mut chars),
            quote if lexis.raw_quote == Some(quote) => skip_past(&mut chars, quote),
            '(' | '[' | '{' => {
                depth = depth.saturating_add(1);
                if depth > most {
                    return Err(Nesting { at, most });
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ if text.get(at..).is_some_and(|rest| rest.starts_with(lexis.comment)) => {
                skip_past(&mut chars, '\n');
            }
            _ => {}
        }
    }
    Ok(())
}

/// Skips to behind the next `end`.
fn skip_past(chars: &mut std::str::CharIndices<'_>, end: char) {
    let _ = chars.any(|(_, c)| c == end);
}

/// Skips to behind the closing quote of a string with backslash escapes.
fn skip_string(chars: &mut std::str::CharIndices<'_>) {
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEDAR: Lexis = Lexis { comment: "//", raw_quote: None };
    const REGO: Lexis = Lexis { comment: "#", raw_quote: Some('`') };

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        for (text, lexis, deep) in [
            ("((()))", CEDAR, true),
            ("(())()[]{}", CEDAR, false),
            (r#"( ")" ( "\")" ( "#, CEDAR, true),
            (r#"("(((" (")"))"#, CEDAR, false),
            ("( // )\n ( // )\n (", CEDAR, true),
            ("( # )\n ( `)` (", REGO, true),
            ("(`\\` (", REGO, false),
            ("]]]](((", CEDAR, true),
        ] {
            assert_eq!(prescan(text, lexis, 2).is_err(), deep, "{text}");
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        assert!(guarded(|| panic!("once")).is_err());
        assert!(with_room(|| panic!("twice")).is_err());
        assert_eq!(with_room(|| 7), Ok(7));
    }
}
