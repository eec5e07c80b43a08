//! Reading a log without owning it: while a gate writes it, or from a copy.
//!
//! No lock, no write, no key, no state. Whatever is complete is handed out; the group that a gate is writing at this
//! moment is left for the next call. What a reader trusts is not this file's concern: `callgate_log::verify` decides
//! what the bytes prove.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use callgate_log::segment::{Group, MAX_SEGMENT, Receipt, SECTOR, SegmentHeader, SegmentReader, Step};

use crate::error::ReadError;
use crate::fold::{ReceiptView, StoredReceipt};
use crate::fs::Fs;
use crate::layout::{CHECKPOINT, LOG, segment_number, segment_path};

/// How often what looks like damage at the very end is read again: a gate may be writing there.
const LOOKS: u32 = 5;
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest checkpoint file that is read.
const MAX_NOTE: u64 = 256 << 10;

/// Hands out the groups of a log in order.
pub struct LogReader {
    fs: Arc<dyn Fs>,
    /// The segment that is being read.
    segment: u64,
    /// Where the next group begins in it; 0 before its header was read.
    offset: u64,
    /// The index of the next receipt; `None` before the first header was read.
    next: Option<u64>,
    ready: VecDeque<Vec<StoredReceipt>>,
    unfinished: bool,
    /// What was read last; kept so that reading on needs no new memory.
    bytes: Vec<u8>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("segment", &self.segment)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// What one look at a segment found.
struct Look {
    /// Whether there was no group.
    empty: bool,
    /// The index after the last group.
    next: u64,
    /// Byte offset after the last group.
    offset: u64,
    end: End,
}

/// What stands behind the last group of a segment.
enum End {
    Clean,
    Unfinished,
    Damaged(u64, String),
}

impl LogReader {
    /// Reads from the first receipt.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self {
            fs,
            segment: 1,
            offset: 0,
            next: None,
            ready: VecDeque::new(),
            unfinished: false,
            bytes: Vec::new(),
        }
    }

    /// Reads from the segment that holds receipt `index`, or the last one. Earlier segments are not looked at.
    ///
    /// # Errors
    /// When the disk fails or a header is damaged.
    pub fn near(fs: Arc<dyn Fs>, index: u64) -> Result<Self, ReadError> {
        let mut reader = Self::new(fs);
        let mut number = 2;
        while let Some(first) = reader.first_of(number)?.filter(|first| *first <= index) {
            (reader.segment, reader.next) = (number, Some(first));
            number = number.saturating_add(1);
        }
        Ok(reader)
    }

    /// The receipts of the next group, or `None` at what is the end now; a later call looks again.
    ///
    /// # Errors
    /// When the disk fails, or the bytes are damaged.
    pub fn next_group(&mut self) -> Result<Option<Vec<StoredReceipt>>, ReadError> {
        loop {
            if let Some(group) = self.ready.pop_front() {
                return Ok(Some(group));
            }
            let mut groups = VecDeque::new();
            let more = self.advance(&mut |group| groups.push_back(copy(group)))?;
            self.ready = groups;
            if !more {
                return Ok(None);
            }
        }
    }

    /// Shows `each` the next receipts, a segment's worth at most, without copying them; `false` at what is the end
    /// now. Not to be mixed with [`Self::next_group`].
    ///
    /// # Errors
    /// As [`Self::next_group`].
    pub fn visit(&mut self, mut each: impl FnMut(ReceiptView<'_>)) -> Result<bool, ReadError> {
        self.advance(&mut |group| {
            for (index, receipt) in (group.first..).zip(&group.receipts) {
                let Receipt { payload, delta, attachment, .. } = *receipt;
                each(ReceiptView { index, payload, delta, attachment });
            }
        })
    }

    /// How many receipts come before the next group.
    #[must_use]
    pub fn position(&self) -> u64 {
        let waiting = self.ready.front().and_then(|group| group.first()).map(|receipt| receipt.index);
        waiting.or(self.next).unwrap_or(0)
    }

    /// Whether the log ends in a group that was never finished, and so never acknowledged.
    #[must_use]
    pub const fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// The newest signed note that lies beside the log; it attests a length the log must have.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn beside(fs: &dyn Fs) -> Result<Option<Vec<u8>>, ReadError> {
        let failed = |source| ReadError::Io { file: CHECKPOINT.to_owned(), source };
        let file = match fs.open(CHECKPOINT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let length = file.len().map_err(failed)?;
        if length > MAX_NOTE {
            let what = "it is too long to be a checkpoint".to_owned();
            return Err(ReadError::Damaged { file: CHECKPOINT.to_owned(), offset: 0, what });
        }
        let mut note = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_at(&mut note, 0).map_err(failed)?;
        Ok(Some(note))
    }

    /// Reads on; `false` when there is nothing more.
    fn advance(&mut self, each: &mut dyn FnMut(&Group<'_>)) -> Result<bool, ReadError> {
        for left in (0..LOOKS).rev() {
            let later = self.later()?;
            let Some(look) = self.look(each)? else {
                let what = "it is missing or empty although a later segment was begun".to_owned();
                return if later.is_some() { Err(self.damaged(0, what)) } else { Ok(false) };
            };
            match (look.end, later) {
                (End::Damaged(..), None) if look.empty && left > 0 => thread::sleep(PAUSE),
                (End::Damaged(offset, what), _) if look.empty => {
                    return Err(self.damaged(offset, what));
                }
                (End::Unfinished, Some(_)) if look.empty => {
                    let what = "a group is unfinished although a later segment was begun".to_owned();
                    return Err(self.damaged(look.offset, what));
                }
                (end, later) => {
                    let empty = look.empty;
                    self.unfinished = matches!(end, End::Unfinished);
                    (self.offset, self.next) = (look.offset, Some(look.next));
                    if empty && later.is_some() {
                        (self.segment, self.offset) = (self.segment.saturating_add(1), 0);
                    }
                    return Ok(!empty || later.is_some());
                }
            }
        }
        Ok(false)
    }

    /// Reads the current segment from where the last group ended; `None` when it is not begun.
    fn look(&mut self, each: &mut dyn FnMut(&Group<'_>)) -> Result<Option<Look>, ReadError> {
        let path = segment_path(self.segment);
        let failed = |source| ReadError::Io { file: path.clone(), source };
        let file = match self.fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let length = file.len().map_err(failed)?;
        if length > MAX_SEGMENT {
            return Err(self.damaged(0, format!("it is {length} bytes long, which no segment is")));
        }
        self.bytes.resize(usize::try_from(length.saturating_sub(self.offset)).unwrap_or(0), 0);
        file.read_at(&mut self.bytes, self.offset).map_err(failed)?;
        if self.offset > 0 {
            let reader = SegmentReader::part(self.segment, self.offset, &self.bytes);
            return Ok(Some(walk(reader, self.next.unwrap_or(0), self.offset, each)));
        }
        match SegmentHeader::decode(self.segment, &self.bytes) {
            Ok(None) => Ok(None),
            Ok(Some(header)) => {
                let first = self.next.unwrap_or(0);
                if header.first != first {
                    let what = format!("it begins with receipt {} where {first} is next", header.first);
                    return Err(self.damaged(0, what));
                }
                let reader = SegmentReader::new(self.segment, &self.bytes);
                Ok(Some(walk(reader, first, u64::try_from(SECTOR).unwrap_or(0), each)))
            }
            Err(error) => {
                let end = End::Damaged(0, error.to_string());
                Ok(Some(Look { empty: true, next: self.next.unwrap_or(0), offset: 0, end }))
            }
        }
    }

    /// The first later segment that was begun. Asked for before a segment is read: what follows a begun segment is
    /// never written again.
    fn later(&self) -> Result<Option<u64>, ReadError> {
        let failed = |source| ReadError::Io { file: LOG.to_owned(), source };
        let names = self.fs.list(LOG).map_err(failed)?;
        for number in
            names.iter().filter_map(|name| segment_number(name)).filter(|number| *number > self.segment)
        {
            if self.first_of(number)?.is_some() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The first receipt of segment `number`; `None` when it is missing or not begun.
    fn first_of(&self, number: u64) -> Result<Option<u64>, ReadError> {
        let path = segment_path(number);
        let failed = |source| ReadError::Io { file: path.clone(), source };
        let file = match self.fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut sector = [0; SECTOR];
        match file.read_at(&mut sector, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(failed)?,
        }
        // A damaged header is reported when its segment is read.
        Ok(SegmentHeader::decode(number, &sector).ok().flatten().map(|header| header.first))
    }

    fn damaged(&self, offset: u64, what: String) -> ReadError {
        ReadError::Damaged { file: segment_path(self.segment), offset, what }
    }
}

/// Shows every complete group.
fn walk(mut reader: SegmentReader<'_>, first: u64, from: u64, each: &mut dyn FnMut(&Group<'_>)) -> Look {
    let mut look = Look { empty: true, next: first, offset: from, end: End::Clean };
    look.end = loop {
        match reader.step() {
            Step::Group(group) if group.first != look.next => {
                break End::Damaged(group.offset, format!("receipt {} should begin here", look.next));
            }
            Step::Group(group) => {
                each(&group);
                look.empty = false;
                look.offset = group.end;
                let count = u64::try_from(group.receipts.len()).unwrap_or(u64::MAX);
                look.next = group.first.saturating_add(count);
            }
            Step::End { .. } => break End::Clean,
            Step::Torn { .. } => break End::Unfinished,
            Step::Corrupt(corruption) => {
                break End::Damaged(corruption.offset, corruption.damage.to_string());
            }
        }
    };
    look
}

fn copy(group: &Group<'_>) -> Vec<StoredReceipt> {
    let count = u64::try_from(group.receipts.len()).unwrap_or(u64::MAX);
    let size = group.first.saturating_add(count);
    let checkpoint: Arc<[u8]> = group.note.into();
    let receipts = (group.first..size).zip(&group.receipts);
    receipts
        .map(|(index, receipt)| StoredReceipt {
            index,
            payload: receipt.payload.to_vec(),
            signature: *receipt.signature,
            delta: receipt.delta.to_vec(),
            attachment: receipt.attachment.to_vec(),
            size,
            checkpoint: Arc::clone(&checkpoint),
        })
        .collect()
}
