//! Evidence: what Callgate writes about every decision, and how anyone checks it.
//!
//! A *receipt* is an in-toto statement ([`statement`]) signed in a DSSE envelope ([`dsse`]) and a leaf of an
//! RFC 6962 Merkle tree ([`merkle`]). A *checkpoint* ([`checkpoint`]) is a signed tree head. A *proof*
//! ([`proof`]) ties one receipt to one checkpoint. [`verify`] checks a whole log with nothing but a pinned
//! public key, [`export`] makes what `openssl`, `securesystemslib` and C2SP tools read.
//!
//! The normative pages are `docs/spec/receipt.md`, `docs/spec/log.md` and `docs/spec/segment.md`.
//!
//! This crate must never read a file, a clock or a random number, and must never depend on another crate of
//! this workspace: an auditor trusts what is here and nothing else. Bytes come in, bytes go out.

mod base64;
pub mod checkpoint;
pub mod dsse;
pub mod endorsement;
pub mod export;
pub mod hash;
pub mod json;
pub mod keys;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod segment;
pub mod statement;
pub mod tile;
pub mod verify;

pub use checkpoint::Checkpoint;
pub use hash::{Hash, salted, sha256};
pub use keys::{KeyId, Signature, SigningKey, VerifyingKey};
pub use merkle::Frontier;
pub use proof::TlogProof;
pub use statement::{Body, Statement};
pub use verify::{Event, LogVerifier, Report, VerifyError};
