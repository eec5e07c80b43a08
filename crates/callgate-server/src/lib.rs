//! HTTP over a gate handle.
//!
//! One request takes one path: the connection's limits ([`serve`]), the address it claims and the credential it
//! shows, the body's limits, then [`callgate_gate::Gate`], which decides, makes the receipt durable and answers.
//! `docs/spec/wire.md` is the normative page.
//!
//! This crate must never hold policy, touch a disk, or turn anything but the gate's own answer into an allow:
//! every failure reads as a denial. A decision that has begun runs to its receipt even when its client is gone.

mod admission;
mod app;
mod approvals;
mod body;
mod breakers;
mod control;
mod credential;
mod decide;
mod error;
mod events;
mod hidden;
mod keys;
mod listen;
mod openapi;
mod options;
mod outcomes;
mod pace;
mod policy;
mod problem;
mod progress;
mod receipts;
mod rollout;
mod serve;
mod simulate;
mod status;
mod stops;
mod unchecked;
pub mod wire;
pub mod wire_limits;
pub mod wire_policy;
mod workers;

pub use error::ServeError;
pub use listen::{Listener, bind};
pub use openapi::openapi_json;
pub use options::{Log, ServerLimits, ServerOptions};
pub use serve::serve;

/// The header that every response of a development server carries.
pub const MODE_HEADER: &str = "callgate-mode";
