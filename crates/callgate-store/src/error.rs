//! What can go wrong, one type per operation. Every message says what it means and what to do.

use std::io;
use std::sync::Arc;

use callgate_log::segment::{Corruption, EncodeError, HeaderError};

use crate::fold::FoldError;

/// Why an entry was not committed. Nothing of it is in the log, except after [`CommitError::Failed`], where it may be.
#[derive(Debug, thiserror::Error)]
pub enum CommitError<C> {
    /// The state the decision consulted has changed.
    #[error("the state this decision consulted has changed; decide again")]
    Conflict(C),
    /// Too many entries are waiting.
    #[error("too many entries are waiting to be written; try again shortly")]
    Busy,
    /// No further segment can be made, nearly always for want of space.
    #[error(
        "the log cannot grow: no further segment can be made; free space in the data folder's file system"
    )]
    Full,
    /// The entry is over a limit.
    #[error(transparent)]
    TooLarge(#[from] EncodeError),
    /// The store has failed and stays failed.
    #[error("{0}")]
    Failed(Arc<StoreFailure>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The failure that stopped a store for good.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store has stopped: could not {operation} `{file}`: {reason}; nothing more is accepted; check the disk, then restart"
)]
pub struct StoreFailure {
    /// What was attempted, as a verb.
    pub operation: &'static str,
    /// The file, relative to the data folder.
    pub file: String,
    /// What the system or the program reported.
    pub reason: String,
}

/// Why a receipt cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("could not read `{file}`: {source}")]
    Io {
        /// The file, relative to the data folder.
        file: String,
        /// What the system reported.
        source: io::Error,
    },
    /// The bytes on disk are no longer what was written.
    #[error("`{file}` is damaged at byte {offset}: {what}; restore the data folder from a copy")]
    Damaged {
        /// The file, relative to the data folder.
        file: String,
        /// Byte offset of the damage.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// The system refused.
    #[error("could not {operation} `{file}`: {source}")]
    Io {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file, relative to the data folder.
        file: String,
        /// What the system reported.
        source: io::Error,
    },
    /// Another program owns the data folder.
    #[error("the data folder is in use by {}; stop it, or use another data folder", owner(*.0))]
    Locked(Option<u32>),
    /// A segment's header cannot be read.
    #[error("`{file}` cannot be read: {source}; restore it from a copy")]
    Header {
        /// The file, relative to the data folder.
        file: String,
        /// What is wrong.
        source: HeaderError,
    },
    /// Acknowledged receipts are damaged.
    #[error(
        "`{file}` is damaged {source}; acknowledged receipts are affected: restore the data folder from a copy"
    )]
    Damaged {
        /// The file, relative to the data folder.
        file: String,
        /// Where and what.
        source: Corruption,
    },
    /// The very end of the log is damaged in a way no crash explains.
    #[error(
        "`{file}` is damaged {source}; it may hold the last acknowledged receipts: restore the data folder from a copy, or start once with the damaged tail discarded"
    )]
    DamagedTail {
        /// The file, relative to the data folder.
        file: String,
        /// Where and what.
        source: Corruption,
    },
    /// A segment does not follow from the ones before it.
    #[error("`{file}` does not fit the log: {what}; restore the data folder from a copy")]
    Order {
        /// The file, relative to the data folder.
        file: String,
        /// What does not fit.
        what: String,
    },
    /// A group's checkpoint is not this log's, or not for these receipts.
    #[error(
        "`{file}`: the checkpoint of the group at byte {offset} {what}; restore the data folder from a copy"
    )]
    Checkpoint {
        /// The file, relative to the data folder.
        file: String,
        /// Byte offset of the group.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A delta does not decode.
    #[error("the state change of receipt {index} cannot be read: {source}; use the version that wrote it")]
    Delta {
        /// Index of the receipt.
        index: u64,
        /// What is wrong with it.
        source: FoldError,
    },
    /// A delta is not the one its receipt names.
    #[error(
        "the state change of receipt {0} is not the one that the receipt names: it was exchanged; restore the data folder from a copy"
    )]
    Exchanged(u64),
    /// The log lacks receipts that were once durable.
    #[error(
        "`{witness}` attests {held} receipts, the log has {found}: its end is missing, or it was restored from an older copy; restore the newest copy"
    )]
    Shorter {
        /// The file that remembers more.
        witness: &'static str,
        /// Receipts it attests.
        held: u64,
        /// Receipts the log has.
        found: u64,
    },
    /// The log has other receipts than were once durable.
    #[error(
        "`{witness}` attests another history at {held} receipts than the log has: one of them was exchanged; restore both from the same copy"
    )]
    Rewritten {
        /// The file that remembers otherwise.
        witness: &'static str,
        /// Receipts it attests.
        held: u64,
    },
    /// The checkpoint file is not a checkpoint of this log.
    #[error("`checkpoint` is not a checkpoint signed by this log's key; restore it from a copy")]
    CheckpointFile,
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}"))
}

/// Why the keyring refuses.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The system refused.
    #[error("could not {operation} `{file}`: {source}")]
    Io {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file, relative to the data folder.
        file: String,
        /// What the system reported.
        source: io::Error,
    },
    /// No randomness to make keys from.
    #[error("the system gave no random bytes: {0}")]
    Random(io::Error),
    /// A slot holds neither a key nor the mark of an erased one.
    #[error("slot {slot} of the keyring is damaged: its key is lost unless `{file}` is restored from a copy")]
    Damaged {
        /// The slot.
        slot: u64,
        /// The file, relative to the data folder.
        file: String,
    },
    /// A file of the keyring is missing or is none of its files.
    #[error("`{file}` is missing or not a keyring file; restore it from a copy")]
    File {
        /// The file, relative to the data folder.
        file: String,
    },
    /// The slot was never made.
    #[error("slot {0} of the keyring does not exist")]
    NoSlot(u64),
    /// An earlier write or sync failed.
    #[error("the keyring has stopped after a failed write; check the disk, then restart")]
    Stopped,
}
