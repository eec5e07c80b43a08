//! The snapshots that a gate keeps.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::{StageArgs, field, number, stage};
use crate::Outcome;
use crate::exit::Exit;
use crate::opening;
use crate::output::{self, Format, Paint};
use crate::remote::Reach;

/// Arguments of `callgate snapshots`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotsArgs {
    #[command(subcommand)]
    command: Snapshots,
}

#[derive(Debug, Subcommand)]
enum Snapshots {
    /// List them, newest first
    List(List),
    /// Keep a bundle under a version, without putting it in force
    Stage(Stage),
    /// Show one, with its files
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    reach: Reach,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Stage {
    /// The bundle's folder
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    stage: StageArgs,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The version, such as `v42`, or the digest
    #[arg(value_name = "VERSION")]
    snapshot: String,
    #[command(flatten)]
    reach: Reach,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn snapshots(args: SnapshotsArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        match args.command {
            Snapshots::List(args) => list(&args).await,
            Snapshots::Stage(args) => {
                let remote = args.reach.remote()?;
                let record = stage(&remote, &args.bundle, &args.stage, args.note.as_deref()).await?;
                show(&record, args.format)
            }
            Snapshots::Show(args) => {
                let path = format!("/api/v1/policy/snapshots/{}", args.snapshot);
                let record = args.reach.remote()?.get(&path).await?;
                show(&record, args.format)
            }
        }
    })
}

async fn list(args: &List) -> Outcome {
    let answer = args.reach.remote()?.get("/api/v1/policy/snapshots").await?;
    if args.format == Format::Json {
        output::json(&answer)?;
        return Ok(Exit::Ok);
    }
    for record in answer.get("snapshots").and_then(Value::as_array).into_iter().flatten() {
        output::line(&line(record))?;
    }
    Ok(Exit::Ok)
}

fn line(record: &Value) -> String {
    let paint = Paint::stdout();
    let version = format!("{:<6}", field(record, "version"));
    let state = format!("{:<7}", field(record, "state"));
    let digest: String = field(record, "digest").chars().take(19).collect();
    let note = record.get("note").and_then(Value::as_str).map(|note| format!("  {}", output::plain(note)));
    let author = output::plain(field(record, "author"));
    format!("{} {state} {} {author}{}", paint.bold(&version), paint.dim(&digest), note.unwrap_or_default())
}

fn show(record: &Value, format: Format) -> Outcome {
    if format == Format::Json {
        output::json(record)?;
        return Ok(Exit::Ok);
    }
    output::line(&line(record))?;
    let tested = record.get("tested").cloned().unwrap_or_default();
    output::line(&format!("tests: {} pass, {} fail", number(&tested, "passed"), number(&tested, "failed")))?;
    if let Some(git) = record.get("git") {
        let dirty = if git.get("dirty") == Some(&Value::Bool(true)) { ", with changes" } else { "" };
        output::line(&format!("git: {} {}{dirty}", field(git, "commit"), field(git, "branch")))?;
    }
    let files = record.get("bundle").and_then(|bundle| bundle.get("files")).and_then(Value::as_object);
    for (path, text) in files.into_iter().flatten() {
        output::line(&format!("\n--- {}", output::plain(path)))?;
        for line in text.as_str().unwrap_or_default().lines() {
            output::line(&output::plain(line))?;
        }
    }
    Ok(Exit::Ok)
}
