//! `callgate explain`: the trace of one decision, before it counts or long after.
//!
//! What is shown is read off the evaluation that decided. For a receipt, that evaluation is the replay; where the replay
//! is not the recorded decision to the byte, nothing is explained.

use std::path::{Path, PathBuf};

use callgate_gate::clock::{Clock as _, SystemClock};
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{Credential, explain};
use callgate_policy::Explanation;

use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Paint, plain};
use crate::{files, opening};

/// Arguments of `callgate explain`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["bundle", "data"]))]
pub(crate) struct Args {
    /// With `--bundle`: the request, or `-` for standard input. With `--data`: the place of a decision's receipt
    #[arg(value_name = "REQUEST|N")]
    what: PathBuf,
    /// Decide the request with this bundle, as if it were the first in its session; a dry run
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Decide a recorded request again with the snapshot and the facts of that time
    #[arg(long, value_name = "DIR", conflicts_with = "bundle")]
    data: Option<PathBuf>,
    /// With `--data`: the pinned public key (PEM) to verify the log; left out, nothing is verified
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    key: Option<PathBuf>,
    /// How the explanation is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (explanation, exit) = match (&args.bundle, &args.data) {
        (Some(bundle), _) => {
            let explanation = rehearsed(bundle, &args.what)?;
            let exit = explanation.decision.into();
            (explanation, exit)
        }
        (None, Some(data)) => (recorded(data, args.key.as_deref(), &args.what)?, Exit::Ok),
        (None, None) => return Err(Failure::usage("give `--bundle DIR` or `--data DIR`")),
    };
    match args.format {
        Format::Human => output::line(&human(&explanation, Paint::stdout()))?,
        Format::Json => output::json(&explanation)?,
    }
    Ok(exit)
}

/// The explanation for people, with the decision in its colour.
pub(super) fn human(explanation: &Explanation, paint: Paint) -> String {
    let text = explanation.to_string();
    let word = explanation.decision.as_str();
    let rest = text.strip_prefix(word).unwrap_or(&text);
    format!("{}{}", paint.decision(word), rest.trim_end())
}

fn rehearsed(bundle: &Path, request: &Path) -> Result<Explanation, Failure> {
    let snapshot = opening::compile(bundle)?;
    let request = files::read(request)?;
    Ok(explain(&snapshot, &request, &Credential::Local, SystemClock.now_ms()))
}

fn recorded(data: &Path, key: Option<&Path>, index: &Path) -> Result<Explanation, Failure> {
    let index: u64 = index.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` is not the place of a receipt; write a number from 0 up",
            index.display()
        ))
    })?;
    let evidence = Evidence::open(data)?;
    let keyring = evidence.keyring()?;
    let (mut replay, mut found) = (Replay::new(), None);
    let mut size = 0u64;
    let mut each = |receipt: &callgate_store::StoredReceipt| {
        size = size.saturating_add(1);
        // The state before the receipt is what its facts are held against.
        if receipt.index < index {
            replay.push(receipt, &keyring);
        } else if receipt.index == index {
            found = Some(replay.explain(receipt, &keyring));
        }
        Ok(())
    };
    match key {
        Some(key) => drop(evidence.verify(&files::read_key(key)?, &[], each)?),
        None => {
            let mut reader = evidence.reader();
            while let Some(group) = evidence::next(&mut reader)? {
                group.iter().try_for_each(&mut each)?;
            }
            output::note("not verified; give `--key FILE`");
        }
    }
    let unknown =
        || Failure::usage(format!("there is no receipt {index}; the log has {size}, counted from 0"));
    let (replayed, explanation) = found.ok_or_else(unknown)?;
    explanation.ok_or_else(|| refused(index, &replayed))
}

/// Why a receipt cannot be explained.
fn refused(index: u64, replayed: &Replayed) -> Failure {
    match replayed {
        Replayed::NotADecision => Failure::usage(format!("receipt {index} is not of a decision")),
        Replayed::Erased => Failure::usage(format!(
            "the request of receipt {index} was erased, so it cannot be decided again"
        )),
        Replayed::Differs(differences) => {
            let fields: Vec<String> =
                differences.iter().map(|one| format!("`{}`", plain(&one.field))).collect();
            Failure::evidence(format!(
                "receipt {index} was decided again, and {} came out differently; this explains nothing",
                fields.join(", ")
            ))
        }
        Replayed::Unreadable(problem) => Failure::evidence(format!("receipt {index}: {}", plain(problem))),
        Replayed::Same => Failure::unexpected(format!("receipt {index} has no explanation")),
    }
}
