//! `callgate breakers` and `limits`: what is open, what is used, and closing a breaker again.

use callgate_server::wire_limits::{BreakerItem, BreakerList, MeterList};
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

/// Arguments of `callgate limits`.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    reach: Reach,
    /// Only meters whose name begins so, such as `spend@`
    #[arg(long, value_name = "TEXT", value_parser = simple)]
    prefix: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What needs no escape in a query.
fn simple(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:=,/".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("write letters, digits and `-_.@:=,/`".to_owned()) }
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

pub(crate) fn limits(args: LimitsArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        let query = args.prefix.map(|prefix| format!("?prefix={prefix}")).unwrap_or_default();
        let answer = args.reach.remote()?.get(&format!("/api/v1/limits{query}")).await?;
        if args.format == Format::Json {
            output::json(&answer)?;
            return Ok(Exit::Ok);
        }
        let MeterList { meters } = read(answer)?;
        if meters.is_empty() {
            output::line("nothing is counted")?;
        }
        for meter in meters {
            output::line(&format!("{} {}", plain(&meter.name), plain(&meter.used)))?;
        }
        Ok(Exit::Ok)
    })
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(Failure::unexpected)
}
