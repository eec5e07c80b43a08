//! Sealing what lies beside a receipt, under a key that can be erased.
//!
//! `version u8 = 1 | slot u64 LE | nonce 24 bytes | ciphertext and tag`, XChaCha20-Poly1305. The first 33 bytes are
//! authenticated together with what the caller binds. Nothing here makes a nonce: it comes in as data, and the caller
//! must never use one twice under the same key. 24 random bytes are enough for that.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Bytes before the ciphertext.
const HEADER: usize = 33;

/// A key from the keyring. Never shown, and wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What a sealed attachment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    /// The keyring slot whose key opens it.
    pub slot: u64,
    /// The nonce it was sealed with.
    pub nonce: [u8; 24],
}

impl SealedHeader {
    /// Reads the header of a sealed attachment; `None` when it is none, or of another version.
    #[must_use]
    pub fn read(sealed: &[u8]) -> Option<Self> {
        let (version, rest) = sealed.split_first()?;
        let (slot, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, _) = rest.split_first_chunk::<24>()?;
        (*version == VERSION).then_some(Self { slot: u64::from_le_bytes(*slot), nonce: *nonce })
    }

    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [VERSION; HEADER];
        let fields = self.slot.to_le_bytes().into_iter().chain(self.nonce);
        bytes.iter_mut().skip(1).zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }
}

/// Why an attachment cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too long for the cipher.
    #[error("the attachment is too long to be sealed")]
    TooLong,
    /// Too short, or of an unknown version.
    #[error("the attachment is not a sealed one, or was sealed by another version")]
    Format,
    /// Another key, other bound data, or changed bytes.
    #[error("the attachment does not open: it was changed, or its key or receipt is another one")]
    Refused,
}

/// Seals `plaintext` under the key of `slot`; `aad` is bound and not kept.
///
/// # Errors
/// [`SealError::TooLong`] over 256 GiB.
pub fn seal(
    key: &Key,
    slot: u64,
    nonce: [u8; 24],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let header = SealedHeader { slot, nonce }.encode();
    let aad = [&header, aad].concat();
    let payload = Payload { msg: plaintext, aad: &aad };
    let cipher = XChaCha20Poly1305::new((&*key.0).into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
    Ok([&header, sealed.as_slice()].concat())
}

/// Opens what [`seal`] made with the same key and `aad`.
///
/// # Errors
/// When it is not sealed, or not with these.
pub fn unseal(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let header = SealedHeader::read(sealed).ok_or(SealError::Format)?;
    let aad = [&header.encode(), aad].concat();
    let msg = sealed.get(HEADER..).ok_or(SealError::Format)?;
    let cipher = XChaCha20Poly1305::new((&*key.0).into());
    let opened = cipher.decrypt(&XNonce::from(header.nonce), Payload { msg, aad: &aad });
    opened.map(Zeroizing::new).map_err(|_| SealError::Refused)
}
