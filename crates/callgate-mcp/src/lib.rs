//! The MCP enforcement point: a stdio server runs behind the gate.
//!
//! [`wrap()`] starts the server as a child and stands between it and the client. What touches tools or
//! data (`tools/call`, `resources/read`, `prompts/get`) is decided before it runs and reaches the
//! server only by way of a [`Permit`](callgate_gate::Permit); what is known to touch neither passes
//! through; everything else is refused. Follows the Model Context Protocol, revisions 2025-11-25 and
//! 2026-07-28, stdio transport.
//!
//! This crate holds no policy and keeps nothing on disk. Only [`demo_server`], which stands on the
//! far side of the gate, opens files.

mod answer;
mod call;
mod client;
pub mod demo_server;
mod error;
mod heartbeat;
mod holding;
mod ledger;
mod line;
mod listing;
mod message;
mod method;
mod notes;
mod options;
mod outbox;
mod pending;
mod relay;
mod result;
mod server;
mod upstream;
mod wrap;

pub use call::enforced;
pub use error::WrapError;
pub use options::{Bounds, Notes, WrapOptions};
pub use relay::{Ended, relay};
pub use wrap::{JUDGE_KEY, wrap};
