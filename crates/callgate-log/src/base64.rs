//! Standard base64 with padding (RFC 4648 section 4), read strictly: one text for one byte string.
//!
//! It must never accept missing padding, other alphabets or stray trailing bits, because two spellings of one
//! signature would be two files that both verify.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

/// Encodes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes text, or `None` when it is not the one spelling of some bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes text that must hold exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}
