//! The reference of the command line, written from the tree that parses it: `docs/cli.md`.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::exit::Exit;

/// The whole reference as Markdown.
pub(crate) fn markdown(mut root: Command) -> String {
    root.build();
    let mut out = String::from(HEAD);
    section(&mut out, &root, "callgate", 2);
    out.push_str("\n## Exit codes\n\nOnly 0 may mean \"go\".\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        write(&mut out, format_args!("| {} | {} |\n", exit.code(), exit.meaning()));
    }
    out
}

const HEAD: &str = "# The command line

This page is written by `callgate docs-cli`; a test holds it against the program. Data goes to standard output,
everything else to standard error. Commands that print data take `--format human|json`. Colours are for terminals
only; `NO_COLOR` turns them off.
";

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(text);
}

fn section(out: &mut String, command: &Command, path: &str, level: usize) {
    write(out, format_args!("\n{} `{path}`\n", "#".repeat(level)));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        write(out, format_args!("\n{about}\n"));
    }
    let mut subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set()).peekable();
    if subcommands.peek().is_none() {
        let usage = command.clone().render_usage().to_string();
        write(out, format_args!("\n```\n{}\n```\n", usage.trim_start_matches("Usage: ")));
    }
    let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| documented(arg)).collect();
    if !arguments.is_empty() {
        out.push_str("\n| argument | meaning |\n|---|---|\n");
    }
    for arg in arguments {
        write(out, format_args!("| {} | {} |\n", spelling(arg), meaning(arg)));
    }
    for sub in subcommands {
        section(out, sub, &format!("{path} {}", sub.get_name()), level.saturating_add(1).min(4));
    }
}

fn documented(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn spelling(arg: &Arg) -> String {
    let names =
        arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect::<Vec<_>>();
    let value = if arg.get_action().takes_values() { names.join(" ") } else { String::new() };
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let flags = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match (flags.is_empty(), value.is_empty()) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{flags}`"),
        (false, false) => format!("`{flags} {value}`"),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = help.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|");
    let choices = arg.get_possible_values();
    let choices = choices.iter().map(|value| format!("`{}`", value.get_name())).collect::<Vec<_>>();
    if !choices.is_empty() && arg.get_action().takes_values() {
        write(&mut text, format_args!(": {}", choices.join(", ")));
    }
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
    if !default.is_empty() && arg.get_action().takes_values() {
        write(&mut text, format_args!(" (default `{}`)", default.join(" ")));
    }
    text
}
