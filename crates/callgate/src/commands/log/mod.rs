//! `callgate log`: read, verify and replay. All but `erase` work beside a running gate and on a copied folder.

mod erase;
mod export;
mod replay;
mod show;
mod tail;
mod text;
mod verify;
mod would;

use std::path::PathBuf;

use clap::Subcommand;

use crate::Outcome;

pub(crate) use replay::replay;
pub(crate) use verify::summary;

/// Arguments of `callgate log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Log,
}

#[derive(Debug, Subcommand)]
enum Log {
    /// Check every signature, link, state change and checkpoint with nothing but a pinned public key
    Verify(verify::Args),
    /// Print the newest receipts
    Tail(tail::Args),
    /// Print one receipt
    Show(show::Args),
    /// Sum up what enforcement would have stopped where decisions were only recorded
    Would(would::Args),
    /// Verify the log and decide every receipt again from its recorded snapshot, request and facts
    Replay(replay::Args),
    /// Write one receipt with its proof as files that other programs can verify
    Export(export::Args),
    /// Make what a session's requests said unreadable for ever; receipts and proofs stay valid
    Erase(erase::Args),
}

/// Where the log is, and whom to believe.
#[derive(Debug, clap::Args)]
struct Pinned {
    /// The data folder, or its `log` folder alone
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The pinned public key (PEM). Take it from where you trust it, not from the folder you check
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// The same where a key may be left out.
#[derive(Debug, clap::Args)]
struct Source {
    /// The data folder, or its `log` folder alone
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The pinned public key (PEM) to verify what is shown; left out, nothing is verified
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Outcome {
    match args.command {
        Log::Verify(args) => verify::run(&args),
        Log::Tail(args) => tail::run(&args),
        Log::Show(args) => show::run(&args),
        Log::Would(args) => would::run(&args),
        Log::Replay(args) => replay::run(&args),
        Log::Export(args) => export::run(&args),
        Log::Erase(args) => erase::run(args),
    }
}
