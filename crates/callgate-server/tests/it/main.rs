//! The server over real sockets, in front of a real gate on a simulated disk.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod approvals;
mod auth;
mod bodies;
mod browser;
mod client;
mod decide;
mod events;
mod evidence;
mod fixture;
mod hangup;
mod held;
mod hidden;
mod hostile;
mod limits;
mod openapi;
mod outcomes;
mod pages;
mod schema;
mod shutdown;
mod spec;
mod unavailable;
