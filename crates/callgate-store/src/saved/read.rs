//! Reading a saved state. Nothing of it is used before its signature holds and the log has what it names.

use std::io::{self, Read};
use std::sync::Arc;

use callgate_log::Hash;
use callgate_log::segment::{Group, SECTOR, SegmentHeader, SegmentReader, Step};
use sha2::{Digest, Sha256};

use super::{CHUNK, MAGIC, MAX_SMALL, STATE, path, sizes};
use crate::fold::{CheckpointSigner, Fold};
use crate::fs::{File, Fs};
use crate::layout::segment_path;
use crate::options::Options;
use crate::shared::{Mark, OnDisk};
use crate::tree::Tree;
use crate::witness::Witness;

/// A saved state that can be gone on from.
pub(crate) struct Base<S> {
    pub(crate) file: String,
    /// Length of the file in bytes.
    pub(crate) length: u64,
    /// Length of the segment it ends in.
    pub(crate) segment_length: u64,
    pub(crate) state: S,
    pub(crate) tree: Tree,
    pub(crate) on_disk: OnDisk,
}

/// What looking for one found.
pub(crate) struct Looked<S> {
    pub(crate) base: Option<Base<S>>,
    /// What the log's own signature says of its length, whether or not the state can be used.
    pub(crate) witness: Option<Witness>,
    /// Files left aside, and why.
    pub(crate) ignored: Vec<(String, String)>,
}

/// The newest saved state that is this log's and fits it. Nothing here is an error: without one the log is folded.
pub(crate) fn newest<S: Fold>(fs: &dyn Fs, options: &Options, signer: &dyn CheckpointSigner) -> Looked<S> {
    let mut looked = Looked { base: None, witness: None, ignored: Vec::new() };
    if S::FORMAT.is_none() {
        return looked;
    }
    // No folder, no saved states.
    for size in sizes(fs).unwrap_or_default() {
        let file = path(size);
        let found = open::<S>(fs, options, signer, &file, &mut looked.witness);
        match found {
            Ok(base) => {
                looked.base = Some(base);
                break;
            }
            Err(why) => looked.ignored.push((file, why.to_string())),
        }
    }
    looked
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn open<S: Fold>(
    fs: &dyn Fs,
    options: &Options,
    signer: &dyn CheckpointSigner,
    file: &str,
    witness: &mut Option<Witness>,
) -> io::Result<Base<S>> {
    let opened = fs.open(file)?;
    let signed = Signed::check(opened.as_ref(), options, signer)?;
    let mut input = In::new(opened.as_ref(), signed.body);
    let found = place(&mut input, options)?;
    let (size, root) = (found.on_disk.size, found.tree.root().into_bytes());
    if path(size) != file {
        return Err(wrong("it is named for another number of receipts"));
    }
    if witness.is_none() {
        *witness = Some(Witness { file: STATE, size, root });
    }
    if S::FORMAT.is_none_or(|format| format.as_bytes() != found.format) {
        return Err(wrong("another version of the program wrote it"));
    }
    let segment_length = in_log(fs, options, signer, &found, &root)?;
    let state = S::load(&mut input).map_err(|error| wrong(&error.to_string()))?;
    // What was used is what was signed, should the file have changed in between.
    if input.left() > 0 || !signed.is_of(&input.digest()) {
        return Err(wrong("it is not what was signed"));
    }
    let length = signed.length;
    Ok(Base {
        file: file.to_owned(),
        length,
        segment_length,
        state,
        tree: found.tree,
        on_disk: found.on_disk,
    })
}

/// A file whose bytes up to `body` are signed by the log's key.
struct Signed {
    body: u64,
    length: u64,
    digest: [u8; 32],
}

impl Signed {
    fn check(file: &dyn File, options: &Options, signer: &dyn CheckpointSigner) -> io::Result<Self> {
        #[cfg(not(feature = "mutants"))]
        let _ = options;
        let torn = || wrong("it is not whole");
        let length = file.len()?;
        let mut size = [0; 4];
        let at = length.checked_sub(4).ok_or_else(torn)?;
        file.read_at(&mut size, at)?;
        let size = usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX);
        if size > MAX_SMALL {
            return Err(torn());
        }
        let mut attestation = vec![0; size];
        let at = at.checked_sub(u64::try_from(size).unwrap_or(u64::MAX)).ok_or_else(torn)?;
        file.read_at(&mut attestation, at)?;
        let body = at.checked_sub(32).ok_or_else(torn)?;
        let mut stated = [0; 32];
        file.read_at(&mut stated, body)?;
        let mut input = In::new(file, body);
        io::copy(&mut input, &mut io::sink())?;
        let digest = input.digest();
        #[cfg(feature = "mutants")]
        if options.is(crate::Mutant::TrustSaved) {
            return Ok(Self { body, length, digest });
        }
        if digest != stated {
            return Err(wrong("it is damaged"));
        }
        if !signer.attests(&digest, &attestation) {
            return Err(wrong("it is not signed by this log's key"));
        }
        Ok(Self { body, length, digest })
    }

    fn is_of(&self, digest: &[u8; 32]) -> bool {
        self.digest == *digest
    }
}

/// Everything before the state itself.
struct Found {
    tree: Tree,
    on_disk: OnDisk,
    format: Vec<u8>,
}

fn place(input: &mut In<'_>, options: &Options) -> io::Result<Found> {
    if input.array::<8>()? != MAGIC {
        return Err(wrong("another version of the program wrote it"));
    }
    if input.array::<32>()? != options.log_id {
        return Err(wrong("it belongs to another log"));
    }
    let size = input.number()?;
    let root = input.array::<32>()?;
    let groups = input.number()?;
    let (segment, offset, end) = (input.number()?, input.number()?, input.number()?);
    let recent = input.number()?;
    let format = input.text()?;
    let note: Arc<[u8]> = input.text()?.into();
    let tree = tree(input, size, recent)?;
    let mut marks = Vec::new();
    for _ in 0..input.count(24)? {
        marks.push(Mark { first: input.number()?, segment: input.number()?, offset: input.number()? });
    }
    let mut ends = Vec::new();
    for _ in 0..input.count(8)? {
        ends.push(input.number()?);
    }
    let last = Mark { first: 0, segment, offset };
    let segments = u64::try_from(ends.len()).unwrap_or(u64::MAX);
    if *tree.root().as_bytes() != root || ends.last() != Some(&end) || segments != segment {
        return Err(wrong("it does not add up"));
    }
    let on_disk =
        OnDisk { size, checkpoint: Some(note), marks, ends, last: Some(last), groups, ..OnDisk::default() };
    Ok(Found { tree, on_disk, format })
}

fn tree(input: &mut In<'_>, size: u64, recent: u64) -> io::Result<Tree> {
    let levels = u32::from_le_bytes(input.array()?);
    let mut all = Vec::new();
    for level in 0..levels.min(64) {
        let count = Tree::kept_at(size, recent, level);
        if count.saturating_mul(32) > input.left() {
            return Err(wrong("it does not add up"));
        }
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Hash::from(input.array::<32>()?));
        }
        all.push(nodes);
    }
    Ok(Tree::restore(size, recent, all))
}

/// Whether the log has the segments that the state covers, and the very group it ends with; gives the length of the
/// segment that is in.
fn in_log(
    fs: &dyn Fs,
    options: &Options,
    signer: &dyn CheckpointSigner,
    found: &Found,
    root: &[u8; 32],
) -> io::Result<u64> {
    let differs = || wrong("the log does not have the group it ends with");
    let (Some(last), Some(end)) = (found.on_disk.last, found.on_disk.ends.last()) else {
        return Err(differs());
    };
    let length = end.checked_sub(last.offset).ok_or_else(differs)?;
    let length = usize::try_from(length).map_err(|_| differs())?;
    for number in 1..=last.segment {
        covered(fs, options, found, number)?;
    }
    let segment = fs.open(&segment_path(last.segment))?;
    let segment_length = segment.len()?;
    if segment_length < *end {
        return Err(differs());
    }
    let mut bytes = vec![0; length];
    segment.read_at(&mut bytes, last.offset)?;
    let mut reader = SegmentReader::part(last.segment, last.offset, &bytes);
    let Step::Group(Group { end: ended, first, receipts, note, .. }) = reader.step() else {
        return Err(differs());
    };
    let size = first.saturating_add(u64::try_from(receipts.len()).unwrap_or(u64::MAX));
    let same = ended == *end
        && size == found.on_disk.size
        && found.on_disk.checkpoint.as_deref() == Some(note)
        && signer.verify(note) == Some((size, *root));
    if same { Ok(segment_length) } else { Err(differs()) }
}

/// Whether a segment begins as it did.
fn covered(fs: &dyn Fs, options: &Options, found: &Found, number: u64) -> io::Result<()> {
    let file = fs.open(&segment_path(number))?;
    let mut sector = [0; SECTOR];
    file.read_at(&mut sector, 0)?;
    let marks = &found.on_disk.marks;
    let first = marks.get(marks.partition_point(|mark| mark.segment < number)).map(|mark| mark.first);
    let length = file.len()?;
    let wanted = first.map(|first| SegmentHeader { segment: number, first, log_id: options.log_id, length });
    match SegmentHeader::decode(number, &sector) {
        Ok(header) if header.is_some() && header == wanted => Ok(()),
        _ => Err(wrong("a segment that it covers does not begin as it did")),
    }
}

/// Hashes what it reads, up to `end`.
struct In<'a> {
    file: &'a dyn File,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
    hasher: Sha256,
}

impl<'a> In<'a> {
    fn new(file: &'a dyn File, end: u64) -> Self {
        Self { file, at: 0, end, buffer: Vec::new(), taken: 0, hasher: Sha256::new() }
    }

    /// Bytes not given out yet.
    fn left(&self) -> u64 {
        let held = u64::try_from(self.buffer.len().saturating_sub(self.taken)).unwrap_or(u64::MAX);
        self.end.saturating_sub(self.at).saturating_add(held)
    }

    /// Of everything that was read.
    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length > MAX_SMALL {
            return Err(wrong("it does not add up"));
        }
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A number of things of `each` bytes that follow.
    fn count(&mut self, each: u64) -> io::Result<u64> {
        let count = self.number()?;
        if count.saturating_mul(each) > self.left() { Err(wrong("it does not add up")) } else { Ok(count) }
    }

    fn fill(&mut self) -> io::Result<()> {
        let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX).min(self.end.saturating_sub(self.at));
        self.buffer.resize(usize::try_from(chunk).unwrap_or(0), 0);
        self.file.read_at(&mut self.buffer, self.at)?;
        self.hasher.update(&self.buffer);
        (self.at, self.taken) = (self.at.saturating_add(chunk), 0);
        Ok(())
    }
}

impl Read for In<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.buffer.len() {
            self.fill()?;
        }
        let held = self.buffer.get(self.taken..).unwrap_or_default();
        let count = held.len().min(into.len());
        into.iter_mut().zip(held).for_each(|(to, from)| *to = *from);
        self.taken = self.taken.saturating_add(count);
        Ok(count)
    }
}
