//! A door for conformance suites and benchmarks: modules without a bundle around them, refused,
//! compiled and bounded as a bundle's are.

use super::{Program, Source};
use crate::diagnostic::Report;
use crate::lower::compile_bare;

/// Compiles `rule` of `package`, such as `decision` of `["shop"]`, over those of `modules` that it
/// needs. Where an error of a builtin is one (`strict`), this is what decides.
///
/// # Errors
/// What `check` would say of the modules.
pub fn compile(
    modules: &[Source],
    data: &regorus::Value,
    package: &[String],
    rule: &str,
    strict: bool,
) -> Result<Program, Report> {
    compile_bare(modules, data, (package, rule), strict)
}
