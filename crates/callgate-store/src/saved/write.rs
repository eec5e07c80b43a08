//! Writing a state out. A crash at any moment leaves the file whole or without its name.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::{CHUNK, KEPT, MAGIC, STATE, Whole, path, sizes};
use crate::fold::{CheckpointSigner, Fold};
use crate::fs::{File, Fs};
use crate::options::Options;

/// Bytes after which what was written is synced, so that no commit waits behind a whole state.
const SYNC_EVERY: u64 = 8 << 20;

/// Saves `whole`, drops all but the newest saved states, and gives the length of the file.
pub(super) fn write<S: Fold>(
    fs: &dyn Fs,
    options: &Options,
    signer: &dyn CheckpointSigner,
    whole: &Whole<'_, S>,
) -> io::Result<u64> {
    let name = path(whole.on_disk.size);
    let unfinished = format!("{name}.tmp");
    fs.create_dir(STATE)?;
    fs.sync_dir("")?;
    let written = fill(fs, options, signer, whole, &unfinished);
    if written.is_err() {
        // Gives back the room; the first error is the one to report.
        let _ = fs.remove(&unfinished);
    }
    let length = written?;
    fs.rename(&unfinished, &name)?;
    fs.sync_dir(STATE)?;
    for old in sizes(fs)?.into_iter().skip(KEPT) {
        fs.remove(&path(old))?;
    }
    Ok(length)
}

fn fill<S: Fold>(
    fs: &dyn Fs,
    options: &Options,
    signer: &dyn CheckpointSigner,
    whole: &Whole<'_, S>,
    unfinished: &str,
) -> io::Result<u64> {
    let file = fs.create(unfinished)?;
    let mut out = Out { file: file.as_ref(), at: 0, synced: 0, buffer: Vec::new(), hasher: Sha256::new() };
    body(&mut out, options, whole)?;
    out.flush()?;
    let digest: [u8; 32] = out.hasher.clone().finalize().into();
    let attestation = signer.attest(&digest);
    if attestation.is_empty() {
        return Err(io::Error::other("the signer refused"));
    }
    out.write_all(&digest)?;
    out.write_all(&attestation)?;
    out.write_all(&length(attestation.len())?.to_le_bytes())?;
    out.flush()?;
    file.sync_data()?;
    Ok(out.at)
}

fn length(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn body<S: Fold>(out: &mut Out<'_>, options: &Options, whole: &Whole<'_, S>) -> io::Result<()> {
    let Whole { state, tree, on_disk } = whole;
    let missing = || io::Error::other("nothing is durable yet");
    let (last, note) = on_disk.last.zip(on_disk.checkpoint.as_ref()).ok_or_else(missing)?;
    let end = on_disk.ends.last().copied().ok_or_else(missing)?;
    let format = S::FORMAT.ok_or_else(|| io::Error::other("these states are not saved"))?;
    out.write_all(&MAGIC)?;
    out.write_all(&options.log_id)?;
    out.number(on_disk.size)?;
    out.write_all(tree.root().as_bytes())?;
    for number in [on_disk.groups, last.segment, last.offset, end, tree.recent()] {
        out.number(number)?;
    }
    for text in [format.as_bytes(), note] {
        out.write_all(&length(text.len())?.to_le_bytes())?;
        out.write_all(text)?;
    }
    out.write_all(&length(tree.levels().len())?.to_le_bytes())?;
    for node in tree.levels().iter().flatten() {
        out.write_all(node.as_bytes())?;
    }
    out.number(u64::try_from(on_disk.marks.len()).unwrap_or(u64::MAX))?;
    for mark in &on_disk.marks {
        out.number(mark.first)?;
        out.number(mark.segment)?;
        out.number(mark.offset)?;
    }
    out.number(u64::try_from(on_disk.ends.len()).unwrap_or(u64::MAX))?;
    for end in &on_disk.ends {
        out.number(*end)?;
    }
    state.save(out).map_err(|error| io::Error::other(error.to_string()))
}

/// Hashes what it writes, a chunk at a time.
struct Out<'a> {
    file: &'a dyn File,
    at: u64,
    synced: u64,
    buffer: Vec<u8>,
    hasher: Sha256,
}

impl Out<'_> {
    fn number(&mut self, number: u64) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.hasher.update(&self.buffer);
        self.file.write_at(&self.buffer, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX));
        self.buffer.clear();
        if self.at.saturating_sub(self.synced) >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(())
    }
}
