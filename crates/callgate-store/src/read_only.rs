//! A data folder that is only looked at: a running gate's, or a copy in an auditor's hands.
//!
//! Nothing is ever written here, no lock is taken and no folder is made. What opening a folder would tidy up, such as
//! the remains of an interrupted write, is left where it lies and kept out of sight.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fs::{File, Fs, Lock, LockError};
use crate::layout::LOG;

/// A data folder, or the `log` folder alone, for reading.
#[derive(Debug, Clone)]
pub struct ReadOnlyFs {
    root: PathBuf,
    /// Whether `root` is the log folder itself.
    bare: bool,
}

impl ReadOnlyFs {
    /// The folder `root`: a data folder, or the `log` folder of one.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no log in it; what the system reports.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let has_segments = |dir: &Path| -> io::Result<bool> {
            let names = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.file_name());
            Ok(names.into_iter().any(|name| Path::new(&name).extension().is_some_and(|end| end == "seg")))
        };
        if root.join(LOG).is_dir() {
            return Ok(Self { root, bare: false });
        }
        if has_segments(&root)? {
            return Ok(Self { root, bare: true });
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = if self.bare { path.strip_prefix(LOG).unwrap_or(path) } else { path };
        self.root.join(path.trim_start_matches('/'))
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the data folder is open for reading only")
}

impl Fs for ReadOnlyFs {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        if self.at(path).is_dir() { Ok(()) } else { Err(read_only()) }
    }

    #[expect(clippy::disallowed_methods, reason = "this file owns reading a folder that is not ours")]
    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().read(true).open(self.at(path))?;
        Ok(Box::new(ReadOnlyFile(file)))
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn File>> {
        Err(read_only())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| !name.ends_with(".tmp")));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> Result<Box<dyn Lock>, LockError> {
        Err(read_only().into())
    }
}

#[derive(Debug)]
struct ReadOnlyFile(fs::File);

impl File for ReadOnlyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }
}
