//! `callgate keys`: who may ask over HTTP. A key is shown once, when it is made; the log keeps a hash.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::{Delta, State};
use callgate_gate::{AdminError, Gate, GateOptions, KeyRecord};
use callgate_log::sha256;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::{files, opening};

/// Who makes changes from the command line.
const ACTOR: &str = "operator";

/// Arguments of `callgate keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Keys,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key for an agent and show it once
    Create(Create),
    /// List the keys, without their secrets
    List(List),
    /// Take a key back
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The data folder; no gate may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The bundle's folder, to put it in force at the same time
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The agent that the key speaks for
    #[arg(long, value_name = "ID")]
    agent: String,
    /// The agent's team
    #[arg(long)]
    team: Option<String>,
    /// The agent's tenant
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: String,
    /// How the key is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct List {
    /// The data folder; a gate may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The key's public name, as `keys list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// The data folder; no gate may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(crate) fn run(args: Args) -> Outcome {
    match args.command {
        Keys::Create(args) => opening::block_on(create(args)),
        Keys::List(args) => list(&args),
        Keys::Revoke(args) => opening::block_on(revoke(args)),
    }
}

async fn open(data: &Path, bundle: Option<&Path>) -> Result<Arc<Gate>, Failure> {
    let bundle = bundle.map(files::read_bundle).transpose()?;
    // Keys come before policy: whoever asks meanwhile is denied.
    let options = GateOptions { without_policy: true, ..GateOptions::default() };
    Ok(opening::open(data, bundle.as_ref(), options).await?.gate)
}

/// Why a change was refused.
pub(crate) fn refused(error: &AdminError) -> Failure {
    match error {
        AdminError::Invalid(_) | AdminError::Unknown(_) => Failure::usage(error),
        AdminError::Unavailable(_) | AdminError::Keyring(_) => Failure::unavailable(error),
    }
}

async fn create(args: Create) -> Outcome {
    let gate = open(&args.data, args.bundle.as_deref()).await?;
    let created = gate.create_key(&args.agent, &args.tenant, args.team.as_deref(), ACTOR).await;
    gate.close();
    let (record, secret) = created.map_err(|e| refused(&e))?;
    output::note("this key is shown once; the gate keeps a hash of it");
    match args.format {
        Format::Human => output::line(secret.reveal())?,
        Format::Json => output::json(&created_json(&record, secret.reveal()))?,
    }
    Ok(Exit::Ok)
}

fn created_json(record: &KeyRecord, key: &str) -> Value {
    json!({"id": record.id, "agent": record.agent, "tenant": record.tenant, "team": record.team, "key": key})
}

/// The registry as the log folds to it; no lock is needed to read.
fn list(args: &List) -> Outcome {
    let mut state = State::default();
    let mut reader = Evidence::open(&args.data)?.reader();
    while let Some(group) = evidence::next(&mut reader)? {
        for receipt in group {
            let wrong = |e| Failure::evidence(format!("receipt {}: its state change: {e}", receipt.index));
            let delta: Delta = serde_json::from_slice(&receipt.delta).map_err(wrong)?;
            state.apply(receipt.index, sha256(&receipt.payload).as_bytes(), &delta);
        }
    }
    let keys: Vec<KeyRecord> = state.keys().values().map(KeyRecord::from).collect();
    if args.format == Format::Json {
        output::json(&keys)?;
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    for key in keys {
        let team = key.team.map(|team| format!(", team {team}")).unwrap_or_default();
        output::line(&format!("{}  {} (tenant {}{team})", paint.bold(&key.id), key.agent, key.tenant))?;
    }
    Ok(Exit::Ok)
}

async fn revoke(args: Revoke) -> Outcome {
    let gate = open(&args.data, None).await?;
    let revoked = gate.revoke_key(&args.id, ACTOR).await;
    gate.close();
    revoked.map_err(|e| refused(&e))?;
    output::note(&format!("key `{}` is revoked; the next request with it is refused", args.id));
    Ok(Exit::Ok)
}
