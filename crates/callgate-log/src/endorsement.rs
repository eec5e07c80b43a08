//! A publisher's signature over a bundle: who wrote a policy, beside the gate's receipt of who staged it.
//!
//! The payload is an in-toto Statement v1 whose subject is the bundle's digest; the envelope is DSSE with
//! Ed25519, as for receipts, so the same tools make and check it.

use crate::dsse::{Envelope, EnvelopeError};
use crate::hash::Hash;
use crate::keys::{SigningKey, VerifyingKey};

/// The predicate type: the signer means this bundle to be published.
pub const PREDICATE_TYPE: &str = "urn:callgate:bundle:v1";

/// The one payload that endorses the bundle with this digest.
#[must_use]
pub fn payload(bundle: &Hash) -> Vec<u8> {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{}},"predicateType":"{PREDICATE_TYPE}","subject":[{{"digest":{{"sha256":"{bundle}"}},"name":"bundle"}}]}}"#
    )
    .into_bytes()
}

/// Signs the bundle with this digest; gives the DSSE envelope.
#[must_use]
pub fn sign(key: &SigningKey, bundle: &Hash) -> String {
    Envelope::sign(key, payload(bundle)).to_json()
}

/// Why a signature does not endorse a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// It is no envelope with a signature of this key.
    #[error("the signature {0}")]
    Envelope(#[from] EnvelopeError),
    /// It is over something else.
    #[error("the signature is over another bundle")]
    OtherBundle,
}

/// Checks that `envelope` endorses exactly the bundle with this digest.
///
/// # Errors
/// [`EndorsementError`].
pub fn verify(envelope: &[u8], key: &VerifyingKey, bundle: &Hash) -> Result<(), EndorsementError> {
    let envelope = Envelope::parse(envelope)?;
    let signed = envelope.verify(key)?;
    if signed == payload(bundle) { Ok(()) } else { Err(EndorsementError::OtherBundle) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    #[test]
    fn a_signature_endorses_one_bundle_under_one_key() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let bundle = sha256(b"bundle");
        let signed = sign(&key, &bundle);
        assert_eq!(verify(signed.as_bytes(), &key.verifying_key(), &bundle), Ok(()));
        assert!(verify(signed.as_bytes(), &other.verifying_key(), &bundle).is_err());
        let wrong = verify(signed.as_bytes(), &key.verifying_key(), &sha256(b"another"));
        assert_eq!(wrong, Err(EndorsementError::OtherBundle));
        assert!(verify(b"{}", &key.verifying_key(), &bundle).is_err());
        assert!(serde_json::from_slice::<serde_json::Value>(&payload(&bundle)).is_ok());
    }
}
