//! Frames: `len u32 | crc32c u32 | type u8 | body`, one after another in the content of a group's sectors.
//!
//! The sector checksum already finds damage. The frame checksum is seeded with where the group starts and covers a
//! whole frame, so that sectors of two different writes can never be read as one.

use super::{MAX_NOTE, MAX_PAYLOAD, MAX_RECEIPT};

/// Bytes before a frame's body.
pub(super) const PREFIX: usize = 9;
/// Bytes before the variable parts of a receipt body: three lengths and the signature.
pub(super) const RECEIPT_PREFIX: usize = 12 + 64;
/// Bytes before the note of a group end body.
pub(super) const GROUP_END_PREFIX: usize = 12;

const RECEIPT: u8 = 1;
const GROUP_END: u8 = 2;

/// One receipt as it lies in a group. Borrowed from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// The signed payload: the leaf of the tree.
    pub payload: &'a [u8],
    /// Ed25519 signature over the DSSE pre-authentication encoding of the payload.
    pub signature: &'a [u8; 64],
    /// The state changes of this receipt, opaque here.
    pub delta: &'a [u8],
    /// What is kept beside the receipt, sealed and erasable; may be empty.
    pub attachment: &'a [u8],
}

/// The frame that closes a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEnd<'a> {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) note: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Receipt(Receipt<'a>),
    GroupEnd(GroupEnd<'a>),
}

/// Where a group starts; part of every frame checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(segment: u64, sector: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &sector.to_le_bytes()))
    }

    /// Over the frame's position in the group, its length, its type and its body.
    fn checksum(self, position: usize, len: [u8; 4], type_and_body: &[u8]) -> u32 {
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        let crc = crc32c::crc32c_append(self.0, &position.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(crc, &len), type_and_body)
    }
}

/// Appends a frame of `kind` with the body `parts`; the caller has held the lengths against the limits.
fn append(out: &mut Vec<u8>, seed: Seed, kind: u8, parts: &[&[u8]]) {
    let start = out.len();
    let len: usize = parts.iter().map(|p| p.len()).fold(0, usize::saturating_add);
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    let crc = seed.checksum(start, len, out.get(start.saturating_add(8)..).unwrap_or_default());
    if let Some(slot) = out.get_mut(start.saturating_add(4)..start.saturating_add(8)) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
}

pub(super) fn append_receipt(out: &mut Vec<u8>, seed: Seed, receipt: &Receipt<'_>) {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    let lengths = [length(receipt.payload), length(receipt.delta), length(receipt.attachment)];
    let parts: [&[u8]; 5] =
        [lengths.as_flattened(), receipt.signature, receipt.payload, receipt.delta, receipt.attachment];
    append(out, seed, RECEIPT, &parts);
}

pub(super) fn append_group_end(out: &mut Vec<u8>, seed: Seed, end: &GroupEnd<'_>) {
    append(out, seed, GROUP_END, &[&end.first.to_le_bytes(), &end.count.to_le_bytes(), end.note]);
}

/// Reads the frame at `position` of a group's content; also gives the position after it.
pub(super) fn read(data: &[u8], position: usize, seed: Seed) -> Result<(Frame<'_>, usize), &'static str> {
    let bytes = data.get(position..).ok_or("a frame begins after the end of its group")?;
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or("a frame is cut short")?;
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or("a frame is cut short")?;
    let body_len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| "a frame is over the limit")?;
    if body_len > MAX_RECEIPT.saturating_add(RECEIPT_PREFIX) {
        return Err("a frame is over the limit");
    }
    let type_and_body = rest.get(..body_len.saturating_add(1)).ok_or("a frame is longer than its group")?;
    if seed.checksum(position, *len, type_and_body) != u32::from_le_bytes(*crc) {
        return Err("a frame's checksum does not hold");
    }
    let (kind, body) = type_and_body.split_first().ok_or("a frame is cut short")?;
    let frame = match *kind {
        RECEIPT => parse_receipt(body).map(Frame::Receipt),
        GROUP_END => parse_group_end(body).map(Frame::GroupEnd),
        _ => None,
    };
    let frame = frame.ok_or("a frame is of an unknown type or its lengths do not add up")?;
    Ok((frame, position.saturating_add(PREFIX).saturating_add(body_len)))
}

fn parse_receipt(body: &[u8]) -> Option<Receipt<'_>> {
    let (payload_len, rest) = length(body)?;
    let (delta_len, rest) = length(rest)?;
    let (attachment_len, rest) = length(rest)?;
    let (signature, rest) = rest.split_first_chunk::<64>()?;
    let (payload, rest) = rest.split_at_checked(payload_len)?;
    let (delta, attachment) = rest.split_at_checked(delta_len)?;
    let fits = payload_len <= MAX_PAYLOAD && attachment.len() == attachment_len;
    fits.then_some(Receipt { payload, signature, delta, attachment })
}

fn parse_group_end(body: &[u8]) -> Option<GroupEnd<'_>> {
    let (first, rest) = body.split_first_chunk::<8>()?;
    let (count, note) = rest.split_first_chunk::<4>()?;
    let end = GroupEnd { first: u64::from_le_bytes(*first), count: u32::from_le_bytes(*count), note };
    (note.len() <= MAX_NOTE).then_some(end)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*len)).ok()?, rest))
}
