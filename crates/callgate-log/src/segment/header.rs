//! The header sector: which log, which segment, and where its receipts begin.
//!
//! It is written together with the segment's first group, so a segment that is prepared but unused is all zero.

use super::sector::{self, HEADER_PLACE, SECTOR, Sector};
use super::{FORMAT_VERSION, MAX_SEGMENT};

const MAGIC: [u8; 8] = *b"CALLGATE";

/// What the first sector of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of the segment, counted from 1; also its file name.
    pub segment: u64,
    /// Index of the first receipt in the segment.
    pub first: u64,
    /// Identity of the log, chosen once by its owner.
    pub log_id: [u8; 32],
    /// Length of the segment in bytes.
    pub length: u64,
}

/// Why a header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file is too short for a header, or not a whole number of sectors, or over the limit.
    #[error("the segment is {0} bytes long, which no segment is")]
    Length(u64),
    /// The sector's checksum does not hold, or it does not stand where it was written.
    #[error("the header sector is damaged or belongs to another segment")]
    Damaged,
    /// The sector is valid but not a segment header.
    #[error("the file is not a segment: it does not begin with a segment header")]
    NotASegment,
    /// Written by another format version.
    #[error("the segment has format version {0}; this program reads version {FORMAT_VERSION}")]
    Version(u32),
}

impl SegmentHeader {
    /// The header as the first sector of its segment.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(SECTOR);
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        data.extend_from_slice(&self.segment.to_le_bytes());
        data.extend_from_slice(&self.first.to_le_bytes());
        data.extend_from_slice(&self.length.to_le_bytes());
        data.extend_from_slice(&self.log_id);
        let mut out = Vec::with_capacity(SECTOR);
        sector::append(&mut out, self.segment, 0, HEADER_PLACE, &data);
        out
    }

    /// Reads the header of segment number `segment`; `None` when the sector was never written.
    ///
    /// # Errors
    /// When the bytes are neither an unused nor a valid header of this segment.
    pub fn decode(segment: u64, bytes: &[u8]) -> Result<Option<Self>, HeaderError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (sectors, rest) = bytes.as_chunks::<SECTOR>();
        let first = sectors.first().filter(|_| rest.is_empty() && length <= MAX_SEGMENT);
        let first = first.ok_or(HeaderError::Length(length))?;
        match sector::read(segment, 0, first) {
            Sector::Zero => Ok(None),
            Sector::Damaged => Err(HeaderError::Damaged),
            Sector::Valid { place, .. } if place != HEADER_PLACE => Err(HeaderError::NotASegment),
            Sector::Valid { data, .. } => Self::parse(data).map(Some),
        }
    }

    fn parse(data: &[u8]) -> Result<Self, HeaderError> {
        let (magic, data) = data.split_first_chunk::<8>().ok_or(HeaderError::NotASegment)?;
        let (version, data) = data.split_first_chunk::<4>().ok_or(HeaderError::NotASegment)?;
        if *magic != MAGIC {
            return Err(HeaderError::NotASegment);
        }
        if u32::from_le_bytes(*version) != FORMAT_VERSION {
            return Err(HeaderError::Version(u32::from_le_bytes(*version)));
        }
        let (segment, data) = data.split_first_chunk::<8>().ok_or(HeaderError::NotASegment)?;
        let (first, data) = data.split_first_chunk::<8>().ok_or(HeaderError::NotASegment)?;
        let (length, data) = data.split_first_chunk::<8>().ok_or(HeaderError::NotASegment)?;
        let (log_id, _) = data.split_first_chunk::<32>().ok_or(HeaderError::NotASegment)?;
        Ok(Self {
            segment: u64::from_le_bytes(*segment),
            first: u64::from_le_bytes(*first),
            length: u64::from_le_bytes(*length),
            log_id: *log_id,
        })
    }
}
