//! Trying a kept snapshot beside the one in force, and whose decisions bind.

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{field, number};
use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Format, Paint};
use crate::remote::Reach;

/// Arguments of `callgate rollout`.
#[derive(Debug, clap::Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: Rollout,
}

#[derive(Debug, Subcommand)]
enum Rollout {
    /// What is being tried, and how far it drifted
    Status(Status),
    /// Let a snapshot see everything; its verdict is recorded and never obeyed
    Shadow(Shadow),
    /// Let a snapshot decide for a share
    Canary(Canary),
    /// End the trial
    Stop(Stop),
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    reach: Reach,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Shadow {
    /// The kept snapshot, such as `v42`
    #[arg(value_name = "VERSION")]
    snapshot: String,
    #[command(flatten)]
    reach: Reach,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a share is drawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unit {
    Session,
    Agent,
    Tenant,
}

#[derive(Debug, clap::Args)]
struct Canary {
    /// The kept snapshot, such as `v42`
    #[arg(value_name = "VERSION")]
    snapshot: String,
    #[command(flatten)]
    reach: Reach,
    /// The share it decides for, such as `5%`
    #[arg(long, value_name = "PERCENT", value_parser = basis_points)]
    share: u32,
    /// What the share is drawn by; each goes the same way every time
    #[arg(long, value_enum, default_value = "session")]
    by: Unit,
    /// Only this agent; several times for several
    #[arg(long, value_name = "ID")]
    agent: Vec<String>,
    /// Only this tenant; several times for several
    #[arg(long, value_name = "ID")]
    tenant: Vec<String>,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Begin although something speaks against it, and say why
    #[arg(long = "override", value_name = "WHY")]
    overriding: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Stop {
    #[command(flatten)]
    reach: Reach,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Arguments of `callgate mode`.
#[derive(Debug, clap::Args)]
pub(crate) struct ModeArgs {
    /// `monitor`: decisions are only recorded; `enforce`: they bind; left out: whose are only recorded now
    #[arg(value_enum)]
    mode: Option<Mode>,
    #[command(flatten)]
    reach: Reach,
    /// One agent's; everybody's if left out
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// The agent's tenant
    #[arg(long, value_name = "ID", requires = "agent")]
    tenant: Option<String>,
    /// For people; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Monitor,
    Enforce,
}

/// `5%`, `0.25%` or `5` in basis points.
fn basis_points(text: &str) -> Result<u32, String> {
    let wrong = || "write a share such as `5%` or `0.25%`".to_owned();
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 2 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
    let share = whole.checked_mul(100).and_then(|whole| whole.checked_add(part));
    share.filter(|share| (1..=10_000).contains(share)).ok_or_else(wrong)
}

pub(crate) fn rollout(args: RolloutArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        match args.command {
            Rollout::Status(args) => {
                let answer = args.reach.remote()?.get("/api/v1/policy/rollout").await?;
                show(answer.get("rollout").unwrap_or(&Value::Null), args.format)
            }
            Rollout::Shadow(args) => {
                let body = body(&args.snapshot, "shadow", &[("note", args.note)]);
                let answer =
                    args.reach.remote()?.post("/api/v1/policy/rollout", &Value::Object(body)).await?;
                show(&answer, args.format)
            }
            Rollout::Canary(args) => canary(args).await,
            Rollout::Stop(args) => {
                let note = args.note.map_or_else(|| json!({}), |note| json!({"note": note}));
                args.reach.remote()?.post("/api/v1/policy/rollout/stop", &note).await?;
                output::note("nothing is being tried any more");
                Ok(Exit::Ok)
            }
        }
    })
}

async fn canary(args: Canary) -> Outcome {
    let mut body = body(&args.snapshot, "canary", &[("note", args.note), ("override", args.overriding)]);
    let by = match args.by {
        Unit::Session => "session",
        Unit::Agent => "agent",
        Unit::Tenant => "tenant",
    };
    body.insert("share_bp".to_owned(), args.share.into());
    body.insert("by".to_owned(), by.into());
    body.insert("agents".to_owned(), json!(args.agent));
    body.insert("tenants".to_owned(), json!(args.tenant));
    let answer = args.reach.remote()?.post("/api/v1/policy/rollout", &Value::Object(body)).await?;
    show(&answer, args.format)
}

fn body(snapshot: &str, mode: &str, texts: &[(&str, Option<String>)]) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("snapshot".to_owned(), snapshot.into());
    body.insert("mode".to_owned(), mode.into());
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert((*name).to_owned(), text.clone().into());
        }
    }
    body
}

fn show(rollout: &Value, format: Format) -> Outcome {
    if format == Format::Json {
        output::json(rollout)?;
        return Ok(Exit::Ok);
    }
    if rollout.is_null() {
        output::line("nothing is being tried")?;
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    let trial = rollout.get("trial").cloned().unwrap_or_default();
    let (snapshot, live) = (field(rollout, "snapshot"), field(rollout, "live"));
    output::line(&format!("{} is tried beside {live}: {}", paint.bold(snapshot), field(&trial, "kind")))?;
    for (side, mix) in [(live, "live_mix"), (snapshot, "candidate_mix")] {
        let mix = rollout.get(mix).and_then(Value::as_object).cloned().unwrap_or_default();
        let all: Vec<String> = mix.iter().map(|(decision, count)| format!("{decision} {count}")).collect();
        let all = if all.is_empty() { "nothing yet".to_owned() } else { all.join(", ") };
        output::line(&format!("  {side:<6} {all}"))?;
    }
    let percent = |name: &str| u32::try_from(number(rollout, name)).map(callgate_core::state::percent);
    let (drift, limit) =
        (percent("drift_bp").unwrap_or_default(), percent("max_drift_bp").unwrap_or_default());
    let least = number(rollout, "min_decisions");
    output::line(&format!("  drift  {drift}; ends by itself beyond {limit}, after {least} decisions"))?;
    Ok(Exit::Ok)
}

pub(crate) fn mode(args: &ModeArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        let remote = args.reach.remote()?;
        let answer = match args.mode {
            None if args.agent.is_some() || args.note.is_some() => {
                return Err(Failure::usage("say `monitor` or `enforce`"));
            }
            None => remote.get("/api/v1/policy/mode").await?,
            Some(mode) => {
                let mut body = Map::new();
                body.insert("monitor".to_owned(), (mode == Mode::Monitor).into());
                for (name, text) in [("agent", &args.agent), ("tenant", &args.tenant), ("note", &args.note)] {
                    if let Some(text) = text {
                        body.insert(name.to_owned(), text.clone().into());
                    }
                }
                remote.post("/api/v1/policy/mode", &Value::Object(body)).await?
            }
        };
        let monitored = answer.get("monitored").and_then(Value::as_array).cloned().unwrap_or_default();
        if monitored.is_empty() {
            output::line("every decision binds, as far as the policy in force says so")?;
        }
        for scope in monitored {
            let who = match field(&scope, "agent") {
                "" => "everybody".to_owned(),
                agent => format!(
                    "agent {} of tenant {}",
                    output::plain(agent),
                    output::plain(field(&scope, "tenant"))
                ),
            };
            output::line(&format!("only recorded: {who}"))?;
        }
        Ok(Exit::Ok)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        for (text, share) in [("5%", 500), ("0.25%", 25), ("100", 10_000), ("0.01%", 1), ("12.5%", 1250)] {
            assert_eq!(basis_points(text), Ok(share), "{text}");
        }
        for text in ["", "%", "0", "0%", "101%", "1.234%", "-1%", "1e2", " 5%", "5 %", "٥%"] {
            assert!(basis_points(text).is_err(), "{text}");
        }
    }
}
