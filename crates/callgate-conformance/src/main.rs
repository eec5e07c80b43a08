//! The published suites of the policy languages, run against this tree: `make conformance`.
//!
//! Nothing of a suite is part of the project. The folder with the archives is an argument; a suite that
//! is not there is said to be skipped. Exit code 1 means that a suite passed less than its bar.
#![expect(clippy::print_stdout, reason = "a harness prints its figures")]

mod cedar;
mod cel;
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

/// What the command line says: `[PART] [--suites FOLDER] [--failures]`.
struct Arguments {
    part: Option<String>,
    folder: Option<PathBuf>,
    failures: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { part: None, folder: None, failures: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--failures" => found.failures = true,
            "--suites" => {
                let folder = words.next().ok_or("`--suites` needs a folder")?;
                found.folder = Some(folder).filter(|folder| !folder.is_empty()).map(PathBuf::from);
            }
            part if PARTS.iter().any(|known| known.name == part) => found.part = Some(part.to_owned()),
            other => return Err(format!("`{other}` is no part; write one of {}", names())),
        }
    }
    Ok(found)
}

fn names() -> String {
    PARTS.map(|part| format!("`{}`", part.name)).join(", ")
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
    match report {
        Ok(report) => {
            println!("{}", report.shown(part.name, arguments.failures));
            report.reaches_bar()
        }
        Err(message) => {
            println!("{}: failed: {message}", part.name);
            false
        }
    }
}
