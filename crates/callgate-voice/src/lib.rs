//! The gate's voice: the only crate that opens connections to the outside.
//!
//! [`judge`] asks a model what a policy's question says, and reads its answer strictly. [`webhook`] tells
//! receivers that the operator named of what happened, signed. The way there
//! and back is shared: an address that the operator gave, one request at a time, no redirects, and a
//! bound on time, size and number.
//!
//! Nothing here reads a file, the environment or a policy. Addresses and secrets come from the operator,
//! never from a bundle, and neither they nor arguments are written to a log or an error.

mod endpoint;
mod http;
pub mod judge;
pub mod webhook;

pub use endpoint::{Endpoint, EndpointError, Key};
