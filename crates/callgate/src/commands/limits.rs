//! `callgate limits`: what is used of each limit, and what is left to somebody.

use callgate_server::wire_limits::{MeterItem, MeterList};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Format, Paint, moment, plain};
use crate::remote::{Reach, query};

/// Arguments of `callgate limits`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Only meters whose name begins so, such as `spend@`
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["agent", "tenant", "team", "user", "session", "tool"])]
    prefix: Option<String>,
    /// Only what bounds this agent, with what is left; look-alikes count as one
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// In this tenant; that of the agent's keys if left out, else `default`
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// In this team; that of the agent's keys if left out
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// On behalf of this person or account
    #[arg(long, value_name = "WHO")]
    user: Option<String>,
    /// In this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Calling this tool, such as `stripe.refund`
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: Args) -> Outcome {
    let pairs = [
        ("prefix", args.prefix.as_deref()),
        ("agent", args.agent.as_deref()),
        ("tenant", args.tenant.as_deref()),
        ("team", args.team.as_deref()),
        ("user", args.user.as_deref()),
        ("session", args.session.as_deref()),
        ("tool", args.tool.as_deref()),
    ];
    let path = query("/api/v1/limits", &pairs);
    opening::block_on_one_thread(async move {
        let answer = args.reach.remote()?.get(&path).await?;
        if args.format == Format::Json {
            output::json(&answer)?;
            return Ok(Exit::Ok);
        }
        let MeterList { meters, unseen } = serde_json::from_value(answer).map_err(Failure::unexpected)?;
        if meters.is_empty() {
            output::line(if unseen.is_some() {
                "nothing that is known bounds them"
            } else {
                "nothing is counted"
            })?;
        }
        table(&meters)?;
        for item in unseen.unwrap_or_default() {
            output::note(&format!("not all of `{}`: {}", plain(&item.limit.id), plain(&item.why)));
        }
        Ok(Exit::Ok)
    })
}

/// One line for each meter, in columns.
fn table(meters: &[MeterItem]) -> Result<(), Failure> {
    let rows: Vec<[String; 4]> = meters.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (name_width, used_width, left_width) = (width(0), width(1), width(2));
    for [name, used, left, rest] in &rows {
        let name = Paint::stdout().bold(&format!("{name:<name_width$}"));
        let line = format!("{name}  {used:<used_width$}  {left:<left_width$}  {rest}");
        output::line(line.trim_end())?;
    }
    Ok(())
}

/// Name, what is used of what, what is left, and the rest.
fn row(meter: &MeterItem) -> [String; 4] {
    let name = plain(&meter.name);
    let Some(limit) = &meter.limit else {
        let gone = "no limit in force is held against it".to_owned();
        return [name, format!("{} used", plain(&meter.used)), String::new(), gone];
    };
    let unit = limit.unit.as_deref().map(|unit| format!(" {}", plain(unit))).unwrap_or_default();
    let used = match (&limit.most, &meter.outcomes) {
        (Some(most), _) => format!("{} of {}{unit} used", plain(&meter.used), plain(most)),
        (None, Some(outcomes)) => format!("{} of {} failed", plain(&meter.used), plain(outcomes)),
        (None, None) => format!("{} used", plain(&meter.used)),
    };
    let left = meter.left.as_deref().map(|left| format!("{} left", plain(left))).unwrap_or_default();
    [name, used, left, rest(meter).join(", ")]
}

/// When it begins anew, and what else is to be known.
fn rest(meter: &MeterItem) -> Vec<String> {
    let mut all = Vec::new();
    let Some(limit) = &meter.limit else { return all };
    match (meter.resets_at_ms, &limit.over) {
        (Some(at), Some(over)) => all.push(format!("per {}, anew at {}", plain(over), moment(at))),
        (None, Some(over)) => all.push(format!("within {}", plain(over))),
        (_, None) => {
            let interval = meter.gauge.get("interval_ns").and_then(serde_json::Value::as_u64);
            all.extend(interval.map(|ns| format!("one more each {}", pause(ns))));
        }
    }
    if let Some(share) = limit.share_bp {
        let at_least = limit.at_least.as_deref().unwrap_or("1");
        all.push(format!("opens at {} of {} or more", callgate_core::state::percent(share), plain(at_least)));
    }
    match meter.retry_after_ms {
        Some(0) | None => {}
        Some(ms) => all.push(format!("the next in {ms} ms")),
    }
    let marks = [
        (meter.open, "OPEN"),
        (limit.mode == "monitor", "only monitored"),
        (limit.exceed.as_deref() == Some("require_approval"), "then people are asked"),
        (meter.standing == "tried", "of the candidate that is tried"),
        (meter.first, "bounds first"),
    ];
    all.extend(marks.iter().filter(|(holds, _)| *holds).map(|(_, text)| (*text).to_owned()));
    all
}

/// A time in nanoseconds, in milliseconds or seconds.
fn pause(ns: u64) -> String {
    match (ns % 1_000_000_000, ns % 1_000_000) {
        (0, _) => format!("{} s", ns / 1_000_000_000),
        (_, 0) => format!("{} ms", ns / 1_000_000),
        _ => format!("{ns} ns"),
    }
}
