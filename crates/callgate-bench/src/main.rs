//! Figures beside their peers, taken in one run: `make bench`.
//!
//! Nothing here is asserted in a test; numbers mean something only with the machine and load printed
//! above them. `make bench ARGS=decide` runs one part.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a harness prints, measures time, and stops when its own input is wrong"
)]

/// The allocator of the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod approvals;
mod cedar;
mod decide;
mod durable;
mod history;
mod limits;
mod rego;
mod release;
mod scale;
mod simulate;
mod stats;
mod wrapper;

fn main() {
    let only = std::env::args().nth(1);
    if only.as_deref() == Some("mcp-server") {
        return wrapper::echo_server();
    }
    let runs = |part: &str| only.as_deref().is_none_or(|only| only == part);
    stats::machine();
    // Only when asked for by name.
    if only.as_deref() == Some("scale") {
        return scale::run();
    }
    if runs("decide") {
        decide::run();
    }
    if runs("cedar") {
        cedar::run();
    }
    if runs("rego") {
        rego::run();
    }
    if runs("history") {
        history::run();
    }
    if runs("limits") {
        limits::run();
    }
    if runs("simulate") {
        simulate::run();
    }
    if runs("durable") {
        durable::run();
    }
    if runs("approvals") {
        approvals::run();
    }
    if runs("release") {
        release::run();
    }
    if runs("mcp") {
        wrapper::run();
    }
}
