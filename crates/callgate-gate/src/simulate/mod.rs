//! Simulation: a candidate snapshot against one request, a corpus, or the decisions of a log.
//!
//! It is the same `decide` that decides for good, on recorded requests and recorded facts. Nothing is
//! written, no counter moves and nothing leaves; what cannot be decided again is counted, never guessed.
//! The same inputs give the same bytes.

mod corpus;
mod filter;
mod history;
mod library;
mod life;
mod live;
mod meters;
mod past;
mod positions;
mod reading;
mod recorded;
mod report;
mod side;
mod tally;

pub use callgate_core::state::SimulationEvidence;
pub use corpus::{BadLine, Corpus};
pub use filter::Filter;
pub use history::{Plan, Simulation};
pub use library::Library;
pub use life::simulate_corpus;
pub use live::{Candidate, Progress, SimulationError, SimulationInput};
pub use report::{
    At, Busiest, Example, Inputs, Kind, Matrix, NamedFlips, NotEvaluated, Place, Reason, Report, RuleFlips,
    Source, Top, Totals, Volume,
};
pub use tally::Lengths;
