//! The judge: holds what was done against the log, and knows nothing else.
//!
//! It reads the log from disk as `callgate log verify` does, under a key that was pinned before anything broke, and
//! asks of every effect in the ledger which receipt allowed exactly it, or tells of exactly it as of what ran unchecked.
//! No receipt serves twice. It must never ask a gate, nor share its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_gate::Identity;
use callgate_log::hash::domain;
use callgate_log::statement::{Body, Decision};
use callgate_log::verify::{Event, LogVerifier};
use callgate_log::{Checkpoint, Hash, Statement, VerifyingKey, salted, sha256};
use callgate_store::{Fs, Keyring, LogReader, OsRandom, SealedHeader, StoredReceipt, unseal};
use serde_json::Value;

use crate::call::{AGENT, LEASED, SERVER, action_of};
use crate::ledger::Effect;
use crate::trouble::Trouble;
use crate::unchecked::Unchecked;

/// How long after its receipt expired an action that was begun in time may still reach the protected thing.
pub(crate) const ON_THE_WAY_MS: i64 = 5_000;
/// Two programs that count whole milliseconds, from moments of their own, may be one apart.
const TICK_MS: i64 = 1;

/// Whether times in the log and in the ledger are of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Both are the machine's.
    Machine,
    /// The gate's clock was set by hand, so that its times say nothing about the ledger's.
    ByHand,
}

/// What the judge found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finding {
    /// Receipts in the log that allow something.
    pub(crate) allows: u64,
    /// Receipts in the log of what ran unchecked.
    pub(crate) unchecked: u64,
    /// Effects whose record was destroyed, of which the log says so.
    pub(crate) told: u64,
    /// What is wrong, for people.
    pub(crate) wrong: Vec<String>,
}

/// An allow that verified.
struct Allow {
    index: u64,
    salt: [u8; 32],
    subject: Hash,
    issued_ms: i64,
    expires_ms: i64,
    used: bool,
}

/// Allows by the action that their sealed request names.
type Allows = BTreeMap<String, Vec<Allow>>;

/// What the log says.
#[derive(Default)]
struct Log {
    allows: Allows,
    unchecked: Unchecked,
}

/// What is known of how calls ran, besides what was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grounds {
    /// Calls that were answered as run by a decision.
    pub(crate) decided: BTreeSet<u64>,
    /// Calls that were answered as run unchecked.
    pub(crate) unchecked: BTreeSet<u64>,
    /// Calls whose record the suite destroyed.
    pub(crate) destroyed: BTreeSet<u64>,
    /// Calls whose lease the suite destroyed as well.
    pub(crate) erased: BTreeSet<u64>,
    /// Whether the log must say that a journal was damaged; otherwise it must not.
    pub(crate) damaged: bool,
}

impl Grounds {
    /// A call was answered as run.
    pub(crate) fn answered(&mut self, n: u64, unchecked: bool) {
        if unchecked {
            self.unchecked.insert(n)
        } else {
            self.decided.insert(n)
        };
    }
}

/// Where the judge reads.
#[derive(Clone)]
pub(crate) struct Evidence {
    /// The data folder.
    pub(crate) fs: Arc<dyn Fs>,
    /// A copy from before something was lost, whose key ring opens what was sealed until then.
    pub(crate) before: Option<Arc<dyn Fs>>,
}

/// Holds the ledger against the log.
pub(crate) fn audit(
    evidence: &Evidence,
    key: &VerifyingKey,
    effects: &[Effect],
    (times, grounds): (Times, &Grounds),
) -> Finding {
    let mut finding = Finding::default();
    let mut log = read(evidence, key).unwrap_or_else(|trouble| {
        finding.wrong.push(format!("the log does not verify: {trouble}"));
        Log::default()
    });
    finding.allows = log.allows.values().map(|same| u64::try_from(same.len()).unwrap_or(u64::MAX)).sum();
    finding.unchecked = log.unchecked.count();
    finding.wrong.extend(log.unchecked.broken());
    if log.unchecked.tells_of_damage() != grounds.damaged {
        let not = if grounds.damaged { " not" } else { "" };
        finding.wrong.push(format!("the log does{not} say that a journal was damaged"));
    }
    for effect in effects {
        match log.ground(effect, times, grounds) {
            Ok(false) => {}
            Ok(true) => finding.told = finding.told.saturating_add(1),
            Err(problem) => {
                let (tool, args) = (&effect.tool, &effect.args);
                finding.wrong.push(format!("`{SERVER}.{tool}` ran with {args}: {problem}"));
            }
        }
    }
    finding
}

impl Log {
    /// Finds what an effect ran on, and uses that up. `true`: nothing but word of a record that was destroyed.
    fn ground(&mut self, effect: &Effect, times: Times, grounds: &Grounds) -> Result<bool, String> {
        let is_in = |set: &BTreeSet<u64>| effect.n().is_some_and(|n| set.contains(&n));
        // A call that was answered both ways ran more than once.
        let (decided, unchecked) = (is_in(&grounds.decided), is_in(&grounds.unchecked));
        let allowed = if unchecked && !decided {
            Err("it ran unchecked".to_owned())
        } else {
            covered(effect, &mut self.allows, times)
        };
        let Err(problem) = allowed else { return Ok(false) };
        if decided && !unchecked {
            return Err(problem);
        }
        let Err(unchecked) = self.unchecked.covers(effect) else { return Ok(false) };
        let destroyed = is_in(&grounds.destroyed) && self.unchecked.tells_of_damage();
        if destroyed || (is_in(&grounds.erased) && self.unchecked.bounds(effect)) {
            return Ok(true);
        }
        Err(format!("{problem}, and {unchecked}"))
    }
}

/// Finds the one receipt that allowed exactly this, and uses it up.
fn covered(effect: &Effect, allows: &mut Allows, times: Times) -> Result<(), String> {
    let action = action_of(&effect.tool, &effect.args).map_err(|e| e.to_string())?;
    let same = allows.get_mut(&action).ok_or("no receipt allows it")?;
    let exact = |allow: &&mut Allow| allow.subject == salted(&allow.salt, domain::ACTION, action.as_bytes());
    let exact: Vec<&mut Allow> = same.iter_mut().filter(exact).collect();
    if exact.is_empty() {
        return Err("the digest of its receipt is of another action".to_owned());
    }
    let mut late = None;
    for allow in exact.into_iter().filter(|allow| !allow.used) {
        let issued = allow.issued_ms.saturating_sub(TICK_MS);
        let in_time = (issued..=allow.expires_ms.saturating_add(ON_THE_WAY_MS)).contains(&effect.at_ms);
        if times == Times::ByHand || in_time {
            allow.used = true;
            return Ok(());
        }
        late = Some(allow.index);
    }
    Err(match late {
        Some(index) => format!("it ran before receipt {index} was issued, or after that had expired"),
        None => "its only receipt allowed another one that ran".to_owned(),
    })
}

fn read(Evidence { fs, before }: &Evidence, key: &VerifyingKey) -> Result<Log, Trouble> {
    let broken = Trouble::at("callgate log verify");
    let origin = Identity::origin_of(key);
    let mut verifier = LogVerifier::new(key, Some(&origin));
    // The signed note beside the log attests a length that the log must have.
    let beside = LogReader::beside(fs.as_ref()).map_err(Trouble::at("the note beside the log"))?;
    if let Some(note) = beside.filter(|note| Checkpoint::open(note, key, Some(&origin)).is_ok()) {
        verifier = verifier.with_checkpoint(&note).map_err(&broken)?;
    }
    let mut reader = LogReader::new(Arc::clone(fs));
    let mut kept = Vec::new();
    while let Some(group) = reader.next_group().map_err(Trouble::at("the log's bytes"))? {
        for StoredReceipt { payload, signature, delta, .. } in &group {
            verifier.push(Event::Receipt { payload, signature, delta }).map_err(&broken)?;
        }
        if let Some(last) = group.last() {
            verifier.push(Event::Checkpoint { note: &last.checkpoint }).map_err(&broken)?;
        }
        kept.extend(group);
    }
    verifier.finish().map_err(&broken)?;
    let ring = |fs: &Arc<dyn Fs>| {
        Keyring::open(Arc::clone(fs), Arc::new(OsRandom)).map_err(Trouble::at("the key ring"))
    };
    let (ring, older) = (ring(fs)?, before.as_ref().map(ring).transpose()?);
    let mut log = Log::default();
    for receipt in &kept {
        let statement = Statement::parse(&receipt.payload).map_err(Trouble::at("a receipt"))?;
        let decision = match statement.body() {
            Body::Decision(decision) => decision,
            Body::Admin(admin) => {
                log.unchecked.told(receipt.index, admin);
                continue;
            }
            _ => continue,
        };
        if !decision.decision.may_have_run() || ![AGENT, LEASED].contains(&decision.agent.id.as_str()) {
            continue;
        }
        let opened = open(receipt, &ring);
        let opened = match &older {
            Some(older) => opened.or_else(|_| open(receipt, older)),
            None => opened,
        }?;
        let subject = *statement.subject_digest();
        if decision.decision.permits() {
            let allow = allow(receipt.index, opened.salt, subject, decision);
            log.allows.entry(opened.action).or_default().push(allow);
        } else {
            log.unchecked.ran(receipt.index, opened, subject, decision);
        }
    }
    Ok(log)
}

fn allow(index: u64, salt: [u8; 32], subject: Hash, decision: &Decision) -> Allow {
    let (issued_ms, expires_ms) = (decision.issued_at_ms.get(), decision.expires_at_ms.get());
    Allow { index, salt, subject, issued_ms, expires_ms, used: false }
}

/// What lies sealed beside a receipt.
pub(crate) struct Opened {
    /// The action that the request names.
    pub(crate) action: String,
    /// What policy calls it.
    pub(crate) name: String,
    /// The salt of the receipt's digests.
    pub(crate) salt: [u8; 32],
}

/// Opens it.
fn open(receipt: &StoredReceipt, ring: &Keyring) -> Result<Opened, Trouble> {
    let short = || Trouble::new(format!("what lies beside receipt {} is too short", receipt.index));
    let (1, sealed) = receipt.attachment.split_first().ok_or_else(short)? else {
        return Err(Trouble::new(format!(
            "the request of receipt {} is not sealed beside it",
            receipt.index
        )));
    };
    let header = SealedHeader::read(sealed).ok_or_else(short)?;
    let key = ring.slot_key(header.slot).map_err(Trouble::at("the key ring"))?;
    let key = key.ok_or_else(|| Trouble::new("the key of a sealed request is erased"))?;
    let bound = sha256(&receipt.payload).into_bytes();
    let plain = unseal(&key, &bound, sealed).map_err(Trouble::at("a sealed request"))?;
    let (_, rest) = plain.split_first().ok_or_else(short)?;
    let (salt, rest) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| short())?;
    let request = rest.get(..length).ok_or_else(short)?;
    let request = Request::parse(request, &Limits::REQUEST).map_err(Trouble::at("a sealed request"))?;
    Ok(Opened { action: request.action_bytes(), name: request.action_name().to_owned(), salt: *salt })
}

/// What the calls' answers said, held against what was done.
pub(crate) fn contradicted(said: &BTreeMap<u64, Said>, effects: &[Effect]) -> Vec<String> {
    let mut done: BTreeMap<u64, u64> = BTreeMap::new();
    for effect in effects {
        let count = done.entry(effect.n().unwrap_or(u64::MAX)).or_default();
        *count = count.saturating_add(1);
    }
    let mut wrong = Vec::new();
    for (n, said) in said {
        let done = done.get(n).copied().unwrap_or(0);
        if said.ran > done {
            wrong.push(format!("call {n} was answered as run {} time(s) and ran {done}", said.ran));
        }
        if said.ran == 0 && said.unknown == 0 && done > 0 {
            wrong.push(format!("call {n} was refused and ran all the same"));
        }
    }
    wrong
}

/// What the answers to one call said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    pub(crate) ran: u64,
    pub(crate) refused: u64,
    /// No answer, or one that cannot know.
    pub(crate) unknown: u64,
}

/// The text of a value that must be one.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}
