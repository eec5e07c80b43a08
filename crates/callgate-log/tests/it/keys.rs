//! Keys: published vectors, PEM round trips, and what is refused.

use callgate_log::keys::KeyError;
use callgate_log::{SigningKey, VerifyingKey};

/// The example keys of RFC 8410 section 10.
const SECRET: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[test]
fn pem_follows_rfc_8410() {
    let secret = SigningKey::from_pkcs8_pem(SECRET).unwrap();
    let public = VerifyingKey::from_spki_pem(PUBLIC).unwrap();
    assert_eq!(secret.verifying_key(), public);
    assert_eq!(*secret.to_pkcs8_pem().unwrap(), SECRET);
    assert_eq!(public.to_spki_pem().unwrap(), PUBLIC);
}

#[test]
fn keyid_is_sha256_of_spki() {
    // openssl pkey -pubin -in key.pem -outform DER | sha256sum
    let public = VerifyingKey::from_spki_pem(PUBLIC).unwrap();
    assert_eq!(
        public.key_id().to_string(),
        "a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f"
    );
}

#[test]
fn signature_follows_rfc_8032() {
    // RFC 8032 section 7.1, test 2.
    let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let key = SigningKey::from_seed(&seed.try_into().unwrap());
    let expected = hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(key.sign(&[0x72]).to_vec(), expected);
}

#[test]
fn signature_must_be_strict() {
    let key = SigningKey::from_seed(&[1; 32]);
    let mut signature = key.sign(b"message");
    assert!(key.verifying_key().verify(b"message", &signature).is_ok());
    // Adding the group order to the scalar gives a second signature that lax verifiers accept.
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, addend) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(addend) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert!(key.verifying_key().verify(b"message", &signature).is_err());
}

#[test]
fn signature_with_a_point_of_small_order_is_refused() {
    // Made with the secret key and the identity as the random point; the plain equation of RFC 8032 holds for it.
    let key = SigningKey::from_seed(&[1; 32]);
    let signature = hex(
        "010000000000000000000000000000000000000000000000000000000000000095c0fdcc54fccad1f2b8bc9b96aa6837c82f86349e6576ad29ca3ece7b7ea905",
    );
    assert!(key.verifying_key().verify(b"message", &signature.try_into().unwrap()).is_err());
}

#[test]
fn weak_public_key_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(VerifyingKey::from_bytes(&identity), Err(KeyError::Weak));
}

#[test]
fn secrets_are_not_printed() {
    let key = SigningKey::from_seed(&[0xab; 32]);
    let text = format!("{key:?} {:?}", key.verifying_key());
    assert!(!text.contains("abab") && !text.contains("171, 171"), "{text}");
    assert!(text.contains(&key.key_id().to_string()));
}

#[test]
fn other_pem_is_refused() {
    assert_eq!(SigningKey::from_pkcs8_pem(PUBLIC).err(), Some(KeyError::Secret));
    assert_eq!(VerifyingKey::from_spki_pem(SECRET).err(), Some(KeyError::Public));
    assert_eq!(VerifyingKey::from_spki_pem("").err(), Some(KeyError::Public));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
