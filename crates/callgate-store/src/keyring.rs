//! Keys that can be erased: dropping one makes everything sealed under it unreadable, for ever, in every copy of the log.
//!
//! Files of 1,024 slots, each made whole and synced before it gets its name, so that giving a session a key costs no
//! sync. Who has which slot is recorded in the log, by the caller. Erasing overwrites the slot in place and syncs. What a
//! solid-state disk, a copy-on-write file system, a snapshot or a backup keeps of the old bytes is beyond this file's
//! reach: keep `keyring/` out of backups that outlive an erasure, or on a disk whose own key can be dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::error::KeyringError;
use crate::fs::{File, Fs};
use crate::random::Random;
use crate::seal::Key;

const DIR: &str = "keyring";
const MAGIC: [u8; 8] = *b"CGKEYS\x00\x01";
/// Bytes of a file before its slots.
const HEADER: u64 = 512;
/// Slots in a file.
const SLOTS: u64 = 1024;
/// Bytes of a slot.
const SLOT: usize = 64;
/// The most files that are kept open.
const OPEN: usize = 64;
/// Length of a file.
const FILE_LEN: u64 = HEADER + SLOTS * 64;

/// The state word of a slot that holds a key.
const LIVE: u32 = 1;
/// The state word of a slot whose key is gone for good.
const ERASED: u32 = 2;

/// All keys of a data folder.
pub struct Keyring {
    fs: Arc<dyn Fs>,
    random: Arc<dyn Random>,
    /// Held while files are made.
    making: Mutex<()>,
    /// How many files there are.
    count: AtomicU64,
    /// The files that were used last: a program may open only so many.
    open: Mutex<VecDeque<(u64, Arc<dyn File>)>>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("slots", &self.slots()).finish_non_exhaustive()
    }
}

fn path(number: u64) -> String {
    format!("{DIR}/{number:08}.keys")
}

fn io_error(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> KeyringError {
    let file = file.to_owned();
    move |source| KeyringError::Io { operation, file, source }
}

impl Keyring {
    /// Opens the keyring, or makes it with its first keys. The owner of the data folder's lock may call this, nobody else.
    ///
    /// # Errors
    /// When a file is missing or none of its files, or the system refuses.
    pub fn open(fs: Arc<dyn Fs>, random: Arc<dyn Random>) -> Result<Self, KeyringError> {
        fs.create_dir(DIR).map_err(io_error("make", DIR))?;
        fs.sync_dir("").map_err(io_error("sync", DIR))?;
        let names = fs.list(DIR).map_err(io_error("list", DIR))?;
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            fs.remove(&format!("{DIR}/{name}")).map_err(io_error("remove", name))?;
        }
        let count = names.iter().filter(|name| name.ends_with(".keys")).count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        for number in 1..=count {
            check_file(fs.as_ref(), number)?;
        }
        // The newest name may not be durable, if the program was killed before it was synced.
        fs.sync_dir(DIR).map_err(io_error("sync", DIR))?;
        let keyring = Self {
            fs,
            random,
            making: Mutex::default(),
            count: AtomicU64::new(count),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
        };
        keyring.ensure(0)?;
        Ok(keyring)
    }

    /// Number of slots that are ready.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.count.load(Ordering::Acquire).saturating_mul(SLOTS)
    }

    /// Makes slots until `slot` is ready. Costs a few syncs per 1,024 slots: call it ahead of need, off the path of a
    /// decision, with a slot some hundreds beyond the newest one in use.
    ///
    /// # Errors
    /// When there is no randomness or the system refuses; the slots made so far stay.
    pub fn ensure(&self, slot: u64) -> Result<(), KeyringError> {
        if slot < self.slots() {
            return Ok(());
        }
        if self.stopped.load(Ordering::Acquire) {
            return Err(KeyringError::Stopped);
        }
        let _making = self.making.lock();
        while self.slots() <= slot {
            let number = self.count.load(Ordering::Acquire).saturating_add(1);
            let file = self.make_file(number)?;
            self.keep_open(number, file.into());
            self.count.store(number, Ordering::Release);
        }
        Ok(())
    }

    /// The key in a slot; `None` when it was erased.
    ///
    /// # Errors
    /// When there is no such slot, it is damaged, or the system refuses.
    pub fn slot_key(&self, slot: u64) -> Result<Option<Key>, KeyringError> {
        let (number, offset) = place(slot);
        let mut bytes = Zeroizing::new([0; SLOT]);
        self.with_file(slot, |file| file.read_at(bytes.as_mut(), offset))?
            .map_err(io_error("read", &path(number)))?;
        decode(slot, &bytes).ok_or_else(|| KeyringError::Damaged { slot, file: path(number) })
    }

    /// Erases the key in a slot for good. It is gone only when this succeeds; after an error, restart and erase again,
    /// even if the slot then reads as erased.
    ///
    /// # Errors
    /// When there is no such slot, or the write or its sync fails; the keyring then refuses further changes.
    pub fn erase(&self, slot: u64) -> Result<(), KeyringError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(KeyringError::Stopped);
        }
        let (number, offset) = place(slot);
        let bytes = encode(slot, ERASED, &[0; 32]);
        let (written, synced) = self.with_file(slot, |file| {
            let written = file.write_at(bytes.as_ref(), offset);
            let synced = if written.is_ok() { file.sync_data() } else { Ok(()) };
            (written, synced)
        })?;
        if written.is_err() || synced.is_err() {
            self.stopped.store(true, Ordering::Release);
        }
        written.map_err(io_error("write", &path(number)))?;
        synced.map_err(io_error("sync", &path(number)))
    }

    fn with_file<R>(&self, slot: u64, call: impl FnOnce(&dyn File) -> R) -> Result<R, KeyringError> {
        if slot >= self.slots() {
            return Err(KeyringError::NoSlot(slot));
        }
        let (number, _) = place(slot);
        let held =
            self.open.lock().iter().find(|(held, _)| *held == number).map(|(_, file)| Arc::clone(file));
        if let Some(file) = held {
            return Ok(call(file.as_ref()));
        }
        let name = path(number);
        let file: Arc<dyn File> = self.fs.open(&name).map_err(io_error("open", &name))?.into();
        let out = call(file.as_ref());
        self.keep_open(number, file);
        Ok(out)
    }

    fn keep_open(&self, number: u64, file: Arc<dyn File>) {
        let mut open = self.open.lock();
        if open.len() >= OPEN {
            open.pop_front();
        }
        open.push_back((number, file));
    }

    /// Makes a file of fresh keys. A crash at any moment leaves either no file of that name or a whole one.
    fn make_file(&self, number: u64) -> Result<Box<dyn File>, KeyringError> {
        let (name, unfinished) = (path(number), format!("{}.tmp", path(number)));
        let bytes = self.fresh(number).map_err(KeyringError::Random)?;
        let file = self.fs.create(&unfinished).map_err(io_error("make", &unfinished))?;
        file.write_at(&bytes, 0).map_err(io_error("write", &unfinished))?;
        file.sync_data().map_err(io_error("sync", &unfinished))?;
        self.fs.rename(&unfinished, &name).map_err(io_error("rename", &unfinished))?;
        self.fs.sync_dir(DIR).map_err(io_error("sync", DIR))?;
        Ok(file)
    }

    fn fresh(&self, number: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(FILE_LEN).unwrap_or(0)));
        bytes.extend_from_slice(&header(number));
        let first = number.saturating_sub(1).saturating_mul(SLOTS);
        for slot in first..first.saturating_add(SLOTS) {
            let mut key = Zeroizing::new([0; 32]);
            self.random.fill(key.as_mut())?;
            bytes.extend_from_slice(encode(slot, LIVE, &key).as_ref());
        }
        Ok(bytes)
    }
}

/// The number of a slot's file, and its byte offset there.
fn place(slot: u64) -> (u64, u64) {
    let number = slot.checked_div(SLOTS).unwrap_or(0).saturating_add(1);
    let within = slot.checked_rem(SLOTS).unwrap_or(0);
    (number, HEADER.saturating_add(within.saturating_mul(64)))
}

fn check_file(fs: &dyn Fs, number: u64) -> Result<(), KeyringError> {
    let name = path(number);
    let file = match fs.open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyringError::File { file: name });
        }
        other => other.map_err(io_error("open", &name))?,
    };
    let mut found = [0; 512];
    let whole = file.len().map_err(io_error("read", &name))? == FILE_LEN;
    if whole {
        file.read_at(&mut found, 0).map_err(io_error("read", &name))?;
    }
    if found.as_slice() == header(number) { Ok(()) } else { Err(KeyringError::File { file: name }) }
}

/// Magic, number, checksum, zeros.
fn header(number: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.resize(512, 0);
    bytes
}

/// State word, key, zeros, and a checksum seeded with the slot's number: neither zeros nor another slot pass for one.
fn encode(slot: u64, state: u32, key: &[u8; 32]) -> Zeroizing<[u8; SLOT]> {
    let mut bytes = Zeroizing::new([0; SLOT]);
    let fields = state.to_le_bytes().into_iter().chain(key.iter().copied());
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    let crc = checksum(slot, bytes.split_last_chunk::<4>().map_or(&[], |(covered, _)| covered));
    bytes.iter_mut().skip(60).zip(crc.to_le_bytes()).for_each(|(byte, crc)| *byte = crc);
    bytes
}

fn checksum(slot: u64, covered: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&slot.to_le_bytes()), covered)
}

/// `None` when damaged; `Some(None)` when erased.
#[expect(clippy::option_option, reason = "damaged, erased and live are told apart once, right above")]
fn decode(slot: u64, bytes: &[u8; SLOT]) -> Option<Option<Key>> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let (state, rest) = covered.split_first_chunk::<4>()?;
    let (key, _) = rest.split_first_chunk::<32>()?;
    if checksum(slot, covered) != u32::from_le_bytes(*crc) {
        return None;
    }
    match u32::from_le_bytes(*state) {
        LIVE => Some(Some(Key::new(*key))),
        ERASED => Some(None),
        _ => None,
    }
}
