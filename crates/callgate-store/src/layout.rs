//! Names in the data folder, and the making of segments.

use std::io;

use crate::fs::{File, Fs};
use crate::options::Options;

pub(crate) const LOG: &str = "log";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const HEAD: &str = "head";
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Bytes of a segment's header sector.
pub(crate) const HEADER: u64 = 512;

/// The file of segment `number`.
pub(crate) fn segment_path(number: u64) -> String {
    format!("{LOG}/{number:08}.seg")
}

/// The number of a segment file named `name`.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (format!("{number:08}.seg") == name).then_some(number)
}

/// A segment ready for use: all zero, synced, and so is its name.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Box<dyn File>,
}

/// Makes segment `number`. A crash at any moment leaves either no file of that name or a whole one of zeros.
pub(crate) fn prepare(fs: &dyn Fs, options: &Options, number: u64) -> io::Result<Prepared> {
    let path = segment_path(number);
    let unfinished = format!("{path}.tmp");
    let file = match fill(fs, options, &unfinished) {
        Ok(file) => file,
        Err(error) => {
            // Gives back the room a half-made segment took; the first error is the one to report.
            let _ = fs.remove(&unfinished);
            return Err(error);
        }
    };
    fs.rename(&unfinished, &path)?;
    #[cfg(feature = "mutants")]
    if options.is(crate::Mutant::SkipDirSync) {
        return Ok(Prepared { number, length: options.segment_bytes, file });
    }
    fs.sync_dir(LOG)?;
    Ok(Prepared { number, length: options.segment_bytes, file })
}

fn fill(fs: &dyn Fs, options: &Options, path: &str) -> io::Result<Box<dyn File>> {
    let file = fs.create(path)?;
    zero(file.as_ref(), 0, options.segment_bytes)?;
    #[cfg(feature = "mutants")]
    if options.is(crate::Mutant::SkipSegmentSync) {
        return Ok(file);
    }
    file.sync_data()?;
    Ok(file)
}

/// Writes zeros over bytes `from..to`.
pub(crate) fn zero(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 256 << 10];
    let mut at = from;
    while let Some(left) = to.checked_sub(at).filter(|left| *left > 0) {
        let len = usize::try_from(left).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_at(zeros.get(..len).unwrap_or_default(), at)?;
        at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    Ok(())
}
