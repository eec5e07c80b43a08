//! What replay needs of each receipt, kept sealed and erasable beside it.
//!
//! Plaintext: the salt, the request, the facts. It is sealed under the key of the session's slot in
//! the key ring; erasing the slot makes it unreadable for ever and leaves every proof valid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use callgate_store::{Key, Keyring, KeyringError, Random, SealedHeader};
use zeroize::Zeroizing;

/// First byte of an attachment that is not sealed: a bundle's text, as zlib (RFC 1950).
const PLAIN: u8 = 0;
/// The longest bundle text that is unpacked, in bytes.
const MAX_TEXT: usize = 64 << 20;
/// zlib level: small enough for one log entry, at a millisecond per megabyte.
const LEVEL: u8 = 6;
/// First byte of a sealed attachment.
const SEALED: u8 = 1;
const SALT: usize = 32;
const FOREIGN: &str = "the sealed request does not belong to this receipt, or was changed";

/// The recorded inputs of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The salt of the receipt's digests.
    pub(crate) salt: [u8; 32],
    /// Whether `request` are the raw bytes of something that is no request.
    pub(crate) malformed: bool,
    /// The canonical request, or the raw bytes.
    pub(crate) request: Vec<u8>,
    /// The facts, as JSON.
    pub(crate) facts: Vec<u8>,
}

/// What lies beside a receipt.
#[derive(Debug)]
pub(crate) enum Attachment {
    /// A bundle's text.
    Plain(Vec<u8>),
    /// A decision's inputs.
    Record(Record),
    /// The key was erased.
    Erased,
    /// Nothing.
    Empty,
}

/// Slots kept ready ahead of the newest one in use.
const AHEAD: u64 = 512;

/// Seals and opens records.
pub(crate) struct Vault {
    keyring: Arc<Keyring>,
    next_slot: AtomicU64,
    filling: Arc<AtomicBool>,
}

impl Vault {
    pub(crate) fn new(keyring: Keyring, next_slot: u64) -> Self {
        Self {
            keyring: Arc::new(keyring),
            next_slot: AtomicU64::new(next_slot),
            filling: Arc::new(AtomicBool::new(false)),
        }
    }

    /// A slot that no receipt has used. It stays unused when the receipt is not committed.
    pub(crate) fn reserve(&self) -> Result<u64, KeyringError> {
        let slot = self.next_slot.fetch_add(1, Ordering::Relaxed);
        let ready = self.keyring.slots();
        if slot.saturating_add(AHEAD) >= ready {
            self.fill(ready.saturating_add(AHEAD));
        }
        self.keyring.ensure(slot)?;
        Ok(slot)
    }

    /// Makes slots beside the path of decisions, one thread at a time. What fails here is met again,
    /// and reported, when the slot is needed.
    fn fill(&self, slot: u64) {
        if self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (keyring, filling) = (Arc::clone(&self.keyring), Arc::clone(&self.filling));
        std::thread::spawn(move || {
            let _met_again = keyring.ensure(slot);
            filling.store(false, Ordering::Release);
        });
    }

    /// Seals a record, bound to the receipt it lies beside.
    pub(crate) fn seal(
        &self,
        slot: u64,
        record: &Record,
        payload_sha256: &[u8; 32],
        random: &dyn Random,
    ) -> Result<Vec<u8>, KeyringError> {
        let key = self.keyring.slot_key(slot)?.ok_or(KeyringError::NoSlot(slot))?;
        let mut nonce = [0u8; 24];
        random.fill(&mut nonce).map_err(KeyringError::Random)?;
        // A record is bounded by the request's limits, far below what the cipher takes.
        let sealed = callgate_store::seal(&key, slot, nonce, payload_sha256, &record.encode())
            .map_err(|e| KeyringError::Random(std::io::Error::other(e.to_string())))?;
        let mut out = Vec::with_capacity(sealed.len().saturating_add(1));
        out.push(SEALED);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what lies beside a receipt.
    pub(crate) fn open(&self, attachment: &[u8], payload_sha256: &[u8; 32]) -> Result<Attachment, String> {
        open(&self.keyring, attachment, payload_sha256)
    }

    /// The keys, for whoever reads many records.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Erases the key of a slot, for ever.
    pub(crate) fn erase(&self, slot: u64) -> Result<(), KeyringError> {
        self.keyring.erase(slot)
    }
}

/// Wraps a bundle's text.
pub(crate) fn plain(text: &[u8]) -> Vec<u8> {
    let mut out = vec![PLAIN];
    out.extend_from_slice(&miniz_oxide::deflate::compress_to_vec_zlib(text, LEVEL));
    out
}

/// Opens what lies beside a receipt.
pub(crate) fn open(
    keyring: &Keyring,
    attachment: &[u8],
    payload_sha256: &[u8; 32],
) -> Result<Attachment, String> {
    let Some((kind, rest)) = attachment.split_first() else { return Ok(Attachment::Empty) };
    match *kind {
        PLAIN => unpack(rest).map(Attachment::Plain),
        SEALED => open_sealed(keyring, rest, payload_sha256),
        _ => Err("what lies beside the receipt is of an unknown kind".to_owned()),
    }
}

/// Opens a bundle's text, which is not sealed.
pub(crate) fn open_plain(attachment: &[u8]) -> Result<Vec<u8>, String> {
    match attachment.split_first() {
        Some((kind, rest)) if *kind == PLAIN => unpack(rest),
        _ => Err("the bundle's text is not beside the receipt".to_owned()),
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, MAX_TEXT)
        .map_err(|e| format!("the bundle's text beside the receipt cannot be unpacked: {e}"))
}

/// A record as it was unsealed, read in place.
pub(crate) struct Unsealed(Zeroizing<Vec<u8>>);

impl Unsealed {
    /// Opens a decision's record with the key that `key` has for its slot; `None` if that was erased.
    pub(crate) fn open(
        attachment: &[u8],
        payload_sha256: &[u8; 32],
        key: impl FnOnce(u64) -> Result<Option<Key>, String>,
    ) -> Result<Option<Self>, String> {
        let short = || "what lies beside the receipt is too short".to_owned();
        let sealed = match attachment.split_first() {
            Some((kind, sealed)) if *kind == SEALED => sealed,
            _ => return Err("its request is not beside it".to_owned()),
        };
        let header = SealedHeader::read(sealed).ok_or_else(short)?;
        let Some(key) = key(header.slot)? else { return Ok(None) };
        let plaintext = callgate_store::unseal(&key, payload_sha256, sealed).map_err(|_| FOREIGN)?;
        parts(&plaintext).ok_or_else(short)?;
        Ok(Some(Self(plaintext)))
    }

    /// Whether the request is none.
    pub(crate) fn is_malformed(&self) -> bool {
        parts(&self.0).is_some_and(|parts| parts.malformed)
    }

    /// The canonical request, or the raw bytes.
    pub(crate) fn request(&self) -> &[u8] {
        parts(&self.0).map_or(&[], |parts| parts.request)
    }

    /// The facts, as JSON.
    pub(crate) fn facts(&self) -> &[u8] {
        parts(&self.0).map_or(&[], |parts| parts.facts)
    }
}

/// The parts of a record's plaintext.
struct Parts<'a> {
    malformed: bool,
    salt: &'a [u8; SALT],
    request: &'a [u8],
    facts: &'a [u8],
}

fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let (kind, rest) = bytes.split_first()?;
    let (salt, rest) = rest.split_first_chunk::<SALT>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (request, facts) = rest.split_at_checked(length)?;
    Some(Parts { malformed: *kind == 1, salt, request, facts })
}

fn open_sealed(keyring: &Keyring, sealed: &[u8], payload_sha256: &[u8; 32]) -> Result<Attachment, String> {
    let short = || "what lies beside the receipt is too short".to_owned();
    let header = SealedHeader::read(sealed).ok_or_else(short)?;
    let Some(key) = keyring.slot_key(header.slot).map_err(|e| e.to_string())? else {
        return Ok(Attachment::Erased);
    };
    let plaintext = callgate_store::unseal(&key, payload_sha256, sealed).map_err(|_| FOREIGN.to_owned())?;
    Record::decode(&plaintext).map(Attachment::Record).ok_or_else(short)
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.request.len()).unwrap_or(u32::MAX);
        let mut out =
            Vec::with_capacity(self.request.len().saturating_add(self.facts.len()).saturating_add(40));
        out.push(u8::from(self.malformed));
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.request);
        out.extend_from_slice(&self.facts);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let Parts { malformed, salt, request, facts } = parts(bytes)?;
        Some(Self { salt: *salt, malformed, request: request.to_vec(), facts: facts.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes() {
        let record =
            Record { salt: [7; 32], malformed: true, request: b"{}".to_vec(), facts: b"facts".to_vec() };
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(Record::decode(&[0; 20]), None);
    }
}
