//! Vocabulary of the gate and the pure decision.
//!
//! Nothing here reads a clock, draws a random number, opens a file or talks to a network: time,
//! identity and state come in as data, a decision goes out as data. No function panics.

pub mod decimal;
pub mod digest;
pub mod json;
pub mod value;
