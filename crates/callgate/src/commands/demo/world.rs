//! The files that the agent of the demonstration works on.

use std::path::Path;

use crate::failure::Failure;
use crate::files;

/// The files as they begin.
const FILES: &[(&str, &str)] = &[
    ("notes.txt", "Call the plumber on Monday.\n"),
    ("report.txt", "Revenue rose by 4 % in the third quarter.\n"),
    ("archive/2024.txt", "Closed books.\n"),
    ("secrets.env", "TOKEN=correct-horse-battery-staple\n"),
];

/// Makes them.
pub(super) fn make(dir: &Path) -> Result<(), Failure> {
    for (path, text) in FILES {
        let path = dir.join(path);
        if let Some(folder) = path.parent() {
            files::make_dir(folder)?;
        }
        files::write_new(&path, text.as_bytes())?;
    }
    Ok(())
}

/// What a file held at the beginning.
pub(super) fn original(path: &str) -> &'static str {
    FILES.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text)
}

/// What a file holds now; `None` when it is not there.
pub(super) fn now(dir: &Path, path: &str) -> Option<String> {
    files::read(&dir.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}
