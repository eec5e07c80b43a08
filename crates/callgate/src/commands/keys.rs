//! `callgate keys`: who may ask over HTTP. A key is shown once, when it is made; the log keeps a hash.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::{Delta, Holder, State};
use callgate_gate::{AdminError, Gate, GateOptions, KeyRecord};
use callgate_log::sha256;
use clap::Subcommand;
use serde_json::Value;

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
    #[arg(long, value_name = "ID", required_unless_present = "person", conflicts_with = "person")]
    agent: Option<String>,
    /// The person that the key speaks for; give `--role` too
    #[arg(long, value_name = "ID", requires = "role")]
    person: Option<String>,
    /// What the person may do: `reviewer`, `publisher`, `operator`, `auditor`, `point`, or a role that approval
    /// rules name; several times for several
    #[arg(long, value_name = "ROLE", conflicts_with = "agent")]
    role: Vec<String>,
    /// The file of the key that the person's signatures verify with: Ed25519, SPKI in PEM
    #[arg(long, value_name = "FILE", conflicts_with = "agent")]
    public_key: Option<PathBuf>,
    /// The person who answers for the agent, and so cannot approve what it asks
    #[arg(long, value_name = "ID", conflicts_with = "person")]
    owner: Option<String>,
    /// The agent's team
    #[arg(long, conflicts_with = "person")]
    team: Option<String>,
    /// The tenant; `default` for an agent, every one for a person, if left out
    #[arg(long)]
    tenant: Option<String>,
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
    let holder = holder(&args)?;
    let gate = open(&args.data, args.bundle.as_deref()).await?;
    let created = gate.create_key(holder, ACTOR).await;
    gate.close();
    let (record, secret) = created.map_err(|e| refused(&e))?;
    output::note("this key is shown once; the gate keeps a hash of it");
    match args.format {
        Format::Human => output::line(secret.reveal())?,
        Format::Json => output::json(&created_json(&record, secret.reveal())?)?,
    }
    Ok(Exit::Ok)
}

fn holder(args: &Create) -> Result<Holder, Failure> {
    let Create { agent, person, role, public_key, owner, team, tenant, .. } = args;
    match (agent.clone(), person.clone()) {
        (_, Some(person)) => Ok(Holder::Person {
            person,
            public_key: public_key.as_deref().map(pem).transpose()?,
            roles: role.iter().cloned().collect(),
            tenant: tenant.clone(),
        }),
        (Some(agent), None) => Ok(Holder::Agent {
            agent,
            owner: owner.clone(),
            team: team.clone(),
            tenant: tenant.clone().unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        }),
        (None, None) => Err(Failure::usage("give `--agent ID` or `--person ID`")),
    }
}

fn pem(path: &Path) -> Result<String, Failure> {
    let key = files::read_key(path)?;
    key.to_spki_pem().map_err(Failure::unexpected)
}

fn created_json(record: &KeyRecord, key: &str) -> Result<Value, Failure> {
    let mut all = serde_json::to_value(record).map_err(Failure::unexpected)?;
    if let Some(all) = all.as_object_mut() {
        all.insert("key".to_owned(), key.into());
    }
    Ok(all)
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
        let tenant = key.tenant.map_or_else(|| "every tenant".to_owned(), |it| format!("tenant {it}"));
        let more = [("team", key.team), ("owner", key.owner), ("roles", listed(&key.roles))];
        let more: String =
            more.into_iter().filter_map(|(word, it)| Some(format!(", {word} {}", it?))).collect();
        let holder = match (key.agent, key.person) {
            (_, Some(person)) => format!("person {person}"),
            (agent, None) => agent.unwrap_or_default(),
        };
        output::line(&format!("{}  {holder} ({tenant}{more})", paint.bold(&key.id)))?;
    }
    Ok(Exit::Ok)
}

fn listed(roles: &[String]) -> Option<String> {
    (!roles.is_empty()).then(|| roles.join(" "))
}

async fn revoke(args: Revoke) -> Outcome {
    let gate = open(&args.data, None).await?;
    let revoked = gate.revoke_key(&args.id, ACTOR).await;
    gate.close();
    revoked.map_err(|e| refused(&e))?;
    output::note(&format!("key `{}` is revoked; the next request with it is refused", args.id));
    Ok(Exit::Ok)
}
