//! `callgate prove`: breaks everything around the gate on purpose, and holds what ran against the receipts.

use std::path::{Path, PathBuf};

use callgate_prove::{Case, Caught, Depth, Fault, Row, Setup, Verdict};
use clap::Subcommand;
use serde_json::json;

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::{files, opening};

/// Arguments of `callgate prove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Play only this fault, group, point or `fault@point`; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print what would be played, and stop
    #[arg(long)]
    list: bool,
    /// Try a sample of each fault instead of all that is worth trying
    #[arg(long)]
    quick: bool,
    /// Play deliberate mistakes instead, each of which the suite must catch
    #[arg(long, conflicts_with_all = ["only", "list"])]
    self_test: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Keep logs, ledgers and what programs said in this folder, which must be new
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let cases = picked(&args.only)?;
    if args.list {
        return list(&cases, args.format);
    }
    let (folder, _temporary) = folder(args.keep.as_deref())?;
    let depth = if args.quick { Depth::Quick } else { Depth::Full };
    let program = std::env::current_exe().map_err(Failure::unexpected)?;
    let setup = Setup { program, folder, depth };
    // The last unit is raced for over a thousand connections.
    opening::allow_many_files();
    if args.self_test { own(&setup, args.format) } else { prove(&setup, &cases, args.format) }
}

fn picked(names: &[String]) -> Result<Vec<Case>, Failure> {
    if names.is_empty() {
        return Ok(Case::all());
    }
    let mut cases = Vec::new();
    for name in names {
        let unknown =
            || Failure::usage(format!("`{name}` is no fault, group or point; see `callgate prove --list`"));
        cases.extend(Case::named(name).ok_or_else(unknown)?);
    }
    cases.sort_unstable();
    cases.dedup();
    Ok(cases)
}

fn list(cases: &[Case], format: Format) -> Outcome {
    let mut faults: Vec<Fault> = cases.iter().map(|case| case.fault).collect();
    faults.dedup();
    for fault in faults {
        let points: Vec<&str> =
            cases.iter().filter(|case| case.fault == fault).map(|case| case.point.as_str()).collect();
        let (name, group, about) = (fault.as_str(), fault.group(), fault.about());
        match format {
            Format::Human => {
                output::line(&format!("{name:<18}  {group:<7}  {:<18}  {about}", points.join(" ")))?;
            }
            Format::Json => {
                output::json_line(&json!({"fault": name, "group": group, "points": points, "about": about}))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn folder(keep: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    match keep {
        Some(dir) if dir.exists() => {
            let message = format!("`{}` is there already; name a new folder for `--keep`", dir.display());
            Err(Failure::usage(message))
        }
        Some(dir) => {
            files::make_dir(dir)?;
            Ok((dir.canonicalize().map_err(Failure::unexpected)?, None))
        }
        None => {
            let dir = tempfile::Builder::new().prefix("callgate-prove-").tempdir();
            let dir = dir.map_err(|e| Failure::unexpected(format!("no temporary folder: {e}")))?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
    }
}

fn prove(setup: &Setup, cases: &[Case], format: Format) -> Outcome {
    let paint = Paint::stdout();
    if format == Format::Human {
        output::line(&paint.bold(&Row::head()))?;
    }
    let mut gone = Ok(());
    let show = |row: &Row| {
        if format == Format::Human && gone.is_ok() {
            let line = row.line();
            let verdict = row.verdict.as_str();
            let painted = match row.verdict {
                Verdict::Failed => paint.red(verdict),
                Verdict::Blocked | Verdict::Withstood => paint.green(verdict),
            };
            gone = output::line(&line.replacen(verdict, &painted, 1));
        }
    };
    let report = opening::block_on(async { Ok(callgate_prove::prove(setup, cases, show).await) })?;
    gone?;
    match format {
        Format::Human => output::line(&format!("\n{}", report.summary()))?,
        Format::Json => output::json(&report)?,
    }
    Ok(if report.proven { Exit::Ok } else { Exit::EvidenceBad })
}

fn own(setup: &Setup, format: Format) -> Outcome {
    let found = opening::block_on(async { Ok(callgate_prove::self_test(setup).await) })?;
    match format {
        Format::Human => {
            for Caught { mistake, fault, caught, said } in &found {
                let word = if *caught { "caught" } else { "MISSED" };
                output::line(&format!("{word}  {mistake}, under `{fault}`: {said}"))?;
            }
        }
        Format::Json => output::json(&found)?,
    }
    Ok(if found.iter().all(|one| one.caught) { Exit::Ok } else { Exit::EvidenceBad })
}

/// Arguments of the hidden `callgate prove-part`.
#[derive(Debug, clap::Args)]
pub(crate) struct PartArgs {
    #[command(subcommand)]
    part: Part,
}

/// The programs that the suite starts beside the gate.
#[derive(Debug, Subcommand)]
enum Part {
    /// The protected thing: an MCP server that writes what it does into a ledger
    Server {
        /// The ledger
        ledger: PathBuf,
    },
    /// A program with a gate and the protected thing inside
    Embed {
        /// The data folder
        data: PathBuf,
        /// The bundle's folder
        bundle: PathBuf,
        /// The ledger
        ledger: PathBuf,
    },
}

pub(crate) fn run_part(args: &PartArgs) -> Outcome {
    let ran = opening::block_on(async {
        let ran = match &args.part {
            Part::Server { ledger } => callgate_prove::protected_server(ledger).await,
            Part::Embed { data, bundle, ledger } => {
                callgate_prove::embedding_program(data, bundle, ledger).await
            }
        };
        ran.map_err(Failure::unavailable)
    });
    ran.map(|()| Exit::Ok)
}
