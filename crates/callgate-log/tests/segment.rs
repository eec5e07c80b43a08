//! The segment codec: what was written is read, a torn write is cut, and everything else is called damage.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use callgate_log::segment::{
    Damage, EncodeError, GroupBuilder, HeaderError, MAX_NOTE, MAX_PAYLOAD, MAX_RECEIPT, Receipt, SECTOR,
    SegmentHeader, SegmentReader, Step,
};
use proptest::prelude::*;

const LENGTH: usize = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    payload: Vec<u8>,
    signature: [u8; 64],
    delta: Vec<u8>,
    attachment: Vec<u8>,
}

impl Parts {
    fn receipt(&self) -> Receipt<'_> {
        let Self { payload, signature, delta, attachment } = self;
        Receipt { payload, signature, delta, attachment }
    }

    fn of(receipt: &Receipt<'_>) -> Self {
        Self {
            payload: receipt.payload.to_vec(),
            signature: *receipt.signature,
            delta: receipt.delta.to_vec(),
            attachment: receipt.attachment.to_vec(),
        }
    }
}

type Written = Vec<(Vec<Parts>, Vec<u8>)>;

fn header() -> SegmentHeader {
    SegmentHeader { segment: 3, first: 40, log_id: [9; 32], length: LENGTH as u64 }
}

/// A segment of these groups, and where each begins and the last ends.
fn segment(groups: &Written) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header().encode();
    let (mut offsets, mut first, mut builder) = (vec![bytes.len()], 40, GroupBuilder::default());
    for (receipts, note) in groups {
        builder.start(3, (bytes.len() / SECTOR) as u64, first);
        for parts in receipts {
            builder.push(&parts.receipt()).unwrap();
        }
        bytes.extend_from_slice(builder.finish(note).unwrap());
        offsets.push(bytes.len());
        first += receipts.len() as u64;
    }
    bytes.resize(LENGTH.max(bytes.len()), 0);
    (bytes, offsets)
}

/// Every complete group, and what ends the segment.
fn read(bytes: &[u8]) -> (Written, Step<'static>) {
    let mut reader = SegmentReader::new(3, bytes);
    let (mut groups, mut first) = (Vec::new(), 40);
    loop {
        match reader.step() {
            Step::Group(group) => {
                assert_eq!(group.first, first);
                first += group.receipts.len() as u64;
                groups.push((group.receipts.iter().map(Parts::of).collect(), group.note.to_vec()));
            }
            Step::End { offset } => return (groups, Step::End { offset }),
            Step::Torn { offset, end } => return (groups, Step::Torn { offset, end }),
            Step::Corrupt(corruption) => return (groups, Step::Corrupt(corruption)),
        }
    }
}

fn parts(size: usize) -> Parts {
    Parts { payload: vec![7; size], signature: [8; 64], delta: vec![9; 20], attachment: vec![10; size / 2] }
}

/// Three groups; the last one takes several sectors.
fn three() -> Written {
    vec![
        (vec![parts(30)], b"note 1".to_vec()),
        (vec![parts(300), parts(1)], b"note 2".to_vec()),
        (vec![parts(900), parts(40), parts(2)], b"note 3".to_vec()),
    ]
}

#[test]
fn sizes_are_known_before_the_group_is_closed() {
    let mut builder = GroupBuilder::default();
    for size in 0..1200 {
        builder.start(3, 1, 0);
        let expected = builder.length_with(&parts(size).receipt(), 100);
        builder.push(&parts(size).receipt()).unwrap();
        assert_eq!(builder.finish(&[1; 100]).unwrap().len() as u64, expected, "payload of {size} bytes");
    }
}

#[test]
fn limits_are_held() {
    let mut builder = GroupBuilder::default();
    builder.start(1, 1, 0);
    assert_eq!(builder.push(&parts(MAX_PAYLOAD + 1).receipt()), Err(EncodeError::Payload(MAX_PAYLOAD + 1)));
    let mut big = parts(10);
    big.attachment = vec![0; MAX_RECEIPT - 30];
    assert_eq!(builder.push(&big.receipt()), Ok(()));
    big.attachment.push(0);
    assert_eq!(builder.push(&big.receipt()), Err(EncodeError::Receipt(MAX_RECEIPT + 1)));
    assert_eq!(builder.count(), 1);
    assert_eq!(builder.finish(&[0; MAX_NOTE + 1]), Err(EncodeError::Note(MAX_NOTE + 1)));
}

#[test]
fn a_header_is_read_only_where_it_was_written() {
    let (bytes, _) = segment(&three());
    assert_eq!(SegmentHeader::decode(3, &bytes), Ok(Some(header())));
    assert_eq!(SegmentHeader::decode(4, &bytes), Err(HeaderError::Damaged));
    assert_eq!(SegmentHeader::decode(3, &vec![0; LENGTH]), Ok(None));
    assert_eq!(SegmentHeader::decode(3, &bytes[..700]), Err(HeaderError::Length(700)));
    assert_eq!(SegmentHeader::decode(3, b""), Err(HeaderError::Length(0)));
    let moved = [vec![0; SECTOR], header().encode()].concat();
    assert_eq!(SegmentHeader::decode(3, &moved[SECTOR..]), Ok(Some(header())));
    let (group, _) = segment(&three());
    assert_eq!(SegmentHeader::decode(3, &group[SECTOR..]), Err(HeaderError::Damaged));
}

#[test]
fn every_flipped_bit_is_damage_and_never_a_torn_tail() {
    let (bytes, offsets) = segment(&three());
    let end = *offsets.last().unwrap();
    for at in SECTOR..end + 2 * SECTOR {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let (groups, last) = read(&flipped);
        let Step::Corrupt(corruption) = last else { panic!("byte {at}: {last:?}") };
        assert_eq!(corruption.offset as usize, at - at % SECTOR, "the sector is named");
        assert_eq!(groups.len(), offsets[1..].iter().filter(|group_end| **group_end <= at).count());
        // The last group is behind no other one, so the reader cannot know, and says so.
        let last_group = at >= offsets[2] || at >= end;
        assert_eq!(corruption.damage == Damage::Tail, last_group, "byte {at}");
    }
}

#[test]
fn a_torn_last_group_is_cut_whichever_sectors_are_missing() {
    let groups = three();
    let (bytes, offsets) = segment(&groups);
    let (start, end) = (offsets[2] / SECTOR, offsets[3] / SECTOR);
    assert!(end - start >= 4, "the group must be worth tearing");
    for missing in 1..1_usize << (end - start) {
        let mut torn = bytes.clone();
        for sector in (start..end).filter(|sector| missing >> (sector - start) & 1 == 1) {
            torn[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
        }
        let (read, last) = read(&torn);
        assert_eq!(read, groups[..2]);
        match last {
            Step::End { offset } => {
                assert!(offset as usize == offsets[2] && missing + 1 == 1 << (end - start));
            }
            Step::Torn { offset, end } => {
                assert_eq!(offset as usize, offsets[2]);
                assert!(torn[end as usize..].iter().all(|b| *b == 0), "all of it is named");
            }
            other => panic!("missing {missing:b}: {other:?}"),
        }
    }
}

#[test]
fn a_hole_before_a_later_group_is_damage() {
    let (bytes, offsets) = segment(&three());
    for sector in offsets[0] / SECTOR..offsets[2] / SECTOR {
        let mut hole = bytes.clone();
        hole[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
        let (_, last) = read(&hole);
        let Step::Corrupt(corruption) = last else { panic!("sector {sector}: {last:?}") };
        assert!(
            matches!(corruption.damage, Damage::BeforeLaterGroup { .. }),
            "sector {sector}: {corruption}"
        );
    }
}

#[test]
fn sectors_of_another_place_are_damage() {
    let (bytes, offsets) = segment(&three());
    let (from, end) = (offsets[2], offsets[3]);
    // A valid sector of the same group, one place further on: its checksum is for where it was.
    let mut moved = bytes.clone();
    moved.copy_within(from..end, from + SECTOR);
    moved[from..from + SECTOR].fill(0);
    assert!(matches!(read(&moved).1, Step::Corrupt(c) if c.damage == Damage::Tail));
    // The remains of a longer write behind a shorter one.
    let mut longer = three();
    longer[2].0.push(parts(3000));
    let (mut stale, _) = segment(&longer);
    stale[from..end].copy_from_slice(&bytes[from..end]);
    assert!(matches!(read(&stale).1, Step::Corrupt(c) if c.damage == Damage::Misplaced));
}

#[test]
fn two_writes_are_never_read_as_one() {
    let (first, offsets) = segment(&three());
    let mut other = three();
    other[2].0[0].payload.fill(1);
    let (second, _) = segment(&other);
    let last = offsets[3] - SECTOR;
    let mixed = [&first[..last], &second[last..]].concat();
    assert!(first[last..] != second[last..] || read(&mixed).0 == three());
    let middle = offsets[2] + SECTOR;
    let mixed = [&first[..middle], &second[middle..]].concat();
    assert!(matches!(read(&mixed).1, Step::Corrupt(c) if matches!(c.damage, Damage::Group(_))));
}

#[test]
fn golden_segment_is_read_and_written() {
    // Kept for ever: what version 1 wrote must be read by every later version, and is what this one writes.
    let golden = include_bytes!("segment-v1.seg");
    let (bytes, offsets) = segment(&three());
    assert_eq!(read(golden).0, three());
    assert_eq!(SegmentHeader::decode(3, golden).unwrap().unwrap().first, 40);
    assert_eq!(golden.as_slice(), &bytes[..offsets[3] + SECTOR]);
}

#[test]
fn a_part_of_a_segment_reads_like_the_whole() {
    let (bytes, offsets) = segment(&three());
    let mut reader = SegmentReader::part(3, offsets[1] as u64, &bytes[offsets[1]..offsets[2]]);
    let Step::Group(group) = reader.step() else { panic!("no group") };
    assert_eq!((group.first, group.offset as usize, group.end as usize), (41, offsets[1], offsets[2]));
    assert_eq!(reader.step(), Step::End { offset: offsets[2] as u64 });
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let bytes = |limit| proptest::collection::vec(any::<u8>(), 0..limit);
    (bytes(1200), any::<u8>(), bytes(80), bytes(600)).prop_map(|(payload, byte, delta, attachment)| Parts {
        payload,
        signature: [byte; 64],
        delta,
        attachment,
    })
}

fn any_groups() -> impl Strategy<Value = Written> {
    let group =
        (proptest::collection::vec(any_parts(), 1..5), proptest::collection::vec(any::<u8>(), 0..300));
    proptest::collection::vec(group, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read(groups in any_groups()) {
        let (bytes, offsets) = segment(&groups);
        let (read, last) = read(&bytes);
        prop_assert_eq!(read, groups);
        prop_assert_eq!(last, Step::End { offset: *offsets.last().unwrap() as u64 });
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..4000), number in any::<u64>(),
    ) {
        let _ = SegmentHeader::decode(number, &bytes);
        let mut whole = SegmentReader::new(number, &bytes);
        let mut part = SegmentReader::part(number, bytes.len() as u64, &bytes);
        let sectors = bytes.len() / SECTOR * SECTOR;
        let blank = bytes[..sectors].iter().skip(SECTOR).all(|b| *b == 0);
        prop_assert_eq!(matches!(whole.step(), Step::End { .. }), blank);
        prop_assert!(!matches!(part.step(), Step::Group(_)));
    }
}
