//! The segment file: how receipts lie on disk, as bytes in and bytes out.
//!
//! This is all an auditor needs to read a log: no files, no clock, no policy. It must never guess. Bytes are a
//! complete group, an honestly unfinished one, or damage, and the three are told apart as `docs/spec/segment.md`
//! lays down. Nothing here trusts a length it has not held against a limit.
//!
//! A segment is a row of 512-byte sectors, zeroed before use. Sector 0 is the header. Every group of receipts
//! starts on a sector of its own, so that bytes which were acknowledged are never written again.

mod frame;
mod header;
mod read;
mod sector;
mod write;

pub use frame::Receipt;
pub use header::{HeaderError, SegmentHeader};
pub use read::{Corruption, Damage, Group, SegmentReader, Step};
pub use sector::{SECTOR, SECTOR_DATA};
pub use write::{EncodeError, GroupBuilder};

/// Version of the segment format this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Longest receipt payload in bytes: C2SP tlog-tiles entries carry a 16-bit length.
pub const MAX_PAYLOAD: usize = 65_535;
/// Longest receipt in bytes: payload, state delta and attachment together.
pub const MAX_RECEIPT: usize = 1 << 20;
/// Longest checkpoint note in bytes.
pub const MAX_NOTE: usize = 16 << 10;
/// Most receipts in one group.
pub const MAX_GROUP: usize = 1 << 16;
/// Largest segment in bytes.
pub const MAX_SEGMENT: u64 = 1 << 30;
