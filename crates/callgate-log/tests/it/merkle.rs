//! The tree against published roots and against a naive copy of the RFC's definitions.

use callgate_log::merkle::{
    Frontier, Leaves, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash,
    verify_consistency, verify_inclusion,
};
use callgate_log::{Hash, sha256};
use proptest::prelude::*;

const MOST: usize = 130;

/// RFC 6962 section 2.1, written as the RFC writes it.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, sibling) = if old <= left.len() {
        (naive_subproof(old, left, whole), naive_root(right))
    } else {
        (naive_subproof(old - left.len(), right, false), naive_root(left))
    };
    proof.push(sibling);
    proof
}

fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

#[test]
fn roots_follow_rfc_6962() {
    let inputs: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    // The roots every Certificate Transparency implementation tests with.
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (input, root) in inputs.iter().zip(roots) {
        frontier.append(leaf_hash(input));
        assert_eq!(frontier.root().to_hex(), root, "at size {}", frontier.size());
    }
}

#[test]
fn frontier_equals_the_naive_tree_and_survives_a_restart() {
    let leaves = leaves(MOST);
    let mut frontier = Frontier::new();
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.root(), naive_root(&leaves[..index]));
        assert_eq!(frontier.append(*leaf), size(index));
        frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
    }
}

#[test]
fn inclusion_proofs_equal_the_naive_ones() {
    let leaves = leaves(MOST);
    for len in 1..=MOST {
        let root = naive_root(&leaves[..len]);
        for index in 0..len {
            let proof = inclusion_proof(&Leaves(&leaves), size(index), size(len)).unwrap();
            assert_eq!(proof, naive_path(index, &leaves[..len]), "leaf {index} of {len}");
            assert!(verify_inclusion(&leaves[index], size(index), size(len), &proof, &root).is_ok());
        }
    }
}

#[test]
fn consistency_proofs_equal_the_naive_ones() {
    let leaves = leaves(MOST);
    let roots: Vec<Hash> = (0..=MOST).map(|len| naive_root(&leaves[..len])).collect();
    for new in 1..=MOST {
        for old in 0..=new {
            let proof = consistency_proof(&Leaves(&leaves), size(old), size(new)).unwrap();
            if old > 0 {
                assert_eq!(proof, naive_subproof(old, &leaves[..new], true), "from {old} to {new}");
            }
            let check = |a: &Hash, b: &Hash| verify_consistency(size(old), a, size(new), b, &proof);
            assert!(check(&roots[old], &roots[new]).is_ok(), "from {old} to {new}");
            assert!(check(&sha256(b"other"), &roots[new]).is_err(), "from {old} to {new}");
            if old > 0 {
                assert!(check(&roots[old], &sha256(b"other")).is_err(), "from {old} to {new}");
            }
        }
    }
}

#[test]
fn proofs_that_cannot_be_are_refused() {
    let leaves = leaves(4);
    assert!(inclusion_proof(&Leaves(&leaves), 4, 4).is_err());
    assert!(inclusion_proof(&Leaves(&leaves), 0, 5).is_err(), "a missing leaf is an error of the source");
    assert!(inclusion_proof(&Leaves(&leaves), 0, u64::MAX).is_err());
    assert!(consistency_proof(&Leaves(&leaves), 3, 2).is_err());
    assert!(consistency_proof(&Leaves(&leaves), 3, u64::MAX).is_err());
    assert!(verify_inclusion(&leaves[0], 0, 0, &[], &leaves[0]).is_err());
    // A right path under the right root does not prove a wrong size.
    let (two, four) = (naive_root(&leaves[..2]), naive_root(&leaves));
    assert!(verify_inclusion(&leaves[0], 0, 2, &[leaves[1]], &two).is_ok());
    assert!(verify_inclusion(&leaves[0], 0, 4, &[leaves[1]], &two).is_err());
    assert!(verify_inclusion(&leaves[1], 0, 1, &[leaves[0]], &two).is_err());
    let grown = consistency_proof(&Leaves(&leaves), 2, 4).unwrap();
    assert!(verify_consistency(2, &two, 4, &four, &grown).is_ok());
    assert!(verify_consistency(2, &two, 8, &four, &grown).is_err());
    assert!(verify_inclusion(&leaves[0], 0, u64::MAX, &[], &leaves[0]).is_err());
}

#[test]
fn frontier_refuses_bytes_that_do_not_fit() {
    let mut frontier = Frontier::new();
    for leaf in leaves(7) {
        frontier.append(leaf);
    }
    let bytes = frontier.to_bytes();
    for cut in 0..bytes.len() {
        assert!(Frontier::from_bytes(&bytes[..cut]).is_err());
    }
    assert!(Frontier::from_bytes(&[0xff; 8 + 64 * 32]).is_err());
}

proptest! {
    #[test]
    fn changed_inclusion_proof_is_refused(
        len in 2_usize..200, at in any::<prop::sample::Index>(), bit in 0_u32..256, what in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(len);
        let index = at.index(len);
        let (leaf, root) = (leaves[index], naive_root(&leaves));
        let proof = inclusion_proof(&Leaves(&leaves), size(index), size(len)).unwrap();
        let check = |leaf: &Hash, index: usize, len: usize, proof: &[Hash], root: &Hash| {
            verify_inclusion(leaf, size(index), size(len), proof, root).is_ok()
        };
        prop_assert!(check(&leaf, index, len, &proof, &root));
        prop_assert!(!check(&flip(&leaf, bit), index, len, &proof, &root));
        prop_assert!(!check(&leaf, index, len, &proof, &flip(&root, bit)));
        prop_assert!(!check(&leaf, (index + 1) % len, len, &proof, &root));
        let mut changed = proof.clone();
        let position = what.index(proof.len());
        changed[position] = flip(&changed[position], bit);
        prop_assert!(!check(&leaf, index, len, &changed, &root));
        prop_assert!(!check(&leaf, index, len, &proof[1..], &root));
        prop_assert!(!check(&leaf, index, len, &[proof.clone(), vec![root]].concat(), &root));
    }

    #[test]
    fn changed_consistency_proof_is_refused(
        new in 2_usize..200, at in any::<prop::sample::Index>(), bit in 0_u32..256, what in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(new);
        let old = at.index(new - 1) + 1;
        let (old_root, new_root) = (naive_root(&leaves[..old]), naive_root(&leaves));
        let proof = consistency_proof(&Leaves(&leaves), size(old), size(new)).unwrap();
        let check = |proof: &[Hash]| verify_consistency(size(old), &old_root, size(new), &new_root, proof).is_ok();
        prop_assert!(check(&proof));
        let mut changed = proof.clone();
        let position = what.index(proof.len());
        changed[position] = flip(&changed[position], bit);
        prop_assert!(!check(&changed));
        prop_assert!(!check(&proof[1..]));
        prop_assert!(!check(&[proof.clone(), vec![new_root]].concat()));
    }

    #[test]
    fn a_rewritten_prefix_has_no_consistency_proof(new in 2_usize..60, at in any::<prop::sample::Index>()) {
        let honest = leaves(new);
        let mut rewritten = honest.clone();
        let old = at.index(new - 1) + 1;
        rewritten[old - 1] = leaf_hash(b"something else");
        let proof = consistency_proof(&Leaves(&rewritten), size(old), size(new)).unwrap();
        let verdict = verify_consistency(size(old), &naive_root(&honest[..old]), size(new), &naive_root(&rewritten), &proof);
        prop_assert!(verdict.is_err());
    }
}

fn flip(hash: &Hash, bit: u32) -> Hash {
    let mut bytes = hash.into_bytes();
    bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    Hash::new(bytes)
}
