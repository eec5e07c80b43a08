//! Two small files that remember how long the log was, so that a cut or restored log is noticed.
//!
//! `head` holds two 512-byte slots written in turn after every synced group, without a sync of their own: it survives
//! the program's death exactly and a power cut nearly. `checkpoint` holds the newest signed note and is replaced
//! whole every so often. Neither is needed to read the log, and neither can make it say anything else.

use std::io;

use crate::fs::{File, Fs, read_all};
use crate::layout::{CHECKPOINT, HEAD};
use crate::options::Options;

const SLOT: usize = 512;
const MAGIC: [u8; 8] = *b"CGHEAD\x00\x01";
/// Bytes of a slot in use: magic, generation, size, root, checksum.
const USED: usize = 60;

/// What a witness attests: the tree of so many receipts has this root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) file: &'static str,
    pub(crate) size: u64,
    pub(crate) root: [u8; 32],
}

/// The `head` file.
pub(crate) struct Head {
    file: Box<dyn File>,
    generation: u64,
}

impl Head {
    /// Opens or makes the file and gives what its newest valid slot attests.
    pub(crate) fn open(fs: &dyn Fs) -> io::Result<(Self, Option<Witness>)> {
        let file = match fs.open(HEAD) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(HEAD)?,
            other => other?,
        };
        let bytes = read_all(file.as_ref())?;
        let slots = bytes.as_chunks::<SLOT>().0;
        let newest = slots.iter().filter_map(decode).max_by_key(|(generation, _)| *generation);
        if slots.len() < 2 {
            file.write_at(&[0; 2 * SLOT], 0)?;
            file.sync_data()?;
            fs.sync_dir("")?;
        }
        let generation = newest.map_or(0, |(generation, _)| generation);
        Ok((Self { file, generation }, newest.map(|(_, witness)| witness)))
    }

    /// Notes that `size` receipts with this root are durable. Overwrites the older slot; not synced.
    pub(crate) fn write(&mut self, size: u64, root: &[u8; 32]) -> io::Result<()> {
        self.generation = self.generation.saturating_add(1);
        let mut slot = Vec::with_capacity(SLOT);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&self.generation.to_le_bytes());
        slot.extend_from_slice(&size.to_le_bytes());
        slot.extend_from_slice(root);
        slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
        slot.resize(SLOT, 0);
        let offset = if self.generation.is_multiple_of(2) { 0 } else { 512 };
        self.file.write_at(&slot, offset)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn decode(slot: &[u8; SLOT]) -> Option<(u64, Witness)> {
    let (used, _) = slot.split_first_chunk::<USED>()?;
    let (covered, crc) = used.split_last_chunk::<4>()?;
    let (magic, rest) = covered.split_first_chunk::<8>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (size, root) = rest.split_first_chunk::<8>()?;
    let valid = *magic == MAGIC && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
    let witness = Witness { file: HEAD, size: u64::from_le_bytes(*size), root: root.try_into().ok()? };
    valid.then_some((u64::from_le_bytes(*generation), witness))
}

/// The signed note in the `checkpoint` file; `None` when there is no file.
pub(crate) fn read_checkpoint(fs: &dyn Fs) -> io::Result<Option<Vec<u8>>> {
    match fs.open(CHECKPOINT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => read_all(file?.as_ref()).map(Some),
    }
}

/// Replaces the `checkpoint` file. A crash at any moment leaves the old or the new note.
pub(crate) fn write_checkpoint(fs: &dyn Fs, options: &Options, note: &[u8]) -> io::Result<()> {
    let unfinished = format!("{CHECKPOINT}.tmp");
    let file = fs.create(&unfinished)?;
    file.write_at(note, 0)?;
    if sync_before_rename(options) {
        file.sync_data()?;
    }
    fs.rename(&unfinished, CHECKPOINT)?;
    fs.sync_dir("")
}

#[cfg(feature = "mutants")]
fn sync_before_rename(options: &Options) -> bool {
    !options.is(crate::Mutant::SkipCheckpointSync)
}

#[cfg(not(feature = "mutants"))]
const fn sync_before_rename(_: &Options) -> bool {
    true
}
