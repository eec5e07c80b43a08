//! What an enforcement point does while its gate is away: a lease, and a journal of what ran on it.
//!
//! No record, no action: a permit is made only after the journal has the action durably, and only within what a
//! verified lease says. A folder that cannot be read or written, or that another program has, is closed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::state::unchecked::MAX_RECORDS;
use callgate_log::VerifyingKey;
use callgate_store::journal::{Journal, read_small, replace};
use callgate_store::{Fs, Lock, LockError};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::book::{Book, MAX_BYTES};
use super::lease::{KeptLease, Lease};
use super::refused::Refused;
use crate::permit::{Ground, Permit};
use crate::unchecked::wire::{Backlog, BacklogOutcome, Holding};

/// The lease that is kept.
const LEASE: &str = "lease.json";
/// What the gate did not let run lately.
const REFUSED: &str = "refused.json";
/// Held while a program uses the folder.
const LOCK: &str = "lock";
/// The journal that is written to.
const OPEN: (&str, &str) = ("open-", ".jsonl");
/// One that is handed in, and never written to again.
const CLOSING: (&str, &str) = ("closing-", ".jsonl");
/// What stands in place of a journal that is gone: nothing that can be read, a sector long.
const GONE: [u8; 512] = [b' '; 512];
/// How long a permit of a record is good, in milliseconds.
const PERMIT_MS: i64 = 10_000;

/// For whom an enforcement point speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The agent.
    pub agent: String,
    /// The constraints that the point enforces.
    pub enforces: BTreeSet<String>,
    /// The point's name.
    pub point: String,
    /// The agent's team.
    pub team: Option<String>,
    /// The agent's tenant.
    pub tenant: String,
}

/// A folder that cannot be used; the point fails closed.
#[derive(Debug, thiserror::Error)]
pub enum StopgapError {
    /// Another program has it.
    #[error("another enforcement point uses this folder; give each its own")]
    InUse,
    /// The system refused.
    #[error("the folder of the journal: {0}")]
    Io(#[from] std::io::Error),
}

/// A lease and journals in a folder.
pub struct Stopgap {
    fs: Arc<dyn Fs>,
    _lock: Box<dyn Lock>,
    pub(super) claim: Claim,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lease: Option<Lease>,
    /// The same as it is kept.
    kept: Option<KeptLease>,
    /// Why there is no lease.
    closed: Option<String>,
    open: Option<Book>,
    closing: Vec<Book>,
    /// Actions that ran unchecked since the program began.
    ran: u64,
    refused: Refused,
}

impl Held {
    /// The journals that say what ran.
    fn journals(&self) -> Vec<String> {
        self.closing.iter().chain(&self.open).map(|book| book.id.clone()).collect()
    }

    /// Why nothing may run while what ran before is not known.
    fn damaged(&self) -> Option<String> {
        let damaged = self.closing.iter().chain(&self.open).any(|book| book.damaged_bytes > 0);
        damaged
            .then(|| "a journal is damaged or gone, and the gate does not have what is left of it".to_owned())
    }
}

/// What people want to know of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) tier: Option<&'static str>,
    pub(super) lease_until_ms: Option<i64>,
    pub(super) closed: Option<String>,
    pub(super) ran: u64,
    pub(super) backlog: u64,
}

impl Held {
    /// The lease, if it holds and an action of that name may run on it.
    fn leased(&self, action: &str, now_ms: i64) -> Result<&Lease, String> {
        let none = || self.closed.clone().unwrap_or_else(|| "the gate gave no lease".to_owned());
        let lease = self.lease.as_ref().ok_or_else(none)?;
        if !lease.holds(now_ms) {
            return Err("the lease of the gate is over".to_owned());
        }
        if !lease.terms.names(action) {
            return Err(format!("the lease does not name `{action}`"));
        }
        if self.refused.names(action, now_ms) {
            return Err(format!("the gate did not let `{action}` run when it was asked last"));
        }
        Ok(lease)
    }
}

impl std::fmt::Debug for Stopgap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopgap").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl Stopgap {
    /// Opens the folder, with the lease and the journals that are there.
    ///
    /// # Errors
    /// [`StopgapError`]; without one the point fails closed.
    pub fn open(fs: Arc<dyn Fs>, claim: Claim, pinned: &VerifyingKey) -> Result<Self, StopgapError> {
        let lock = fs.lock(LOCK).map_err(|error| match error {
            LockError::Held(_) => StopgapError::InUse,
            LockError::Io(error) => StopgapError::Io(error),
        })?;
        let mut held = Held::default();
        match small::<KeptLease>(fs.as_ref(), LEASE) {
            Ok(None) => {}
            Ok(Some(kept)) => {
                mark_gone(fs.as_ref(), &kept.journals)?;
                match Lease::verify(&kept, pinned, &claim, None) {
                    Ok(lease) => (held.lease, held.kept) = (Some(lease), Some(kept)),
                    Err(problem) => held.closed = Some(format!("the kept lease: {problem}")),
                }
            }
            Err(problem) => held.closed = Some(format!("the kept lease: {problem}")),
        }
        match small::<Refused>(fs.as_ref(), REFUSED) {
            Ok(refused) => held.refused = refused.unwrap_or_default(),
            // What the gate refused is not known any more: the lease is not worth anything.
            Err(problem) => {
                (held.lease, held.kept, held.closed) = (None, None, Some(format!("`{REFUSED}`: {problem}")));
            }
        }
        for name in fs.list("")? {
            if let Some(id) = named(&name, CLOSING) {
                held.closing.push(book(fs.as_ref(), &name, id)?);
            } else if let Some(id) = named(&name, OPEN) {
                let book = book(fs.as_ref(), &name, id)?;
                // More than one can be written to by nobody; a failed write may leave one that is empty.
                if let Some(other) = held.open.replace(book) {
                    fs.rename(&path(&other.id, OPEN), &path(&other.id, CLOSING))?;
                    held.closing.push(other);
                }
            }
        }
        Ok(Self { fs, _lock: lock, claim, held: Mutex::new(held) })
    }

    /// How long to wait for the gate, by the lease that holds.
    pub(super) fn deadline_ms(&self, now_ms: i64) -> Option<u64> {
        let held = self.held.lock();
        held.lease.as_ref().filter(|lease| lease.holds(now_ms)).map(|lease| lease.terms.deadline_ms)
    }

    /// Whether an action of that name could begin now, room in the window aside.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn goes_on(&self, action: &str, now_ms: i64) -> Result<(), String> {
        self.held.lock().leased(action, now_ms).map(|_| ())
    }

    /// The permit of an action that nobody decides: the lease covers it, its window has room, and the journal has it.
    ///
    /// # Errors
    /// Why it may not run.
    pub(super) fn permit(&self, request: &Request, fresh_id: &str, now_ms: i64) -> Result<Permit, String> {
        let mut held = self.held.lock();
        let lease = held.leased(request.action_name(), now_ms)?.clone();
        let constraints = lease.covers(request)?;
        let text = takeable(request)?;
        if let Some(why) = held.damaged() {
            return Err(why);
        }
        let window = i64::try_from(lease.terms.window_ms).unwrap_or(i64::MAX);
        let since = now_ms.saturating_sub(window);
        let ran = held.open.iter().chain(&held.closing).map(|book| book.ran_since(since));
        if ran.fold(0u64, u64::saturating_add) >= lease.terms.max_actions {
            let most = lease.terms.max_actions;
            return Err(format!("{most} action(s) ran unchecked within the window, and no more may"));
        }
        if held.open.is_none() {
            let path = path(fresh_id, OPEN);
            let journal = Journal::create(self.fs.as_ref(), &path, fresh_id).map_err(|e| e.to_string())?;
            held.open = Some(Book::new(fresh_id.to_owned(), journal));
        }
        self.name(&mut held)?;
        let book = held.open.as_mut().ok_or("there is no journal")?;
        if book.actions.len() >= MAX_RECORDS {
            return Err(format!("the journal has {MAX_RECORDS} actions, which is all that can be handed in"));
        }
        let line = book.ran(now_ms, lease.index, text).map_err(|e| e.to_string())?;
        held.ran = held.ran.saturating_add(1);
        let until = now_ms.saturating_add(PERMIT_MS);
        Ok(Permit::new(Ground::Unchecked(line), request.action_digest(), constraints, until))
    }

    /// Writes beside the lease which journals there are, unless that is written: what is not missed when it is gone is
    /// not begun.
    fn name(&self, held: &mut Held) -> Result<(), String> {
        let journals = held.journals();
        let Some(kept) = held.kept.as_ref().filter(|kept| kept.journals != journals) else { return Ok(()) };
        let kept = KeptLease { journals, ..kept.clone() };
        let text = serde_json::to_vec(&kept).map_err(|e| e.to_string())?;
        let written = replace(self.fs.as_ref(), LEASE, &text);
        written.map_err(|e| format!("the journal cannot be named beside the lease: {e}"))?;
        held.kept = Some(kept);
        Ok(())
    }

    /// Writes how an action ended that ran unchecked.
    ///
    /// # Errors
    /// Why that cannot be written; the gate is told of it all the same while this program runs.
    pub(super) fn ended(&self, line: u64, outcome: BacklogOutcome) -> Result<(), String> {
        let mut held = self.held.lock();
        let book =
            held.open.as_mut().filter(|book| book.has(line)).ok_or("the journal has no such record")?;
        book.ended(line, outcome).map_err(|e| e.to_string())
    }

    /// Takes a lease that was granted now.
    ///
    /// # Errors
    /// Why it is none, or cannot be kept: a lease that a restart would forget is none.
    pub(super) fn grant(
        &self,
        kept: &KeptLease,
        pinned: &VerifyingKey,
        asked_at_ms: i64,
    ) -> Result<(), String> {
        let lease = Lease::verify(kept, pinned, &self.claim, Some(asked_at_ms))?;
        let mut held = self.held.lock();
        if !held.refused.is_empty() {
            self.keep_refused(&held.refused)?;
        }
        let kept = KeptLease { journals: held.journals(), ..kept.clone() };
        let text = serde_json::to_vec(&kept).map_err(|e| e.to_string())?;
        replace(self.fs.as_ref(), LEASE, &text).map_err(|e| format!("the lease cannot be kept: {e}"))?;
        (held.lease, held.kept, held.closed) = (Some(lease), Some(kept), None);
        Ok(())
    }

    /// Remembers that the gate did not let an action run. What cannot be remembered costs the lease.
    pub(super) fn refused(&self, action: &str, now_ms: i64, span_ms: i64) -> Result<(), String> {
        let mut held = self.held.lock();
        if held.refused.note(action, now_ms, span_ms)
            && held.lease.is_some()
            && let Err(problem) = self.keep_refused(&held.refused)
        {
            (held.lease, held.kept, held.closed) = (None, None, Some(problem));
            return self.unkept();
        }
        Ok(())
    }

    fn keep_refused(&self, refused: &Refused) -> Result<(), String> {
        let text = serde_json::to_vec(refused).map_err(|e| e.to_string())?;
        replace(self.fs.as_ref(), REFUSED, &text)
            .map_err(|e| format!("what the gate refused cannot be written down: {e}"))
    }

    /// Gives the lease up, here and in the folder.
    ///
    /// # Errors
    /// It is given up here, and a restart would find it again: it still ends by itself.
    pub(super) fn forgo(&self, why: &str) -> Result<(), String> {
        let mut held = self.held.lock();
        (held.lease, held.kept) = (None, None);
        held.closed = Some(why.to_owned());
        self.unkept()
    }

    /// No lease is in the folder.
    fn unkept(&self) -> Result<(), String> {
        let gone = match read_small(self.fs.as_ref(), LEASE) {
            Ok(None) => return Ok(()),
            _ => self.fs.remove(LEASE).and_then(|()| self.fs.sync_dir("")),
        };
        gone.map_err(|e| format!("the lease cannot be removed: {e}"))
    }

    /// What the lease says, unless it is to be renewed; `snapshot` is what the gate decides by now.
    pub(super) fn holding(&self, now_ms: i64, snapshot: Option<&str>) -> Option<Holding> {
        let held = self.held.lock();
        let fresh = |lease: &&Lease| {
            let same = snapshot.is_none_or(|snapshot| snapshot == lease.snapshot);
            same && lease.holds(now_ms) && !lease.is_half_over(now_ms)
        };
        let lease = held.lease.as_ref().filter(fresh)?;
        Some(Holding { terms: lease.terms.clone(), tier: lease.tier })
    }

    /// The next journal to hand in, from its first action; `None` while there is none, or one of its actions runs.
    ///
    /// # Errors
    /// Why it cannot be handed in.
    pub(super) fn begin_handing_in(&self) -> Result<Option<String>, String> {
        let mut held = self.held.lock();
        if held.closing.is_empty() {
            let Some(book) = held.open.take_if(|book| !book.is_running()) else { return Ok(None) };
            let (from, to) = (path(&book.id, OPEN), path(&book.id, CLOSING));
            let renamed = self.fs.rename(&from, &to).and_then(|()| self.fs.sync_dir(""));
            match renamed {
                // Gone behind this program's back, which knows what it wrote.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    held.open = Some(book);
                    return Err(format!("the journal cannot be handed in: {error}"));
                }
                _ => held.closing.push(book),
            }
        }
        Ok(held.closing.first().map(|book| book.id.clone()))
    }

    /// A part of a journal that is handed in.
    pub(super) fn part(&self, id: &str, first: usize, most: usize) -> Result<Backlog, String> {
        let held = self.held.lock();
        let book = held.closing.iter().find(|book| book.id == id).ok_or("the journal is gone")?;
        let records = book.part(first, most)?;
        let Claim { agent, point, tenant, .. } = self.claim.clone();
        let complete = first.saturating_add(records.len()) >= book.actions.len();
        let damaged_bytes = book.damaged_bytes;
        Ok(Backlog { agent, complete, damaged_bytes, journal: id.to_owned(), point, records, tenant })
    }

    /// The gate has a journal whole. The lease goes first: what counted against it is counted by the gate from now
    /// on, and the next lease says so.
    pub(super) fn handed_in(&self, id: &str) -> Result<(), String> {
        self.forgo("what ran unchecked was handed in; the next lease is not there yet")?;
        let mut held = self.held.lock();
        match self.fs.remove(&path(id, CLOSING)).and_then(|()| self.fs.sync_dir("")) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(format!("the journal that was handed in cannot be removed: {e}"));
            }
            _ => {}
        }
        held.closing.retain(|book| book.id != id);
        Ok(())
    }

    /// What people want to know.
    pub(super) fn told(&self, now_ms: i64) -> Told {
        let held = self.held.lock();
        let lease = held.lease.as_ref().filter(|lease| lease.holds(now_ms));
        let backlog = held.open.iter().chain(&held.closing).map(|book| book.actions.len()).sum::<usize>();
        let stopped = held.open.as_ref().and_then(Book::stopped).map(str::to_owned);
        Told {
            tier: lease.map(|lease| lease.tier.as_str()),
            lease_until_ms: lease.map(|lease| lease.until_ms),
            closed: stopped
                .or_else(|| held.damaged())
                .or_else(|| held.closed.clone().filter(|_| lease.is_none())),
            ran: held.ran,
            backlog: u64::try_from(backlog).unwrap_or(u64::MAX),
        }
    }
}

/// The text of a request that the gate will be able to take: one that it could not read would stand in the way of
/// everything behind it in the journal.
fn takeable(request: &Request) -> Result<String, String> {
    let text = request.canonical();
    if text.len() > MAX_BYTES {
        return Err(format!("the request is longer than the {MAX_BYTES} bytes that can be handed in later"));
    }
    match Request::parse(text.as_bytes(), &Limits::REQUEST) {
        Ok(read) if read.canonical() == text => Ok(text),
        Ok(_) => Err("the gate would read another request than this one".to_owned()),
        Err(problem) => Err(format!("the gate could not read the request: {problem}")),
    }
}

fn path(id: &str, (before, after): (&str, &str)) -> String {
    format!("{before}{id}{after}")
}

fn named<'a>(name: &'a str, (before, after): (&str, &str)) -> Option<&'a str> {
    name.strip_prefix(before)?.strip_suffix(after)
}

fn book(fs: &dyn Fs, name: &str, id: &str) -> Result<Book, StopgapError> {
    let (journal, found) = Journal::open(fs, name, id)?;
    Ok(Book::read(id.to_owned(), journal, found))
}

/// Puts something that says nothing in place of each journal that is gone, so that it is handed in as damaged.
fn mark_gone(fs: &dyn Fs, journals: &[String]) -> Result<(), StopgapError> {
    let there = fs.list("")?;
    for id in journals {
        let (open, closing) = (path(id, OPEN), path(id, CLOSING));
        if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            if !there.contains(&open) && !there.contains(&closing) {
                replace(fs, &closing, &GONE)?;
            }
        } else {
            return Err(std::io::Error::from(ErrorKind::InvalidData).into());
        }
    }
    Ok(())
}

/// What a small file says, if it is there.
fn small<T: DeserializeOwned>(fs: &dyn Fs, path: &str) -> Result<Option<T>, String> {
    let bytes = read_small(fs, path).map_err(|e| e.to_string())?;
    bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string())).transpose()
}
