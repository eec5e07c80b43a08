//! The tree against the evidence crate's own, at every size past two tiles.

use callgate_log::Frontier;
use callgate_log::merkle::{Leaves, consistency_proof, inclusion_proof, leaf_hash};

use super::{Hash, Source, TILE, Tree};

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|i| leaf_hash(&i.to_le_bytes())).collect()
}

#[test]
fn root_is_the_same_at_every_size() {
    let (mut tree, mut frontier) = (Tree::default(), Frontier::new());
    assert_eq!(tree.root(), frontier.root());
    for leaf in leaves(17_000) {
        tree.push(leaf);
        frontier.append(leaf);
        assert_eq!((tree.size(), tree.root()), (frontier.size(), frontier.root()));
    }
}

#[test]
fn proofs_are_the_same_and_need_two_tiles_at_most() {
    let leaves = leaves(17_000);
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    let tile = |n: u64| (n, leaves.chunks(256).nth(usize::try_from(n).unwrap()).unwrap().to_vec());
    for size in [1_u64, 2, 3, 255, 256, 257, 511, 512, 513, 700, 1024, 1025, 8193, 16_384, 17_000] {
        for other in (0..size).step_by(if size > 2000 { 997 } else { 61 }).chain([size.saturating_sub(1)]) {
            let mut tiles = Vec::new();
            let oracle = Leaves(&leaves);
            let proofs = loop {
                let source = Source { tree: &tree, tiles: &tiles };
                let inclusion = inclusion_proof(&source, other, size);
                let consistency = consistency_proof(&source, other, size);
                match (inclusion, consistency) {
                    (Ok(inclusion), Ok(consistency)) => break (inclusion, consistency),
                    (Err(callgate_log::merkle::ProveError::Source(wanted)), _)
                    | (_, Err(callgate_log::merkle::ProveError::Source(wanted))) => {
                        assert!(
                            wanted < tree.size().checked_div(TILE).unwrap(),
                            "an unfinished tile is kept"
                        );
                        tiles.push(tile(wanted));
                    }
                    other => panic!("{other:?}"),
                }
            };
            assert!(tiles.len() <= 3, "leaf and edges");
            assert_eq!(Ok(proofs.0), inclusion_proof(&oracle, other, size));
            assert_eq!(Ok(proofs.1), consistency_proof(&oracle, other, size));
        }
    }
}

/// The proof that goes out with a reply reads nothing back from the log.
#[test]
fn proofs_of_recent_receipts_need_no_tile() {
    let leaves = leaves(20_000);
    let mut tree = Tree::default();
    for (index, leaf) in (0u64..).zip(&leaves) {
        tree.push(*leaf);
        let source = Source { tree: &tree, tiles: &[] };
        assert!(inclusion_proof(&source, index, tree.size()).is_ok(), "{index}");
        let earlier = index.saturating_sub(4096);
        assert!(inclusion_proof(&source, earlier, tree.size()).is_ok(), "{earlier}");
    }
    assert!(tree.levels.first().is_some_and(|low| low.len() < 17_000), "memory stays bounded");
}
