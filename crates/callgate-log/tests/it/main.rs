//! Tests of the evidence crate, one module per subject. `spec` holds the normative pages against their names.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic on small numbers")]

mod dsse;
mod export;
mod fixture;
mod golden;
mod hash;
mod hostile;
mod keys;
mod merkle;
mod note;
mod proof;
mod spec;
mod statement;
mod tamper;
mod tile;
mod verify;
