//! The command line as one tree; names here stay what they are.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    approvals, breakers, check, completions, decide, demo, diff, explain, keys, limits, log, mcp, prove,
    release, serve, simulate, stops, test,
};
use crate::exit::Exit;
use crate::{Outcome, output, reference};

/// The call gate between AI agents and everything they can touch.
///
/// Every tool call is decided by policy before it runs, and nothing runs without a durable, signed receipt.
#[derive(Debug, Parser)]
#[command(name = "callgate", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a session against a real MCP server and check the evidence
    Demo(demo::Args),
    /// Answer over HTTP
    Serve(serve::Args),
    /// Stand between an MCP client and a stdio server
    Mcp(mcp::Args),
    /// Decide one request
    Decide(decide::Args),
    /// Find every problem of a bundle
    Check(check::Args),
    /// Play a bundle's tests
    Test(test::Args),
    /// Hold a policy against recorded decisions, a corpus or a request, before it is in force
    Simulate(simulate::Args),
    /// Show what is different between two policies, in rules and in decisions
    Diff(diff::Args),
    /// Say why a decision came out as it did
    Explain(explain::Args),
    /// Keep bundles as snapshots, list and show them
    Snapshots(release::SnapshotsArgs),
    /// Put a bundle or a kept snapshot in force
    Publish(release::PublishArgs),
    /// Return to a snapshot that was in force before
    Rollback(release::RollbackArgs),
    /// Try a kept snapshot beside the one in force: in the shadow, or for a share
    Rollout(release::RolloutArgs),
    /// Say whose decisions bind, and whose are only recorded
    Mode(release::ModeArgs),
    /// See what waits for people, and decide on it
    Approvals(approvals::Args),
    /// Stop an agent, a session, a tool, a team, a tenant or everything, at once
    Stop(stops::StopArgs),
    /// List what is stopped
    Stops(stops::StopsArgs),
    /// Lift a stop
    Resume(stops::ResumeArgs),
    /// List the breakers that are open, and close them again
    Breakers(breakers::BreakersArgs),
    /// Show what is used of each limit, or what is left to an agent
    Limits(limits::Args),
    /// Read, verify and replay the log
    Log(log::Args),
    /// Break everything around the gate on purpose, and hold what ran against the receipts
    Prove(prove::Args),
    /// Make, list and revoke the keys of agents
    Keys(keys::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// The small MCP server of the demonstration
    #[command(hide = true)]
    DemoServer(demo::ServerArgs),
    /// A program that `callgate prove` starts beside the gate
    #[command(hide = true)]
    ProvePart(prove::PartArgs),
    /// Print the reference of the command line
    #[command(hide = true)]
    DocsCli,
}

impl Command {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Serve(args) => serve::run(args),
            Self::Mcp(args) => mcp::run(args),
            Self::Decide(args) => decide::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Test(args) => test::run(&args),
            Self::Simulate(args) => simulate::run(&args),
            Self::Diff(args) => diff::run(&args),
            Self::Explain(args) => explain::run(&args),
            Self::Snapshots(args) => release::snapshots(args),
            Self::Publish(args) => release::publish(&args),
            Self::Rollback(args) => release::rollback(&args),
            Self::Rollout(args) => release::rollout(args),
            Self::Mode(args) => release::mode(&args),
            Self::Approvals(args) => approvals::run(args),
            Self::Stop(args) => stops::stop(args),
            Self::Stops(args) => stops::stops(args),
            Self::Resume(args) => stops::resume(args),
            Self::Breakers(args) => breakers::breakers(args),
            Self::Limits(args) => limits::run(args),
            Self::Log(args) => log::run(args),
            Self::Keys(args) => keys::run(args),
            Self::Completions(args) => completions::run(&args, &mut Cli::command()),
            Self::DemoServer(args) => demo::run_server(&args),
            Self::Prove(args) => prove::run(&args),
            Self::ProvePart(args) => prove::run_part(&args),
            Self::DocsCli => {
                output::line(reference::markdown(Cli::command()).trim_end())?;
                Ok(Exit::Ok)
            }
        }
    }
}

/// Reads the arguments; what `clap` has to say itself is said here.
pub(crate) fn parse() -> Result<Command, Exit> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        // When the terminal is gone, there is nobody left to tell.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Ok }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    /// The words of a line of shell, as far as the pages go: quotes, and what ends a command.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => (quote, open) = (Some(c), true),
                (c, Some(q)) if c == q => quote = None,
                ('#' | '|' | '>' | '&' | ';', None) if !open => break,
                (c, None) if c.is_whitespace() => {
                    if std::mem::take(&mut open) {
                        words.push(std::mem::take(&mut word));
                    }
                }
                (c, _) => {
                    word.push(c);
                    open = true;
                }
            }
        }
        if open {
            words.push(word);
        }
        words
    }

    /// The commands in the blocks of a page: lines that begin with `callgate` or `$ callgate`.
    fn commands(page: &str) -> Vec<Vec<String>> {
        let mut inside = false;
        let page = page.replace("\\\n", " ");
        let lines = page.lines().filter(|line| {
            inside ^= line.trim_start().starts_with("```");
            inside
        });
        let lines = lines.map(|line| line.trim().trim_start_matches("$ ").trim_start_matches("sudo "));
        lines.filter(|line| line.starts_with("callgate ")).map(words).collect()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads the pages")]
    fn every_command_that_the_pages_show_is_one() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = vec![root.join("README.md")];
        let mut folders = vec![root.join("docs")];
        let (mut shown, mut wrong) = (0_usize, Vec::new());
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                // The list of commands is written from the tree itself.
                } else if path.extension().is_some_and(|it| it == "md") && !path.ends_with("cli.md") {
                    pages.push(path);
                }
            }
        }
        for path in pages {
            let page = std::fs::read_to_string(&path).unwrap();
            for command in commands(&page) {
                shown = shown.saturating_add(1);
                if let Err(error) = Cli::try_parse_from(&command)
                    && error.use_stderr()
                {
                    wrong.push(format!("{}: {command:?}\n{error}", path.display()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(shown > 25, "{shown}");
    }
}
