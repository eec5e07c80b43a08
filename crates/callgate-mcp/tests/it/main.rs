//! The wrapper between scripted clients and servers, hostile ones among them, and real ones.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]
#![expect(clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "these tests look at what the servers did to files")]
#![expect(clippy::needless_pass_by_value, reason = "arguments read better as literals")]

mod deciding;
mod enforcing;
mod holding;
mod hostile;
mod listing;
mod passing;
mod real;
mod rig;
mod sdk;
mod stopping;
