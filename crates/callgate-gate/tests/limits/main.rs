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
mod breakers;
mod call;
#[path = "../common/mod.rs"]
mod common;
mod duels;
mod found;
mod journal;
mod kit;
mod leases;
mod life;
mod loss;
mod losses;
mod model;
mod numbers;
mod people;
mod races;
mod reference;
mod usage;
