//! The server over real sockets, in front of a real gate on a simulated disk.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]

mod auth;
mod browser;
mod client;
mod decide;
mod evidence;
mod fixture;
mod hangup;
mod held;
mod hostile;
mod limits;
mod openapi;
mod outcomes;
mod schema;
mod shutdown;
mod unavailable;
