//! Building a group: receipts in, the sectors of one write out.
//!
//! The builder keeps its buffers between groups; a busy log allocates nothing per receipt.

use super::frame::{self, GROUP_END_PREFIX, GroupEnd, PREFIX, RECEIPT_PREFIX, Receipt, Seed};
use super::sector::{self, SECTOR, SECTOR_DATA};
use super::{MAX_GROUP, MAX_NOTE, MAX_PAYLOAD, MAX_RECEIPT};

/// Why a receipt or a group cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The payload is longer than [`MAX_PAYLOAD`].
    #[error(
        "the receipt payload has {0} bytes; the limit is {MAX_PAYLOAD}; shorten the reasons or constraints"
    )]
    Payload(usize),
    /// Payload, delta and attachment are longer than [`MAX_RECEIPT`].
    #[error(
        "the receipt has {0} bytes with its state delta and attachment; the limit is {MAX_RECEIPT}; send a smaller request"
    )]
    Receipt(usize),
    /// The checkpoint note is longer than [`MAX_NOTE`].
    #[error("the checkpoint note has {0} bytes; the limit is {MAX_NOTE}")]
    Note(usize),
    /// The group holds [`MAX_GROUP`] receipts.
    #[error("the group is full; close it and start another")]
    Group,
}

/// Collects the receipts of one group.
#[derive(Debug)]
pub struct GroupBuilder {
    segment: u64,
    sector: u64,
    first: u64,
    count: u32,
    seed: Seed,
    data: Vec<u8>,
    sectors: Vec<u8>,
}

impl Default for GroupBuilder {
    fn default() -> Self {
        let seed = Seed::new(0, 0);
        Self { segment: 0, sector: 0, first: 0, count: 0, seed, data: Vec::new(), sectors: Vec::new() }
    }
}

impl GroupBuilder {
    /// Starts a group at sector `sector` of segment `segment`, whose first receipt has the index `first`.
    pub fn start(&mut self, segment: u64, sector: u64, first: u64) {
        self.data.clear();
        self.sectors.clear();
        (self.segment, self.sector, self.first, self.count) = (segment, sector, first, 0);
        self.seed = Seed::new(segment, sector);
    }

    /// Number of receipts in the group so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Holds a receipt against the limits, which [`GroupBuilder::push`] does as well.
    ///
    /// # Errors
    /// When a part is over its limit.
    pub fn check(receipt: &Receipt<'_>) -> Result<(), EncodeError> {
        if receipt.payload.len() > MAX_PAYLOAD {
            return Err(EncodeError::Payload(receipt.payload.len()));
        }
        let len = variable(receipt);
        if len > MAX_RECEIPT { Err(EncodeError::Receipt(len)) } else { Ok(()) }
    }

    /// Bytes the group would take on disk if `receipt` were added and it were closed with a note of `note` bytes.
    #[must_use]
    pub fn length_with(&self, receipt: &Receipt<'_>, note: usize) -> u64 {
        let body = variable(receipt).saturating_add(RECEIPT_PREFIX).saturating_add(PREFIX);
        on_disk(self.data.len().saturating_add(body), note)
    }

    /// Adds a receipt.
    ///
    /// # Errors
    /// When a part is over its limit or the group is full; the group is then unchanged.
    pub fn push(&mut self, receipt: &Receipt<'_>) -> Result<(), EncodeError> {
        Self::check(receipt)?;
        let count = self.count.saturating_add(1);
        if usize::try_from(count).map_or(true, |c| c > MAX_GROUP) {
            return Err(EncodeError::Group);
        }
        frame::append_receipt(&mut self.data, self.seed, receipt);
        self.count = count;
        Ok(())
    }

    /// Closes the group with a signed checkpoint and gives its sectors, ready for one write.
    ///
    /// # Errors
    /// When the note is over its limit.
    pub fn finish(&mut self, note: &[u8]) -> Result<&[u8], EncodeError> {
        if note.len() > MAX_NOTE {
            return Err(EncodeError::Note(note.len()));
        }
        let end = GroupEnd { first: self.first, count: self.count, note };
        frame::append_group_end(&mut self.data, self.seed, &end);
        self.sectors.clear();
        let last = self.data.len().div_ceil(SECTOR_DATA).saturating_sub(1);
        for (ordinal, data) in self.data.chunks(SECTOR_DATA).enumerate() {
            let place = sector::place(u32::try_from(ordinal).unwrap_or(u32::MAX), ordinal == last);
            let position = self.sector.saturating_add(u64::try_from(ordinal).unwrap_or(u64::MAX));
            sector::append(&mut self.sectors, self.segment, position, place, data);
        }
        Ok(&self.sectors)
    }
}

fn variable(receipt: &Receipt<'_>) -> usize {
    receipt.payload.len().saturating_add(receipt.delta.len()).saturating_add(receipt.attachment.len())
}

/// Bytes on disk of a group with `receipts` bytes of receipt frames and a note of `note` bytes.
fn on_disk(receipts: usize, note: usize) -> u64 {
    let content = receipts.saturating_add(PREFIX).saturating_add(GROUP_END_PREFIX).saturating_add(note);
    u64::try_from(content.div_ceil(SECTOR_DATA).saturating_mul(SECTOR)).unwrap_or(u64::MAX)
}
