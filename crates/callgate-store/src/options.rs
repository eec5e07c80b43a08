//! Settings of a store. Everything has a limit.

use std::time::Duration;

use callgate_log::segment::{MAX_RECEIPT, MAX_SEGMENT, SECTOR};

use crate::error::OpenError;

/// Settings of a [`crate::SegmentStore`]. Change fields after [`Options::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Identity of the log; segments of another one are refused.
    pub log_id: [u8; 32],
    /// Length of a segment in bytes, a multiple of 512; 16 MiB. A log keeps the length it was started with per
    /// segment, so this may change between runs.
    pub segment_bytes: u64,
    /// Longest entry in bytes, payload, delta and attachment together; 1 MiB.
    pub max_entry: usize,
    /// Most entries waiting; beyond it a commit is `Busy`. 8,192.
    pub queue: usize,
    /// Most entries in one group. 4,096.
    pub max_group: usize,
    /// When no next segment can be prepared, commits stop once less than this is left in the current one. 64 KiB.
    pub reserve_bytes: u64,
    /// How often the housekeeper writes the latest checkpoint to its own file, and retries a segment that could not be
    /// prepared. 1 s.
    pub housekeeping: Duration,
    /// The state is saved beside the log after about so many receipts, so that a start folds no more than those; 0
    /// saves none. 100,000.
    pub save_every: u64,
    /// Cut a damaged tail even though it may hold an acknowledged receipt. Only for an operator who read the error
    /// and decided so, for one start. Never reaches below a checkpoint kept outside the log.
    pub discard_damaged_tail: bool,
    /// A deliberate fault; `None` is the real store.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

/// Faults that the simulation must find.
#[cfg(feature = "mutants")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A group is acknowledged without any sync.
    SkipGroupSync,
    /// A group is acknowledged, then synced.
    AckBeforeSync,
    /// A new segment gets its name before its zeros are synced.
    SkipSegmentSync,
    /// A new segment is used before its name is synced.
    SkipDirSync,
    /// A failed sync is tried again.
    RetryAfterFailedSync,
    /// A failed write or sync fails one group only.
    ForgetFailure,
    /// A torn tail stays on disk.
    NoTailZeroing,
    /// A torn tail is zeroed, and the zeros are not synced before new receipts follow.
    SkipTailSync,
    /// The last group is taken as found, though it may be in memory only.
    SkipSettle,
    /// The durable mark is written before the sync it reports.
    HeadBeforeSync,
    /// The checkpoint file gets its name before its bytes are synced.
    SkipCheckpointSync,
    /// A damaged tail is cut as if it were torn.
    CutDamage,
    /// An entry is applied although what it consulted has changed.
    SkipCheck,
    /// A saved state is used whatever its bytes are.
    TrustSaved,
}

impl Options {
    /// The defaults, for the log with this identity.
    #[must_use]
    pub const fn new(log_id: [u8; 32]) -> Self {
        Self {
            log_id,
            segment_bytes: 16 << 20,
            max_entry: MAX_RECEIPT,
            queue: 8192,
            max_group: 4096,
            reserve_bytes: 64 << 10,
            housekeeping: Duration::from_secs(1),
            save_every: 100_000,
            discard_damaged_tail: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Holds the settings against each other.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let sector = u64::try_from(SECTOR).unwrap_or(u64::MAX);
        let whole = self.segment_bytes.checked_rem(sector) == Some(0);
        if !whole || self.segment_bytes > MAX_SEGMENT {
            return Err(OpenError::Options("the segment length must be a multiple of 512 and at most 1 GiB"));
        }
        let entry = u64::try_from(self.max_entry).unwrap_or(u64::MAX);
        if self.max_entry > MAX_RECEIPT || entry.saturating_mul(2) > self.segment_bytes {
            return Err(OpenError::Options(
                "the largest entry must be at most 1 MiB and at most half a segment long",
            ));
        }
        if self.queue == 0 || self.max_group == 0 || self.reserve_bytes >= self.segment_bytes {
            return Err(OpenError::Options(
                "queue and group must hold at least one entry, and the reserve must be less than a segment",
            ));
        }
        Ok(())
    }
}
