//! Opening a log: read every group, check everything, fold the state, and only then touch a byte. With a saved state
//! that fits the log, the groups before it are not read, only the headers of their segments.
//!
//! What one interrupted write explains is cut. Everything else is refused with the file, the place and what to do;
//! nothing is repaired by guessing.

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use callgate_log::merkle::leaf_hash;
use callgate_log::segment::{
    Corruption, Damage, Group, HeaderError, SECTOR, SegmentHeader, SegmentReader, Step,
};
use sha2::{Digest, Sha256};

use crate::engine::Active;
use crate::error::OpenError;
use crate::fold::{CheckpointSigner, Fold};
use crate::fs::{File, Fs, read_all, read_from};
use crate::layout::{CHECKPOINT, HEADER, LOG, prepare, segment_number, segment_path, zero};
use crate::options::Options;
use crate::saved::{self, Base, Looked};
use crate::shared::{Mark, OnDisk};
use crate::tree::Tree;
use crate::witness::{Head, Witness, read_checkpoint};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Receipts in the log.
    pub receipts: u64,
    /// Groups in the log.
    pub groups: u64,
    /// Segments that hold receipts.
    pub segments: u64,
    /// Where the remains of an unfinished write were cut off: file, first and last byte.
    pub cut: Option<(String, u64, u64)>,
    /// Whether that was a damaged tail, discarded because the operator asked for it.
    pub discarded: bool,
    /// The newest checkpoint.
    pub checkpoint: Option<Arc<[u8]>>,
    /// The saved state that was gone on from, and its receipts; those before it were not read.
    pub saved: Option<(String, u64)>,
    /// Saved states that were left aside, and why. Nothing is lost by it but time.
    pub ignored: Vec<(String, String)>,
}

/// What the committer starts from.
pub(crate) struct Opened {
    pub(crate) tree: Tree,
    pub(crate) on_disk: OnDisk,
    pub(crate) head: Head,
    pub(crate) active: Active,
    pub(crate) recovery: Recovery,
    /// Receipts and length of the saved state it began with.
    pub(crate) base: Option<(u64, u64)>,
}

pub(crate) fn io_error(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| OpenError::Io { operation, file, source }
}

/// Replays the log into `state`.
pub(crate) fn open<S: Fold>(
    fs: &dyn Fs,
    options: &Options,
    signer: &dyn CheckpointSigner,
    state: &mut S,
) -> Result<Opened, OpenError> {
    fs.create_dir(LOG).map_err(io_error("make", LOG))?;
    fs.sync_dir("").map_err(io_error("sync", LOG))?;
    let (head, attested) = Head::open(fs).map_err(io_error("open", crate::layout::HEAD))?;
    let mut witnesses: Vec<Witness> = attested.into_iter().collect();
    if let Some(note) = read_checkpoint(fs).map_err(io_error("read", CHECKPOINT))? {
        let (size, root) = signer.verify(&note).ok_or(OpenError::CheckpointFile)?;
        witnesses.push(Witness { file: CHECKPOINT, size, root });
    }
    let numbers = segments(fs)?;
    saved::tidy(fs);
    let Looked { base, witness, ignored } = saved::newest::<S>(fs, options, signer);
    witnesses.extend(witness);
    let mut replay = Replay {
        options,
        signer,
        state,
        witnesses,
        tree: Tree::default(),
        on_disk: OnDisk::default(),
        recovery: Recovery::default(),
        position: None,
        base: None,
        cut: None,
        ended: false,
    };
    replay.recovery.ignored = ignored;
    if let Some(base) = base {
        replay.go_on_from(base);
    }
    for number in numbers {
        replay.segment(fs, number)?;
    }
    replay.finish(fs, head)
}

/// Numbers of the segments, without gaps from 1. Removes what an interrupted preparation left.
fn segments(fs: &dyn Fs) -> Result<Vec<u64>, OpenError> {
    let names = fs.list(LOG).map_err(io_error("list", LOG))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        fs.remove(&format!("{LOG}/{name}")).map_err(io_error("remove", name))?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    for (expected, number) in (1..).zip(&numbers) {
        if expected != *number {
            let what = format!("`{}`, which comes before it, is missing", segment_path(expected));
            return Err(OpenError::Order { file: segment_path(*number), what });
        }
    }
    Ok(numbers)
}

/// Bytes to overwrite with zeros.
struct Cut {
    segment: u64,
    from: u64,
    to: u64,
    damaged: bool,
}

struct Replay<'a, S: Fold> {
    options: &'a Options,
    signer: &'a dyn CheckpointSigner,
    state: &'a mut S,
    witnesses: Vec<Witness>,
    tree: Tree,
    on_disk: OnDisk,
    recovery: Recovery,
    position: Option<Position>,
    base: Option<Covered>,
    cut: Option<Cut>,
    /// Whether everything from here on must be blank.
    ended: bool,
}

/// What a saved state covers.
#[derive(Clone, Copy)]
struct Covered {
    receipts: u64,
    /// Length of its file.
    length: u64,
    /// Where it ends: the segment, and the byte after its last group.
    segment: u64,
    end: u64,
}

/// The part of a segment that is read.
struct Span {
    from: u64,
    /// Length of the segment.
    length: u64,
    /// Whether a later one was begun.
    later: bool,
}

/// Where the log ends.
struct Position {
    segment: u64,
    length: u64,
    /// Byte offset of the write that made the last group: of the group, or of the header it was written with.
    last: u64,
    /// Byte offset after the last group.
    end: u64,
}

impl<S: Fold> Replay<'_, S> {
    /// Takes a saved state over. That the log has what it covers was looked at when it was read.
    fn go_on_from(&mut self, base: Base<S>) {
        let Base { file, length, segment_length, state, tree, on_disk } = base;
        let (Some(last), Some(end)) = (on_disk.last, on_disk.ends.last().copied()) else { return };
        // A segment's first group is written with its header.
        let from = if last.offset == HEADER { 0 } else { last.offset };
        self.position = Some(Position { segment: last.segment, length: segment_length, last: from, end });
        self.base = Some(Covered { receipts: on_disk.size, length, segment: last.segment, end });
        self.recovery.saved = Some((file, on_disk.size));
        self.recovery.groups = on_disk.groups;
        self.recovery.segments = last.segment.saturating_sub(1);
        (*self.state, self.tree, self.on_disk) = (state, tree, on_disk);
    }

    /// Reads the rest of the segment in which a saved state ends.
    fn rest(&mut self, fs: &dyn Fs, number: u64, end: u64) -> Result<(), OpenError> {
        let path = segment_path(number);
        let file = fs.open(&path).map_err(io_error("open", &path))?;
        let bytes = read_from(file.as_ref(), end).map_err(io_error("read", &path))?;
        drop(file);
        let later = fs.open(&segment_path(number.saturating_add(1))).is_ok_and(|f| begun(f.as_ref()));
        let length = end.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let reader = SegmentReader::part(number, end, &bytes);
        self.groups(number, &path, reader, &Span { from: end, length, later })
    }

    fn segment(&mut self, fs: &dyn Fs, number: u64) -> Result<(), OpenError> {
        if let Some(covered) = self.base {
            match number.cmp(&covered.segment) {
                Ordering::Less => return Ok(()),
                Ordering::Equal => return self.rest(fs, number, covered.end),
                Ordering::Greater => {}
            }
        }
        let path = segment_path(number);
        let file = fs.open(&path).map_err(io_error("open", &path))?;
        let bytes = read_all(file.as_ref()).map_err(io_error("read", &path))?;
        drop(file);
        let header = SegmentHeader::decode(number, &bytes);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let blank =
            header == Ok(None) && bytes.as_chunks::<SECTOR>().0.iter().all(|sector| *sector == [0; SECTOR]);
        if !blank && self.ended {
            let what = "it was begun although an earlier segment ends in an unfinished group or holds none";
            return Err(OpenError::Order { file: path, what: what.to_owned() });
        }
        if blank {
            self.ended = true;
            return Ok(());
        }
        let later = fs.open(&segment_path(number.saturating_add(1))).is_ok_and(|f| begun(f.as_ref()));
        match header {
            Ok(Some(header)) => {
                self.fits(&path, &header, length)?;
                // A header without a group is the rest of an interrupted first write and goes with it.
                let span = Span { from: 0, length, later };
                self.groups(number, &path, SegmentReader::new(number, &bytes), &span)
            }
            Ok(None) => self.headless(number, &path, &bytes, None),
            // Damaged in the write of the segment's first group, or later: see `headless`.
            Err(source @ HeaderError::Damaged) if !later => {
                self.headless(number, &path, &bytes, Some(source))
            }
            Err(source) => Err(OpenError::Header { file: path, source }),
        }
    }

    /// Holds a header against the log so far.
    fn fits(&self, path: &str, header: &SegmentHeader, length: u64) -> Result<(), OpenError> {
        let what = if header.log_id != self.options.log_id {
            "it belongs to another log".to_owned()
        } else if header.length != length {
            format!("it is {length} bytes long and was made with {}", header.length)
        } else if header.first != self.tree.size() {
            format!("it begins with receipt {} where {} is next", header.first, self.tree.size())
        } else {
            return Ok(());
        };
        Err(OpenError::Order { file: path.to_owned(), what })
    }

    /// A segment without a header, or with a damaged one. If it holds one group at most, the write of that group was
    /// interrupted, or its end is damaged; a second group was begun only after the header was durable.
    fn headless(
        &mut self,
        number: u64,
        path: &str,
        bytes: &[u8],
        header: Option<HeaderError>,
    ) -> Result<(), OpenError> {
        let mut reader = SegmentReader::new(number, bytes);
        let whole = matches!(reader.step(), Step::Group(_));
        let tail = Corruption { offset: 0, damage: Damage::Tail };
        let damage = match reader.step() {
            Step::Corrupt(corruption) => Some(corruption),
            Step::Group(Group { offset, .. }) | Step::Torn { offset, .. } if whole => {
                Some(Corruption { offset: 0, damage: Damage::BeforeLaterGroup { later: offset } })
            }
            _ => header.map(|_| tail),
        };
        if let Some(source) = damage.filter(|source| !self.discards(source)) {
            return Err(damaged(path, source, false));
        }
        let to = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.end_at(Cut { segment: number, from: 0, to, damaged: damage.is_some() });
        Ok(())
    }

    /// Whether damage at the end of the log is to be cut off.
    fn discards(&self, source: &Corruption) -> bool {
        #[cfg(feature = "mutants")]
        if self.options.is(crate::Mutant::CutDamage) {
            return source.damage == Damage::Tail;
        }
        self.options.discard_damaged_tail && source.damage == Damage::Tail
    }

    fn end_at(&mut self, cut: Cut) {
        self.cut = Some(cut);
        self.ended = true;
    }

    fn groups(
        &mut self,
        number: u64,
        path: &str,
        mut reader: SegmentReader<'_>,
        span: &Span,
    ) -> Result<(), OpenError> {
        let Span { mut from, length, later } = *span;
        let (to, damaged) = loop {
            match reader.step() {
                Step::Group(group) => {
                    self.group(number, path, &group)?;
                    self.position = Some(Position { segment: number, length, last: from, end: group.end });
                    from = group.end;
                }
                Step::End { offset } if from > 0 => break (offset, false),
                Step::End { .. } => break (length, false),
                Step::Torn { end, .. } => break (end, false),
                Step::Corrupt(source) if !later && self.discards(&source) => break (length, true),
                Step::Corrupt(source) => return Err(self::damaged(path, source, later)),
            }
        };
        if from > 0 {
            self.recovery.segments = self.recovery.segments.saturating_add(1);
        }
        if to > from {
            self.end_at(Cut { segment: number, from, to, damaged });
        }
        Ok(())
    }

    /// Checks and folds one group.
    fn group(&mut self, number: u64, path: &str, group: &Group<'_>) -> Result<(), OpenError> {
        let first = self.tree.size();
        if group.first != first {
            let what = format!(
                "the group at byte {} begins with receipt {} where {first} is next",
                group.offset, group.first
            );
            return Err(OpenError::Order { file: path.to_owned(), what });
        }
        for receipt in &group.receipts {
            let index = self.tree.size();
            if !S::belongs(receipt.payload, receipt.delta) {
                return Err(OpenError::Exchanged(index));
            }
            let delta = S::decode(receipt.delta).map_err(|source| OpenError::Delta { index, source })?;
            self.state.apply(index, &Sha256::digest(receipt.payload).into(), &delta);
            self.tree.push(leaf_hash(receipt.payload));
        }
        let refuse = |what| OpenError::Checkpoint { file: path.to_owned(), offset: group.offset, what };
        let (size, root) = (self.tree.size(), self.tree.root().into_bytes());
        let signed =
            self.signer.verify(group.note).ok_or_else(|| refuse("is not signed by this log's key"))?;
        if signed != (size, root) {
            return Err(refuse("is for other receipts than the log holds: one of them was exchanged"));
        }
        self.witness(first, size, &root)?;
        self.on_disk.note_group(Mark { first, segment: number, offset: group.offset }, group.end);
        self.on_disk.size = size;
        self.on_disk.checkpoint = Some(group.note.into());
        self.recovery.groups = self.recovery.groups.saturating_add(1);
        Ok(())
    }

    /// Holds the tree after a group against what was attested for a size in it.
    fn witness(&self, first: u64, size: u64, root: &[u8; 32]) -> Result<(), OpenError> {
        let inside = self
            .witnesses
            .iter()
            .find(|w| w.size > first && (w.size < size || (w.size == size && w.root != *root)));
        inside.map_or(Ok(()), |w| Err(OpenError::Rewritten { witness: w.file, held: w.size }))
    }

    /// All is read: last checks, then the first write.
    fn finish(mut self, fs: &dyn Fs, head: Head) -> Result<Opened, OpenError> {
        let found = self.tree.size();
        if let Some(w) = self.witnesses.iter().find(|w| w.size > found) {
            return Err(OpenError::Shorter { witness: w.file, held: w.size, found });
        }
        self.cut_tail(fs)?;
        let active = self.active(fs)?;
        self.recovery.receipts = found;
        self.recovery.checkpoint.clone_from(&self.on_disk.checkpoint);
        let Self { tree, on_disk, recovery, base, .. } = self;
        let base = base.map(|covered| (covered.receipts, covered.length));
        Ok(Opened { tree, on_disk, head, active, recovery, base })
    }

    /// Zeroes the cut and syncs it, so that no old byte can ever be read as part of a new group.
    fn cut_tail(&mut self, fs: &dyn Fs) -> Result<(), OpenError> {
        let Some(cut) = self.cut.take() else { return Ok(()) };
        let path = segment_path(cut.segment);
        self.recovery.cut = Some((path.clone(), cut.from, cut.to));
        self.recovery.discarded = cut.damaged;
        #[cfg(feature = "mutants")]
        if self.options.is(crate::Mutant::NoTailZeroing) {
            return Ok(());
        }
        let file = fs.open(&path).map_err(io_error("open", &path))?;
        zero(file.as_ref(), cut.from, cut.to).map_err(io_error("write", &path))?;
        #[cfg(feature = "mutants")]
        if self.options.is(crate::Mutant::SkipTailSync) {
            return Ok(());
        }
        file.sync_data().map_err(io_error("sync", &path))
    }

    /// The segment to write to. A blank one is never taken as it is found: its name may not be durable.
    fn active(&self, fs: &dyn Fs) -> Result<Active, OpenError> {
        let Some(position) = &self.position else {
            let first = prepare(fs, self.options, 1).map_err(io_error("make", &segment_path(1)))?;
            return Ok(Active::unused(first));
        };
        let path = segment_path(position.segment);
        let file = fs.open(&path).map_err(io_error("open", &path))?;
        let attested = self.witnesses.iter().any(|w| w.size == self.tree.size());
        if !attested {
            self.settle(file.as_ref(), position).map_err(io_error("sync", &path))?;
        }
        Ok(Active { number: position.segment, length: position.length, offset: position.end, file })
    }

    /// Makes the last group durable by writing it again, in place, when nothing attests that it was synced. It may have
    /// been read from memory only: a program that was killed before its sync, or whose sync failed, leaves it there,
    /// and then a mere sync can succeed without writing it.
    fn settle(&self, file: &dyn File, position: &Position) -> io::Result<()> {
        #[cfg(feature = "mutants")]
        if self.options.is(crate::Mutant::SkipSettle) {
            return Ok(());
        }
        let len = position.end.saturating_sub(position.last);
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_at(&mut bytes, position.last)?;
        file.write_at(&bytes, position.last)?;
        file.sync_data()
    }
}

/// Whether a segment was ever written to: its header is not zero.
fn begun(file: &dyn File) -> bool {
    let mut header = [0; SECTOR];
    file.read_at(&mut header, 0).is_ok() && header != [0; SECTOR]
}

fn damaged(path: &str, source: Corruption, later: bool) -> OpenError {
    let file = path.to_owned();
    if source.damage == Damage::Tail && !later {
        OpenError::DamagedTail { file, source }
    } else {
        OpenError::Damaged { file, source }
    }
}
