//! Ed25519 keys (RFC 8032), their PEM forms and their name.
//!
//! Secrets are wiped on drop and never printed. Signatures are verified strictly: no malleable encodings, no
//! small-order keys. No key is made here, because making one needs randomness: the seed comes in as data.

use std::fmt;

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::hash::{Hash, salted, sha256_of};

/// A raw Ed25519 signature.
pub type Signature = [u8; 64];

/// The DER of a SubjectPublicKeyInfo for Ed25519 is this prefix and the 32 key bytes (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no PKCS#8 Ed25519 secret key.
    #[error(
        "this is not an Ed25519 secret key in PEM; expect a file that starts with `-----BEGIN PRIVATE KEY-----`"
    )]
    Secret,
    /// The text is no SPKI Ed25519 public key.
    #[error(
        "this is not an Ed25519 public key in PEM; expect a file that starts with `-----BEGIN PUBLIC KEY-----`"
    )]
    Public,
    /// The key has small order, so anything would verify under it.
    #[error("this public key is weak: signatures under it prove nothing; make a new key")]
    Weak,
    /// Encoding failed.
    #[error("the key could not be written as PEM")]
    Encode,
}

/// The signature does not verify under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not by the pinned key, or the signed bytes were changed")]
pub struct BadSignature;

/// The name of a public key: SHA-256 of its SubjectPublicKeyInfo in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Hash);

impl KeyId {
    /// The digest.
    #[must_use]
    pub const fn as_hash(&self) -> &Hash {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Hash::from_hex(text).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A secret key that signs receipts or checkpoints.
#[derive(Clone)]
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
    id: KeyId,
}

impl SigningKey {
    /// Makes the key from its 32-byte seed, which must come from a good source of randomness.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = key_id(&inner.verifying_key());
        Self { inner, id }
    }

    /// Reads a PKCS#8 PEM, with or without the public half.
    ///
    /// # Errors
    /// [`KeyError::Secret`] when the text is something else or its halves do not belong together.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        let inner = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Secret)?;
        let id = key_id(&inner.verifying_key());
        Ok(Self { inner, id })
    }

    /// Writes a PKCS#8 PEM without the public half, which is the form OpenSSL 3.0 reads.
    ///
    /// # Errors
    /// [`KeyError::Encode`] when the encoder refuses, which it has no reason to.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let pair = KeypairBytes { secret_key: self.inner.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encode)
    }

    /// A secret for another purpose: the same for the same key, and no way back to the key.
    #[must_use]
    pub fn derive(&self, domain: &str) -> Hash {
        let seed = Zeroizing::new(self.inner.to_bytes());
        salted(&seed, domain, &[])
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { inner: self.inner.verifying_key(), id: self.id }
    }

    /// The name of the public half.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.id
    }

    /// Signs a message. The same message always gives the same signature (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A public key that was checked not to be weak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey {
    inner: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl VerifyingKey {
    /// Reads the 32-byte encoding of RFC 8032.
    ///
    /// # Errors
    /// [`KeyError::Public`] when the bytes are no curve point, [`KeyError::Weak`] when the point has small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Public).and_then(Self::checked)
    }

    /// Reads an SPKI PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// As for [`VerifyingKey::from_bytes`].
    pub fn from_spki_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_public_key_pem(pem)
            .map_err(|_| KeyError::Public)
            .and_then(Self::checked)
    }

    /// Writes an SPKI PEM.
    ///
    /// # Errors
    /// [`KeyError::Encode`] when the encoder refuses, which it has no reason to.
    pub fn to_spki_pem(&self) -> Result<String, KeyError> {
        self.inner.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Encode)
    }

    /// The 32-byte encoding of RFC 8032.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.inner.to_bytes()
    }

    /// The name of this key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.id
    }

    /// Verifies a signature strictly.
    ///
    /// # Errors
    /// [`BadSignature`] when it is not by this key over this message.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.inner.verify_strict(message, &signature).map_err(|_| BadSignature)
    }

    fn checked(inner: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        if inner.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { id: key_id(&inner), inner })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.id).finish()
    }
}

fn key_id(key: &ed25519_dalek::VerifyingKey) -> KeyId {
    KeyId(sha256_of(&[&SPKI_PREFIX, key.as_bytes()]))
}
