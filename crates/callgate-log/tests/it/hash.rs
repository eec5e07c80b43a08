//! Digests and salted commitments.

use callgate_log::{Hash, salted, sha256};
use proptest::prelude::*;

#[test]
fn salted_digest_follows_the_page() {
    // Made with Python's hmac: hmac.new(bytes(range(32)), struct.pack(">Q", 16) + b"callgate/args/v1" + b"{}", "sha256").
    let salt: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let expected = "3da4f5f84423ac89dd2810a8defa99cc58e8127ee07f1533d558d3042452810b";
    assert_eq!(salted(&salt, "callgate/args/v1", b"{}").to_hex(), expected);
}

#[test]
fn hex_and_base64_have_one_spelling() {
    let hash = sha256(b"");
    assert_eq!(hash.to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
    assert_eq!(Hash::from_hex(&hash.to_hex().to_uppercase()), None);
    assert_eq!(Hash::from_hex("e3"), None);
    assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
    assert_eq!(Hash::from_base64(hash.to_base64().trim_end_matches('=')), None);
    // The last digit carries two bits that no byte uses; only zero bits are accepted there.
    assert_eq!(Hash::from_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="), None);
}

proptest! {
    #[test]
    fn salted_digest_depends_on_salt_domain_and_bytes(
        salt in any::<[u8; 32]>(), other in any::<[u8; 32]>(), domain in "[a-z/]{0,20}", bytes in any::<Vec<u8>>(), cut in 0_usize..20,
    ) {
        let digest = salted(&salt, &domain, &bytes);
        prop_assert_eq!(digest, salted(&salt, &domain, &bytes));
        if salt != other {
            prop_assert_ne!(digest, salted(&other, &domain, &bytes));
        }
        // Moving the border between domain and bytes gives another digest.
        if cut < domain.len() {
            let moved = [&domain.as_bytes()[cut..], &bytes].concat();
            prop_assert_ne!(digest, salted(&salt, &domain[..cut], &moved));
        }
    }
}
