//! Vocabulary of the gate and the pure decision.
//!
//! Nothing here reads a clock, draws a random number, opens a file or talks to a network: time,
//! identity and state come in as data, a decision goes out as data. No function panics.

pub mod approval;
pub mod catalogue;
pub mod constraint;
pub mod contract;
pub mod decide;
pub mod decimal;
pub mod decision;
pub mod digest;
pub mod event;
pub mod facts;
pub mod fail;
pub mod fields;
pub mod finding;
pub mod history;
pub mod in_force;
pub mod index;
pub mod json;
pub mod limit;
pub mod module;
pub(crate) mod monitor;
pub mod name;
pub mod object;
pub mod pattern;
pub mod progress;
pub mod request;
pub mod rule;
pub mod settle;
pub mod snapshot;
pub mod state;
mod tighten;
pub mod value;
