//! The durable store: a log of receipts on disk, and the state folded from it.
//!
//! One thread writes. It takes every entry that waits, checks and applies each, closes the group with a signed
//! checkpoint, writes it with one write and one sync, and only then answers. A failed write or sync stops the store
//! for good. Opening replays the log and refuses to start on anything a crash does not explain;
//! `docs/spec/segment.md` says what that is.
//!
//! This crate must never know policy, receipts' contents, HTTP or MCP. Files are reached through [`Fs`] only.

mod engine;
mod error;
mod fold;
mod fs;
mod housekeeper;
pub mod journal;
mod keyring;
mod layout;
mod options;
mod random;
mod read;
mod read_only;
mod reader;
mod real;
mod recover;
mod saved;
mod seal;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod tree;
mod witness;

pub use error::{CommitError, KeyringError, OpenError, ReadError, StoreFailure};
pub use fold::{CheckpointSigner, Durable, Entry, Fold, FoldError, ReceiptView, StoredReceipt};
pub use fs::{File, Fs, Lock, LockError};
pub use keyring::Keyring;
#[cfg(feature = "mutants")]
pub use options::Mutant;
pub use options::Options;
pub use random::{OsRandom, Random};
pub use read::Scan;
pub use read_only::ReadOnlyFs;
pub use reader::LogReader;
pub use real::RealFs;
pub use recover::Recovery;
pub use seal::{Key, SealError, SealedHeader, seal, unseal};
pub use store::{Commit, Saved, SegmentStore};
