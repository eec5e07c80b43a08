//! The cases of `tests/cases/` through every way in: the pure core, HTTP, the MCP wrapper, the command line.
//!
//! One case, one meaning: each way in must give the same decision, code, rule and constraints.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read their cases and say what they skip"
)]

mod attacks;
mod case;
mod cli;
mod core;
mod http;
mod mcp;
mod yaml;

use std::collections::BTreeSet;

use case::{Answer, Case};

/// Asks every case's questions one way and reports all that came out otherwise.
fn hold(way: &str, mut ask: impl FnMut(&Case) -> Result<Vec<Answer>, String>) {
    let (mut wrong, mut skipped, mut held) = (Vec::new(), Vec::new(), 0);
    for case in case::all() {
        match ask(&case) {
            Err(why) => skipped.push(format!("{}: {why}", case.name)),
            Ok(answers) => {
                assert_eq!(answers.len(), case.asks.len(), "{}", case.name);
                held += 1;
                for (number, (asked, answer)) in case.asks.iter().zip(&answers).enumerate() {
                    let differences = asked.expect.differences(answer);
                    wrong.extend(
                        differences.into_iter().map(|d| format!("{} [{}]: {d}", case.name, number + 1)),
                    );
                }
            }
        }
    }
    eprintln!("{way}: {held} cases held, {} not expressible", skipped.len());
    skipped.iter().for_each(|line| eprintln!("  {line}"));
    assert!(wrong.is_empty(), "{way}:\n{}", wrong.join("\n"));
    assert!(held > 0);
}

#[test]
fn core_gives_every_answer() {
    hold("core", core::ask);
}

#[test]
fn http_gives_every_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    hold("http", |case| runtime.block_on(http::ask(case)));
}

#[test]
fn mcp_gives_every_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    hold("mcp", |case| runtime.block_on(mcp::ask(case)));
}

#[test]
fn the_command_line_gives_every_answer() {
    hold("cli", cli::ask);
}

#[test]
fn the_cases_cover_what_can_be_said() {
    let cases = case::all();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let expected = || cases.iter().flat_map(|case| &case.asks).map(|asked| &asked.expect);
    let decisions: BTreeSet<&str> = expected().map(|e| e.decision.as_str()).collect();
    assert_eq!(decisions.len(), 5, "{decisions:?}");
    let codes: BTreeSet<&str> = expected().filter_map(|e| e.code.as_deref()).collect();
    // The others need people, certificates or a broken disk.
    let all = [
        "INVALID_REQUEST",
        "STALE_TIMESTAMP",
        "REPLAY_NONCE",
        "SEALED_SEQUENCE",
        "SEQUENCE_VIOLATION",
        "BREAKER_OPEN",
        "NO_POLICY_MATCH",
        "BUDGET_EXCEEDED",
        "ACTION_NOT_ALLOWED",
        "DENIED_BY_RULE",
        "POLICY_ERROR",
        "CONSTRAINT_UNENFORCEABLE",
        "RATE_EXCEEDED",
        "APPROVAL_REQUIRED",
    ];
    assert_eq!(codes, BTreeSet::from(all));
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "every case has a name of its own");
}
