//! Reading a segment: group after group, then what lies behind the last one.
//!
//! The tail is judged by what a disk can do to one write over zeros: each sector is there or still zero. What does not
//! look like that is damage, and the reader says so instead of cutting it off.

use super::MAX_GROUP;
use super::frame::{self, Frame, Receipt, Seed};
use super::sector::{self, SECTOR, Sector, unplace};

/// A complete group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// Byte offset of the group in its segment.
    pub offset: u64,
    /// Byte offset after the group.
    pub end: u64,
    /// Index of its first receipt.
    pub first: u64,
    /// Its receipts, in order; at least one.
    pub receipts: Vec<Receipt<'a>>,
    /// The signed checkpoint that covers it.
    pub note: &'a [u8],
}

/// What stands next in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// A complete group.
    Group(Group<'a>),
    /// Nothing but zeros from `offset` to the end.
    End {
        /// Byte offset after the last group.
        offset: u64,
    },
    /// The remains of one write that never finished. It was never acknowledged; cut it by writing zeros.
    Torn {
        /// Where the unfinished group begins.
        offset: u64,
        /// Byte offset after its last written sector.
        end: u64,
    },
    /// Bytes that no crash explains.
    Corrupt(Corruption),
}

/// Damage, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {damage}")]
pub struct Corruption {
    /// Byte offset in the segment.
    pub offset: u64,
    /// What is wrong there.
    pub damage: Damage,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A sector is neither zero nor valid, or a group is unfinished, and a later group follows: an acknowledged
    /// group is damaged.
    #[error("an acknowledged group is damaged: a later group begins at byte {later}")]
    BeforeLaterGroup {
        /// Byte offset of the later group.
        later: u64,
    },
    /// A sector is neither zero nor valid and no later group follows. It may be an acknowledged receipt with a flipped
    /// byte or a write that a disk tore inside a sector; the bytes cannot say which.
    #[error("a sector behind the last complete group is neither empty nor valid")]
    Tail,
    /// A valid sector stands where this group cannot have put it.
    #[error("a sector is valid but belongs to another place in the log")]
    Misplaced,
    /// All sectors of a group are valid and yet it does not add up.
    #[error("{0}")]
    Group(&'static str),
}

/// Walks over the groups of one segment.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    segment: u64,
    /// Sector number of the first of `sectors`.
    base: usize,
    sectors: &'a [[u8; SECTOR]],
    /// Sector number of the next group.
    next: usize,
    data: Vec<u8>,
}

impl<'a> SegmentReader<'a> {
    /// Reads segment number `segment` from behind its header. Bytes after the last whole sector are not looked at;
    /// [`super::SegmentHeader::decode`] refuses such a length.
    #[must_use]
    pub fn new(segment: u64, bytes: &'a [u8]) -> Self {
        Self { segment, base: 0, sectors: bytes.as_chunks::<SECTOR>().0, next: 1, data: Vec::new() }
    }

    /// Reads a part of segment number `segment`: `bytes` were taken from byte `offset`, where a group begins.
    #[must_use]
    pub fn part(segment: u64, offset: u64, bytes: &'a [u8]) -> Self {
        let base = usize::try_from(offset).unwrap_or(usize::MAX).checked_div(SECTOR).unwrap_or(0);
        Self { segment, base, sectors: bytes.as_chunks::<SECTOR>().0, next: base, data: Vec::new() }
    }

    /// The next group, or what ends the segment. After anything but a group, the answer stays the same.
    pub fn step(&mut self) -> Step<'_> {
        let start = self.next;
        let Some(end) = self.collect(start) else { return self.tail(start) };
        self.next = end;
        match self.parse(start, end) {
            Ok(group) => Step::Group(group),
            Err(what) => Step::Corrupt(Corruption { offset: offset_of(start), damage: Damage::Group(what) }),
        }
    }

    fn read(&self, position: usize) -> Option<Sector<'a>> {
        let bytes = self.sectors.get(position.checked_sub(self.base)?)?;
        Some(sector::read(self.segment, u64::try_from(position).ok()?, bytes))
    }

    /// Gathers the content of the group that starts at sector `start`; `None` when it is not complete.
    fn collect(&mut self, start: usize) -> Option<usize> {
        self.data.clear();
        let mut position = start;
        for ordinal in 0..u32::MAX {
            let Sector::Valid { data, place } = self.read(position)? else { return None };
            if unplace(place).0 != ordinal {
                return None;
            }
            self.data.extend_from_slice(data);
            position = position.checked_add(1)?;
            if unplace(place).1 {
                return Some(position);
            }
        }
        None
    }

    fn parse(&self, start: usize, end: usize) -> Result<Group<'_>, &'static str> {
        let seed = Seed::new(self.segment, u64::try_from(start).unwrap_or(u64::MAX));
        let mut receipts = Vec::new();
        let mut position = 0;
        let close = loop {
            let (frame, next) = frame::read(&self.data, position, seed)?;
            position = next;
            match frame {
                Frame::Receipt(_) if receipts.len() >= MAX_GROUP => return Err("a group is over the limit"),
                Frame::Receipt(receipt) => receipts.push(receipt),
                Frame::GroupEnd(close) => break close,
            }
        };
        let count = usize::try_from(close.count).map_err(|_| "a group is over the limit")?;
        if count != receipts.len() || count == 0 {
            return Err("a group's count is not the number of its receipts");
        }
        let padding = self.data.get(position..).unwrap_or_default();
        if padding.len() >= sector::SECTOR_DATA || padding.iter().any(|b| *b != 0) {
            return Err("bytes follow the end of a group");
        }
        let (offset, end) = (offset_of(start), offset_of(end));
        Ok(Group { offset, end, first: close.first, receipts, note: close.note })
    }

    /// Judges everything from sector `start`, where no complete group begins.
    fn tail(&self, start: usize) -> Step<'static> {
        let mut first_damage = None;
        let mut misplaced = None;
        let mut written = start;
        let mut closed = false;
        for position in start..self.base.saturating_add(self.sectors.len()) {
            let ordinal = position.saturating_sub(start);
            match self.read(position) {
                None | Some(Sector::Zero) => continue,
                Some(Sector::Damaged) => first_damage = first_damage.or(Some(position)),
                Some(Sector::Valid { place, .. }) => {
                    let (found, last) = unplace(place);
                    if found == 0 && ordinal != 0 {
                        let later = offset_of(position);
                        let offset = offset_of(first_damage.unwrap_or(start));
                        let damage = Damage::BeforeLaterGroup { later };
                        return Step::Corrupt(Corruption { offset, damage });
                    }
                    if closed || usize::try_from(found) != Ok(ordinal) {
                        misplaced = misplaced.or(Some(position));
                    }
                    closed |= last;
                }
            }
            written = position.saturating_add(1);
        }
        let corrupt = |position, damage| Step::Corrupt(Corruption { offset: offset_of(position), damage });
        match (misplaced, first_damage) {
            (Some(position), _) => corrupt(position, Damage::Misplaced),
            (None, Some(position)) => corrupt(position, Damage::Tail),
            (None, None) if written == start => Step::End { offset: offset_of(start) },
            (None, None) => Step::Torn { offset: offset_of(start), end: offset_of(written) },
        }
    }
}

fn offset_of(sector: usize) -> u64 {
    u64::try_from(sector.saturating_mul(SECTOR)).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod tests;
