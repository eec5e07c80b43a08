//! `callgate completions`: a script that a shell loads.

use clap_complete::Shell;

use crate::Outcome;
use crate::exit::Exit;
use crate::output;

/// Arguments of `callgate completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "callgate", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
