//! How long a decision takes by number of rules. Not a test of anything: it prints.
//!
//! `cargo test --release -p callgate-policy --test bundle timing -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use callgate_core::decide::{Ask, decide};

use crate::support::{facts, request, rules};

const ROUNDS: u32 = 20_000;

#[test]
#[ignore = "prints times, which mean something only in a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
#[expect(clippy::print_stdout, reason = "printing is what this is for")]
fn print_the_time_of_a_decision() {
    for count in [10, 100, 1000, 10_000] {
        let rule = |n: u32| {
            format!(
                "  - {{id: r{n}, match: {{tools: [server{n}.tool], risk_tags: [write]}}, decision: allow}}\n"
            )
        };
        let snapshot = rules(&format!("version: v1\nrules:\n{}", (0..count).map(rule).collect::<String>()));
        for (what, server) in [("first", 0), ("last", count - 1), ("none", count)] {
            let text = format!(
                r#"{{"agent":{{"id":"a"}},"tool":{{"server":"server{server}","name":"tool"}},"risk_tags":["write"]}}"#
            );
            let (asked, facts) = (request(&text), facts());
            let begin = Instant::now();
            for _ in 0..ROUNDS {
                black_box(decide(&snapshot, Ask::Request(Box::new(asked.clone())), &facts));
            }
            println!("{count:>6} rules, {what:>5} matches: {:?} a decision", begin.elapsed() / ROUNDS);
        }
    }
}
