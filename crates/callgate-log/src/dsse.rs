//! DSSE v1: the bytes that are signed, and the JSON envelope around a payload.
//!
//! The key id in an envelope is a hint anyone can write. It chooses among pinned keys and proves nothing; this
//! file must never look a key up inside the evidence.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base64;
use crate::keys::{BadSignature, KeyId, Signature, SigningKey, VerifyingKey};

/// The payload type of every receipt.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The largest envelope that is read, in bytes.
pub const MAX_ENVELOPE: usize = 128 * 1024;
/// The most signatures an envelope may carry.
pub const MAX_SIGNATURES: usize = 16;

/// The pre-authentication encoding: what a signature covers.
///
/// `DSSEv1 28 application/vnd.in-toto+json LEN PAYLOAD`, separated by single spaces, lengths in decimal bytes.
#[must_use]
pub fn pae(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a payload.
#[must_use]
pub fn sign(key: &SigningKey, payload: &[u8]) -> Signature {
    key.sign(&pae(payload))
}

/// Verifies one signature over a payload.
///
/// # Errors
/// [`BadSignature`] when it is not by this key over this payload.
pub fn verify(key: &VerifyingKey, payload: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    key.verify(&pae(payload), signature)
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// The name of the key, as the envelope claims.
    pub key_id: KeyId,
    /// The raw signature.
    pub signature: Signature,
}

/// A payload with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<EnvelopeSignature>,
}

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Larger than [`MAX_ENVELOPE`].
    #[error("the envelope has {0} bytes, more than the {MAX_ENVELOPE} that are read")]
    TooLarge(usize),
    /// Not the JSON shape of DSSE v1.
    #[error("this is not a DSSE envelope: {0}")]
    Shape(String),
    /// Another payload type.
    #[error("the envelope holds `{0}`; expect `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// Payload or signature is not strict base64.
    #[error("the `{0}` of the envelope is not standard base64 with padding")]
    Base64(&'static str),
    /// A key id is not 64 hexadecimal digits.
    #[error("the key id `{0}` is not 64 lower-case hexadecimal digits")]
    KeyId(String),
    /// No or too many signatures.
    #[error("the envelope carries {0} signatures; expect 1 to {MAX_SIGNATURES}")]
    Count(usize),
    /// No signature claims the pinned key.
    #[error("nobody signed this envelope with the pinned key `{0}`; it may come from another gate")]
    OtherKey(KeyId),
    /// A signature that claims the pinned key does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Wraps a payload and a signature made elsewhere, without verifying it.
    #[must_use]
    pub fn new(payload: Vec<u8>, key_id: KeyId, signature: Signature) -> Self {
        Self { payload, signatures: vec![EnvelopeSignature { key_id, signature }] }
    }

    /// Signs a payload and wraps it.
    #[must_use]
    pub fn sign(key: &SigningKey, payload: Vec<u8>) -> Self {
        let signature = sign(key, &payload);
        Self::new(payload, key.key_id(), signature)
    }

    /// The payload, **not yet verified**; prefer what [`Envelope::verify`] returns.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures.
    #[must_use]
    pub fn signatures(&self) -> &[EnvelopeSignature] {
        &self.signatures
    }

    /// The envelope as one line of JSON with sorted keys and no final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Every piece is base64 or hexadecimal, so nothing needs escaping.
        let signatures: Vec<String> = self
            .signatures
            .iter()
            .map(|one| format!(r#"{{"keyid":"{}","sig":"{}"}}"#, one.key_id, base64::encode(&one.signature)))
            .collect();
        format!(
            r#"{{"payload":"{}","payloadType":"{PAYLOAD_TYPE}","signatures":[{}]}}"#,
            base64::encode(&self.payload),
            signatures.join(",")
        )
    }

    /// Reads an envelope. Nothing is verified yet.
    ///
    /// # Errors
    /// [`EnvelopeError`] for every other shape, size or spelling.
    pub fn parse(json: &[u8]) -> Result<Self, EnvelopeError> {
        if json.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge(json.len()));
        }
        let wire: Wire = serde_json::from_slice(json).map_err(|e| EnvelopeError::Shape(e.to_string()))?;
        if wire.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(wire.payload_type));
        }
        if wire.signatures.is_empty() || wire.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::Count(wire.signatures.len()));
        }
        let payload = base64::decode(&wire.payload).ok_or(EnvelopeError::Base64("payload"))?;
        let signatures = wire.signatures.iter().map(parse_signature).collect::<Result<_, _>>()?;
        Ok(Self { payload, signatures })
    }

    /// Verifies the envelope under a pinned key and hands out the payload.
    ///
    /// Signatures by other keys are ignored; every one that claims the pinned key must verify.
    ///
    /// # Errors
    /// [`EnvelopeError::OtherKey`] and [`EnvelopeError::Signature`].
    pub fn verify(&self, pinned: &VerifyingKey) -> Result<&[u8], EnvelopeError> {
        let mut found = false;
        for one in self.signatures.iter().filter(|one| one.key_id == pinned.key_id()) {
            verify(pinned, &self.payload, &one.signature)?;
            found = true;
        }
        if found { Ok(&self.payload) } else { Err(EnvelopeError::OtherKey(pinned.key_id())) }
    }
}

fn parse_signature(wire: &WireSignature) -> Result<EnvelopeSignature, EnvelopeError> {
    let key_id = KeyId::from_hex(&wire.keyid)
        .ok_or_else(|| EnvelopeError::KeyId(wire.keyid.chars().take(80).collect()))?;
    let signature = base64::decode_array(&wire.sig).ok_or(EnvelopeError::Base64("sig"))?;
    Ok(EnvelopeSignature { key_id, signature })
}
