//! An enforcement point's journal: what ran while nobody could decide, one line of JSON each.
//!
//! ```text
//! {"n":0,"hash":"…","body":{…}}
//! ```
//!
//! `hash` is the SHA-256 of the hash before it (at first of the journal's id), `n` in eight bytes, and the body's
//! bytes: a line cannot be changed, moved or taken out of the middle unseen. Spaces fill it up to whole sectors. A
//! record is durable before [`Journal::append`] returns. After anything that cannot be read, and after a failed write or sync, nothing more
//! is appended: what is whole can still be handed in, and then another journal begins.

use std::io;

use callgate_log::{Hash, sha256};

use crate::fs::{File, Fs, read_all};

/// The longest journal, in bytes.
pub const MAX_JOURNAL: u64 = 16 << 20;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A journal that is appended to.
pub struct Journal {
    file: Box<dyn File>,
    end: u64,
    next: u64,
    last: Hash,
    stopped: Option<String>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("next", &self.next).field("stopped", &self.stopped).finish()
    }
}

/// What a journal was found to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journalled {
    /// The bodies, from the first to the last that is whole.
    pub bodies: Vec<String>,
    /// How many bytes after them are no records.
    pub damaged_bytes: u64,
}

/// Why a record was not written. What it is of must not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is as long as it may be.
    #[error("the journal is full; it is emptied once the gate has it")]
    Full,
    /// A body must stand on one line.
    #[error("a record of the journal must be one line")]
    Lines,
    /// It was damaged, or an earlier write failed.
    #[error("the journal takes no more: {0}; another one begins once the gate has what is whole of it")]
    Stopped(String),
}

fn link(last: &Hash, n: u64, body: &[u8]) -> Hash {
    sha256(&[last.as_bytes().as_slice(), &n.to_be_bytes(), body].concat())
}

/// A record as it stands in the file, padded to whole sectors: no later write touches the sector of a record
/// that was acknowledged.
fn line(n: u64, hash: &Hash, body: &str) -> String {
    let mut line = format!("{{\"n\":{n},\"hash\":\"{hash}\",\"body\":{body}}}", hash = hash.to_hex());
    let length = line.len().saturating_add(1).next_multiple_of(SECTOR);
    while line.len().saturating_add(1) < length {
        line.push(' ');
    }
    line.push('\n');
    line
}

impl Journal {
    /// Begins a journal in a new file.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(fs: &dyn Fs, path: &str, id: &str) -> io::Result<Self> {
        let file = fs.create(path)?;
        file.sync_data()?;
        fs.sync_dir("")?;
        Ok(Self { file, end: 0, next: 0, last: sha256(id.as_bytes()), stopped: None })
    }

    /// Opens a journal, and reads what is whole of it.
    ///
    /// # Errors
    /// What the system reports; a journal that is longer than one can be.
    pub fn open(fs: &dyn Fs, path: &str, id: &str) -> io::Result<(Self, Journalled)> {
        let file = fs.open(path)?;
        if file.len()? > MAX_JOURNAL.saturating_mul(2) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = read_all(file.as_ref())?;
        let mut found = Journalled::default();
        let (mut last, mut next, mut rest) = (sha256(id.as_bytes()), 0u64, bytes.as_slice());
        while let Some((body, hash, after)) = whole(rest, next, &last) {
            found.bodies.push(body.to_owned());
            (last, next, rest) = (hash, next.saturating_add(1), after);
        }
        found.damaged_bytes = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let end = file.len()?.saturating_sub(found.damaged_bytes);
        let stopped = (found.damaged_bytes > 0)
            .then(|| format!("{} byte(s) at its end are no records", found.damaged_bytes));
        Ok((Self { file, end, next, last, stopped }, found))
    }

    /// Writes a record and makes it durable; gives its number.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append(&mut self, body: &str) -> Result<u64, JournalError> {
        if let Some(why) = &self.stopped {
            return Err(JournalError::Stopped(why.clone()));
        }
        if body.contains('\n') {
            return Err(JournalError::Lines);
        }
        let n = self.next;
        let hash = link(&self.last, n, body.as_bytes());
        let line = line(n, &hash, body);
        let end = self.end.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        if end > MAX_JOURNAL {
            return Err(JournalError::Full);
        }
        let written = self.untouched().and_then(|()| self.file.write_at(line.as_bytes(), self.end));
        let written = written.and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let why = format!("it could not be written: {error}");
            self.stopped = Some(why.clone());
            return Err(JournalError::Stopped(why));
        }
        (self.end, self.next, self.last) = (end, n.saturating_add(1), hash);
        Ok(n)
    }

    /// Nobody else cut or extended it: what was acknowledged would be gone.
    fn untouched(&self) -> io::Result<()> {
        let found = self.file.len()?;
        if found == self.end { Ok(()) } else { Err(io::Error::other("somebody else changed its length")) }
    }

    /// How many records it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.next
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Why nothing more can be appended.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }
}

/// The first record of `bytes`, if it is whole and the one that comes next.
fn whole<'a>(bytes: &'a [u8], n: u64, last: &Hash) -> Option<(&'a str, Hash, &'a [u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (first, rest) = bytes.split_at_checked(end.checked_add(1)?)?;
    let text = std::str::from_utf8(first).ok()?;
    let (_, body) = text.split_once(r#"","body":"#)?;
    let body = body.strip_suffix('\n')?.trim_end_matches(' ').strip_suffix('}')?;
    let hash = link(last, n, body.as_bytes());
    (line(n, &hash, body) == text).then_some((body, hash, rest))
}

/// Replaces a small file whole: afterwards it is the old one or the new one, never a part.
///
/// # Errors
/// What the system reports.
pub fn replace(fs: &dyn Fs, path: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{path}.new");
    let file = fs.create(&fresh)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    fs.rename(&fresh, path)?;
    fs.sync_dir("")
}

/// Reads a small file whole; `None` where there is none.
///
/// # Errors
/// What the system reports.
pub fn read_small(fs: &dyn Fs, path: &str) -> io::Result<Option<Vec<u8>>> {
    match fs.open(path) {
        Ok(file) if file.len()? > MAX_JOURNAL => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(file) => read_all(file.as_ref()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
