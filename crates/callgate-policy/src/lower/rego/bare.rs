//! Modules without a bundle around them, read under the same limits and refusals.

use super::link::link_bare;
use super::{dotted, read, sources};
use crate::codes::Code;
use crate::diagnostic::{Problems, Report};
use crate::engine::with_room;
use crate::rego::{Options, Program, Source};
use crate::syntax::SourceFile;

/// Compiles `rule` of `package`, as a bundle's are.
///
/// # Errors
/// What `check` would say.
pub(crate) fn compile(
    modules: &[Source],
    data: &regorus::Value,
    (package, rule): (&[String], &str),
    strict: bool,
) -> Result<Program, Report> {
    let mut problems = Problems::default();
    let files: Vec<SourceFile<'_>> =
        modules.iter().map(|module| SourceFile::new(&module.path, &module.text)).collect();
    let units = read(&files.iter().collect::<Vec<_>>(), &mut problems);
    let (linked, found) = link_bare(&units, package, &mut problems);
    if problems.errors() > 0 {
        return Err(problems.into_report());
    }
    let Some(found) = found else {
        problems.whole(Code::RegoSilent, "", "there is no such package");
        return Err(problems.into_report());
    };
    let (paths, bytecode) = sources(&units, &linked, found);
    let needed: Vec<Source> =
        modules.iter().filter(|module| paths.contains(&module.path.as_str())).cloned().collect();
    let path = format!("{}.{rule}", dotted(package));
    let run = || Program::compile(&needed, data, &path, Options { bytecode, strict });
    with_room(run).and_then(|compiled| compiled).map_err(|message| {
        problems.whole(Code::BadRego, "", format!("the package does not compile: {message}"));
        problems.into_report()
    })
}
