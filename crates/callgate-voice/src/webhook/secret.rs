//! The secret that a receiver knows the gate by: `whsec_` and 24 to 64 bytes in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// The lengths that Standard Webhooks allows, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// The most secrets of one receiver: the old and the new one, and some to spare.
pub const MAX_SECRETS: usize = 4;

/// A secret; never printed, wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a text is no secret; never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not look like one.
    #[error(
        "a webhook's secret is `whsec_` and 24 to 64 random bytes in base64; make one with `echo whsec_$(openssl rand -base64 32)`"
    )]
    Form,
    /// There are none, or too many.
    #[error("write one secret for each line, 1 to {MAX_SECRETS} of them")]
    Number,
}

impl Secret {
    /// Reads the secrets of one receiver, one for each line.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_all(text: &str) -> Result<Vec<Self>, SecretError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets = lines.map(Self::read).collect::<Result<Vec<Self>, SecretError>>()?;
        if (1..=MAX_SECRETS).contains(&secrets.len()) { Ok(secrets) } else { Err(SecretError::Number) }
    }

    fn read(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Form)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Form)?);
        if LENGTHS.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError::Form) }
    }

    /// `v1,` and the base64 of the HMAC-SHA256 of `id.seconds.body`; `None` when an id holds a dot, which
    /// would make it the beginning of another message.
    pub(crate) fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> Option<String> {
        if id.contains('.') {
            return None;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reference implementation in Python signs it (`standardwebhooks` 1.1.0).
    #[test]
    fn a_signature_is_the_references() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(secret.sign("msg.1", "1", b""), None);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_quoted() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        let good = format!("whsec_{}", STANDARD.encode([7; 24]));
        for text in ["whsec_", "hunter2", "whsec_!!!!", &short, &long, &good.to_uppercase()] {
            let refused = Secret::read_all(text).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
        assert_eq!(Secret::read_all(" \n").unwrap_err(), SecretError::Number);
        assert_eq!(Secret::read_all(&format!("{good}\n\n {good}\n")).unwrap().len(), 2);
        assert_eq!(Secret::read_all(&format!("{good}\n").repeat(5)).unwrap_err(), SecretError::Number);
        assert_eq!(format!("{:?}", Secret::read(&good).unwrap()), "Secret(…)");
    }
}
