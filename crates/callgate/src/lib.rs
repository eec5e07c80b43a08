//! The one binary: arguments, files, output and exit codes.
//!
//! Every command is a module of [`commands`] with a short body: read the arguments, call the crate that does the
//! work, print what came of it. Nothing here decides, signs or stores; data goes to standard output, everything else
//! to standard error.

mod carrier;
mod cli;
mod commands;
mod evidence;
pub mod exit;
mod failure;
mod files;
mod judge;
mod opening;
mod output;
mod reference;
mod remote;
mod span;
mod stdio;
mod webhooks;

use std::process::ExitCode;

use exit::Exit;
use failure::Failure;

/// Runs the program with the arguments it was started with.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match cli::parse() {
        Ok(command) => run(command),
        Err(exit) => exit,
    };
    exit.into()
}

fn run(command: cli::Command) -> Exit {
    match command.run() {
        Ok(exit) => exit,
        Err(failure) => {
            failure.show();
            failure.exit()
        }
    }
}

/// What a command comes to.
type Outcome = Result<Exit, Failure>;
