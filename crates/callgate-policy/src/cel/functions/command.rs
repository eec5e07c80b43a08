//! Command lines of a POSIX shell, taken apart without guessing: what a shell would expand, redirect,
//! nest or assign is an error, so that the words given here are the words that would run.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::types::Kind;
use super::super::value::CelValue;
use super::{BOOL, Definition, ListOf, STR, Style, Table, define, sig, unsuited};

/// Words that begin something other than a simple command when they come first (POSIX 2.4, and bash's).
const RESERVED: [&str; 21] = [
    "!", "{", "}", "[[", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function",
    "if", "in", "select", "then", "time", "until", "while",
];

pub(super) const TABLE: &[Definition] = &[
    define("cmd.argv", Style::Function, &[sig(&[STR], ListOf(Kind::Str))], argv),
    define("cmd.is_simple", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("cmd.is_simple", args)) };
        Ok(CelValue::Bool(simple(text, fuel)?.is_ok()))
    }),
    define("cmd.commands", Style::Function, &[sig(&[STR], Table)], commands),
    define("cmd.program", Style::Function, &[sig(&[ListOf(Kind::Str)], STR)], program),
    define("cmd.has_flag", Style::Function, &[sig(&[ListOf(Kind::Str), STR], BOOL)], has_flag),
];

/// What a command line is made of.
enum Piece {
    Word {
        text: String,
        reserved: bool,
    },
    /// `;`, `&`, `|`, `&&`, `||` or a line break.
    Join,
}

/// The first thing that is not plain.
type Refused = &'static str;

fn words<'a>(list: Vec<String>) -> CelValue<'a> {
    CelValue::list(list.into_iter().map(CelValue::string).collect())
}

fn burn(text: &str, fuel: &mut Fuel) -> Result<(), EvalError> {
    // Each byte is looked at and may be copied, and each may begin a word.
    fuel.burn_elements(text.len().div_euclid(2).saturating_add(1))
}

fn argv<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited("cmd.argv", args)) };
    simple(text, fuel)?.map(words).map_err(|reason| EvalError::argument("cmd.argv", text, reason))
}

/// The words of the one simple command that `text` is.
fn simple(text: &str, fuel: &mut Fuel) -> Result<Result<Vec<String>, Refused>, EvalError> {
    burn(text, fuel)?;
    Ok(split(text).and_then(|mut lists| match (lists.pop(), lists.pop()) {
        (Some((only, false)), None) => Ok(only),
        _ => Err("it joins commands; `cmd.commands` takes them apart"),
    }))
}

fn commands<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited("cmd.commands", args)) };
    burn(text, fuel)?;
    let lists = split(text).map_err(|reason| EvalError::argument("cmd.commands", text, reason))?;
    Ok(CelValue::list(lists.into_iter().map(|(list, _)| words(list)).collect()))
}

/// The simple commands of `text`, each with whether an operator follows it.
fn split(text: &str) -> Result<Vec<(Vec<String>, bool)>, Refused> {
    let mut found = Vec::new();
    let mut current: Vec<String> = Vec::new();
    for piece in pieces(text)? {
        match piece {
            Piece::Word { reserved: true, .. } if current.is_empty() => {
                return Err("it begins with a reserved word or an assignment");
            }
            Piece::Word { text, .. } => current.push(text),
            Piece::Join if current.is_empty() => return Err("an operator has no command before it"),
            Piece::Join => found.push((std::mem::take(&mut current), true)),
        }
    }
    if !current.is_empty() {
        found.push((current, false));
    }
    if found.is_empty() { Err("there is no command") } else { Ok(found) }
}

fn pieces(text: &str) -> Result<Vec<Piece>, Refused> {
    let mut reader = Reader { rest: text.chars().peekable(), found: Vec::new() };
    reader.run()?;
    Ok(reader.found)
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    found: Vec<Piece>,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<(), Refused> {
        while let Some(&c) = self.rest.peek() {
            match c {
                ' ' | '\t' => {
                    self.rest.next();
                }
                ';' | '&' | '|' | '\n' => self.join(c),
                '#' => return Err("it has a comment"),
                _ => self.word()?,
            }
        }
        Ok(())
    }

    fn join(&mut self, c: char) {
        self.rest.next();
        if matches!(c, '&' | '|') {
            self.rest.next_if_eq(&c);
        }
        self.found.push(Piece::Join);
    }

    fn word(&mut self) -> Result<(), Refused> {
        let mut out = String::new();
        // Whether everything so far was written without quotes, as reserved words and assignments are.
        let mut bare = true;
        let mut assigns = false;
        while let Some(&c) = self.rest.peek() {
            match c {
                ' ' | '\t' | ';' | '&' | '|' | '\n' => break,
                '\'' => {
                    bare = false;
                    self.single(&mut out)?;
                }
                '"' => {
                    bare = false;
                    self.double(&mut out)?;
                }
                '\\' => {
                    bare = false;
                    self.rest.next();
                    match self.rest.next() {
                        Some(c) if !c.is_control() => out.push(c),
                        _ => return Err("a backslash stands before a control character or the end"),
                    }
                }
                c => {
                    let after = out.chars().next_back();
                    if c == '~' && (out.is_empty() || matches!(after, Some('=' | ':'))) {
                        return Err("it has a tilde that a shell expands");
                    }
                    expands(c)?;
                    assigns = assigns || (c == '=' && bare && is_name(&out));
                    out.push(c);
                    self.rest.next();
                }
            }
        }
        let reserved = assigns || (bare && RESERVED.contains(&out.as_str()));
        self.found.push(Piece::Word { text: out, reserved });
        Ok(())
    }

    fn single(&mut self, out: &mut String) -> Result<(), Refused> {
        self.rest.next();
        for c in self.rest.by_ref() {
            match c {
                '\'' => return Ok(()),
                '\0' => return Err("it has a NUL"),
                c => out.push(c),
            }
        }
        Err("a quote does not end")
    }

    fn double(&mut self, out: &mut String) -> Result<(), Refused> {
        self.rest.next();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return Ok(()),
                '$' | '`' => return Err("it expands a variable or a command"),
                '\0' => return Err("it has a NUL"),
                '\\' => match self.rest.peek() {
                    Some('$' | '`' | '"' | '\\') => out.extend(self.rest.next()),
                    Some('\n') => return Err("a line goes on after a backslash"),
                    _ => out.push('\\'),
                },
                c => out.push(c),
            }
        }
        Err("a quote does not end")
    }
}

/// Refuses what means more than itself outside quotes.
fn expands(c: char) -> Result<(), Refused> {
    match c {
        '$' | '`' => Err("it expands a variable or a command"),
        '(' | ')' => Err("it has a subshell"),
        '<' | '>' => Err("it redirects"),
        '*' | '?' | '[' | ']' => Err("it has a pattern that a shell expands"),
        '{' | '}' => Err("it has braces that a shell expands"),
        c if c.is_control() || (c.is_whitespace() && !c.is_ascii()) => {
            Err("it has a control character or an unusual space")
        }
        _ => Ok(()),
    }
}

/// Whether the text before a `=` makes the word an assignment (`A=`, `A+=`).
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('+').unwrap_or(text);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The last part of the first word: `rm` of `/bin/rm`.
fn program<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list)] = args else { return Err(unsuited("cmd.program", args)) };
    let reason = "it needs the words of a command, as `cmd.argv` gives them";
    match list.get(0) {
        Some(CelValue::Str(first)) => {
            fuel.burn_bytes(first.len())?;
            let name = first.rsplit('/').next().unwrap_or("");
            if name.is_empty() {
                return Err(EvalError::argument("cmd.program", &first, reason));
            }
            Ok(CelValue::string(name))
        }
        _ => Err(EvalError::argument("cmd.program", "[]", reason)),
    }
}

/// Whether any word may set the flag: `-r` is found in `-fr`, `--recursive` in `--rec`. Says yes
/// rather than miss one.
fn has_flag<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::List(list), CelValue::Str(flag)] = args else {
        return Err(unsuited("cmd.has_flag", args));
    };
    let mut found = false;
    for item in list.iter().skip(1) {
        let CelValue::Str(word) = &item else { return Err(unsuited("cmd.has_flag", args)) };
        fuel.burn_bytes(word.len())?;
        found = found || sets(word, flag)?;
    }
    Ok(CelValue::Bool(found))
}

fn sets(word: &str, flag: &str) -> Result<bool, EvalError> {
    let wrong = || EvalError::argument("cmd.has_flag", flag, "write a flag as `-r` or `--recursive`");
    if let Some(long) = flag.strip_prefix("--").filter(|name| !name.is_empty()) {
        let given = word.strip_prefix("--").map(|rest| rest.split('=').next().unwrap_or(rest));
        return Ok(given.is_some_and(|given| !given.is_empty() && long.starts_with(given)));
    }
    let mut letters = flag.strip_prefix('-').ok_or_else(wrong)?.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(wrong()) };
    Ok(word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(letter)))
}

/// Checks a flag that a rule writes out.
pub(super) fn check_flag(flag: &str) -> Result<(), EvalError> {
    sets("", flag).map(|_| ())
}
