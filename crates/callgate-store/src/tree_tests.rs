//! The tree against the RFC's own definitions, for every size up to past two tiles.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]

use std::convert::Infallible;

use super::{Node, TILE, Tree, leaf_hash, node_hash};

fn leaves(size: u64) -> Vec<Node> {
    (0..size).map(|i| leaf_hash(&i.to_le_bytes())).collect()
}

fn naive(leaves: &[Node]) -> Node {
    match leaves {
        [] => Tree::default().root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive(left), &naive(right))
        }
    }
}

fn naive_path(index: usize, leaves: &[Node]) -> Vec<Node> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (naive_path(index, left), naive(right)),
        Some(index) => (naive_path(index, right), naive(left)),
    };
    path.push(sibling);
    path
}

fn naive_consistency(old: usize, leaves: &[Node], whole: bool) -> Vec<Node> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if old <= left.len() {
        (naive_consistency(old, left, whole), naive(right))
    } else {
        (naive_consistency(old - left.len(), right, false), naive(left))
    };
    path.push(sibling);
    path
}

fn tree(leaves: &[Node]) -> Tree {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

#[test]
fn empty_tree_has_the_rfc_root() {
    let hex: String = Tree::default().root().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn root_is_the_rfc_root_at_every_size() {
    let leaves = leaves(530);
    let mut tree = Tree::default();
    for (i, leaf) in leaves.iter().enumerate() {
        tree.push(*leaf);
        assert_eq!(tree.root(), naive(&leaves[..=i]), "size {}", i + 1);
    }
}

#[test]
fn proofs_are_the_rfc_proofs() {
    let leaves = leaves(2 * TILE + 77);
    let tree = tree(&leaves);
    let mut tile = |n: u64| {
        let start = usize::try_from(n * TILE).unwrap();
        Ok::<_, Infallible>(leaves[start..(start + 256).min(leaves.len())].to_vec())
    };
    for size in [1_usize, 2, 3, 255, 256, 257, 300, 511, 512, 513, 589] {
        for index in (0..size).step_by(7).chain([size - 1]) {
            let path = tree.inclusion(index as u64, size as u64, &mut tile).unwrap().unwrap();
            assert_eq!(path, naive_path(index, &leaves[..size]), "leaf {index} of {size}");
        }
        for old in (1..=size).step_by(5) {
            let path = tree.consistency(old as u64, size as u64, &mut tile).unwrap().unwrap();
            assert_eq!(path, naive_consistency(old, &leaves[..size], true), "{old} to {size}");
        }
    }
    assert_eq!(tree.inclusion(5, 5, &mut tile).unwrap(), None);
    assert_eq!(tree.inclusion(5, 590, &mut tile).unwrap(), None);
    assert_eq!(tree.consistency(6, 5, &mut tile).unwrap(), None);
}
