//! `callgate stop`, `stops` and `resume`: the kill switch of a running gate.

use callgate_server::wire_limits::{NewStop, StopItem, StopList, StopReply};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Format, Paint, moment, plain};
use crate::remote::Reach;

const FOLDER: &str = "/api/v1/stops";

/// Arguments of `callgate stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Stop an agent, and whatever others do that it delegated to
    Agent(Named),
    /// Stop one session
    Session(Session),
    /// Stop a tool, topic or function, whoever asks for it
    Tool(Named),
    /// Stop every agent of a team
    Team(Named),
    /// Stop every agent of a tenant
    Tenant(Whole),
    /// Stop every action of every agent
    Everything(Everything),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Its name; look-alikes are stopped, too
    #[arg(value_name = "NAME")]
    name: String,
    /// Only in this tenant; in every tenant if left out
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Session {
    /// The session's id
    #[arg(value_name = "ID")]
    session: String,
    /// The session's agent
    #[arg(long, value_name = "ID")]
    agent: String,
    /// The session's tenant; `default` if left out
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Whole {
    /// The tenant
    #[arg(value_name = "NAME")]
    tenant: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Everything {
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    reach: Reach,
    /// Why, for people; goes into the receipt, and agents never see it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `callgate stops`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopsArgs {
    #[command(flatten)]
    reach: Reach,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `callgate resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// The stop, such as `stop-12`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    reach: Reach,
    /// Why it may go on; goes into the receipt
    #[arg(long, value_name = "TEXT")]
    note: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl What {
    fn request(self) -> (NewStop, How) {
        let named = |scope: &str| NewStop { scope: scope.to_owned(), ..NewStop::default() };
        match self {
            Self::Agent(Named { name, tenant, how }) => {
                (NewStop { agent: Some(name), tenant, ..named("agent") }, how)
            }
            Self::Tool(Named { name, tenant, how }) => {
                (NewStop { tool: Some(name), tenant, ..named("tool") }, how)
            }
            Self::Team(Named { name, tenant, how }) => {
                (NewStop { team: Some(name), tenant, ..named("team") }, how)
            }
            Self::Session(Session { session, agent, tenant, how }) => {
                let (session, agent) = (Some(session), Some(agent));
                (NewStop { session, agent, tenant, ..named("session") }, how)
            }
            Self::Tenant(Whole { tenant, how }) => (NewStop { tenant: Some(tenant), ..named("tenant") }, how),
            Self::Everything(Everything { how }) => (named("everything"), how),
        }
    }
}

pub(crate) fn stop(args: StopArgs) -> Outcome {
    let (what, How { reach, note, format }) = args.what.request();
    opening::block_on_one_thread(async move {
        let body = serde_json::to_value(NewStop { note, ..what }).map_err(Failure::unexpected)?;
        let answer = reach.remote()?.post(FOLDER, &body).await?;
        if format == Format::Json {
            output::json(&answer)?;
            return Ok(Exit::Ok);
        }
        let StopReply { created, stop } = read(answer)?;
        let word = if created { "stopped" } else { "was stopped already" };
        output::line(&format!("{} {word}: {}", Paint::stdout().bold(&plain(&stop.id)), subject(&stop)))?;
        output::note(&format!("to lift it: callgate resume {} --note WHY", plain(&stop.id)));
        Ok(Exit::Ok)
    })
}

pub(crate) fn stops(args: StopsArgs) -> Outcome {
    opening::block_on_one_thread(async move {
        let answer = args.reach.remote()?.get(FOLDER).await?;
        if args.format == Format::Json {
            output::json(&answer)?;
            return Ok(Exit::Ok);
        }
        let StopList { count, stops } = read(answer)?;
        if stops.is_empty() {
            output::line("nothing is stopped")?;
        }
        for stop in &stops {
            let note = stop.note.as_ref().map(|note| format!(": {}", plain(note))).unwrap_or_default();
            output::line(&format!(
                "{} {}, since {} by {}{note}",
                Paint::stdout().bold(&plain(&stop.id)),
                subject(stop),
                moment(stop.since_ms),
                plain(&stop.by)
            ))?;
        }
        if count > stops.len() {
            output::note(&format!("the newest of {} stops", count));
        }
        Ok(Exit::Ok)
    })
}

pub(crate) fn resume(args: ResumeArgs) -> Outcome {
    let ResumeArgs { id, reach, note, format } = args;
    opening::block_on_one_thread(async move {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Failure::usage("a stop's id is like `stop-12`"));
        }
        let answer = reach.remote()?.post(&format!("{FOLDER}/{id}/lift"), &json!({"note": note})).await?;
        if format == Format::Json {
            output::json(&answer)?;
            return Ok(Exit::Ok);
        }
        let stop: StopItem = read(answer)?;
        output::line(&format!("{} lifted: {}", Paint::stdout().bold(&plain(&stop.id)), subject(&stop)))?;
        Ok(Exit::Ok)
    })
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(Failure::unexpected)
}

/// What is stopped, in words.
fn subject(stop: &StopItem) -> String {
    let name = match stop.scope.as_str() {
        "agent" => &stop.agent,
        "session" => &stop.session,
        "team" => &stop.team,
        "tool" => &stop.tool,
        "tenant" => &stop.tenant,
        _ => &None,
    };
    let mut words = plain(&stop.scope);
    if let Some(name) = name {
        words = format!("{words} {}", plain(name));
    }
    if let (Some(agent), "session") = (&stop.agent, stop.scope.as_str()) {
        words = format!("{words} of agent {}", plain(agent));
    }
    match &stop.tenant {
        Some(tenant) if stop.scope != "tenant" => format!("{words} of tenant {}", plain(tenant)),
        _ => words,
    }
}
