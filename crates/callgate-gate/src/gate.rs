//! The gate handle: one object that every enforcement point shares.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use callgate_core::decide::Ask;
use callgate_core::finding::{Finding, Judge};
use callgate_core::history::Monitor;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::Conflict;
use callgate_log::keys::VerifyingKey;
use callgate_policy::Bundle;
use callgate_store::{
    CommitError, Fs, Keyring, Options, Random, ReadError, Recovery, SegmentStore, StoredReceipt,
};
use tokio::time::Instant;

use crate::Credential;
use crate::clock::Clock;
use crate::commit::{Arrived, Attempt, Tried, unavailable};
use crate::error::{OpenError, Unavailable};
use crate::fold::GateState;
use crate::gather;
use crate::identity::Identity;
use crate::permit::Permit;
use crate::receipt::Letterhead;
use crate::reply::Reply;
use crate::vault::Vault;

/// How often one request is decided again because its session moved on meanwhile.
const MAX_ATTEMPTS: usize = 256;

/// Settings of a gate.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// How long a decision may take, commit included; 2 s.
    pub deadline: Duration,
    /// Bounds on a request.
    pub limits: Limits,
    /// Length of a log segment in bytes; 16 MiB.
    pub segment_bytes: u64,
    /// See [`callgate_store::Options::discard_damaged_tail`].
    pub discard_damaged_tail: bool,
    /// Open a data folder that has no policy yet, for its registry; whatever is asked is denied.
    pub without_policy: bool,
    /// Whom rules with `judge` ask; without one they answer what they say for that case.
    pub judge: Option<Arc<dyn Judge>>,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            limits: Limits::REQUEST,
            segment_bytes: 16 << 20,
            discard_damaged_tail: false,
            without_policy: false,
            judge: None,
        }
    }
}

/// What arrives at the gate.
#[derive(Debug)]
pub enum Asked {
    /// The wire form of a request, or anything else that came in its place.
    Bytes(Vec<u8>),
    /// A request an enforcement point built from types.
    Request(Box<Request>),
}

/// A decision, receipted and durable.
#[derive(Debug)]
pub struct Decided {
    /// What goes back to whoever asked.
    pub reply: Reply,
    /// The right to run the action, for an allow.
    pub permit: Option<Permit>,
}

/// A gate that opened.
#[derive(Debug)]
pub struct Opened {
    /// The gate.
    pub gate: Arc<Gate>,
    /// What was found on disk.
    pub recovery: Recovery,
}

/// The snapshot in force.
pub(crate) struct Active {
    pub(crate) snapshot: Snapshot,
    /// What its policies watch.
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) version: u64,
    /// `v` and the version.
    pub(crate) name: String,
    /// `sha256:…`.
    pub(crate) digest: String,
}

impl Active {
    pub(crate) fn new(snapshot: Snapshot, version: u64) -> Self {
        Self {
            name: format!("v{version}"),
            digest: snapshot.digest.to_string(),
            monitors: snapshot.monitors(),
            snapshot,
            version,
        }
    }
}

/// The one path from a request to a durable decision.
pub struct Gate {
    pub(crate) store: SegmentStore<GateState>,
    pub(crate) vault: Vault,
    pub(crate) active: ArcSwap<Active>,
    /// Held while a snapshot comes into force.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) identity: Identity,
    pub(crate) letterhead: Letterhead,
    pub(crate) judge: Option<Arc<dyn Judge>>,
    options: GateOptions,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("origin", &self.identity.origin()).finish_non_exhaustive()
    }
}

impl Gate {
    /// Opens a data folder: identity, log, key ring, snapshot. With a bundle, that bundle is in force
    /// afterwards; without one, the snapshot the log names.
    ///
    /// # Errors
    /// [`OpenError`], saying which file, what it means and what to do.
    pub async fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        bundle: Option<&Bundle>,
        options: GateOptions,
    ) -> Result<Opened, OpenError> {
        // A bundle with problems must not leave a data folder behind.
        let compiled = bundle.map(crate::publish::compile).transpose()?;
        let identity = Identity::open(fs.as_ref(), random.as_ref())?;
        let mut store_options = Options::new(identity.log_id());
        store_options.segment_bytes = options.segment_bytes;
        store_options.discard_damaged_tail = options.discard_damaged_tail;
        let signer = identity.checkpoint_signer()?;
        let (store, recovery) =
            SegmentStore::open(Arc::clone(&fs), store_options, signer, GateState::default())?;
        let keyring = Keyring::open(fs, Arc::clone(&random))?;
        let (next_slot, version) = store.state(|state| (state.0.next_slot(), state.0.active_version()));
        let vault = Vault::new(keyring, next_slot);
        let letterhead = Letterhead::new(identity.origin());
        // A new bundle need not wait for an old one that this version cannot compile any more.
        let loaded = match crate::publish::in_force(&store, &vault, &identity.blind()) {
            Err(_) if compiled.is_some() => None,
            loaded => loaded?,
        };
        let same = match (&loaded, &compiled) {
            (Some(loaded), Some((snapshot, _))) => loaded.active.snapshot.digest == snapshot.digest,
            (_, compiled) => compiled.is_none(),
        };
        // Until it is activated below, the version in force has no decisions through this handle.
        let next = version.saturating_add(1);
        let (active, fresh) = match (loaded.filter(|_| same), compiled) {
            (Some(loaded), _) if loaded.as_recorded => (loaded.active, None),
            (Some(loaded), _) => (Active::new(loaded.active.snapshot, next), Some(loaded.archive)),
            (None, Some((snapshot, archive))) => (Active::new(snapshot, next), Some(archive)),
            (None, None) if options.without_policy => (Active::new(crate::publish::nothing(), 0), None),
            (None, None) => return Err(OpenError::NoPolicy),
        };
        let gate = Arc::new(Self {
            store,
            vault,
            active: ArcSwap::from_pointee(active),
            publishing: tokio::sync::Mutex::new(()),
            clock,
            random,
            identity,
            letterhead,
            judge: options.judge.clone(),
            options,
        });
        gate.begin(fresh).await?;
        Ok(Opened { gate, recovery })
    }

    /// Decides, makes the receipt durable, and only then answers.
    ///
    /// # Errors
    /// [`Unavailable`]: the gate could not decide or keep evidence; nothing may run.
    pub async fn decide(&self, asked: Asked, credential: Credential) -> Result<Decided, Unavailable> {
        let span = self.options.deadline;
        let late = || Unavailable::now(format!("no decision within {} ms; ask again", span.as_millis()));
        tokio::time::timeout(span, self.decide_durably(asked, credential))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn decide_durably(&self, asked: Asked, credential: Credential) -> Result<Decided, Unavailable> {
        let until = gather::until(Instant::now(), self.options.deadline);
        let Arrived { mut ask, raw } = self.arrive(asked);
        let mut findings: Vec<Finding> = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let active = self.active.load_full();
            let (attempt, entry) = match self.attempt(ask, &raw, &credential, &active, &findings)? {
                Tried::Open { ask: open, questions } => {
                    gather::add(&mut findings, self.gather(questions, until).await);
                    ask = open;
                    continue;
                }
                Tried::Ready(ready) => *ready,
            };
            match self.store.commit(entry).await {
                Ok(durable) => return self.answer(&attempt, &durable, &active),
                Err(CommitError::Conflict(conflict)) => {
                    if conflict == Conflict::Snapshot {
                        drop(self.publishing.lock().await);
                    }
                    ask = attempt.decided.ask;
                }
                Err(other) => return Err(unavailable(&other)),
            }
        }
        Err(Unavailable::now("this session has too many requests at once; ask again"))
    }

    /// Parses what came in; bytes that are no request are decided, too.
    pub(crate) fn arrive(&self, asked: Asked) -> Arrived {
        match asked {
            Asked::Request(request) => Arrived { ask: Ask::Request(request), raw: Vec::new() },
            Asked::Bytes(raw) => match Request::parse(&raw, &self.options.limits) {
                Ok(request) => Arrived { ask: Ask::Request(Box::new(request)), raw: Vec::new() },
                Err(problem) => Arrived { ask: Ask::Malformed(problem.to_string()), raw },
            },
        }
    }

    /// After the commit, and nowhere else, an allow becomes a permit.
    fn answer(
        &self,
        attempt: &Attempt,
        durable: &callgate_store::Durable,
        active: &Active,
    ) -> Result<Decided, Unavailable> {
        let decided = &attempt.decided;
        let permit = match &decided.ask {
            Ask::Request(_) if decided.settled.decision.permits() => Some(Permit::new(
                durable.index,
                attempt.action,
                decided.settled.constraints.clone(),
                decided.expires_at_ms,
            )),
            _ => None,
        };
        let evidence = self.attempt_evidence(attempt, durable)?;
        let reply = Reply::new(decided, &active.name, &active.digest, attempt.now_ms, Some(evidence));
        Ok(Decided { reply, permit })
    }

    /// The gate's clock, never behind its own log, milliseconds since 1970 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms().max(self.store.state(|state| state.0.latest_ms()))
    }

    /// The version and digest of the snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> (String, String) {
        let active = self.active.load();
        (active.name.clone(), active.digest.clone())
    }

    /// The model that the snapshot in force wants to ask, when nobody can be asked.
    #[must_use]
    pub fn missing_judge(&self) -> Option<String> {
        let active = self.active.load();
        let wanted = active.snapshot.defaults.judge.as_ref().filter(|_| self.judge.is_none());
        wanted.map(|settings| settings.model.to_string())
    }

    /// Who signs, and the log's name.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The public key that receipts and checkpoints verify with.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.identity.verifying_key()
    }

    /// The receipts, from the first, up to what is durable when the reading gets there.
    pub fn scan(&self) -> impl Iterator<Item = Result<StoredReceipt, ReadError>> {
        self.store.scan(0)
    }

    /// How many receipts the log has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.store.size()
    }

    /// The bounds on a request.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Why the gate cannot decide now, if it cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.store.failure().map(|failure| failure.to_string()).or_else(|| self.store.trouble())
    }

    /// What stopped the store for good; the gate must be closed and opened again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.store.failure().map(|failure| failure.to_string())
    }

    /// Stops accepting, waits for what is under way, and lets go of the data folder.
    pub fn close(&self) {
        self.store.close();
    }
}
