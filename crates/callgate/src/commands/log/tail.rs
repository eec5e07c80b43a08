//! `callgate log tail`: the newest receipts, and those to come.

use std::collections::VecDeque;
use std::time::Duration;

use callgate_log::VerifyingKey;
use callgate_store::{LogReader, StoredReceipt};
use serde_json::json;

use super::{Source, text};
use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint};

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// Arguments of `callgate log tail`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// How many receipts
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on printing as receipts come, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How the receipts are written; JSON is one object per line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Outcome {
    let key = args.source.key.as_deref().map(files::read_key).transpose()?;
    let evidence = Evidence::open(&args.source.data)?;
    if key.is_none() {
        output::warn("nothing here is verified; give `--key FILE` to hold it against a pinned key");
    }
    let (newest, mut reader) = newest(&evidence, args.lines)?;
    for receipt in &newest {
        print(receipt, key.as_ref(), args.format)?;
    }
    if !args.follow {
        return Ok(Exit::Ok);
    }
    loop {
        while let Some(group) = evidence::next(&mut reader)? {
            for receipt in &group {
                print(receipt, key.as_ref(), args.format)?;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// The newest receipts, and a reader that goes on behind them. Only as many segments are read as needed.
fn newest(evidence: &Evidence, count: usize) -> Result<(VecDeque<StoredReceipt>, LogReader), Failure> {
    let mut reader = evidence.near(u64::MAX)?;
    let mut found = last(&mut reader, count)?;
    let size = found.back().map_or(0, |receipt| receipt.size);
    let wanted = size.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    if found.front().is_some_and(|first| first.index > wanted) {
        reader = evidence.near(wanted)?;
        found = last(&mut reader, count)?;
    }
    Ok((found, reader))
}

fn last(reader: &mut LogReader, count: usize) -> Result<VecDeque<StoredReceipt>, Failure> {
    let mut found = VecDeque::new();
    while let Some(group) = evidence::next(reader)? {
        found.extend(group);
        found.drain(..found.len().saturating_sub(count));
    }
    Ok(found)
}

fn print(receipt: &StoredReceipt, key: Option<&VerifyingKey>, format: Format) -> Result<(), Failure> {
    let statement = evidence::statement(receipt, key)?;
    match format {
        Format::Human => output::line(&text::brief(receipt.index, &statement, Paint::stdout())),
        Format::Json => {
            let verified = key.map(|_| json!({"signature": true}));
            output::json_line(&text::machine(receipt.index, &receipt.payload, verified.as_ref()))
        }
    }
}
