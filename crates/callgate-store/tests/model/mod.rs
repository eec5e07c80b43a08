//! A state to fold, a signer, and entries: as small as they can be while a wrong bit anywhere still shows.
#![expect(unreachable_pub, reason = "shared by several test programs")]

use std::collections::BTreeMap;
use std::io::{Read, Write};

use callgate_store::{CheckpointSigner, Entry, Fold, FoldError, Options};
use sha2::{Digest, Sha256};

/// Every key has a version that each change to it must name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers {
    pub values: BTreeMap<u8, (u32, u64)>,
    pub applied: Vec<(u64, [u8; 32])>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub key: u8,
    pub version: u32,
    pub value: u64,
}

impl Set {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.key];
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.value.to_le_bytes());
        bytes
    }
}

impl Registers {
    pub fn version(&self, key: u8) -> u32 {
        self.values.get(&key).map_or(0, |(version, _)| *version)
    }
}

impl Fold for Registers {
    type Delta = Set;
    type Conflict = u32;

    fn decode(bytes: &[u8]) -> Result<Set, FoldError> {
        let fields: [u8; 13] = bytes.try_into().map_err(|_| FoldError("not 13 bytes".to_owned()))?;
        let [key, a, b, c, d, value @ ..] = fields;
        Ok(Set { key, version: u32::from_le_bytes([a, b, c, d]), value: u64::from_le_bytes(value) })
    }

    fn check(&self, delta: &Set) -> Result<(), u32> {
        assert!(delta.key != 0xff, "the key that makes the committer panic");
        let version = self.version(delta.key);
        if version == delta.version { Ok(()) } else { Err(version) }
    }

    fn apply(&mut self, index: u64, payload_sha256: &[u8; 32], delta: &Set) {
        self.values.insert(delta.key, (delta.version.wrapping_add(1), delta.value));
        self.applied.push((index, *payload_sha256));
    }

    const FORMAT: Option<&'static str> = Some("registers 1");

    fn save(&self, out: &mut dyn Write) -> Result<(), FoldError> {
        let mut bytes = u32::try_from(self.values.len()).map_err(failed)?.to_le_bytes().to_vec();
        for (key, (version, value)) in &self.values {
            bytes.extend_from_slice(&Set { key: *key, version: *version, value: *value }.encode());
        }
        bytes.extend_from_slice(&u32::try_from(self.applied.len()).map_err(failed)?.to_le_bytes());
        for (index, digest) in &self.applied {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(digest);
        }
        out.write_all(&bytes).map_err(failed)
    }

    fn load(input: &mut dyn Read) -> Result<Self, FoldError> {
        let mut state = Self::default();
        for _ in 0..u32::from_le_bytes(take(input)?) {
            let Set { key, version, value } = Self::decode(&take::<13>(input)?)?;
            state.values.insert(key, (version, value));
        }
        for _ in 0..u32::from_le_bytes(take(input)?) {
            state.applied.push((u64::from_le_bytes(take(input)?), take(input)?));
        }
        Ok(state)
    }
}

fn failed(error: impl std::fmt::Display) -> FoldError {
    FoldError(error.to_string())
}

fn take<const N: usize>(input: &mut dyn Read) -> Result<[u8; N], FoldError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Signs with a keyed hash: `sim`, size, root and tag, one per line.
pub struct Tag;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl CheckpointSigner for Tag {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        let text = format!("sim\n{size}\n{}\n", hex(root));
        format!("{text}{}\n", hex(&Sha256::digest(format!("a key {text}")))).into_bytes()
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        let text = std::str::from_utf8(note).ok()?;
        let mut lines = text.lines().skip(1);
        let size = lines.next()?.parse().ok()?;
        let root = lines.next()?.as_bytes();
        let root: Vec<u8> = root
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let root = root.try_into().ok()?;
        (self.sign(size, &root) == note).then_some((size, root))
    }

    fn attest(&self, digest: &[u8; 32]) -> Vec<u8> {
        Sha256::digest(format!("a state {}", hex(digest))).to_vec()
    }

    fn attests(&self, digest: &[u8; 32], attestation: &[u8]) -> bool {
        self.attest(digest) == attestation
    }
}

pub fn options() -> Options {
    let mut options = Options::new([7; 32]);
    options.segment_bytes = 8 << 10;
    options.max_entry = 2 << 10;
    options.reserve_bytes = 1 << 10;
    options
}

/// An entry like no other: `id` is in its payload, and every part can be told from every other entry's.
pub fn entry(id: u64, delta: Set, size: usize) -> Entry<Set> {
    let [low, high, ..] = id.to_le_bytes();
    let mut payload = format!("receipt {id} ").into_bytes();
    payload.resize(size.max(payload.len()), low ^ 0x55);
    let mut signature = [low; 64];
    signature[0] = high;
    let attachment = vec![low; size / 3];
    Entry { payload, signature, delta_bytes: delta.encode(), delta, attachment }
}
