//! The wrapper between scripted clients and servers, hostile ones among them, and real ones.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]

mod deciding;
mod enforcing;
mod hostile;
mod listing;
mod passing;
mod real;
mod rig;
mod sdk;
