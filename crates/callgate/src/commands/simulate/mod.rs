//! `callgate simulate`: a candidate against a request, a corpus, or the decisions of a log.
//!
//! Nothing is written and nothing leaves. A log is only looked at, also beside a gate that writes it.

mod inputs;
mod progress;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use callgate_core::snapshot::Snapshot;
use callgate_gate::simulate::{Corpus, Lengths, Library, Plan, Report, Simulation, simulate_corpus};

use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint};
use inputs::{Choice, Limits};
pub(crate) use inputs::{Named, corpus_files};
use progress::Progress;
pub(crate) use text::human;

/// Arguments of `callgate simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The candidate: a bundle's folder, or with `--data` the version of a kept snapshot
    #[arg(value_name = "DIR|vN")]
    candidate: PathBuf,
    /// The data folder: its decisions are decided again, unless there is a request or a corpus
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One request, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    request: Option<PathBuf>,
    /// Requests or recorded sessions, one on each line; or a folder of such files
    #[arg(long, value_name = "FILE|DIR")]
    corpus: Vec<PathBuf>,
    /// What the candidate is held against: a bundle's folder or a version. Left out: what was recorded;
    /// for requests the snapshot in force, with `--data`
    #[arg(long, value_name = "DIR|vN")]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// How many examples of each kind are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,
    /// How many rules, agents and tools are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    limits: Limits,
    /// How the report is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut named = Named::new(args.data.as_deref());
    let candidate = named.snapshot(&args.candidate)?;
    let baseline = args.baseline.as_deref().map(|name| named.snapshot(name)).transpose()?;
    let lengths = Lengths { examples: args.examples, top: args.top, unchanged: args.request.is_some() };
    let report = match requests(args)? {
        Some(corpus) => {
            args.choice.refuse_with_requests()?;
            let baseline = match baseline {
                None => named.in_force()?,
                given => given,
            };
            over_corpus(&candidate, baseline.as_ref(), &corpus, lengths)
        }
        None => {
            let data = args.data.as_deref().ok_or_else(|| {
                Failure::usage("nothing to decide on; give `--data DIR`, `--corpus FILE` or `--request FILE`")
            })?;
            let filter = args.choice.filter()?;
            let plan = Plan { candidate: Arc::clone(&candidate), baseline, filter, lengths };
            over_history(&Evidence::open(data)?, plan)?
        }
    };
    match args.format {
        Format::Human => output::line(human(&report, Paint::stdout()).trim_end())?,
        Format::Json => output::json(&report)?,
    }
    let too_much = args.limits.broken_by(&report, &candidate.defaults.rollout, args.request.is_some());
    too_much.map_or(Ok(Exit::Ok), |problem| Err(Failure::new(Exit::TestsFailed, problem)))
}

/// The requests that are named, if any are.
fn requests(args: &Args) -> Result<Option<Corpus>, Failure> {
    let mut corpus = Corpus::default();
    if let Some(path) = &args.request {
        corpus.add_one(&path.display().to_string(), &files::read(path)?);
        if let Some(bad) = corpus.bad_lines().first() {
            return Err(Failure::usage(format!("the request in `{}`: {}", bad.file, bad.problem)));
        }
    }
    for path in corpus_files(&args.corpus)? {
        corpus.add(&path.display().to_string(), &files::read_corpus(&path)?);
    }
    Ok((args.request.is_some() || !args.corpus.is_empty()).then_some(corpus))
}

/// Over requests from files.
pub(crate) fn over_corpus(
    candidate: &Snapshot,
    baseline: Option<&Arc<Snapshot>>,
    corpus: &Corpus,
    lengths: Lengths,
) -> Report {
    let mut progress = Progress::of(u64::try_from(corpus.requests()).ok());
    let report =
        simulate_corpus(candidate, baseline.map(AsRef::as_ref), corpus, lengths, |done| progress.at(done));
    progress.end();
    report
}

/// Over the decisions of a log.
pub(crate) fn over_history(evidence: &Evidence, plan: Plan) -> Result<Report, Failure> {
    let keyring = evidence.keyring()?;
    let mut progress = Progress::of(evidence.size()?);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut simulation = Simulation::new(plan, Library::default(), true, &keyring).threads(threads);
    let mut reader = evidence.reader();
    let visited = evidence::visit(&mut reader, |receipt| {
        simulation.push(receipt);
        progress.at(receipt.index.saturating_add(1));
    });
    progress.end();
    visited?;
    Ok(simulation.finish())
}
