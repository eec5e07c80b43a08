//! `callgate log erase`: drops the key of a session's sealed requests. Nothing in the log changes.

use std::path::PathBuf;

use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::SessionKey;
use callgate_gate::GateOptions;

use crate::Outcome;
use crate::commands::keys::refused;
use crate::exit::Exit;
use crate::{opening, output};

/// Arguments of `callgate log erase`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The data folder; no gate may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The agent
    #[arg(long, value_name = "ID")]
    agent: String,
    /// The session; left out, the agent's requests without one
    #[arg(long, value_name = "ID", default_value = "")]
    session: String,
    /// The agent's tenant
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: String,
}

pub(super) fn run(args: Args) -> Outcome {
    opening::block_on(erase(args))
}

async fn erase(args: Args) -> Outcome {
    let gate = opening::open(&args.data, None, GateOptions::default()).await?.gate;
    let key = SessionKey { agent: args.agent, session: args.session, tenant: args.tenant };
    let erased = gate.erase_session(key, "operator").await;
    gate.close();
    let receipt = erased.map_err(|e| refused(&e))?;
    output::note(
        "the key is erased: what these requests said cannot be read again, from here or from any copy of the log",
    );
    output::note("copies of the folder `keyring` made before still hold the key; erase them, too");
    output::line(&receipt.to_string())?;
    Ok(Exit::Ok)
}
