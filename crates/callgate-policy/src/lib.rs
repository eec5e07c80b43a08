//! Bundle text to a snapshot: parse, check, lower; and the modules that then decide.
//!
//! Text comes in and a [`Snapshot`] goes out. Nothing here reads a file, the environment, a clock or
//! a network. `docs/bundle.md` describes the language for people; [`json_schemas`] for editors.

mod bundle;
pub mod cel;
mod codes;
mod condition;
#[macro_use]
mod decode;
mod diagnostic;
mod engine;
mod language;
mod lower;
mod render;
mod rules;
mod schema;
mod syntax;

pub use bundle::{ArchiveError, Bundle, is_bundle_file};
pub use codes::{Code, Severity};
pub use diagnostic::{Diagnostic, Place, Report};
pub use schema::json_schemas;

use callgate_core::snapshot::Snapshot;

/// All problems of a bundle, warnings too.
#[must_use]
pub fn check(bundle: &Bundle) -> Report {
    lower::lower(bundle).1
}

/// Compiles a bundle: succeeds exactly when [`check`] reports no error.
///
/// # Errors
/// The report that [`check`] gives.
pub fn compile(bundle: &Bundle) -> Result<Snapshot, Report> {
    let (snapshot, report) = lower::lower(bundle);
    snapshot.ok_or(report)
}
