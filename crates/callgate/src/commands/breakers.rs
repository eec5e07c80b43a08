//! `callgate breakers`: what is open, and closing it again.

use callgate_server::wire_limits::{BreakerItem, BreakerList};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Format, Paint, moment, plain};
use crate::remote::Reach;

/// Arguments of `callgate breakers`.
#[derive(Debug, clap::Args)]
pub(crate) struct BreakersArgs {
    #[command(subcommand)]
    command: Breakers,
}

#[derive(Debug, Subcommand)]
enum Breakers {
    /// List the breakers that are open, with the receipts that they counted
    List(List),
    /// Close a breaker, having seen what it counted
    Reset(Reset),
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
struct Reset {
    /// The breaker's name, or the beginning of it that no other open one has
    #[arg(value_name = "NAME")]
    name: String,
    /// The last receipt that you looked at
    #[arg(long, value_name = "INDEX")]
    through: u64,
    /// Why it may go on; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    reach: Reach,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn breakers(args: BreakersArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        match args.command {
            Breakers::List(List { reach, format }) => {
                let answer = reach.remote()?.get("/api/v1/breakers").await?;
                show(answer, format)
            }
            Breakers::Reset(Reset { name, through, note, reach, format }) => {
                let body = json!({"name": name, "note": note, "through": through});
                let answer = reach.remote()?.post("/api/v1/breakers/reset", &body).await?;
                if format == Format::Json {
                    output::json(&answer)?;
                    return Ok(Exit::Ok);
                }
                let item: BreakerItem = read(answer)?;
                output::line(&format!("closed: {}", Paint::stdout().bold(&plain(&item.name))))?;
                Ok(Exit::Ok)
            }
        }
    })
}

fn show(answer: Value, format: Format) -> Outcome {
    if format == Format::Json {
        output::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let BreakerList { breakers, .. } = read(answer)?;
    if breakers.is_empty() {
        output::line("no breaker is open")?;
    }
    for item in &breakers {
        let monitor = if item.monitor { ", only monitored" } else { "" };
        let seen: Vec<String> = item.violations.iter().map(u64::to_string).collect();
        output::line(&format!(
            "{} open since {}{monitor}",
            Paint::stdout().bold(&plain(&item.name)),
            moment(item.since_ms)
        ))?;
        output::line(&format!(
            "  counted receipts {}; reset with --through {}",
            seen.join(", "),
            item.through
        ))?;
    }
    Ok(Exit::Ok)
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(Failure::unexpected)
}
