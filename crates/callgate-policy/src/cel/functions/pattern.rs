//! Regular expressions in RE2's syntax, compiled with the rule and matched in linear time.
//!
//! A pattern that fits becomes a table that looks at each byte once; others are simulated, and their
//! price is the product of both sizes.

use regex::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};
use regex_syntax::ast::{self, AssertionKind, Ast, ClassPerlKind, ClassSetItem, Span, Visitor};

use super::super::error::{EvalError, shown};
use super::super::fuel::Fuel;

/// How deep groups and repetitions may nest.
const NEST_LIMIT: u32 = 32;
/// The largest table, in bytes.
const TABLE_LIMIT: usize = 64 << 10;
/// The memory that making the table may take, in bytes.
const TABLE_WORK: usize = 512 << 10;
/// Size limits of a pattern that is simulated, in bytes, and what a byte of text then costs in fuel.
const SIMULATED: [(usize, usize); 3] = [(8 << 10, 16), (32 << 10, 64), (128 << 10, 256)];

/// A compiled pattern.
pub(in super::super) enum Pattern {
    /// Costs a constant for each byte of text.
    Table(Box<dense::DFA<Vec<u32>>>),
    /// Costs `fuel_per_byte` for each byte of text.
    Simulated { regex: Regex, fuel_per_byte: usize },
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it, as a message.
    pub(in super::super) fn new(text: &str) -> Result<Self, String> {
        let translated = ascii_classes(text)?;
        match table(&translated) {
            Some(table) => Ok(Self::Table(Box::new(table))),
            None => simulated(&translated).map_err(|large| match large {
                true => format!("the pattern `{}` is too large; use shorter repetitions", shown(text)),
                false => format!("`{}` is no regular expression", shown(text)),
            }),
        }
    }

    /// Whether it matches anywhere in `text`.
    pub(in super::super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, EvalError> {
        match self {
            Self::Table(table) => {
                fuel.burn_bytes(text.len())?;
                // The table has no bytes to give up at; if it did, not knowing would be an error.
                let found = table.try_search_fwd(&Input::new(text).earliest(true));
                let unknown = |_| EvalError::argument("matches", text, "the pattern cannot be applied to it");
                found.map(|found| found.is_some()).map_err(unknown)
            }
            Self::Simulated { regex, fuel_per_byte } => {
                fuel.burn_elements(text.len().saturating_add(1).saturating_mul(*fuel_per_byte))?;
                Ok(regex.is_match(text))
            }
        }
    }
}

fn table(text: &str) -> Option<dense::DFA<Vec<u32>>> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .match_kind(MatchKind::All)
                // Skipping ahead is faster on most texts and slower on hostile ones; the bound counts.
                .accelerate(false)
                .dfa_size_limit(Some(TABLE_LIMIT))
                .determinize_size_limit(Some(TABLE_WORK)),
        )
        .syntax(syntax::Config::new().nest_limit(NEST_LIMIT))
        .thompson(thompson::Config::new().nfa_size_limit(Some(TABLE_WORK)))
        .build(text)
        .ok()
}

/// The simulated pattern; `Err(true)` if it is too large, `Err(false)` if it is none.
fn simulated(text: &str) -> Result<Pattern, bool> {
    for (size, fuel_per_byte) in SIMULATED {
        match RegexBuilder::new(text).size_limit(size).dfa_size_limit(1 << 18).nest_limit(NEST_LIMIT).build()
        {
            Ok(regex) => return Ok(Pattern::Simulated { regex, fuel_per_byte }),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(_) => return Err(false),
        }
    }
    Err(true)
}

/// `\d`, `\w`, `\s` and `\b` mean ASCII in RE2; here they are rewritten to say so.
fn ascii_classes(text: &str) -> Result<String, String> {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(text);
    let parsed =
        parsed.map_err(|error| format!("`{}` is no regular expression: {}", shown(text), error.kind()))?;
    let replaced = ast::visit(&parsed, Classes::default()).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, ascii) in replaced {
        out.push_str(text.get(at..span.start.offset).unwrap_or(""));
        out.push_str(&ascii);
        at = span.end.offset;
    }
    out.push_str(text.get(at..).unwrap_or(""));
    Ok(out)
}

/// Collects what stands for Unicode by default, in the order of the text.
#[derive(Default)]
struct Classes {
    found: Vec<(Span, String)>,
}

fn class(perl: &ast::ClassPerl) -> String {
    let not = if perl.negated { "^" } else { "" };
    let name = match perl.kind {
        ClassPerlKind::Digit => "digit",
        ClassPerlKind::Space => "space",
        ClassPerlKind::Word => "word",
    };
    format!("[:{not}{name}:]")
}

impl Visitor for Classes {
    type Output = Vec<(Span, String)>;
    type Err = ();

    fn finish(mut self) -> Result<Self::Output, ()> {
        self.found.sort_by_key(|(span, _)| span.start.offset);
        Ok(self.found)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        match ast {
            Ast::ClassPerl(perl) => self.found.push((perl.span, format!("[{}]", class(perl)))),
            Ast::Assertion(assertion) if assertion.kind == AssertionKind::WordBoundary => {
                self.found.push((assertion.span, "(?-u:\\b)".to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), ()> {
        if let ClassSetItem::Perl(perl) = item {
            self.found.push((perl.span, class(perl)));
        }
        Ok(())
    }
}
