//! Absolute POSIX paths, read so strictly that no reader takes them for another place: what could mean
//! something else elsewhere is an error, for rules that permit and for rules that deny.
//!
//! Text cannot show where a symbolic link leads; `docs/cel.md` says what to do about it.

use callgate_core::name::fold;

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::CelValue;
use super::{BOOL, Definition, STR, Style, define, sig, unsuited};

/// The longest path that Linux opens.
const LONGEST: usize = 4096;

/// Characters that look like a dot, a slash or a backslash, whose fold does not say so.
const LOOK_ALIKES: [char; 22] = [
    '\u{2024}', '\u{2025}', '\u{2026}', '\u{3002}', '\u{ff61}', '\u{fe52}', '\u{ff0e}', '\u{2044}',
    '\u{2215}', '\u{29f8}', '\u{ff0f}', '\u{2571}', '\u{27cb}', '\u{1735}', '\u{2216}', '\u{29f5}',
    '\u{29f9}', '\u{ff3c}', '\u{fe68}', '\u{2572}', '\u{0338}', '\u{0337}',
];

pub(super) const TABLE: &[Definition] = &[
    define("path.normalize", Style::Function, &[sig(&[STR], STR)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("path.normalize", args)) };
        let parts = parts("path.normalize", text, fuel)?;
        Ok(CelValue::string(format!("/{}", parts.join("/"))))
    }),
    define("path.under", Style::Function, &[sig(&[STR, STR], BOOL)], |args, fuel| {
        let [CelValue::Str(path), CelValue::Str(root)] = args else {
            return Err(unsuited("path.under", args));
        };
        let root = parts("path.under", root, fuel)?;
        let inner = parts("path.under", path, fuel)?;
        under(&inner, &root, path).map(CelValue::Bool)
    }),
    define("path.is_plain", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("path.is_plain", args)) };
        burn(text, fuel)?;
        Ok(CelValue::Bool(read(text).is_ok()))
    }),
];

fn burn(text: &str, fuel: &mut Fuel) -> Result<(), EvalError> {
    // Longer texts are refused by their length alone; folding looks at each character several times.
    fuel.burn_elements(text.len().min(LONGEST))
}

fn parts<'t>(name: &'static str, text: &'t str, fuel: &mut Fuel) -> Result<Vec<&'t str>, EvalError> {
    burn(text, fuel)?;
    read(text).map_err(|reason| EvalError::argument(name, text, reason))
}

/// Whether `path` is `root` or lies below it. Parts that only look alike, by case or by character, are
/// an error: whether they are one place depends on the file system.
fn under(path: &[&str], root: &[&str], text: &str) -> Result<bool, EvalError> {
    for (at, wanted) in root.iter().enumerate() {
        match path.get(at) {
            Some(part) if part == wanted => {}
            Some(part) if fold(part) == fold(wanted) => {
                let reason = "a part of it looks like one of the root's but is not the same";
                return Err(EvalError::argument("path.under", text, reason));
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The parts of an absolute path between its slashes, without empty ones and `.`.
fn read(text: &str) -> Result<Vec<&str>, &'static str> {
    if text.len() > LONGEST {
        return Err("it is longer than any path");
    }
    let inner = text.strip_prefix('/').ok_or("only a path that begins with `/` says where it leads")?;
    if inner.starts_with('/') {
        return Err("two slashes at the beginning may name another machine");
    }
    if let Some(reason) = text.chars().find_map(suspicious) {
        return Err(reason);
    }
    if has_escape(text) {
        return Err("a percent sign before two hexadecimal digits may be decoded later");
    }
    let mut found = Vec::new();
    for part in inner.split('/').filter(|part| !matches!(*part, "" | ".")) {
        plain(part)?;
        found.push(part);
    }
    if leads_elsewhere(&found) {
        return Err("below /proc and /dev/fd lie links to other places");
    }
    Ok(found)
}

/// Why a character has no place in a plain path.
fn suspicious(c: char) -> Option<&'static str> {
    match c {
        '\\' => Some("some systems read a backslash as a slash"),
        ' '..='~' => None,
        c if c.is_control() => Some("it has a control character"),
        '\u{fffd}' => Some("it has a replacement character"),
        c if LOOK_ALIKES.contains(&c) || folds_to_sign(c) => {
            Some("it has a character that looks like a dot, a slash or another sign of paths")
        }
        c if callgate_core::name::is_invisible(c) || c.is_whitespace() => {
            Some("it has an invisible character or an unusual space")
        }
        _ => None,
    }
}

fn folds_to_sign(c: char) -> bool {
    fold(c.encode_utf8(&mut [0; 4])).contains(['.', '/', '\\', '%', ':', '~'])
}

fn has_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(|three| match three {
        [b'%', a, b] => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        _ => false,
    })
}

fn plain(part: &str) -> Result<(), &'static str> {
    let bytes = part.as_bytes();
    if part == ".." {
        return Err("`..` after a symbolic link leads anywhere; write the path without it");
    }
    if part.ends_with(['.', ' ']) || part.starts_with(' ') {
        return Err("some systems drop spaces and dots at the end of a name");
    }
    if part.starts_with('~') {
        return Err("a tilde may be expanded");
    }
    let drive = matches!(bytes, [letter, b':', ..] if letter.is_ascii_alphabetic());
    if drive || part.contains("::") {
        return Err("a drive or stream of Windows has no place in it");
    }
    Ok(())
}

/// Whether the path goes through a link that the system makes for every program.
fn leads_elsewhere(parts: &[&str]) -> bool {
    match parts {
        ["proc", rest @ ..] => {
            rest.iter().any(|part| matches!(*part, "root" | "cwd" | "fd" | "exe" | "map_files"))
        }
        ["dev", "fd" | "stdin" | "stdout" | "stderr", ..] => true,
        _ => false,
    }
}

/// Checks a root that a rule writes out.
pub(super) fn check_root(root: &str) -> Result<(), EvalError> {
    read(root).map(|_| ()).map_err(|reason| EvalError::argument("path.under", root, reason))
}
