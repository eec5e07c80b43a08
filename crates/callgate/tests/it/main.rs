//! The real program: what it prints, what it exits with, and what it survives.
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
    reason = "tests touch files and say what they skip"
)]

mod approving;
mod away;
mod crash;
mod demo;
mod disk;
mod evidence;
mod health;
mod judge;
mod languages;
mod mcp;
mod printed;
mod program;
mod prove;
mod releasing;
mod serving;
mod simulating;
mod stopping;
mod testing;
mod webhooks;
