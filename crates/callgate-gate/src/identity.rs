//! The gate's own identity: the key that signs, the origin of its log, and where both lie.
//!
//! The secret is `keys/gate.key` (PKCS#8 PEM, owner only), made at the first start and never again:
//! a log without its key does not open. The public half lies beside it as `keys/<id>.pub.pem`.
//!
//! The secret in the keys of the history is derived from it, so that there is nothing more to keep, back
//! up or lose. A log that went on under another signing key would have another such secret: every
//! activation names its digest, and under another one a gate fills the history again from the log.

use callgate_core::digest::Digest;
use callgate_log::checkpoint;
use callgate_log::hash::{Hash, domain};
use callgate_log::keys::{SigningKey, VerifyingKey};
use callgate_log::note::NoteVerifier;
use callgate_store::{CheckpointSigner, Fs, Random};
use zeroize::Zeroizing;

use crate::error::OpenError;

/// What a log's origin begins with; the rest is the start of its key's id.
pub const ORIGIN_PREFIX: &str = "callgate.log/";
const FOLDER: &str = "keys";
const SECRET: &str = "keys/gate.key";
const SECRET_NEW: &str = "keys/gate.key.new";
/// Longest key file that is read.
const MAX_KEY_FILE: u64 = 16 * 1024;

/// Who signs, and the log's name.
pub struct Identity {
    key: SigningKey,
    origin: String,
    blind: Digest,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Identity {
    /// Loads the identity, or makes it in a data folder that has no log yet. The public key is published once
    /// the log has opened with it: a key that is put beside another's log must not look like that log's.
    ///
    /// # Errors
    /// When the key is missing beside an existing log, is not a key, or the system refuses.
    pub(crate) fn open(fs: &dyn Fs, random: &dyn Random) -> Result<Self, OpenError> {
        fs.create_dir(FOLDER).map_err(|e| file("make", FOLDER, &e))?;
        let key = match read_text(fs, SECRET)? {
            Some(pem) => SigningKey::from_pkcs8_pem(&pem).map_err(|e| unusable(e.to_string()))?,
            None if has_log(fs) => return Err(unusable("is missing".to_owned())),
            None => create(fs, random)?,
        };
        Ok(Self::of(key))
    }

    fn of(key: SigningKey) -> Self {
        let id: String = key.key_id().to_string().chars().take(16).collect();
        let blind = Digest::from_bytes(key.derive(domain::HISTORY).into_bytes());
        Self { origin: format!("{ORIGIN_PREFIX}{id}"), key, blind }
    }

    /// The origin of the log with this public key.
    #[must_use]
    pub fn origin_of(key: &VerifyingKey) -> String {
        let id: String = key.key_id().to_string().chars().take(16).collect();
        format!("{ORIGIN_PREFIX}{id}")
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key that receipts and checkpoints verify with.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The public key's file inside the data folder.
    #[must_use]
    pub fn public_key_file(&self) -> String {
        let id: String = self.key.key_id().to_string().chars().take(16).collect();
        format!("{FOLDER}/{id}.pub.pem")
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Hides correlated values in the keys of the history from whoever reads the log without its key
    /// ring: sealed requests hold it, deltas hold only what was made with it.
    pub(crate) const fn blind(&self) -> Digest {
        self.blind
    }

    /// What the store knows this log by.
    pub(crate) fn log_id(&self) -> [u8; 32] {
        *self.key.key_id().as_hash().as_bytes()
    }

    /// Signs checkpoints for the store.
    pub(crate) fn checkpoint_signer(&self) -> Result<Box<dyn CheckpointSigner>, OpenError> {
        let signer = checkpoint::CheckpointSigner::new(&self.origin, self.key.clone());
        let signer = signer.map_err(|e| unusable(e.to_string()))?;
        let verifier = signer.verifier();
        Ok(Box::new(Signer { signer, verifier, key: self.key.clone() }))
    }

    /// Writes the public key beside the log; the same bytes at every start.
    pub(crate) fn publish(&self, fs: &dyn Fs) -> Result<(), OpenError> {
        let pem = self.verifying_key().to_spki_pem().map_err(|e| unusable(e.to_string()))?;
        let path = self.public_key_file();
        if read_text(fs, &path)?.is_some_and(|found| *found == pem) {
            return Ok(());
        }
        write_synced(fs, &path, pem.as_bytes())?;
        fs.sync_dir(FOLDER).map_err(|e| file("sync", FOLDER, &e))
    }
}

struct Signer {
    signer: checkpoint::CheckpointSigner,
    verifier: NoteVerifier,
    key: SigningKey,
}

/// What is signed for a saved state: never the bytes of a note or an envelope.
fn attested(digest: &[u8; 32]) -> Vec<u8> {
    [domain::STATE.as_bytes(), &[0], digest].concat()
}

impl CheckpointSigner for Signer {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        // An empty note tells the store that there is none: it stops before anything is acknowledged.
        self.signer.sign(size, &Hash::new(*root)).unwrap_or_default().into_bytes()
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        let checkpoint = checkpoint::Checkpoint::open_with(note, &self.verifier).ok()?;
        Some((checkpoint.size, *checkpoint.root.as_bytes()))
    }

    fn attest(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.key.sign(&attested(digest)).to_vec()
    }

    fn attests(&self, digest: &[u8; 32], attestation: &[u8]) -> bool {
        let signature = attestation.try_into();
        signature.is_ok_and(|signature| self.key.verifying_key().verify(&attested(digest), signature).is_ok())
    }
}

fn create(fs: &dyn Fs, random: &dyn Random) -> Result<SigningKey, OpenError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    random.fill(seed.as_mut_slice()).map_err(|e| file("make", SECRET, &e))?;
    let key = SigningKey::from_seed(&seed);
    let pem = key.to_pkcs8_pem().map_err(|e| unusable(e.to_string()))?;
    write_synced(fs, SECRET_NEW, pem.as_bytes())?;
    fs.rename(SECRET_NEW, SECRET).map_err(|e| file("rename", SECRET, &e))?;
    fs.sync_dir(FOLDER).map_err(|e| file("sync", FOLDER, &e))?;
    fs.sync_dir("").map_err(|e| file("sync", FOLDER, &e))?;
    Ok(key)
}

/// Whether receipts exist that only an existing key can have signed.
fn has_log(fs: &dyn Fs) -> bool {
    fs.list("log").is_ok_and(|names| names.iter().any(|name| name.ends_with(".seg")))
}

fn unusable(problem: String) -> OpenError {
    OpenError::SigningKey { file: SECRET.to_owned(), problem }
}

fn file(operation: &'static str, path: &str, error: &std::io::Error) -> OpenError {
    OpenError::File { operation, file: path.to_owned(), reason: error.to_string() }
}

fn read_text(fs: &dyn Fs, path: &str) -> Result<Option<Zeroizing<String>>, OpenError> {
    let found = match fs.open(path) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file("open", path, &e)),
    };
    let length = found.len().map_err(|e| file("read", path, &e))?;
    if length > MAX_KEY_FILE {
        return Err(OpenError::SigningKey {
            file: path.to_owned(),
            problem: "is too long to be a key".to_owned(),
        });
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    found.read_at(&mut bytes, 0).map_err(|e| file("read", path, &e))?;
    let text = String::from_utf8(bytes.to_vec());
    text.map(|text| Some(Zeroizing::new(text)))
        .map_err(|_| OpenError::SigningKey { file: path.to_owned(), problem: "is not text".to_owned() })
}

fn write_synced(fs: &dyn Fs, path: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let written = fs.create(path).and_then(|out| {
        out.write_at(bytes, 0)?;
        out.sync_data()
    });
    written.map_err(|e| file("write", path, &e))
}
