//! Simulating inside a running gate: its own log and snapshots, off the threads that decide.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_core::snapshot::Snapshot;

use super::corpus::Corpus;
use super::history::{Plan, Simulation};
use super::library::Library;
use super::life::simulate_corpus;
use super::report::Report;
use super::tally::Lengths;
use crate::gate::Gate;

/// After so many receipts or requests the progress is told.
const STEP: u64 = 1024;
/// How far clocks of neighbouring receipts may lie apart.
const MARGIN_MS: i64 = 60_000;

/// What is simulated.
#[derive(Debug)]
pub enum SimulationInput {
    /// The decisions of the log.
    History(Plan),
    /// Requests; the baseline is the snapshot in force.
    Corpus {
        /// The snapshot that decides.
        candidate: Arc<Snapshot>,
        /// The requests.
        corpus: Corpus,
        /// How long the report's lists are.
        lengths: Lengths,
    },
}

/// How far a simulation is: what is done, and how much there is.
pub type Progress = Box<dyn FnMut(u64, u64) + Send>;

/// A simulation did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SimulationError(String);

impl Gate {
    /// Holds a candidate against the log or a corpus. Decisions go on meanwhile; nothing is written.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn simulate(
        self: &Arc<Self>,
        input: SimulationInput,
        mut progress: Progress,
    ) -> Result<Report, SimulationError> {
        let gate = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || match input {
            SimulationInput::History(plan) => gate.simulate_history(plan, &mut progress),
            SimulationInput::Corpus { candidate, corpus, lengths } => {
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

    fn simulate_history(&self, plan: Plan, progress: &mut Progress) -> Result<Report, SimulationError> {
        let wrong = |problem: String| SimulationError(format!("the log cannot be read: {problem}"));
        let end = self.store.size();
        let from = plan.begins_ms().map_or(Ok(0), |begins| self.first_at(begins, end)).map_err(wrong)?;
        let until = plan.filter.until_ms.map(|until| self.first_at(until.saturating_add(MARGIN_MS), end));
        let to = until.unwrap_or(Ok(end)).map_err(wrong)?;
        let library = self.library(end).map_err(wrong)?;
        let mut simulation = Simulation::new(plan, library, from == 0);
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

    /// The snapshots among the first `size` receipts.
    fn library(&self, size: u64) -> Result<Library, String> {
        let mut library = Library::default();
        let places: BTreeSet<u64> = self.store.state(|state| {
            let release = state.0.release();
            let kept = release.kept().values().map(|kept| kept.receipt);
            kept.chain(release.activations().iter().map(|activation| activation.receipt)).collect()
        });
        for place in places.range(..size) {
            let receipt = self.store.read(*place).map_err(|e| e.to_string())?;
            library.note(&receipt.ok_or_else(|| format!("there is no receipt {place}"))?)?;
        }
        Ok(library)
    }
}
