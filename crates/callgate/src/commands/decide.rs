//! `callgate decide`: one request, decided on the spot.
//!
//! With a data folder the decision is receipted like any other. Without one it is a dry run: the same evaluation, no
//! receipt, no state, and no permission for anything.

use std::path::PathBuf;

use callgate_gate::clock::{Clock as _, SystemClock};
use callgate_gate::{Asked, Credential, GateOptions, Reply};

use crate::Outcome;
use crate::failure::Failure;
use crate::judge::JudgeArgs;
use crate::output::{self, Format, Paint, moment, plain};
use crate::{files, judge, opening};

/// Arguments of `callgate decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder; with `--data`, the snapshot in force if left out
    #[arg(long, value_name = "DIR", required_unless_present = "data")]
    bundle: Option<PathBuf>,
    /// The request, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Decide for good: keep state and write a receipt here. Left out, it is a dry run
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    judge: JudgeArgs,
    /// How the decision is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let request = files::read(&args.request)?;
    let reply = match &args.data {
        Some(_) => opening::block_on(receipted(args, request))?,
        None => dry(args, &request)?,
    };
    match args.format {
        Format::Human => output::line(&human(&reply))?,
        Format::Json => output::json(&reply)?,
    }
    Ok(reply.decision.into())
}

async fn receipted(args: &Args, request: Vec<u8>) -> Result<Reply, Failure> {
    let bundle = args.bundle.as_deref().map(files::read_bundle).transpose()?;
    let data = args.data.as_deref().ok_or_else(|| Failure::usage("give `--data DIR`"))?;
    let gate_options = GateOptions { judge: args.judge.open()?, ..GateOptions::default() };
    let gate = opening::open(data, bundle.as_ref(), gate_options).await?.gate;
    judge::warn_if_missing(&gate);
    let decided = gate.decide(Asked::Bytes(request), Credential::Local).await;
    gate.close();
    decided.map(|decided| decided.reply).map_err(Failure::unavailable)
}

fn dry(args: &Args, request: &[u8]) -> Result<Reply, Failure> {
    let dir = args.bundle.as_deref().ok_or_else(|| Failure::usage("give `--bundle DIR`"))?;
    let snapshot = opening::compile(dir)?;
    output::note(
        "dry run: no receipt, no state, and no permission to run anything; give `--data DIR` for a decision",
    );
    Ok(callgate_gate::rehearse(&snapshot, request, &Credential::Local, SystemClock.now_ms()))
}

/// The decision in a few lines.
pub(crate) fn human(reply: &Reply) -> String {
    let paint = Paint::stdout();
    let mut lines = vec![paint.decision(reply.decision.as_str())];
    if let (Some(code), Some(first)) = (reply.code, lines.first_mut()) {
        first.push_str(&format!("  {code}"));
    }
    let mut field =
        |name: &str, text: String| lines.push(format!("  {}  {text}", paint.dim(&format!("{name:<11}"))));
    for one in &reply.reasons {
        field("reason", output::reason(&one.message, one.rule.as_ref(), one.source.as_ref()));
    }
    if reply.constraints.as_object().is_some_and(|all| !all.is_empty()) {
        field("constraints", reply.constraints.to_string());
    }
    if let Some(approval) = &reply.approval {
        let stages: Vec<_> =
            approval.stages.iter().map(|stage| (stage.quorum, stage.reviewers.as_slice())).collect();
        let until = moment(approval.expires_at_ms);
        field("approval", format!("{}, until {until}", output::stages(&stages)));
    }
    if let Some(mode) = reply.mode {
        field("mode", mode.as_str().to_owned());
    }
    if let Some(would) = &reply.would {
        let code = would.code.map(|code| format!("  {code}")).unwrap_or_default();
        let rule = would.matched_rule.as_ref().map(|rule| format!("  by `{}`", plain(rule)));
        field("would", format!("{}{code}{}", would.decision, rule.unwrap_or_default()));
    }
    if let Some(wait) = reply.retry_after_ms {
        field("ask again", format!("in {wait} ms"));
    }
    field("snapshot", format!("{} {}", reply.snapshot, reply.snapshot_digest));
    match reply.receipt_index {
        Some(index) => field("receipt", index.to_string()),
        None if reply.decision.permits() => field("receipt", "none, so nothing may run".to_owned()),
        None => field("receipt", "none".to_owned()),
    }
    if reply.decision.permits() && reply.receipt_index.is_some() {
        field("valid until", moment(reply.expires_at_ms));
    }
    lines.join("\n")
}
