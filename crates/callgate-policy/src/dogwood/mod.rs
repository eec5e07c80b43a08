//! Dogwood: Cedar policies that may ask about the past.
//!
//! The Dogwood crate parses, checks and lowers a policy to Cedar and *temporal clauses*. Here each
//! clause becomes a formula over questions to series, which [`callgate_core::history`] keeps as a fold
//! of the log; so a decision costs the same however long the past is. A clause that such a fold cannot
//! answer is refused when the bundle is checked, see [`refused`].

mod atom;
mod body;
mod compile;
mod eval;
mod formula;
mod frame;
#[cfg(test)]
mod oracle;
mod refused;
mod total;
