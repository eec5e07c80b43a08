//! One sector: 504 bytes of content, a word that places it in its group, and a checksum.
//!
//! The sector is the unit a disk writes whole or not at all. A sector of a pre-zeroed file is therefore all zero or
//! valid; anything else is damage. That one rule is what tells a torn write from a flipped byte.

/// Bytes of a sector on disk.
pub const SECTOR: usize = 512;
/// Bytes of content a sector carries.
pub const SECTOR_DATA: usize = 504;

/// Set in the place word of the last sector of a group.
const LAST: u32 = 1 << 31;
/// The place word of the header sector, which no group can reach.
pub(super) const HEADER_PLACE: u32 = u32::MAX;

/// What a sector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sector<'a> {
    /// Never written: all zero.
    Zero,
    /// Written, and the checksum holds.
    Valid { data: &'a [u8; SECTOR_DATA], place: u32 },
    /// Neither: no whole write ends like this.
    Damaged,
}

/// The place word of the `ordinal`-th sector of a group.
pub(super) const fn place(ordinal: u32, last: bool) -> u32 {
    if last { ordinal | LAST } else { ordinal }
}

/// The ordinal in a place word, and whether the sector is its group's last.
pub(super) const fn unplace(place: u32) -> (u32, bool) {
    (place & !LAST, place & LAST != 0)
}

/// CRC-32C seeded with the segment and the sector's position in it, so that a sector read from elsewhere is invalid.
fn checksum(segment: u64, position: u64, covered: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &position.to_le_bytes());
    crc32c::crc32c_append(seed, covered)
}

/// Appends one sector to `out`; `data` longer than [`SECTOR_DATA`] is cut, shorter is padded with zeros.
pub(super) fn append(out: &mut Vec<u8>, segment: u64, position: u64, place: u32, data: &[u8]) {
    let data = data.get(..SECTOR_DATA).unwrap_or(data);
    let start = out.len();
    out.extend_from_slice(data);
    out.resize(start.saturating_add(SECTOR_DATA), 0);
    out.extend_from_slice(&place.to_le_bytes());
    let crc = checksum(segment, position, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Reads the sector that stands at `position` of `segment`.
pub(super) fn read(segment: u64, position: u64, bytes: &[u8; SECTOR]) -> Sector<'_> {
    if *bytes == [0; SECTOR] {
        return Sector::Zero;
    }
    split(bytes)
        .filter(|(covered, _, _, crc)| checksum(segment, position, covered) == *crc)
        .map_or(Sector::Damaged, |(_, data, place, _)| Sector::Valid { data, place })
}

/// The covered bytes, the content, the place word and the checksum.
fn split(bytes: &[u8; SECTOR]) -> Option<(&[u8], &[u8; SECTOR_DATA], u32, u32)> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let (data, place) = covered.split_first_chunk::<SECTOR_DATA>()?;
    Some((covered, data, u32::from_le_bytes(place.try_into().ok()?), u32::from_le_bytes(*crc)))
}
