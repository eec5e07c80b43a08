//! `callgate log export`: one receipt as files for `openssl`, `securesystemslib` and C2SP tools.

use std::path::PathBuf;

use callgate_gate::Identity;
use callgate_log::export::Bundle;
use callgate_log::note::NoteVerifier;

use super::{Pinned, show};
use crate::Outcome;
use crate::evidence::Evidence;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{files, output};

/// Arguments of `callgate log export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The receipt's place in the log
    #[arg(value_name = "N")]
    index: u64,
    #[command(flatten)]
    pinned: Pinned,
    /// The folder to write; files of the same names are replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let key = files::read_key(&args.pinned.key)?;
    let proven = show::prove(&Evidence::open(&args.pinned.data)?, args.index, &key)?;
    let log = NoteVerifier::new(&Identity::origin_of(&key), key).map_err(Failure::unexpected)?;
    let bundle = Bundle::new(&proven.receipt.payload, proven.receipt.signature, &proven.proof, &key, &log);
    let bundle = bundle.map_err(|e| Failure::evidence(format!("receipt {}: {e}", args.index)))?;
    files::make_dir(&args.out)?;
    for (name, bytes) in bundle.files() {
        let path = args.out.join(name);
        files::overwrite(&path, bytes)?;
        output::line(&path.display().to_string())?;
    }
    Ok(Exit::Ok)
}
