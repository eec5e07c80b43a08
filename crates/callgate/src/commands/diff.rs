//! `callgate diff`: what is different between two policies, in rules and in decisions.

use std::path::PathBuf;

use callgate_gate::diff::{Changed, Diff, Field, Part, Parts};
use callgate_gate::simulate::{Corpus, Filter, Lengths, Plan, Report};
use serde::Serialize;

use super::simulate::{Named, corpus_files, human, over_corpus, over_history};
use crate::Outcome;
use crate::evidence::Evidence;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint, plain};

/// Arguments of `callgate diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The one before: a bundle's folder, or with `--data` the version of a kept snapshot
    #[arg(value_name = "DIR|vN")]
    was: PathBuf,
    /// The one after
    #[arg(value_name = "DIR|vN")]
    now: PathBuf,
    /// The data folder: both decide its recorded decisions again
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Both decide these requests or recorded sessions, one on each line; or a folder of such files
    #[arg(long, value_name = "FILE|DIR")]
    corpus: Vec<PathBuf>,
    /// Only what the two say, without deciding anything again
    #[arg(long)]
    rules_only: bool,
    /// How the differences are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is different.
#[derive(Serialize)]
struct Differences {
    #[serde(flatten)]
    said: Diff,
    /// What they decide, where there was something to decide on.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Report>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut named = Named::new(args.data.as_deref());
    let (was, now) = (named.snapshot(&args.was)?, named.snapshot(&args.now)?);
    let said = Diff::between(&was, &now);
    let lengths = Lengths::default();
    let decisions = match &args.data {
        _ if args.rules_only => None,
        _ if !args.corpus.is_empty() => {
            let mut corpus = Corpus::default();
            for path in corpus_files(&args.corpus)? {
                corpus.add(&path.display().to_string(), &files::read_corpus(&path)?);
            }
            Some(over_corpus(&now, Some(&was), &corpus, lengths))
        }
        Some(data) => {
            let plan = Plan { candidate: now, baseline: Some(was), filter: Filter::default(), lengths };
            Some(over_history(&Evidence::open(data)?, plan)?)
        }
        None => None,
    };
    let differences = Differences { said, decisions };
    match args.format {
        Format::Human => show(&differences)?,
        Format::Json => output::json(&differences)?,
    }
    Ok(Exit::Ok)
}

fn show(differences: &Differences) -> Result<(), Failure> {
    let (said, paint) = (&differences.said, Paint::stdout());
    let mut out = Vec::new();
    parts("rule", &said.rules, paint, &mut out);
    parts("limit", &said.limits, paint, &mut out);
    parts("contract", &said.contracts, paint, &mut out);
    parts("tool", &said.tools, paint, &mut out);
    if !said.defaults.is_empty() {
        out.push(paint.yellow("~ defaults"));
        said.defaults.iter().for_each(|one| field(one, &mut out));
    }
    if said.is_empty() {
        let text =
            if said.was == said.now { "the two are the same" } else { "the two say the same in other words" };
        out.push(text.to_owned());
    }
    if let Some(report) = &differences.decisions {
        out.push(String::new());
        out.push(human(report, paint));
    }
    output::line(out.join("\n").trim_end())
}

fn parts(what: &str, parts: &Parts, paint: Paint, out: &mut Vec<String>) {
    for part in &parts.added {
        out.push(paint.green(&format!("+ {what} `{}`{}", plain(&part.id), place(part.source.as_ref()))));
        whole(part, out);
    }
    for part in &parts.removed {
        out.push(paint.red(&format!("- {what} `{}`{}", plain(&part.id), place(part.source.as_ref()))));
        whole(part, out);
    }
    for Changed { id, source, fields } in &parts.changed {
        out.push(paint.yellow(&format!("~ {what} `{}`{}", plain(id), place(source.as_ref()))));
        fields.iter().for_each(|one| field(one, out));
    }
}

fn place(source: Option<&String>) -> String {
    source.map(|source| format!(" at {}", plain(source))).unwrap_or_default()
}

/// The digest of what a rule means says nothing to a person.
const MEANING: &str = "meaning";
/// Nor does the digest of what a limit's meters count.
const COUNTS: &str = "counts";
/// The longest value that is shown whole.
const SHOWN: usize = 200;

fn value(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { format!("{} …", plain(&shown)) } else { plain(text) }
}

fn whole(part: &Part, out: &mut Vec<String>) {
    for (name, text) in part.fields.iter().filter(|(name, _)| !matches!(**name, MEANING | COUNTS)) {
        out.push(format!("    {name}: {}", value(text)));
    }
}

fn field(Field { field, was, now }: &Field, out: &mut Vec<String>) {
    if *field == MEANING {
        out.push(
            "    its text means something else: what it matches, its condition, or the fields below"
                .to_owned(),
        );
        return;
    }
    if *field == COUNTS {
        out.push("    it counts something else: its meters begin at nothing".to_owned());
        return;
    }
    let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "nothing".to_owned(), value);
    out.push(format!("    {field}: {}", shown(was)));
    out.push(format!("    {:>width$}  {}", "now", shown(now), width = field.len().saturating_sub(1)));
}
