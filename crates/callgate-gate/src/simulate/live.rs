//! Simulating inside a running gate: its own log and snapshots, off the threads that decide.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use callgate_core::snapshot::Snapshot;

use super::corpus::Corpus;
use super::filter::Filter;
use super::history::{Plan, Simulation};
use super::library::Library;
use super::life::simulate_corpus;
use super::report::Report;
use super::tally::Lengths;
use crate::Credential;
use crate::commit::Arrived;
use crate::error::{ControlError, Unavailable};
use crate::gate::{Active, Asked, Gate, Named};
use crate::reply::Reply;
use callgate_policy::Bundle;

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

/// What decides in a simulation.
#[derive(Debug)]
pub enum Candidate {
    /// The snapshot in force.
    InForce,
    /// A snapshot that is kept, by version or digest.
    Kept(String),
    /// A bundle that is kept nowhere.
    Bundle(Bundle),
}

/// How far a simulation is: what is done, and how much there is.
pub type Progress = Box<dyn FnMut(u64, u64) + Send>;

/// A simulation did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SimulationError(String);

impl Gate {
    /// Compiles what decides in a simulation.
    async fn candidate(&self, candidate: Candidate) -> Result<Arc<Snapshot>, ControlError> {
        match candidate {
            Candidate::InForce => Ok(Arc::clone(&self.active.load().live.snapshot)),
            Candidate::Kept(name) => Ok(self.compiled(&self.kept(&name)?).await?.snapshot),
            Candidate::Bundle(bundle) => {
                let compiling = tokio::task::spawn_blocking(move || crate::release::compile(&bundle));
                let ended = |e: tokio::task::JoinError| Unavailable::now(format!("compiling ended: {e}"));
                Ok(Arc::new(compiling.await.map_err(ended)??.0))
            }
        }
    }

    /// Decides one request on what is known now, without a receipt: nothing may run on it.
    ///
    /// # Errors
    /// [`ControlError`], when there is no such candidate.
    pub async fn try_out(&self, candidate: Candidate, asked: Asked) -> Result<Reply, ControlError> {
        let snapshot = match candidate {
            Candidate::InForce => return Ok(self.dry_run(asked, &Credential::Local)),
            other => self.candidate(other).await?,
        };
        let active = Active::alone(Named::new(snapshot, 0), 0);
        let Arrived { ask, .. } = self.arrive(asked);
        let (decided, consulted) = self.decide_now(ask, &Credential::Local, &active, &[]);
        let digest = active.live.digest;
        Ok(Reply::new(&decided, ("simulated", &digest), consulted.facts.now_ms, None))
    }

    /// Holds what decides against the decisions of the log; keeps nothing of it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn simulate_history_of(
        self: &Arc<Self>,
        candidate: Candidate,
        filter: Filter,
    ) -> Result<Report, ControlError> {
        let plan = Plan { filter, ..Plan::new(self.candidate(candidate).await?) };
        let simulating = self.simulate(SimulationInput::History(plan), Box::new(|_, _| {}));
        Ok(simulating.await.map_err(|e| Unavailable::for_good(e.to_string()))?)
    }

    /// Holds what decides against the snapshot in force, on the requests of a corpus.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn simulate_corpus_of(
        self: &Arc<Self>,
        candidate: Candidate,
        corpus: Corpus,
    ) -> Result<Report, ControlError> {
        let candidate = self.candidate(candidate).await?;
        let input = SimulationInput::Corpus { candidate, corpus, lengths: Lengths::default() };
        let simulating = self.simulate(input, Box::new(|_, _| {}));
        Ok(simulating.await.map_err(|e| Unavailable::for_good(e.to_string()))?)
    }

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
        // Decisions come first: a simulation leaves them half of the machine.
        let threads = thread::available_parallelism().map_or(1, NonZero::get).div_euclid(2).max(1);
        let simulation = Simulation::new(plan, library, from == 0, self.vault.keyring());
        let mut simulation = simulation.threads(threads);
        let total = to.saturating_sub(from);
        let visited = self.store.visit(from, to, |receipt| {
            simulation.push(receipt);
            let done = receipt.index.saturating_sub(from).saturating_add(1);
            if done.is_multiple_of(STEP) || done == total {
                progress(done, total);
            }
        });
        visited.map_err(|e| wrong(e.to_string()))?;
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
            library.note(receipt.ok_or_else(|| format!("there is no receipt {place}"))?.view())?;
        }
        Ok(library)
    }
}
