//! What the store needs from a file system, and nothing more.
//!
//! Two implementations: [`crate::RealFs`] and the simulator `SimFs`. Paths are relative to the data folder and use
//! `/`. The store must reach files through this trait only, so that a simulation sees every call.

use std::io;

/// A folder that holds the data.
pub trait Fs: Send + Sync + 'static {
    /// Makes a folder, readable by its owner only; fine when it is there.
    ///
    /// # Errors
    /// What the system reports.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is missing; what the system reports.
    fn open(&self, path: &str) -> io::Result<Box<dyn File>>;
    /// Makes an empty file, readable by its owner only; one that is there is emptied.
    ///
    /// # Errors
    /// What the system reports.
    fn create(&self, path: &str) -> io::Result<Box<dyn File>>;
    /// Names in a folder, sorted.
    ///
    /// # Errors
    /// What the system reports.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing one that has it. Durable only after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// What the system reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable only after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// What the system reports.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder durable; `""` is the data folder itself.
    ///
    /// # Errors
    /// What the system reports. Do not retry: the names may be lost and a second call may still succeed.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Takes the exclusive lock of the data folder, held until the guard is dropped or the program ends.
    ///
    /// # Errors
    /// [`LockError::Held`] when another program has it.
    fn lock(&self, path: &str) -> Result<Box<dyn Lock>, LockError>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] past the end; what the system reports.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at byte `offset`. Durable only after [`File::sync_data`].
    ///
    /// # Errors
    /// What the system reports; a part may have been written.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written so far, and the length, durable.
    ///
    /// # Errors
    /// What the system reports. Do not retry: the pages may be marked clean and a second call may still succeed.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system reports.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    ///
    /// # Errors
    /// What the system reports.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the system reports.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Keeps the data folder locked while it lives.
pub trait Lock: Send + Sync {}

/// Why the data folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another program has it; with its process id when that could be read.
    #[error("the lock is held by another program")]
    Held(Option<u32>),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    read_from(file, 0)
}

/// Reads a file from byte `offset` to its end.
pub(crate) fn read_from(file: &dyn File, offset: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?.checked_sub(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
