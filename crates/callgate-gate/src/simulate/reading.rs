//! Reading and unsealing receipts, which needs nothing of those before them: several threads share it.
//! What is made of them is folded afterwards, in the log's order.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::thread;

use callgate_core::decide::Ask;
use callgate_core::facts::Facts;
use callgate_core::state::{Change, Delta};
use callgate_log::hash::sha256;
use callgate_store::{Key, Keyring, ReceiptView};

use super::filter::Filter;
use super::library;
use super::recorded::Recorded;
use super::report::Reason;
use super::side::{self, Refused, refused};
use crate::vault::Unsealed;

/// How many receipts are read at once.
const RECEIPTS: usize = 4096;
/// How many bytes of them, unless one alone has more.
const BYTES: usize = 16 << 20;

/// Receipts that lie together, copied from where they were read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    receipts: Vec<Place>,
}

/// Where a receipt's parts begin and end.
#[derive(Debug)]
struct Place {
    index: u64,
    payload: usize,
    delta: usize,
    attachment: usize,
    end: usize,
}

impl Batch {
    pub(super) fn add(&mut self, receipt: ReceiptView<'_>) {
        let mut append = |part: &[u8]| {
            let begins = self.bytes.len();
            self.bytes.extend_from_slice(part);
            begins
        };
        let (payload, delta) = (append(receipt.payload), append(receipt.delta));
        let attachment = append(receipt.attachment);
        let end = self.bytes.len();
        self.receipts.push(Place { index: receipt.index, payload, delta, attachment, end });
    }

    pub(super) fn is_full(&self) -> bool {
        self.receipts.len() >= RECEIPTS || self.bytes.len() >= BYTES
    }

    /// Empty again; it keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.receipts.clear();
    }

    fn view(&self, place: &Place) -> ReceiptView<'_> {
        let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
        ReceiptView {
            index: place.index,
            payload: part(place.payload, place.delta),
            delta: part(place.delta, place.attachment),
            attachment: part(place.attachment, place.end),
        }
    }
}

/// A receipt that was read.
pub(super) struct Read<'a> {
    pub(super) receipt: ReceiptView<'a>,
    pub(super) found: Found<'a>,
}

/// What a receipt is to a simulation.
pub(super) enum Found<'a> {
    /// A decision that nobody asked for and nothing later depends on.
    PassedOver,
    /// The gate decided about itself.
    Control,
    /// A decision; whether it was asked for; and what it was decided on, unless it need not be made again.
    Decision { recorded: Box<Recorded<'a>>, wanted: bool, basis: Option<Result<Basis, Refused>> },
    /// What is no decision.
    Change(Delta),
    /// It cannot be read.
    Unreadable(String),
}

/// What a decision was made on.
pub(super) struct Basis {
    pub(super) record: Unsealed,
    pub(super) ask: Ask,
    pub(super) facts: Facts,
}

/// What is read, and how.
pub(super) struct Reader<'a> {
    pub(super) filter: &'a Filter,
    /// Whether decisions that nobody asked for are read, too.
    pub(super) remembers: bool,
    pub(super) keyring: &'a Keyring,
    pub(super) threads: usize,
}

impl Reader<'_> {
    /// Every receipt of the batch, in order.
    pub(super) fn read<'b>(&self, batch: &'b Batch) -> Vec<Read<'b>> {
        let share = batch.receipts.len().div_ceil(self.threads.max(1)).max(1);
        let part = |places: &'b [Place]| {
            let mut keys = HashMap::new();
            places.iter().map(|place| self.one(batch.view(place), &mut keys)).collect::<Vec<_>>()
        };
        let mut parts = batch.receipts.chunks(share);
        let Some(first) = parts.next() else { return Vec::new() };
        thread::scope(|scope| {
            let part = &part;
            let others: Vec<_> = parts.map(|places| scope.spawn(move || part(places))).collect();
            let mut all = part(first);
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            all
        })
    }

    fn one<'b>(&self, receipt: ReceiptView<'b>, keys: &mut Keys) -> Read<'b> {
        Read { receipt, found: self.find(receipt, keys) }
    }

    fn find<'b>(&self, receipt: ReceiptView<'b>, keys: &mut Keys) -> Found<'b> {
        if library::is_decision(receipt) {
            let in_time = library::time_of(receipt).is_none_or(|at| self.filter.is_in_time(at));
            return if in_time || self.remembers { self.decision(receipt, keys) } else { Found::PassedOver };
        }
        match serde_json::from_slice(receipt.delta) {
            Ok(Delta { change: Change::Decision(_), .. }) => self.decision(receipt, keys),
            Ok(delta) => Found::Change(delta),
            Err(e) => Found::Unreadable(format!("its state change cannot be read: {e}")),
        }
    }

    fn decision<'b>(&self, receipt: ReceiptView<'b>, keys: &mut Keys) -> Found<'b> {
        let recorded = match Recorded::read(receipt.payload) {
            Ok(recorded) => Box::new(recorded),
            Err(problem) => return Found::Unreadable(problem),
        };
        if recorded.is_control() {
            return Found::Control;
        }
        let wanted = self.filter.takes(&recorded);
        let basis = (wanted || self.remembers).then(|| self.basis(receipt, keys));
        Found::Decision { recorded, wanted, basis }
    }

    /// What is sealed beside a receipt.
    fn basis(&self, receipt: ReceiptView<'_>, keys: &mut Keys) -> Result<Basis, Refused> {
        let unreadable = |problem: String| (Reason::Unreadable, problem);
        let payload_sha256 = sha256(receipt.payload).into_bytes();
        let opened = Unsealed::open(receipt.attachment, &payload_sha256, |slot| self.key(slot, keys));
        let record = opened.map_err(unreadable)?.ok_or_else(|| refused(Reason::Erased))?;
        let (ask, facts) = side::read(&record).map_err(unreadable)?;
        Ok(Basis { record, ask, facts })
    }

    /// Receipts of one session lie close together. A key is kept for a batch at most, as it may be erased.
    fn key(&self, slot: u64, keys: &mut Keys) -> Result<Option<Key>, String> {
        if let Some(key) = keys.get(&slot) {
            return Ok(key.clone());
        }
        let key = self.keyring.slot_key(slot).map_err(|e| e.to_string())?;
        keys.insert(slot, key.clone());
        Ok(key)
    }
}

/// By slot; `None` where it was erased.
type Keys = HashMap<u64, Option<Key>>;
