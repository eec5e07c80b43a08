//! The keyring and the seal: keys stay, erased keys stay erased, and damage is neither.

use std::sync::Arc;

use callgate_store::sim::{Faults, SimFs, SimRandom};
use callgate_store::{Key, Keyring, KeyringError, SealError, SealedHeader, seal, unseal};
use proptest::prelude::*;

fn open(fs: &SimFs) -> Result<Keyring, KeyringError> {
    Keyring::open(Arc::new(fs.clone()), Arc::new(SimRandom::new(fs.calls())))
}

#[test]
fn keys_survive_a_power_cut_and_differ() {
    let fs = SimFs::new(1);
    let ring = open(&fs).unwrap();
    ring.ensure(3000).unwrap();
    let keys: Vec<_> = (0..ring.slots()).map(|slot| ring.slot_key(slot).unwrap().unwrap()).collect();
    assert_eq!(keys.len(), 3072);
    assert!(keys.windows(2).all(|pair| matches!(pair, [a, b] if a != b)));
    fs.crash();
    let ring = open(&fs).unwrap();
    for (slot, key) in (0..).zip(&keys) {
        assert_eq!(ring.slot_key(slot).unwrap().as_ref(), Some(key));
    }
    assert!(matches!(ring.slot_key(3072), Err(KeyringError::NoSlot(3072))));
}

#[test]
fn an_erased_key_stays_erased_and_its_bytes_are_gone() {
    let fs = SimFs::new(2);
    let ring = open(&fs).unwrap();
    let before =
        fs.edit("keyring/00000001.keys", |bytes| bytes.get(512 + 5 * 64..512 + 6 * 64).map(<[u8]>::to_vec));
    let key = before.flatten().and_then(|slot| slot.get(4..36).map(<[u8]>::to_vec)).unwrap();
    ring.erase(5).unwrap();
    fs.crash();
    let ring = open(&fs).unwrap();
    assert_eq!(ring.slot_key(5).unwrap(), None);
    assert!(ring.slot_key(4).unwrap().is_some() && ring.slot_key(6).unwrap().is_some());
    let kept = fs.edit("keyring/00000001.keys", |bytes| bytes.windows(32).any(|window| window == key));
    assert_eq!(kept, Some(false));
}

#[test]
fn an_erasure_that_failed_is_not_reported_as_done() {
    let fs = SimFs::new(3);
    let ring = open(&fs).unwrap();
    let mut faults = Faults::default();
    faults.fail_sync_at = Some(fs.syncs().saturating_add(1));
    fs.set_faults(faults);
    assert!(matches!(ring.erase(5), Err(KeyringError::Io { operation: "sync", .. })));
    assert!(matches!(ring.erase(6), Err(KeyringError::Stopped)), "nothing is tried after a failed sync");
    fs.kill();
    let ring = open(&fs).unwrap();
    ring.erase(5).unwrap();
    fs.crash();
    assert_eq!(open(&fs).unwrap().slot_key(5).unwrap(), None);
}

#[test]
fn a_damaged_slot_is_neither_a_key_nor_erased() {
    for place in 0..64 {
        let fs = SimFs::new(4);
        let ring = open(&fs).unwrap();
        ring.erase(1).unwrap();
        fs.edit("keyring/00000001.keys", |bytes| {
            for slot in [0, 1] {
                bytes.get_mut(512 + slot * 64 + place).map(|byte| *byte ^= 4).unwrap();
            }
        });
        for slot in [0, 1] {
            assert!(
                matches!(ring.slot_key(slot), Err(KeyringError::Damaged { .. })),
                "slot {slot}, byte {place}"
            );
        }
        fs.edit("keyring/00000001.keys", |bytes| bytes.get_mut(512..640).unwrap().fill(0));
        assert!(matches!(ring.slot_key(0), Err(KeyringError::Damaged { .. })), "zeros are damage");
    }
}

#[test]
fn a_missing_or_foreign_file_is_refused() {
    let fs = SimFs::new(5);
    open(&fs).unwrap().ensure(1024).unwrap();
    fs.lose("keyring/00000001.keys");
    assert!(matches!(open(&fs), Err(KeyringError::File { .. })));
    let fs = SimFs::new(6);
    open(&fs).unwrap();
    fs.edit("keyring/00000001.keys", |bytes| bytes.truncate(9000));
    assert!(matches!(open(&fs), Err(KeyringError::File { .. })));
}

#[test]
fn a_power_cut_at_any_call_leaves_keys_that_were_ready() {
    for at in 1..60 {
        let fs = SimFs::new(at);
        let mut faults = Faults::default();
        faults.crash_at = Some(at);
        fs.set_faults(faults);
        let ready = open(&fs).ok().and_then(|ring| {
            let first = ring.slot_key(7).ok().flatten()?;
            let grown = ring.ensure(1500).is_ok();
            let second = if grown { ring.slot_key(1500).ok().flatten() } else { None };
            let erased = ring.erase(9).is_ok();
            Some((first, second, erased))
        });
        fs.crash();
        let ring = open(&fs).unwrap();
        let Some((first, second, erased)) = ready else { continue };
        assert_eq!(ring.slot_key(7).unwrap(), Some(first), "call {at}");
        if let Some(second) = second {
            assert_eq!(ring.slot_key(1500).unwrap(), Some(second), "call {at}");
        }
        if erased {
            assert_eq!(ring.slot_key(9).unwrap(), None, "call {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_binding_only(
        key in any::<[u8; 32]>(), slot in any::<u64>(), nonce in any::<[u8; 24]>(),
        aad in any::<Vec<u8>>(), text in any::<Vec<u8>>(), flip in any::<proptest::sample::Index>(),
    ) {
        let sealed = seal(&Key::new(key), slot, nonce, &aad, &text).unwrap();
        prop_assert_eq!(SealedHeader::read(&sealed), Some(SealedHeader { slot, nonce }));
        let opened = unseal(&Key::new(key), &aad, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), text.as_slice());
        let mut other = key;
        *other.first_mut().unwrap() ^= 1;
        prop_assert_eq!(unseal(&Key::new(other), &aad, &sealed), Err(SealError::Refused));
        let mut other = aad.clone();
        other.push(0);
        prop_assert_eq!(unseal(&Key::new(key), &other, &sealed), Err(SealError::Refused));
        let mut changed = sealed.clone();
        *changed.get_mut(flip.index(sealed.len())).unwrap() ^= 1;
        prop_assert!(unseal(&Key::new(key), &aad, &changed).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes in any::<Vec<u8>>()) {
        prop_assert!(unseal(&Key::new([1; 32]), b"", &bytes).is_err());
    }
}

#[test]
fn a_key_is_never_shown() {
    assert_eq!(format!("{:?}", Key::new([0x41; 32])), "Key(…)");
}
