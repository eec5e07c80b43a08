//! Publishing a bundle or a kept snapshot, and returning to an earlier one.

use std::path::Path;

use serde_json::{Value, json};

use super::{StageArgs, field, number, stage};
use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Format, Paint};
use crate::remote::{Reach, Remote};

/// Arguments of `callgate publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The bundle's folder, or a kept snapshot such as `v42`
    #[arg(value_name = "BUNDLE|VERSION")]
    target: String,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    stage: StageArgs,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Publish although something speaks against it, and say why; goes into the receipt
    #[arg(long = "override", value_name = "WHY")]
    overriding: Option<String>,
    /// Do not simulate first; what was simulated before counts
    #[arg(long)]
    no_simulate: bool,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `callgate rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The snapshot to return to, such as `v41`; it must have been in force before
    #[arg(value_name = "VERSION")]
    target: String,
    #[command(flatten)]
    reach: Reach,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn publish(args: &PublishArgs) -> Outcome {
    opening::block_on_one_thread(publish_now(args))
}

async fn publish_now(args: &PublishArgs) -> Outcome {
    let remote = args.reach.remote()?;
    let version = match kept(&args.target) {
        Some(version) => version.to_owned(),
        None => {
            let record = stage(&remote, Path::new(&args.target), &args.stage, args.note.as_deref()).await?;
            let tested = record.get("tested").cloned().unwrap_or_default();
            output::note(&format!(
                "kept as {}: {} tests pass, {} fail",
                field(&record, "version"),
                number(&tested, "passed"),
                number(&tested, "failed")
            ));
            field(&record, "version").to_owned()
        }
    };
    if !args.no_simulate {
        simulate(&remote, &version).await?;
    }
    let mut body = json!({"snapshot": version});
    if let Some(fields) = body.as_object_mut() {
        let more = [("note", &args.note), ("override", &args.overriding)];
        fields.extend(
            more.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))),
        );
    }
    let released = remote.post("/api/v1/policy/publish", &body).await.map_err(refused)?;
    show(&released, args.format)
}

/// What speaks against a publication is not the caller's mistake in writing.
fn refused(failure: Failure) -> Failure {
    if failure.exit() == Exit::Usage { Failure::new(Exit::TestsFailed, failure) } else { failure }
}

/// Holds the snapshot against the one in force; the gate keeps how that came out.
async fn simulate(remote: &Remote, version: &str) -> Result<(), Failure> {
    let body = json!({"snapshot": version, "history": {}});
    let report = remote.post_long("/api/v1/policy/simulate", &body).await?;
    let totals = report.get("totals").cloned().unwrap_or_default();
    output::note(&format!(
        "{version} on {} recorded decisions: {} less strict, {} stricter, {} not decided again",
        number(&totals, "evaluated"),
        number(&totals, "loosened"),
        number(&totals, "tightened"),
        number(&totals, "not_evaluated")
    ));
    Ok(())
}

/// A version such as `v42`, unless a folder has that name.
fn kept(target: &str) -> Option<&str> {
    let digits = target.strip_prefix('v')?;
    let version = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (version && !Path::new(target).is_dir()).then_some(target)
}

pub(crate) fn rollback(args: &RollbackArgs) -> Outcome {
    opening::block_on_one_thread(rollback_now(args))
}

async fn rollback_now(args: &RollbackArgs) -> Outcome {
    let mut body = json!({"target_snapshot": args.target});
    if let (Some(fields), Some(note)) = (body.as_object_mut(), &args.note) {
        fields.insert("note".to_owned(), note.clone().into());
    }
    let released = args.reach.remote()?.post("/api/v1/policy/rollback", &body).await?;
    show(&released, args.format)
}

fn show(released: &Value, format: Format) -> Outcome {
    if format == Format::Json {
        output::json(released)?;
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    let (now, before) = (field(released, "snapshot"), field(released, "previous"));
    if released.get("changed") != Some(&Value::Bool(true)) {
        output::line(&format!("{} is in force already", paint.bold(now)))?;
        return Ok(Exit::Ok);
    }
    let receipt = number(released, "receipt_index");
    output::line(&format!("{} is in force since receipt {receipt}, after {before}", paint.bold(now)))?;
    output::line(&paint.dim(field(released, "digest")))?;
    for reason in released.get("overridden").and_then(Value::as_array).into_iter().flatten() {
        output::line(&format!("overridden: {}", output::plain(reason.as_str().unwrap_or_default())))?;
    }
    Ok(Exit::Ok)
}
