//! Opening a gate for a command, and saying why it does not open.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use callgate_core::snapshot::Snapshot;
use callgate_gate::clock::SteadyClock;
use callgate_gate::{Gate, GateOptions, OpenError, Opened, PublishError};
use callgate_policy::Bundle;
use callgate_store::{OsRandom, RealFs};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::{files, output};

/// Runs async work to its end. What blocks on standard input is left behind.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_runtime(tokio::runtime::Builder::new_multi_thread(), work)
}

/// The same on the calling thread alone.
pub(crate) fn block_on_one_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_runtime(tokio::runtime::Builder::new_current_thread(), work)
}

fn block_on_runtime<T>(
    mut builder: tokio::runtime::Builder,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::unexpected(format!("could not start: {e}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Lets this program have as many open files as the system lets it.
pub(crate) fn allow_many_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // With fewer, what needs them says so.
    let _met_again = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
}

/// Opens the gate of a data folder.
pub(crate) async fn open(
    data: &Path,
    bundle: Option<&Bundle>,
    options: GateOptions,
) -> Result<Opened, Failure> {
    let fs = RealFs::new(data);
    let fs = fs.map_err(|e| Failure::unavailable(format!("could not open `{}`: {e}", data.display())))?;
    let opened =
        Gate::open(Arc::new(fs), Arc::new(SteadyClock::default()), Arc::new(OsRandom), bundle, options).await;
    opened.map_err(|error| refused(data, &error))
}

fn refused(data: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Publish(error) => not_published(error),
        other => Failure::unavailable(format!("the gate does not open on `{}`: {other}", data.display())),
    }
}

/// A bundle that was not put in force; its problems go to standard error.
pub(crate) fn not_published(error: &PublishError) -> Failure {
    match error {
        PublishError::Invalid(report) => {
            output::note(report.render().trim_end());
            Failure::new(Exit::PolicyInvalid, "the bundle has errors, so it is not put in force; see above")
        }
        PublishError::Control(problem) => Failure::new(Exit::PolicyInvalid, problem),
        PublishError::Unavailable(unavailable) => Failure::unavailable(unavailable),
    }
}

/// Being told to stop: by a terminal (SIGINT) or a supervisor (SIGTERM).
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Listens from now on. Before, such a signal ends the program at once, which loses nothing that was acknowledged.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signal = |kind| {
            signal(kind).map_err(|e| Failure::unexpected(format!("could not listen for signals: {e}")))
        };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Ready when the program was told.
    pub(crate) async fn told(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

/// Compiles the bundle in a folder for a decision that no gate makes; says what is wrong with it.
pub(crate) fn compile(dir: &Path) -> Result<Snapshot, Failure> {
    callgate_policy::compile(&files::read_bundle(dir)?).map_err(|report| {
        output::note(report.render().trim_end());
        Failure::new(Exit::PolicyInvalid, "the bundle has errors, so it decides nothing; see above")
    })
}
