//! One receipt as a folder that other people's programs can check.
//!
//! `payload.json`, `receipt.dsse.json`, `receipt.tlog-proof`, `key.pub.pem`, `vkey.txt`, as bytes. What does not
//! verify is never exported. The keys in the folder are a convenience: a careful reader compares them with pinned
//! ones.

use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::dsse::{Envelope, EnvelopeError};
use crate::keys::{KeyError, Signature, VerifyingKey};
use crate::note::NoteVerifier;
use crate::proof::{TlogProof, TlogProofError};
use crate::statement::{ParseError, Statement};

/// The file name of the payload.
pub const PAYLOAD: &str = "payload.json";
/// The file name of the DSSE envelope.
pub const ENVELOPE: &str = "receipt.dsse.json";
/// The file name of the proof.
pub const PROOF: &str = "receipt.tlog-proof";
/// The file name of the public key of receipts.
pub const KEY: &str = "key.pub.pem";
/// The file name of the verifier key of checkpoints.
pub const VKEY: &str = "vkey.txt";

/// Why a receipt could not be exported, or an exported one does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The proof does not verify.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
    /// The payload is no receipt.
    #[error(transparent)]
    Payload(#[from] ParseError),
    /// The key could not be written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The receipt was issued for another log than the one that proves it.
    #[error("the receipt was issued for the log `{found}`, and the proof is of `{expected}`")]
    Origin {
        /// The origin in the receipt.
        found: String,
        /// The origin of the checkpoint.
        expected: String,
    },
}

/// An exported receipt: five files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: [(&'static str, Vec<u8>); 5],
}

impl Bundle {
    /// Makes the files of one receipt after verifying them.
    ///
    /// # Errors
    /// [`ExportError`] when anything does not fit together.
    pub fn new(
        payload: &[u8],
        signature: Signature,
        proof: &TlogProof,
        receipt_key: &VerifyingKey,
        log: &NoteVerifier,
    ) -> Result<Self, ExportError> {
        let envelope = Envelope::new(payload.to_vec(), receipt_key.key_id(), signature).to_json();
        let proof = proof.to_text();
        verify_receipt(envelope.as_bytes(), proof.as_bytes(), receipt_key, log)?;
        Ok(Self {
            files: [
                (PAYLOAD, payload.to_vec()),
                (ENVELOPE, envelope.into_bytes()),
                (PROOF, proof.into_bytes()),
                (KEY, receipt_key.to_spki_pem()?.into_bytes()),
                (VKEY, format!("{}\n", log.to_vkey()).into_bytes()),
            ],
        })
    }

    /// File names and contents.
    #[must_use]
    pub const fn files(&self) -> &[(&'static str, Vec<u8>); 5] {
        &self.files
    }
}

/// Verifies one receipt from its envelope and its proof under pinned keys.
///
/// # Errors
/// [`ExportError`].
pub fn verify_receipt(
    envelope: &[u8],
    proof: &[u8],
    receipt_key: &VerifyingKey,
    log: &NoteVerifier,
) -> Result<(Statement, Checkpoint), ExportError> {
    let envelope = Envelope::parse(envelope)?;
    let payload = envelope.verify(receipt_key)?;
    let statement = Statement::parse(payload)?;
    let checkpoint = TlogProof::parse(proof)?.verify(payload, log.key(), Some(log.name()))?;
    let found = &statement.gate().origin;
    if *found != checkpoint.origin {
        return Err(ExportError::Origin { found: found.clone(), expected: checkpoint.origin });
    }
    Ok((statement, checkpoint))
}
