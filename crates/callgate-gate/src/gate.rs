//! The gate handle: one object that every enforcement point shares.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use callgate_core::decide::Ask;
use callgate_core::finding::{Finding, Judge};
use callgate_core::history::Monitor;
use callgate_core::in_force::{Candidate, InForce};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Conflict, Trial};
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
use crate::permit::{Ground, Permit};
use crate::receipt::Letterhead;
use crate::release::Loaded;
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
    /// See [`callgate_store::Options::save_every`]; 100,000.
    pub save_every: u64,
    /// See [`callgate_store::Options::discard_damaged_tail`].
    pub discard_damaged_tail: bool,
    /// Open a data folder that has no policy yet, for its registry; whatever is asked is denied.
    pub without_policy: bool,
    /// The policy of the gate's own actions; the one in the log, else the default.
    pub control: Option<Bundle>,
    /// Whom rules with `judge` ask; without one they answer what they say for that case.
    pub judge: Option<Arc<dyn Judge>>,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            limits: Limits::REQUEST,
            segment_bytes: 16 << 20,
            save_every: 100_000,
            discard_damaged_tail: false,
            without_policy: false,
            control: None,
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

/// A compiled snapshot under its name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) snapshot: Arc<Snapshot>,
    /// What its policies watch.
    pub(crate) monitors: Arc<[Monitor]>,
    pub(crate) version: u64,
    /// `v` and the version; `c` for the policy of the gate's own actions.
    pub(crate) name: Arc<str>,
    /// `sha256:…`.
    pub(crate) digest: Arc<str>,
}

impl Named {
    pub(crate) fn new(snapshot: Arc<Snapshot>, version: u64) -> Self {
        Self {
            name: format!("v{version}").into(),
            digest: snapshot.digest.to_string().into(),
            monitors: snapshot.monitors().into(),
            snapshot,
            version,
        }
    }
}

/// What decides.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    /// The snapshot in force.
    pub(crate) live: Named,
    /// The one that is tried beside it.
    pub(crate) candidate: Option<(Named, Trial)>,
    /// What the state's epoch is while this is in force.
    pub(crate) epoch: u64,
    /// Whether this is the policy of the gate's own actions.
    pub(crate) control: bool,
}

impl Active {
    pub(crate) const fn alone(live: Named, epoch: u64) -> Self {
        Self { live, candidate: None, epoch, control: false }
    }

    pub(crate) fn in_force(&self) -> InForce<'_> {
        let candidate = self.candidate.as_ref().map(|(named, trial)| Candidate {
            snapshot: &named.snapshot,
            trial,
            version: named.version,
        });
        InForce { live: &self.live.snapshot, candidate }
    }

    /// The snapshot that decides what was asked.
    pub(crate) fn deciding(&self, ask: &Ask, credential: &Credential) -> &Named {
        match (&self.candidate, self.in_force().deciding(ask, credential).1) {
            (Some((named, _)), true) => named,
            _ => &self.live,
        }
    }

    /// What must be kept of events, for both.
    pub(crate) fn monitors(&self) -> Vec<Monitor> {
        let tried = self.candidate.iter().flat_map(|(named, _)| named.monitors.iter());
        self.live.monitors.iter().chain(tried).cloned().collect()
    }
}

/// What a gate begins with.
struct Start {
    active: Active,
    /// What must be put in force first, with its text unless that is in the log.
    fresh: Option<(Named, Option<Vec<u8>>)>,
    /// Why a candidate that was tried is tried no more.
    lost: Option<String>,
}

fn start(
    store: &SegmentStore<GateState>,
    loaded: Option<Loaded>,
    compiled: Option<(Snapshot, Vec<u8>)>,
    without_policy: bool,
) -> Result<Start, OpenError> {
    let same = |loaded: &Loaded| {
        compiled.as_ref().is_none_or(|(snapshot, _)| loaded.active.live.snapshot.digest == snapshot.digest)
    };
    match loaded {
        Some(loaded) if same(&loaded) => {
            let again = (!loaded.as_recorded).then(|| (loaded.active.live.clone(), None));
            return Ok(Start { active: loaded.active, fresh: again, lost: loaded.lost });
        }
        _ => {}
    }
    let nothing = || Active::alone(Named::new(Arc::new(crate::release::nothing()), 0), 0);
    let Some((snapshot, archive)) = compiled else {
        let without = without_policy.then(|| Start { active: nothing(), fresh: None, lost: None });
        return without.ok_or(OpenError::NoPolicy);
    };
    let named = crate::release::name(store, Arc::new(snapshot));
    // Until it is activated, the version in force has no decisions through this handle.
    Ok(Start { active: nothing(), fresh: Some((named, Some(archive))), lost: None })
}

/// The one path from a request to a durable decision.
pub struct Gate {
    /// For work that goes on when nobody waits for it any more.
    me: Weak<Self>,
    pub(crate) store: SegmentStore<GateState>,
    pub(crate) vault: Vault,
    pub(crate) active: ArcSwap<Active>,
    /// The policy of the gate's own actions.
    pub(crate) control: ArcSwapOption<Active>,
    /// Kept snapshots that were compiled, by version.
    pub(crate) shelf: parking_lot::Mutex<BTreeMap<u64, Named>>,
    /// Whether a trial that drifted is being ended.
    pub(crate) drifting: AtomicBool,
    /// Whether breakers that opened are being announced.
    pub(crate) announcing: AtomicBool,
    /// Held while a snapshot comes into force.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Told when something about approvals may be different.
    pub(crate) approvals_moved: tokio::sync::watch::Sender<()>,
    /// Told when actions that run may have to stop.
    pub(crate) halts_moved: tokio::sync::watch::Sender<()>,
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
        let compiled = bundle.map(crate::release::compile).transpose()?;
        let identity = Identity::open(fs.as_ref(), random.as_ref())?;
        let mut store_options = Options::new(identity.log_id());
        store_options.segment_bytes = options.segment_bytes;
        store_options.save_every = options.save_every;
        store_options.discard_damaged_tail = options.discard_damaged_tail;
        let signer = identity.checkpoint_signer()?;
        let (store, recovery) =
            SegmentStore::open(Arc::clone(&fs), store_options, signer, GateState::default())?;
        identity.publish(fs.as_ref())?;
        let keyring = Keyring::open(fs, Arc::clone(&random))?;
        let next_slot = store.state(|state| state.0.next_slot());
        let vault = Vault::new(keyring, next_slot);
        let letterhead = Letterhead::new(identity.origin());
        // A new bundle need not wait for an old one that this version cannot compile any more.
        let loaded = match crate::release::in_force(&store, &vault, &identity.blind()) {
            Err(_) if compiled.is_some() => None,
            loaded => loaded?,
        };
        let Start { active, fresh, lost } = start(&store, loaded, compiled, options.without_policy)?;
        let control = crate::control::in_force(&store, &vault)?;
        let control = control.map(|named| Arc::new(Active { control: true, ..Active::alone(named, 0) }));
        let gate = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            control: ArcSwapOption::from(control),
            shelf: parking_lot::Mutex::default(),
            drifting: AtomicBool::new(false),
            announcing: AtomicBool::new(false),
            store,
            vault,
            active: ArcSwap::from_pointee(active),
            publishing: tokio::sync::Mutex::new(()),
            approvals_moved: tokio::sync::watch::Sender::new(()),
            halts_moved: tokio::sync::watch::Sender::new(()),
            clock,
            random,
            identity,
            letterhead,
            judge: options.judge.clone(),
            options,
        });
        gate.begin(fresh, lost).await?;
        gate.begin_control(gate.options.control.as_ref()).await?;
        // A breaker that opened just before a crash is told of now.
        gate.watch_breakers();
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
        self.decide_by(self.arrive(asked), credential, || self.active.load_full()).await
    }

    /// Decides by what `active` gives, which is asked again after each conflict.
    pub(crate) async fn decide_by(
        &self,
        arrived: Arrived,
        credential: Credential,
        active: impl Fn() -> Arc<Active>,
    ) -> Result<Decided, Unavailable> {
        let until = gather::until(Instant::now(), self.options.deadline);
        let Arrived { mut ask, raw } = arrived;
        let mut findings: Vec<Finding> = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let active = active();
            let (attempt, entry) = match self.attempt(ask, &raw, &credential, &active, &findings)? {
                Tried::Open { ask: open, questions } => {
                    gather::add(&mut findings, self.gather(questions, until).await);
                    ask = open;
                    continue;
                }
                Tried::Ready(ready) => *ready,
            };
            match self.store.commit(entry).await {
                Ok(durable) => {
                    if attempt.decided.effects.tried.is_some() {
                        self.watch_drift();
                    }
                    if attempt.decided.effects.charged.is_some() {
                        self.watch_breakers();
                    }
                    if attempt.decided.effects.approval.is_some() {
                        self.approvals_move();
                    }
                    return self.answer(&attempt, &durable);
                }
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
    fn answer(&self, attempt: &Attempt, durable: &callgate_store::Durable) -> Result<Decided, Unavailable> {
        let decided = &attempt.decided;
        let permit = match &decided.ask {
            Ask::Request(_) if decided.settled.decision.permits() => Some(Permit::new(
                Ground::Receipt(durable.index),
                attempt.action,
                decided.settled.constraints.clone(),
                decided.expires_at_ms,
            )),
            _ => None,
        };
        let evidence = self.attempt_evidence(attempt, durable)?;
        let reply =
            Reply::new(decided, (&attempt.by.name, &attempt.by.digest), attempt.now_ms, Some(evidence));
        Ok(Decided { reply, permit })
    }

    /// This gate, for a task that outlives a call; `None` while it is being dropped.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
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
        (active.live.name.to_string(), active.live.digest.to_string())
    }

    /// The model that the snapshot in force wants to ask, when nobody can be asked.
    #[must_use]
    pub fn missing_judge(&self) -> Option<String> {
        let active = self.active.load();
        let wanted = active.live.snapshot.defaults.judge.as_ref().filter(|_| self.judge.is_none());
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

    /// What an operator should look at, although the gate decides.
    #[must_use]
    pub fn concern(&self) -> Option<String> {
        self.clock.astray_ms().map(|ahead| {
            let (way, by) = if ahead > 0 { ("ahead of", ahead) } else { ("behind", ahead.saturating_neg()) };
            format!(
                "the system's clock was set {by} ms {way} the gate's, which did not follow; restart the gate if \
                 the system's clock is right"
            )
        })
    }

    /// What stopped the store for good; the gate must be closed and opened again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.store.failure().map(|failure| failure.to_string())
    }

    /// How the saving of states goes: what a start will go on from.
    #[must_use]
    pub fn saved(&self) -> callgate_store::Saved {
        self.store.saved()
    }

    /// Stops accepting, waits for what is under way, and lets go of the data folder.
    pub fn close(&self) {
        self.store.close();
        self.store.state(|state| state.2.close());
    }
}
