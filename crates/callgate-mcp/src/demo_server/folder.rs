//! One folder, and nothing outside it.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the server that the gate stands before; touching files is what it is for"
)]

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The most entries that a tree shows.
const MAX_ENTRIES: usize = 10_000;
/// How deep a tree goes.
const MAX_DEPTH: usize = 32;

/// A folder that paths cannot leave.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// One entry of a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// What is inside, for a folder; empty unless asked for.
    pub(crate) inside: Option<Vec<Entry>>,
}

impl Folder {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if root.is_dir() { Ok(Self { root }) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Where `path` (absolute, or from the folder) really is.
    ///
    /// # Errors
    /// When that is outside the folder, or leads over a link to nowhere.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let asked = self.root.join(path);
        if asked.components().any(|part| part == Component::ParentDir) {
            return Err(outside(path));
        }
        let mut real = asked.clone();
        let mut missing = Vec::new();
        while fs::symlink_metadata(&real).is_err() {
            missing.push(real.file_name().ok_or_else(|| outside(path))?.to_owned());
            if !real.pop() {
                return Err(outside(path));
            }
        }
        let mut real = real.canonicalize()?;
        real.extend(missing.iter().rev());
        if real.starts_with(&self.root) { Ok(real) } else { Err(outside(path)) }
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.place(path)?)
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> io::Result<()> {
        fs::write(self.place(path)?, text)
    }

    pub(crate) fn make_folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.place(path)?)
    }

    /// Moves; what lies at the destination stays.
    pub(crate) fn move_to(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        if fs::symlink_metadata(&to).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something at the destination",
            ));
        }
        fs::rename(from, to)
    }

    /// The entries, sorted by name.
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        entries(&self.place(path)?, 0, &mut { MAX_ENTRIES })
    }

    /// The entries and everything inside them. Links are not followed.
    pub(crate) fn tree(&self, path: &str) -> io::Result<Vec<Entry>> {
        entries(&self.place(path)?, MAX_DEPTH, &mut { MAX_ENTRIES })
    }
}

fn entries(folder: &Path, depth: usize, left: &mut usize) -> io::Result<Vec<Entry>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(fewer) = left.checked_sub(1) else { break };
        *left = fewer;
        let is_folder = entry.file_type()?.is_dir();
        let inside = match depth.checked_sub(1) {
            Some(depth) if is_folder => Some(entries(&entry.path(), depth, left)?),
            _ => is_folder.then(Vec::new),
        };
        out.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), inside });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn outside(path: &str) -> io::Error {
    let message = format!("access denied: `{path}` is outside the folder of this server");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_folder() {
        let (inside, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(inside.path()).unwrap();
        fs::write(beside.path().join("secret"), "s").unwrap();
        let secret = beside.path().join("secret");
        for path in ["../x", "a/../../x", "/etc/passwd", secret.to_str().unwrap()] {
            assert_eq!(folder.read(path).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{path}");
            assert!(folder.write(path, "x").is_err() && folder.make_folder(path).is_err(), "{path}");
        }
        assert!(folder.write("a", "x").is_ok() && folder.move_to("a", secret.to_str().unwrap()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_cannot_lead_out_either() {
        let (inside, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(inside.path()).unwrap();
        std::os::unix::fs::symlink(beside.path(), inside.path().join("out")).unwrap();
        std::os::unix::fs::symlink(beside.path().join("new"), inside.path().join("dangling")).unwrap();
        for path in ["out/x", "out", "dangling", "dangling/x"] {
            assert!(folder.write(path, "x").is_err(), "{path}");
        }
        assert!(!beside.path().join("new").exists() && !beside.path().join("x").exists());
    }

    #[test]
    fn moving_does_not_overwrite() {
        let inside = tempfile::tempdir().unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        folder.write("a", "1").unwrap();
        folder.write("b", "2").unwrap();
        assert!(folder.move_to("a", "b").is_err());
        folder.make_folder("d/e").unwrap();
        folder.move_to("a", "d/e/a").unwrap();
        assert_eq!((folder.read("d/e/a").unwrap(), folder.read("b").unwrap()), ("1".into(), "2".into()));
        assert_eq!(folder.tree("").unwrap().len(), 2);
    }
}
