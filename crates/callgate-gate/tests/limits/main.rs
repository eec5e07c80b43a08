//! Limits at the gate: races for the last unit, losses of the gate at every moment, and whole lives held
//! against a reference.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test stops at what it cannot do"
)]

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod kit;
mod loss;
mod model;
mod people;
mod races;
mod reference;
mod usage;
