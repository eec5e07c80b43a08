//! C2SP signed notes: text, an empty line, signature lines (<https://c2sp.org/signed-note>), Ed25519 only.
//!
//! A note's text means nothing until [`Note::verify`] has passed under a pinned key.

use thiserror::Error;

use crate::base64;
use crate::hash::sha256_of;
use crate::keys::{BadSignature, SigningKey, VerifyingKey};

/// The largest note that is read, in bytes; 16 post-quantum signatures fit.
pub const MAX_NOTE: usize = 256 * 1024;
/// The most signature lines that are read.
pub const MAX_SIGNATURES: usize = 64;
/// The longest key name, in bytes.
pub const MAX_NAME: usize = 255;
/// The signature type of Ed25519.
const ED25519: u8 = 0x01;

/// Why a note, a verifier key or a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Larger than [`MAX_NOTE`].
    #[error("the note has {0} bytes, more than the {MAX_NOTE} that are read")]
    TooLarge(usize),
    /// Not UTF-8, or a control character inside.
    #[error("the note is not plain text")]
    NotText,
    /// The parts of a note are missing.
    #[error("this is not a signed note; expect text, an empty line and lines that start with `— `")]
    Shape,
    /// A signature line is malformed.
    #[error("signature line {0} of the note is malformed; expect `— NAME BASE64`")]
    SignatureLine(usize),
    /// Too many signature lines.
    #[error("the note carries more than {MAX_SIGNATURES} signatures")]
    TooMany,
    /// A key name that notes cannot carry.
    #[error(
        "`{0}` cannot name a key; use 1 to {MAX_NAME} characters without spaces, `+` and control characters"
    )]
    Name(String),
    /// The text is no Ed25519 verifier key.
    #[error("this is not an Ed25519 verifier key; expect `NAME+8 HEX DIGITS+BASE64`")]
    Vkey,
    /// No signature is by the pinned key.
    #[error("nobody signed this note with the pinned key of `{0}`; it may come from another log")]
    Unsigned(String),
    /// The pinned key's signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// A public key with the name under which it signs notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    key: VerifyingKey,
    id: [u8; 4],
}

impl NoteVerifier {
    /// Names a key.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), id: key_hash(name, &key), key })
    }

    /// Reads a verifier key, `NAME+ID+BASE64`.
    ///
    /// # Errors
    /// [`NoteError::Vkey`] for another shape, signature type or a wrong id; [`NoteError::Name`].
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Vkey);
        };
        let bytes: [u8; 33] = base64::decode_array(key).ok_or(NoteError::Vkey)?;
        let [ED25519, key @ ..] = bytes else { return Err(NoteError::Vkey) };
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Vkey)?;
        let verifier = Self::new(name, key)?;
        if hex(verifier.id) == id { Ok(verifier) } else { Err(NoteError::Vkey) }
    }

    /// The verifier key as text.
    #[must_use]
    pub fn to_vkey(&self) -> String {
        let mut key = vec![ED25519];
        key.extend_from_slice(&self.key.to_bytes());
        format!("{}+{}+{}", self.name, hex(self.id), base64::encode(&key))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

/// A secret key with the name under which it signs notes.
#[derive(Debug)]
pub struct NoteSigner {
    name: String,
    key: SigningKey,
    id: [u8; 4],
}

impl NoteSigner {
    /// Names a key.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), id: key_hash(name, &key.verifying_key()), key })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier { name: self.name.clone(), key: self.key.verifying_key(), id: self.id }
    }

    /// Signs a text that ends in a newline and has no control character but newlines.
    ///
    /// # Errors
    /// [`NoteError::NotText`].
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        if !text.ends_with('\n') || !is_plain(text) {
            return Err(NoteError::NotText);
        }
        let mut signature = self.id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()));
        Ok(format!("{text}\n— {} {}\n", self.name, base64::encode(&signature)))
    }
}

/// A note as it was read. Nothing in it is to be believed before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`] for every other size or shape.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLarge(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if !is_plain(whole) {
            return Err(NoteError::NotText);
        }
        let (body, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::Shape)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Shape)?;
        // The newline that ends the text belongs to it; it was cut off with the separator.
        let text = whole.get(..body.len().saturating_add(1)).ok_or(NoteError::Shape)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        let signatures = lines
            .split('\n')
            .zip(1..)
            .map(|(line, number)| signature_line(line, number))
            .collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }

    /// The text, **not yet verified**.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Verifies the note and hands out its text.
    ///
    /// Signatures by unknown keys are ignored; every one by the pinned key must verify, and there must be one.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::Signature`].
    pub fn verify(&self, pinned: &NoteVerifier) -> Result<&'a str, NoteError> {
        let mut found = false;
        for one in self.signatures.iter().filter(|one| one.name == pinned.name) {
            let Some(signature) = one.bytes.strip_prefix(&pinned.id) else { continue };
            let signature = signature.try_into().map_err(|_| BadSignature)?;
            pinned.key.verify(self.text.as_bytes(), signature)?;
            found = true;
        }
        if found { Ok(self.text) } else { Err(NoteError::Unsigned(pinned.name.clone())) }
    }
}

fn signature_line(line: &str, number: usize) -> Result<NoteSignature<'_>, NoteError> {
    let bad = || NoteError::SignatureLine(number);
    let (name, encoded) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
    check_name(name).map_err(|_| bad())?;
    let bytes = base64::decode(encoded).filter(|bytes| bytes.len() > 4).ok_or_else(bad)?;
    Ok(NoteSignature { name, bytes })
}

/// Refuses names that a signature line or a verifier key cannot carry.
pub(crate) fn check_name(name: &str) -> Result<(), NoteError> {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME || name.contains(unfit) {
        return Err(NoteError::Name(name.chars().take(MAX_NAME).collect()));
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 || byte == b'\n')
}

fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = sha256_of(&[name.as_bytes(), b"\n", &[ED25519], &key.to_bytes()]);
    let [a, b, c, d, ..] = hash.into_bytes();
    [a, b, c, d]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}
