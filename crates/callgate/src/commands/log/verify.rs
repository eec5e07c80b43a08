//! `callgate log verify`: the whole log, offline, with nothing but a pinned public key.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Pinned;
use crate::Outcome;
use crate::evidence::{Evidence, Verified};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint, counted, moment};

/// Arguments of `callgate log verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pinned: Pinned,
    /// A checkpoint that you kept from earlier; the log must still contain it. May be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Outcome {
    let key = files::read_key(&args.pinned.key)?;
    let held = args.checkpoint.iter().map(|path| files::read(path)).collect::<Result<Vec<_>, _>>()?;
    let verified = Evidence::open(&args.pinned.data)?.verify(&key, &held, |_| Ok(()))?;
    print(&verified, args.format)?;
    Ok(Exit::Ok)
}

pub(super) fn print(verified: &Verified, format: Format) -> Result<(), Failure> {
    if verified.unfinished {
        output::warn(
            "the log ends in a write that was never finished, and so never acknowledged; it counts as absent",
        );
    }
    match format {
        Format::Human => output::line(&human(verified)),
        Format::Json => output::json(&machine(verified)),
    }
}

/// The verified log in one line.
pub(crate) fn summary(verified: &Verified) -> String {
    let report = &verified.report;
    format!("{}, {}", counted(report.receipts, "receipt"), counted(report.checkpoints, "checkpoint"))
}

fn human(verified: &Verified) -> String {
    let (report, paint) = (&verified.report, Paint::stdout());
    let decisions: Vec<String> =
        report.decisions.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut lines = vec![format!("{} {}", paint.green("verified"), summary(verified))];
    let mut field =
        |name: &str, text: String| lines.push(format!("  {}  {text}", paint.dim(&format!("{name:<9}"))));
    field("origin", output::plain(&report.origin));
    field("key", report.key_id.to_string());
    field("root", report.root.to_string());
    field("sessions", report.sessions.to_string());
    field("decisions", if decisions.is_empty() { "none".to_owned() } else { decisions.join(", ") });
    let open = report.without_outcome;
    field("outcomes", format!("{}; {} without one", report.outcomes, counted(open, "permitted action")));
    field("changes", format!("{} to the gate itself", report.admin));
    if let Some((first, last)) = report.issued_ms {
        field("time", format!("{} to {}", moment(first), moment(last)));
    }
    lines.join("\n")
}

pub(super) fn machine(verified: &Verified) -> Value {
    let report = &verified.report;
    let decisions: serde_json::Map<String, Value> =
        report.decisions.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
    json!({
        "verified": true,
        "origin": report.origin,
        "key_id": report.key_id.to_string(),
        "receipts": report.receipts,
        "checkpoints": report.checkpoints,
        "root": report.root.to_string(),
        "sessions": report.sessions,
        "decisions": decisions,
        "outcomes": report.outcomes,
        "without_outcome": report.without_outcome,
        "admin": report.admin,
        "issued_ms": report.issued_ms.map(|(first, last)| json!([first, last])),
        "unfinished_write": verified.unfinished,
    })
}
