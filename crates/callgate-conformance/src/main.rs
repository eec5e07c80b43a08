//! The published suites of the policy languages, run against this tree: `make conformance`; and the same
//! authorization in each language, decided on recorded sessions.
//!
//! Nothing of a suite is part of the project. The folders with them are arguments; a suite that
//! is not there is said to be skipped. Exit code 1 means that a suite passed less than its bar.
#![expect(clippy::print_stdout, reason = "a harness prints its figures")]

mod cedar;
mod cel;
mod languages;
mod rego;
mod report;
mod suites;
mod textproto;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;

/// One suite: its name, its archive, and what runs it on the extracted files.
struct Part {
    name: &'static str,
    archive: &'static str,
    run: fn(&std::path::Path) -> Result<Report, String>,
}

const PARTS: [Part; 3] = [
    Part { name: "cedar", archive: "cedar-corpus-tests.tar.gz", run: cedar::run },
    Part { name: "cel", archive: "cel-spec-simple.tar.xz", run: cel::run },
    Part { name: "rego", archive: "opa-rego-v1.tar.xz", run: rego::run },
];

/// The part that reads recorded sessions rather than a suite.
const LANGUAGES: &str = "languages";

/// What the command line says: `[PART] [--suites FOLDER] [--corpora FOLDER] [--failures]`.
struct Arguments {
    part: Option<String>,
    folder: Option<PathBuf>,
    corpora: Option<PathBuf>,
    failures: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { part: None, folder: None, corpora: None, failures: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--failures" => found.failures = true,
            "--suites" => found.folder = folder("--suites", words.next())?,
            "--corpora" => found.corpora = folder("--corpora", words.next())?,
            part if part == LANGUAGES || PARTS.iter().any(|known| known.name == part) => {
                found.part = Some(part.to_owned());
            }
            other => return Err(format!("`{other}` is no part; write one of {}", names())),
        }
    }
    Ok(found)
}

/// The folder after a flag; none if the makefile has none to give.
fn folder(flag: &str, word: Option<String>) -> Result<Option<PathBuf>, String> {
    let folder = word.ok_or_else(|| format!("`{flag}` needs a folder"))?;
    Ok(Some(folder).filter(|folder| !folder.is_empty()).map(PathBuf::from))
}

fn names() -> String {
    format!("{}, `{LANGUAGES}`", PARTS.map(|part| format!("`{}`", part.name)).join(", "))
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            println!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let mut passed = true;
    for part in PARTS.iter().filter(|part| arguments.part.as_deref().is_none_or(|only| only == part.name)) {
        passed &= run(part, &arguments);
    }
    if arguments.part.as_deref().is_none_or(|only| only == LANGUAGES) {
        passed &= run_languages(&arguments);
    }
    ExitCode::from(u8::from(!passed))
}

/// Runs one suite; `false` if it failed or passed less than its bar.
fn run(part: &Part, arguments: &Arguments) -> bool {
    let Some(folder) = &arguments.folder else {
        println!("{}: skipped: folder not given (SUITES=…)", part.name);
        return true;
    };
    let archive = folder.join(part.archive);
    if !archive.is_file() {
        println!("{}: skipped: there is no `{}`", part.name, archive.display());
        return true;
    }
    let report = suites::extract(&archive).and_then(|files| (part.run)(files.path()));
    shown(part.name, report, arguments)
}

/// Decides the recorded sessions in each language; `false` if the languages differ.
fn run_languages(arguments: &Arguments) -> bool {
    match &arguments.corpora {
        None => {
            println!("{LANGUAGES}: skipped: folder not given (CORPORA=…)");
            true
        }
        Some(folder) if !folder.is_dir() => {
            println!("{LANGUAGES}: skipped: there is no `{}`", folder.display());
            true
        }
        Some(folder) => shown(LANGUAGES, languages::run(folder), arguments),
    }
}

fn shown(name: &str, report: Result<Report, String>, arguments: &Arguments) -> bool {
    match report {
        Ok(report) => {
            println!("{}", report.shown(name, arguments.failures));
            report.reaches_bar()
        }
        Err(message) => {
            println!("{name}: failed: {message}");
            false
        }
    }
}
