//! SHA-256 digests and the salted commitment that hides request content.
//!
//! A plain digest of low-entropy content (a refund amount, a yes or no) can be found by guessing. Whatever
//! in a payload depends on a request's content therefore goes through [`salted`], never through [`sha256`].

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: 32 bytes, shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Wraps 32 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes, by value.
    #[must_use]
    pub const fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Reads 64 lower-case hexadecimal digits; anything else is `None`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.hex_digits().iter().map(|digit| char::from(*digit)).collect()
    }

    /// Reads the standard base64 of 32 bytes, as checkpoints and proofs carry hashes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        crate::base64::decode_array(text).map(Self)
    }

    /// The standard base64 of the 32 bytes.
    #[must_use]
    pub fn to_base64(self) -> String {
        crate::base64::encode(&self.0)
    }

    fn hex_digits(self) -> [u8; 64] {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        digits
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0'.wrapping_add(nibble) } else { b'a'.wrapping_add(nibble.wrapping_sub(10)) }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex_digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.hex_digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("a digest must be 64 lower-case hexadecimal digits"))
    }
}

/// SHA-256 of bytes that are public anyway (payloads, deltas, keys).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// SHA-256 over several pieces, as if they were joined.
pub(crate) fn sha256_of(pieces: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    Hash(hasher.finalize().into())
}

/// What a salted digest is about, so that one digest never stands for another.
pub mod domain {
    /// What runs, with which arguments, as canonical JSON: the action digest in `subject`.
    pub const ACTION: &str = "callgate/action/v1";
    /// The canonical arguments: `action.args_commitment`.
    pub const ARGS: &str = "callgate/args/v1";
    /// The whole canonical request: `request_commitment`.
    pub const REQUEST: &str = "callgate/request/v1";
    /// The facts the decision consulted: `facts_commitment`.
    pub const FACTS: &str = "callgate/facts/v1";
    /// The SHA-256 of what a judge was shown: `question_commitment` of a finding.
    pub const QUESTION: &str = "callgate/question/v1";
    /// Nothing: under the signing key's seed, the secret in the keys of a gate's history.
    pub const HISTORY: &str = "callgate/history/v1";
    /// The SHA-256 of a saved state, which the log's key signs so that a start can rely on it.
    pub const STATE: &str = "callgate/state/v1";
    /// What a person said about an approval: `comment_commitment` in the details of an admin receipt.
    pub const COMMENT: &str = "callgate/comment/v1";
    /// The SHA-256 of what the action returned: `result_commitment`.
    pub const RESULT: &str = "callgate/result/v1";
}

/// Commits to `bytes` without revealing them to anyone who lacks the salt.
///
/// `HMAC-SHA256(key = salt, message = u64_be(len(domain)) ‖ domain ‖ bytes)`; the length makes the split
/// between domain and bytes unambiguous. The salt is 32 random bytes, one per decision, kept encrypted beside the
/// payload; with the salt gone the digest says nothing about the bytes.
#[must_use]
pub fn salted(salt: &[u8; 32], domain: &str, bytes: &[u8]) -> Hash {
    // HMAC pads a short key with zeros to the block size, so handing it the padded block changes nothing
    // and cannot fail.
    let mut block = [0_u8; 64];
    for (slot, byte) in block.iter_mut().zip(salt) {
        *slot = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    let length = u64::try_from(domain.len()).unwrap_or(u64::MAX);
    mac.update(&length.to_be_bytes());
    mac.update(domain.as_bytes());
    mac.update(bytes);
    Hash(mac.finalize().into_bytes().into())
}
