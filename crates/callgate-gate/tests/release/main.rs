//! The life of a snapshot at the gate: kept, published, tried beside another, rolled back; at once with
//! others, and through a crash at every call of the file system.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test stops at what it cannot do"
)]

#[path = "../common/mod.rs"]
mod common;
mod crash;
mod kit;
mod order;
mod trials;
