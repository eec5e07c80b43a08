//! Bundle text to a snapshot: parse, check, lower; and the modules that then decide.
//!
//! Text comes in and a [`Snapshot`] goes out. Nothing here reads a file, the environment, a clock or
//! a network. `docs/bundle.md` describes the language for people; [`json_schemas`] for editors.

mod bundle;
#[doc(hidden)]
pub mod cedar;
pub mod cel;
mod codes;
mod condition;
#[macro_use]
mod decode;
mod diagnostic;
mod dogwood;
mod engine;
mod explain;
mod fingerprint;
mod language;
mod limits;
mod lower;
pub mod rego;
mod render;
mod rules;
mod schema;
mod syntax;
pub mod testing;
pub mod webhooks;

pub use bundle::{ArchiveError, Bundle, is_bundle_file};
pub use codes::{Code, Severity};
pub use diagnostic::{Diagnostic, Place, Report};
pub use explain::{Considered, Contribution, Explanation, Matched, Origin, Reached};
pub use schema::json_schemas;

use callgate_core::snapshot::Snapshot;

/// All problems of a bundle, warnings too.
#[must_use]
pub fn check(bundle: &Bundle) -> Report {
    lower::build(bundle).report
}

/// The Cedar schema that the bundle's policies are validated against, in Cedar's own schema syntax:
/// one action for each tool of `tools/*.json`. Tools that cannot be read are left out; [`check`] says
/// why.
#[must_use]
pub fn cedar_schema(bundle: &Bundle) -> String {
    lower::cedar_schema(bundle)
}

/// Compiles a bundle: succeeds exactly when [`check`] reports no error.
///
/// # Errors
/// The report that [`check`] gives.
pub fn compile(bundle: &Bundle) -> Result<Snapshot, Report> {
    let built = lower::build(bundle);
    built.snapshot.ok_or(built.report)
}
