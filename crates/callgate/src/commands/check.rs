//! `callgate check`: every problem of a bundle at once, for people, programs and code scanners.

use std::path::{Path, PathBuf};

use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, Code, Diagnostic, Report, Severity};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint, counted};

/// Arguments of `callgate check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// How the report is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the Cedar schema made from the bundle's tools instead
    #[arg(long, conflicts_with = "format")]
    schema: bool,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
    /// For code scanners (SARIF 2.1.0).
    Sarif,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let bundle = files::read_bundle(&args.bundle)?;
    if args.schema {
        output::line(callgate_policy::cedar_schema(&bundle).trim_end())?;
        return Ok(Exit::Ok);
    }
    // One compiler: what is compiled here is what `serve` loads.
    let (snapshot, report) = match callgate_policy::compile(&bundle) {
        Ok(snapshot) => (Some(snapshot), callgate_policy::check(&bundle)),
        Err(report) => (None, report),
    };
    match args.format {
        Format::Human => human(&bundle, snapshot.as_ref(), &report)?,
        Format::Json => output::json(&machine(&bundle, snapshot.as_ref(), &report)?)?,
        Format::Sarif => output::json(&sarif(&args.bundle, &report))?,
    }
    Ok(if snapshot.is_some() { Exit::Ok } else { Exit::PolicyInvalid })
}

fn human(bundle: &Bundle, snapshot: Option<&Snapshot>, report: &Report) -> Result<(), Failure> {
    if !report.is_empty() {
        output::line(report.render().trim_end())?;
    }
    let Some(snapshot) = snapshot else { return Ok(()) };
    let paint = Paint::stdout();
    let counts = Counts::of(snapshot);
    let limits = match counts.limits {
        0 => String::new(),
        limits => format!(", {}", counted(limits, "limit")),
    };
    output::line(&format!(
        "{} {}{limits}, {}, {} in {}",
        paint.green("ok"),
        counted(counts.rules, "rule"),
        counted(counts.contracts, "contract"),
        counted(counts.tools, "tool"),
        counted(number(bundle.files().len()), "file"),
    ))?;
    output::line(&format!("   {}", snapshot.digest))
}

struct Counts {
    rules: u64,
    limits: u64,
    contracts: u64,
    tools: u64,
}

impl Counts {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            rules: number(
                snapshot.modules.iter().map(|module| module.rules()).fold(0, usize::saturating_add),
            ),
            limits: number(snapshot.limits().len()),
            contracts: number(snapshot.contracts.len()),
            tools: number(snapshot.catalogue.iter().count()),
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn machine(bundle: &Bundle, snapshot: Option<&Snapshot>, report: &Report) -> Result<Value, Failure> {
    let mut out: Value = serde_json::from_str(&report.to_json()).map_err(Failure::unexpected)?;
    if let Some(members) = out.as_object_mut() {
        members.insert("ok".to_owned(), json!(snapshot.is_some()));
        members.insert("files".to_owned(), json!(bundle.files().len()));
        if let Some(snapshot) = snapshot {
            let counts = Counts::of(snapshot);
            members.insert("digest".to_owned(), json!(snapshot.digest.to_string()));
            members.insert("rules".to_owned(), json!(counts.rules));
            members.insert("limits".to_owned(), json!(counts.limits));
            members.insert("contracts".to_owned(), json!(counts.contracts));
            members.insert("tools".to_owned(), json!(counts.tools));
        }
    }
    Ok(out)
}

/// The report in the Static Analysis Results Interchange Format (OASIS, 2.1.0).
fn sarif(bundle: &Path, report: &Report) -> Value {
    let used = |code: &&Code| report.diagnostics().iter().any(|found| found.code == code.as_str());
    let rules: Vec<Value> = Code::ALL.iter().filter(used).map(rule).collect();
    let results: Vec<Value> = report.diagnostics().iter().map(|found| result(bundle, found)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "callgate", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &Code) -> Value {
    let page = format!("see docs/errors/{}.md", code.as_str());
    json!({"id": code.as_str(), "shortDescription": {"text": code.title()}, "help": {"text": page}})
}

fn result(bundle: &Path, found: &Diagnostic) -> Value {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let help = found.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": found.code,
        "level": level,
        "message": {"text": format!("{}{help}", found.message)},
    });
    if found.file.is_empty() {
        return result;
    }
    // Scanners look for files from where they run, which is where DIR was given from.
    let file = bundle.join(&found.file).display().to_string();
    let mut place = json!({"artifactLocation": {"uri": file.trim_start_matches("./")}});
    if let (Some(at), Some(members)) = (&found.place, place.as_object_mut()) {
        let region = json!({
            "startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column,
        });
        members.insert("region".to_owned(), region);
    }
    if let Some(members) = result.as_object_mut() {
        members.insert("locations".to_owned(), json!([{"physicalLocation": place}]));
    }
    result
}
