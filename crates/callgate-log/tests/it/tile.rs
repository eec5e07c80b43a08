//! Tiles: the numbers of the specification, and agreement with the tree.

use callgate_log::merkle::{Leaves, leaf_hash, node_hash};
use callgate_log::tile::{Tile, entry_bundle, new_tiles};
use callgate_log::{Frontier, Hash};
use proptest::prelude::*;

#[test]
fn tiles_follow_the_specification() {
    let paths = |old, new| new_tiles(old, new).map(|tile| tile.path()).collect::<Vec<_>>();
    let all = paths(0, 70_000);
    assert_eq!(all.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(all[0], "tile/0/000");
    assert_eq!(
        &all[272..],
        ["tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    assert_eq!(paths(0, 256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(255, 256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(256, 257), ["tile/0/001.p/1"]);
    assert!(paths(7, 7).is_empty() && paths(8, 7).is_empty() && paths(0, u64::MAX).is_empty());
    assert_eq!(Tile { level: 0, index: 1_234_067, width: 256 }.path(), "tile/0/x001/x234/067");
    assert_eq!(Tile { level: 0, index: 5, width: 3 }.entries_path(), "tile/entries/005.p/3");
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    for path in [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x001",
        "tile/0/001/234",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/+01",
        "tile/0/",
        "tile/0",
        "tile/-1/000",
        "",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

#[test]
fn tile_hashes_rebuild_the_root() {
    let leaves: Vec<Hash> = (0_u32..600).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.append(*leaf);
    }
    let tile = |level, index, width| Tile { level, index, width }.hashes(&Leaves(&leaves)).unwrap();
    let upper = tile(1, 0, 2);
    assert_eq!(upper.len(), 64);
    // 600 leaves: two full tiles, whose roots are in the tile above, and 88 leaves in a partial one.
    let (mut right, partial) = (Frontier::new(), tile(0, 2, 88));
    for hash in partial.as_chunks::<32>().0 {
        right.append(Hash::new(*hash));
    }
    let roots: Vec<Hash> = upper.as_chunks::<32>().0.iter().map(|hash| Hash::new(*hash)).collect();
    assert_eq!(node_hash(&node_hash(&roots[0], &roots[1]), &right.root()), frontier.root());
    assert!(Tile { level: 0, index: 2, width: 89 }.hashes(&Leaves(&leaves)).is_err());
}

#[test]
fn entry_bundle_prefixes_lengths() {
    assert_eq!(entry_bundle([b"ab".as_slice(), b""]).unwrap(), [0, 2, b'a', b'b', 0, 0]);
    assert!(entry_bundle([vec![0; 65_535].as_slice()]).is_ok());
    assert!(entry_bundle([vec![0; 65_536].as_slice()]).is_err());
}

proptest! {
    #[test]
    fn tile_paths_round_trip(level in 0_u8..64, index in any::<u64>(), width in 1_u16..=256) {
        let tile = Tile { level, index, width };
        prop_assert_eq!(Tile::parse(&tile.path()), Some(tile));
    }

    #[test]
    fn growing_in_steps_gives_the_tiles_of_the_whole(steps in prop::collection::vec(1_u64..400, 1..12)) {
        let (mut size, mut seen) = (0, std::collections::BTreeSet::new());
        for step in steps {
            seen.extend(new_tiles(size, size + step));
            size += step;
        }
        for tile in new_tiles(0, size) {
            prop_assert!(seen.contains(&tile), "{tile:?} at size {size}");
        }
    }
}
