//! Content nobody's disk writes: every sector is valid and the frames in them lie.

use proptest::prelude::*;

use super::super::sector::{self, SECTOR_DATA};
use super::super::{GroupBuilder, Receipt};
use super::{Damage, SegmentReader, Step};

/// One group of this content, with checksums that hold.
fn group(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let last = content.len().div_ceil(SECTOR_DATA).saturating_sub(1);
    for (ordinal, data) in (0_u32..).zip(content.chunks(SECTOR_DATA)) {
        let position = u64::from(ordinal).saturating_add(1);
        sector::append(
            &mut bytes,
            3,
            position,
            sector::place(ordinal, Ok(ordinal) == u32::try_from(last)),
            data,
        );
    }
    bytes
}

/// The content of a group as it is written.
fn honest(payload: &[u8]) -> Vec<u8> {
    let mut builder = GroupBuilder::default();
    builder.start(3, 1, 0);
    let receipt = Receipt { payload, signature: &[1; 64], delta: b"delta", attachment: b"attachment" };
    builder.push(&receipt).unwrap();
    let sectors = builder.finish(b"note").unwrap().to_vec();
    sectors.as_chunks::<512>().0.iter().flat_map(|s| s.iter().take(SECTOR_DATA).copied()).collect()
}

#[test]
fn honest_content_is_a_group() {
    let bytes = group(&honest(&[5; 700]));
    assert!(matches!(SegmentReader::new(3, &bytes).step(), Step::Group(g) if g.receipts.len() == 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_content_is_damage(content in proptest::collection::vec(any::<u8>(), 1..2000)) {
        let bytes = group(&content);
        let is_damage = matches!(SegmentReader::new(3, &bytes).step(), Step::Corrupt(c) if matches!(c.damage, Damage::Group(_)));
        prop_assert!(is_damage);
    }

    #[test]
    fn changed_content_is_damage(
        payload in proptest::collection::vec(any::<u8>(), 0..900),
        at in any::<proptest::sample::Index>(),
        mask in 1_u8..,
    ) {
        let mut content = honest(&payload);
        let place = at.index(content.len());
        content.get_mut(place).map(|byte| *byte ^= mask).unwrap();
        let bytes = group(&content);
        let is_damage = matches!(SegmentReader::new(3, &bytes).step(), Step::Corrupt(c) if matches!(c.damage, Damage::Group(_)));
        prop_assert!(is_damage, "byte {place}");
    }
}
