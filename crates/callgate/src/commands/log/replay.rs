//! `callgate log replay`: verifies the log and decides every receipt again.

use callgate_gate::replay::{Difference, Replay, Replayed};
use serde_json::{Value, json};

use super::{Pinned, verify};
use crate::Outcome;
use crate::evidence::{Evidence, Verified};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint, counted, plain};

/// Arguments of `callgate log replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pinned: Pinned,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What replaying a log came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) same: u64,
    pub(crate) erased: u64,
    pub(crate) not_decisions: u64,
    /// Receipts that came out differently, or could not be decided again.
    pub(crate) wrong: Vec<(u64, Wrong)>,
}

#[derive(Debug)]
pub(crate) enum Wrong {
    Differs(Vec<Difference>),
    Unreadable(String),
}

pub(super) fn run(args: &Args) -> Outcome {
    let key = files::read_key(&args.pinned.key)?;
    let (verified, tally) = replay(&Evidence::open(&args.pinned.data)?, &key)?;
    match args.format {
        Format::Human => human(&tally)?,
        Format::Json => output::json(&machine(&verified, &tally))?,
    }
    Ok(if tally.wrong.is_empty() { Exit::Ok } else { Exit::EvidenceBad })
}

/// Verifies and replays in one pass.
pub(crate) fn replay(
    evidence: &Evidence,
    key: &callgate_log::VerifyingKey,
) -> Result<(Verified, Tally), Failure> {
    let keyring = evidence.keyring()?;
    let (mut replay, mut tally) = (Replay::new(), Tally::default());
    let verified = evidence.verify(key, &[], |receipt| {
        tally.add(receipt.index, replay.push(receipt, &keyring));
        Ok(())
    })?;
    Ok((verified, tally))
}

impl Tally {
    fn add(&mut self, index: u64, replayed: Replayed) {
        let counter = match replayed {
            Replayed::Same => &mut self.same,
            Replayed::Erased => &mut self.erased,
            Replayed::NotADecision => &mut self.not_decisions,
            Replayed::Differs(differences) => return self.wrong.push((index, Wrong::Differs(differences))),
            Replayed::Unreadable(problem) => return self.wrong.push((index, Wrong::Unreadable(problem))),
        };
        *counter = counter.saturating_add(1);
    }
}

fn human(tally: &Tally) -> Result<(), Failure> {
    let paint = Paint::stdout();
    for (index, wrong) in &tally.wrong {
        match wrong {
            Wrong::Unreadable(problem) => output::line(&format!("receipt {index}: {}", plain(problem)))?,
            Wrong::Differs(differences) => {
                for Difference { field, recorded, replayed } in differences {
                    let (recorded, replayed) = (plain(recorded), plain(replayed));
                    output::line(&format!(
                        "receipt {index}: {}: recorded {recorded}, replayed {replayed}",
                        plain(field)
                    ))?;
                }
            }
        }
    }
    let wrong = u64::try_from(tally.wrong.len()).unwrap_or(u64::MAX);
    let verdict = if wrong == 0 { paint.green("replayed") } else { paint.red("replay differs") };
    let same = counted(tally.same, "decision");
    let rest = format!("{} erased, {} not decisions, {wrong} differing", tally.erased, tally.not_decisions);
    output::line(&format!("{verdict} {same} to the same bytes; {rest}"))
}

fn machine(verified: &Verified, tally: &Tally) -> Value {
    let wrong: Vec<Value> = tally
        .wrong
        .iter()
        .map(|(index, wrong)| match wrong {
            Wrong::Unreadable(problem) => json!({"receipt_index": index, "problem": problem}),
            Wrong::Differs(differences) => {
                let fields = differences.iter().map(
                    |one| json!({"field": one.field, "recorded": one.recorded, "replayed": one.replayed}),
                );
                json!({"receipt_index": index, "differences": fields.collect::<Vec<_>>()})
            }
        })
        .collect();
    json!({
        "same": tally.same,
        "erased": tally.erased,
        "not_decisions": tally.not_decisions,
        "differing": wrong,
        "log": verify::machine(verified),
    })
}
