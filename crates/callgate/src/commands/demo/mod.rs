//! `callgate demo`: one session on real parts, from policy file to executed or not executed call, to evidence.
//!
//! It ends by itself, and fails when anything is not as expected: it is a test, too.

mod client;
mod policy;
mod proof;
mod server;
mod stage;
mod web;
mod world;

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Paint};
use crate::{evidence, files};
use stage::Stage;

pub(crate) use server::{ServerArgs, run as run_server};

/// Arguments of `callgate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with `node_modules`, in which the official MCP filesystem server is installed
    #[arg(long, value_name = "DIR", default_value = "examples/demo")]
    mcp_dir: PathBuf,
    /// Keep bundle, log and keys in this folder, which must be new, to look around afterwards
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Where everything lies.
struct Place {
    /// The files the agent works on.
    work: PathBuf,
    bundle: PathBuf,
    data: PathBuf,
    /// What the parts say beside their work.
    said: PathBuf,
    /// Removed at the end.
    _temporary: Option<tempfile::TempDir>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let place = prepare(args.keep.as_deref())?;
    let paint = Paint::stdout();
    output::line(
        &paint.bold("Callgate: an agent asks, the gate decides, and nothing runs without a signed receipt"),
    )?;
    output::line("")?;
    let server = server::find(&args.mcp_dir);
    let mut stage = Stage::open(&place, &server)?;
    stage.play()?;
    stage.close()?;
    web::play(&place)?;
    proof::show(&place)?;
    match &args.keep {
        Some(dir) => look_around(dir, &place)?,
        None => output::line(
            "\nTo look around: callgate demo --keep DIR, then callgate log show N --data DIR/data",
        )?,
    }
    Ok(Exit::Ok)
}

fn prepare(keep: Option<&Path>) -> Result<Place, Failure> {
    let (root, temporary) = match keep {
        Some(dir) if dir.exists() => {
            let message = format!("`{}` is there already; name a new folder for `--keep`", dir.display());
            return Err(Failure::usage(message));
        }
        Some(dir) => {
            files::make_dir(dir)?;
            (dir.to_owned(), None)
        }
        None => {
            let dir = tempfile::Builder::new().prefix("callgate-demo-").tempdir();
            let dir = dir.map_err(|e| Failure::unexpected(format!("no temporary folder: {e}")))?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    // Servers compare real paths.
    let root = root.canonicalize().map_err(Failure::unexpected)?;
    let place = Place {
        work: root.join("work"),
        bundle: root.join("bundle"),
        data: root.join("data"),
        said: root.join("said.txt"),
        _temporary: temporary,
    };
    world::make(&place.work)?;
    policy::write(&place.bundle)?;
    Ok(place)
}

fn look_around(dir: &Path, place: &Place) -> Result<(), Failure> {
    let key = evidence::public_key_file(&place.data)?;
    output::line(&format!(
        "\nKept in `{}`. Look around: callgate log show 3 --data {} --key {}",
        dir.display(),
        place.data.display(),
        key.display()
    ))
}

/// Something is not as it must be.
fn unexpected(what: impl std::fmt::Display) -> Failure {
    Failure::unexpected(format!("the demonstration did not go as it must: {what}"))
}
