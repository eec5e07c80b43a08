//! Archives of suites, extracted into a folder that is removed afterwards.
#![expect(clippy::disallowed_methods, reason = "the harness reads the suites' files")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Extracts an archive with the system's `tar`.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn extract(archive: &Path) -> Result<TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(folder.path());
    match tar.status() {
        Ok(status) if status.success() => Ok(folder),
        Ok(status) => Err(format!("`tar` could not read `{}`: {status}", archive.display())),
        Err(error) => Err(format!("`tar` could not be run: {error}")),
    }
}

/// The files below `folder` with this ending, sorted by path.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let mut waiting = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|known| known == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
