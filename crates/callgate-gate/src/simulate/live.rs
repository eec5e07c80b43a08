//! Simulating inside a running gate: its own log and snapshots, off the threads that decide.

use std::sync::Arc;

use callgate_core::snapshot::Snapshot;

use super::corpus::Corpus;
use super::filter::Filter;
use super::history::Simulation;
use super::library::Library;
use super::life::simulate_corpus;
use super::report::Report;
use super::tally::Lengths;
use crate::gate::Gate;

/// After so many receipts or requests the progress is told.
const STEP: u64 = 1024;
/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;

/// What a candidate is held against.
#[derive(Debug)]
pub enum SimulationInput {
    /// The decisions of the log.
    History(Filter),
    /// Requests; the baseline is the snapshot in force.
    Corpus(Corpus),
}

/// How far a simulation is: what is done, and how much there is.
pub type Progress = Box<dyn FnMut(u64, u64) + Send>;

/// A simulation did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SimulationError(pub(super) String);

impl Gate {
    /// Holds `candidate` against the log or a corpus. Decisions go on meanwhile; nothing is written.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn simulate(
        self: &Arc<Self>,
        candidate: Arc<Snapshot>,
        input: SimulationInput,
        lengths: Lengths,
        mut progress: Progress,
    ) -> Result<Report, SimulationError> {
        let gate = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || match input {
            SimulationInput::History(filter) => {
                gate.simulate_history(candidate, filter, lengths, &mut progress)
            }
            SimulationInput::Corpus(corpus) => {
                let active = gate.active.load_full();
                let total = u64::try_from(corpus.requests()).unwrap_or(u64::MAX);
                let told = |done: u64| {
                    if done.is_multiple_of(STEP) || done == total {
                        progress(done, total);
                    }
                };
                Ok(simulate_corpus(&candidate, Some(&active.live.snapshot), &corpus, lengths, told))
            }
        });
        let ended = |e: tokio::task::JoinError| SimulationError(format!("the simulation ended: {e}"));
        work.await.map_err(ended)?
    }

    fn simulate_history(
        &self,
        candidate: Arc<Snapshot>,
        filter: Filter,
        lengths: Lengths,
        progress: &mut Progress,
    ) -> Result<Report, SimulationError> {
        let wrong = |problem: String| SimulationError(format!("the log cannot be read: {problem}"));
        let end = self.store.size();
        let begins = Simulation::begins_ms(&candidate, &filter);
        let from = begins.map_or(Ok(0), |begins| self.first_at(begins, end)).map_err(wrong)?;
        let until = filter.until_ms.map(|until| self.first_at(until.saturating_add(MARGIN_MS), end));
        let to = until.unwrap_or(Ok(end)).map_err(wrong)?;
        let mut library = Library::default();
        let kept: Vec<u64> =
            self.store.state(|state| state.0.release().kept().values().map(|kept| kept.receipt).collect());
        for at in kept.into_iter().filter(|at| *at < end) {
            let receipt = self.store.read(at).map_err(|e| wrong(e.to_string()))?;
            let missing = || wrong(format!("there is no receipt {at}"));
            library.note(&receipt.ok_or_else(missing)?).map_err(wrong)?;
        }
        let mut simulation = Simulation::new(candidate, filter, lengths, library, from == 0);
        let total = to.saturating_sub(from);
        for (done, receipt) in (1u64..=total).zip(self.store.scan(from)) {
            let receipt = receipt.map_err(|e| wrong(e.to_string()))?;
            simulation.push(&receipt, self.vault.keyring());
            if done.is_multiple_of(STEP) || done == total {
                progress(done, total);
            }
        }
        Ok(simulation.finish())
    }
}
