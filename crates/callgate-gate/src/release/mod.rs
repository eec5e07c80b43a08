//! Snapshots: compiled whole or not at all, kept in the log, in force from one place in it.

mod points;
mod publish;
mod rollout;
mod shelf;
mod stage;

pub use points::{Acknowledgement, ModeRequest, PointRecord};
pub use publish::{PublishRequest, Released, RollbackRequest};
pub use rollout::{RolloutMode, RolloutRecord, RolloutRequest};
pub use shelf::SnapshotRecord;
pub use stage::StageRequest;
pub(crate) use stage::checked_note;

use callgate_core::catalogue::Catalogue;
use callgate_core::digest::Digest;
use callgate_core::snapshot::{Defaults, Snapshot};
use callgate_core::state::{Change, Delta, SnapshotRef};
use callgate_log::hash::sha256;
use callgate_policy::Bundle;
use callgate_store::SegmentStore;

use std::sync::Arc;

use crate::commit::CommitFailure;
use crate::error::{OpenError, PublishError, Unavailable};
use crate::fold::{GateState, encode};
use crate::gate::{Active, Gate, Named};
use crate::vault::{self, Attachment, Vault};

/// Who changes the gate when its operator starts it.
pub(crate) const OPERATOR: &str = "operator";
/// Who changes the gate when it does so by itself.
pub(crate) const GATE: &str = "gate";

/// Who changes what is in force, and what the receipt says of it.
pub(crate) struct Why<'a> {
    pub(crate) actor: &'a str,
    pub(crate) details: Vec<(&'static str, String)>,
}

/// The one compiler, with the bundle's text for the log.
pub(crate) fn compile(bundle: &Bundle) -> Result<(Snapshot, Vec<u8>), PublishError> {
    let snapshot = callgate_policy::compile(bundle).map_err(PublishError::Invalid)?;
    Ok((snapshot, bundle.to_archive()))
}

/// No policy: denies everything.
pub(crate) fn nothing() -> Snapshot {
    Snapshot {
        digest: Digest::of(b""),
        modules: Vec::new(),
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    }
}

/// What the log says is in force, as a gate that starts finds it.
pub(crate) struct Loaded {
    pub(crate) active: Active,
    /// Whether what its policies watch is what was kept. Another version of the program may compile the
    /// same text to other monitors, and another signing key finds none; it must be activated again then.
    pub(crate) as_recorded: bool,
    /// Why the candidate that was tried cannot go on.
    pub(crate) lost: Option<String>,
}

/// The snapshot the log names, and the candidate beside it, compiled from the texts in the log.
pub(crate) fn in_force(
    store: &SegmentStore<GateState>,
    vault: &Vault,
    blind: &Digest,
) -> Result<Option<Loaded>, OpenError> {
    let (activation, rollout, epoch) = store.state(|state| {
        let release = state.0.release();
        (release.active().cloned(), release.rollout().cloned(), release.epoch())
    });
    let Some(activation) = activation else { return Ok(None) };
    let live = load(store, vault, &activation.snapshot).map_err(OpenError::Snapshot)?;
    let as_recorded = reference(&live, blind) == activation.snapshot;
    let mut active = Active::alone(live, epoch);
    let mut lost = None;
    if let Some(rollout) = rollout {
        match load(store, vault, &rollout.start.candidate) {
            Ok(named) if reference(&named, blind) == rollout.start.candidate => {
                active.candidate = Some((named, rollout.start.trial));
            }
            Ok(_) => lost = Some("this gate watches other events for its policies".to_owned()),
            Err(problem) => lost = Some(problem),
        }
    }
    Ok(Some(Loaded { active, as_recorded, lost }))
}

/// Compiles a kept snapshot, which must have the digest that was signed.
fn load(store: &SegmentStore<GateState>, vault: &Vault, snapshot: &SnapshotRef) -> Result<Named, String> {
    let archive = archive(store, vault, snapshot.version)?;
    let compiled = compile_text(&archive)?;
    if compiled.digest.to_string() != snapshot.digest {
        return Err("its text does not have the digest that was signed".to_owned());
    }
    Ok(Named::new(Arc::new(compiled), snapshot.version))
}

/// The text of a kept snapshot.
pub(crate) fn archive(
    store: &SegmentStore<GateState>,
    vault: &Vault,
    version: u64,
) -> Result<Vec<u8>, String> {
    let at = store.state(|state| state.0.release().kept().get(&version).map(|kept| kept.receipt));
    let at = at.ok_or_else(|| format!("there is no snapshot v{version}"))?;
    plain_at(store, vault, at)
}

/// What lies in the clear beside a receipt.
pub(crate) fn plain_at(store: &SegmentStore<GateState>, vault: &Vault, at: u64) -> Result<Vec<u8>, String> {
    let receipt = store.read(at).map_err(|e| e.to_string())?;
    let receipt = receipt.ok_or_else(|| format!("there is no receipt {at}"))?;
    let payload_sha256 = sha256(&receipt.payload).into_bytes();
    match vault.open(&receipt.attachment, &payload_sha256)? {
        Attachment::Plain(text) => Ok(text),
        _ => Err(format!("its text is not beside receipt {at}")),
    }
}

/// The name of a snapshot: the one under which it is kept, or a new one.
pub(crate) fn name(store: &SegmentStore<GateState>, snapshot: Arc<Snapshot>) -> Named {
    let digest = snapshot.digest.to_string();
    let version = store.state(|state| {
        let release = state.0.release();
        let kept = release.kept_by_digest(&digest).map(|kept| kept.stage.version);
        kept.unwrap_or_else(|| release.newest().saturating_add(1))
    });
    Named::new(snapshot, version)
}

/// How the log names a snapshot.
pub(crate) fn reference(named: &Named, blind: &Digest) -> SnapshotRef {
    let monitors = named.monitors.to_vec();
    let blind = (!monitors.is_empty()).then(|| Digest::of(blind.as_bytes()));
    SnapshotRef { blind, digest: named.digest.to_string(), monitors, version: named.version }
}

/// Compiles a bundle as it lies beside its receipt.
pub(crate) fn compile_archive(attachment: &Attachment) -> Result<Snapshot, String> {
    let Attachment::Plain(text) = attachment else {
        return Err("its text is not beside its receipt".to_owned());
    };
    compile_text(text)
}

pub(crate) fn compile_text(text: &[u8]) -> Result<Snapshot, String> {
    let bundle = Bundle::from_archive(text).map_err(|e| e.to_string())?;
    callgate_policy::compile(&bundle)
        .map_err(|report| format!("{} problem(s)", report.count(callgate_policy::Severity::Error)))
}

impl Gate {
    /// Puts a bundle in force: every decision before its place in the log used the old snapshot,
    /// every one after it uses this. Returns `false` when that bundle is in force already.
    ///
    /// Once begun it goes on, even if nobody waits for it any more: the log and what decides must not
    /// come apart.
    ///
    /// # Errors
    /// [`PublishError`]; then the snapshot before it is still in force.
    pub async fn publish(self: &Arc<Self>, bundle: &Bundle, actor: &str) -> Result<bool, PublishError> {
        if bundle.digest() == self.active.load().live.snapshot.digest {
            return Ok(false);
        }
        let (snapshot, archive) = compile(bundle)?;
        let (gate, actor) = (Arc::clone(self), actor.to_owned());
        let published = tokio::spawn(async move {
            let _publishing = gate.publishing.lock().await;
            if gate.active.load().live.snapshot.digest == snapshot.digest {
                return Ok(false);
            }
            let named = name(&gate.store, Arc::new(snapshot));
            gate.put_in_force(&named, Some(&archive), &Why { actor: &actor, details: Vec::new() }).await?;
            Ok(true)
        });
        let ended = |e: tokio::task::JoinError| Unavailable::now(format!("publishing ended: {e}"));
        Ok(published.await.map_err(ended)?.map_err(|e: Unavailable| e)?)
    }

    /// Writes the activation, and decides by it. While [`Gate::publishing`] is held.
    pub(crate) async fn put_in_force(
        self: &Arc<Self>,
        named: &Named,
        archive: Option<&[u8]>,
        why: &Why<'_>,
    ) -> Result<u64, Unavailable> {
        let active = Arc::new(Active::alone(named.clone(), 0));
        let receipt = self.activate(&active, archive, why).await?;
        self.now_in_force(Arc::unwrap_or_clone(active));
        Ok(receipt)
    }

    /// What the log says is what decides. While [`Gate::publishing`] is held.
    pub(crate) fn now_in_force(&self, active: Active) {
        let epoch = self.store.state(|state| state.0.release().epoch());
        self.active.store(Arc::new(Active { epoch, ..active }));
    }

    /// Writes the first receipts of a log and the activation of a new bundle.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        fresh: Option<(Named, Option<Vec<u8>>)>,
        lost: Option<String>,
    ) -> Result<(), OpenError> {
        if self.store.size() == 0 {
            let details = [
                ("origin", self.identity.origin().to_owned()),
                ("public_key", self.identity.verifying_key().to_spki_pem().unwrap_or_default()),
            ];
            self.note("log.start", OPERATOR, &details, Change::Noted {}, Vec::new()).await?;
        }
        if let Some(reason) = lost {
            let details = [("reason", reason)];
            self.note("rollout.stop", GATE, &details, Change::RolloutStopped {}, Vec::new()).await?;
            let active = Active { candidate: None, ..Active::clone(&self.active.load()) };
            self.now_in_force(active);
        }
        if let Some((named, archive)) = fresh {
            let why = Why { actor: OPERATOR, details: Vec::new() };
            self.put_in_force(&named, archive.as_deref(), &why).await?;
        }
        Ok(())
    }

    /// Fills what the snapshot's policies ask of the past, and writes its activation.
    async fn activate(
        self: &Arc<Self>,
        active: &Arc<Active>,
        archive: Option<&[u8]>,
        why: &Why<'_>,
    ) -> Result<u64, Unavailable> {
        let named = &active.live;
        let mut details = vec![("digest", named.digest.to_string()), ("version", named.name.to_string())];
        details.extend(why.details.iter().cloned());
        let filled = self.fill(active, why.actor).await?;
        details.extend(filled.iter().flat_map(|(_, filling)| filling.details()));
        let change = Change::SnapshotActivated(reference(named, &self.identity.blind()));
        // A kept snapshot's text lies in the log already.
        let kept = self.store.state(|state| state.0.release().kept().contains_key(&named.version));
        let attachment = archive.filter(|_| !kept).map(vault::plain).unwrap_or_default();
        self.note("snapshot.activate", why.actor, &details, change, attachment).await
    }

    /// Records a change to the gate itself.
    pub(crate) async fn note(
        &self,
        operation: &str,
        actor: &str,
        details: &[(&str, String)],
        change: Change,
        attachment: Vec<u8>,
    ) -> Result<u64, Unavailable> {
        let delta = Delta { change, now_ms: self.now_ms() };
        let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
        let statement = self.letterhead.admin(actor, operation, details, &delta_bytes, delta.now_ms);
        let committed = self.commit_delta(&statement, delta, delta_bytes, attachment).await;
        // Another snapshot may have ended what was asked under the one before it.
        self.approvals_move();
        committed.map(|(_, durable)| durable.index).map_err(CommitFailure::settled)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use callgate_core::facts::Credential;
    use callgate_core::history::Monitor;
    use callgate_store::OsRandom;
    use callgate_store::sim::SimFs;

    use super::*;
    use crate::clock::ManualClock;
    use crate::gate::{Asked, GateOptions};

    const FILES: [(&str, &str); 3] = [
        ("rules/r.yaml", "version: v1\nrules: [{id: any, match: {tools: ['**']}, decision: allow}]\n"),
        (
            "tools/shop.json",
            r#"{"tools": [{"name": "refund", "inputSchema": {"type": "object", "properties": {}}}]}"#,
        ),
        (
            "policies/p.dogwood",
            r#"@id("once") forbid (principal, action == Action::"shop.refund", resource)
            when temporal { count_within(24h, Action::"shop.refund"::allowed{}) > 1 };"#,
        ),
    ];

    async fn open(fs: &SimFs, bundle: Option<&Bundle>) -> Arc<Gate> {
        let options = GateOptions { segment_bytes: 4 << 20, ..GateOptions::default() };
        let clock = Arc::new(ManualClock::new(1_750_000_000_000));
        let opened = Gate::open(Arc::new(fs.clone()), clock, Arc::new(OsRandom), bundle, options).await;
        opened.unwrap().gate
    }

    async fn refund(gate: &Gate) -> bool {
        let request = br#"{"agent":{"id":"bot"},"tool":{"server":"shop","name":"refund"}}"#;
        gate.decide(Asked::Bytes(request.to_vec()), Credential::Local).await.unwrap().permit.is_some()
    }

    fn activations(gate: &Gate) -> usize {
        gate.store.state(|state| state.0.release().activations().len())
    }

    /// As another version of the program, or another signing key, would have activated it.
    #[tokio::test]
    async fn what_was_kept_under_other_names_is_filled_again() {
        let files = FILES.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let bundle = Bundle::new(BTreeMap::from(files), BTreeMap::new());
        let none = SnapshotRef { blind: None, digest: String::new(), monitors: Vec::new(), version: 2 };
        let other =
            |id: &str, monitor: &Monitor| Monitor { id: Digest::of(id.as_bytes()), ..monitor.clone() };
        for wrong in 0..3 {
            let fs = SimFs::new(50);
            let gate = open(&fs, Some(&bundle)).await;
            assert!(refund(&gate).await);
            let active = gate.active.load_full();
            let right = reference(&active.live, &gate.identity.blind());
            let monitors = match wrong {
                0 => right.monitors.iter().map(|monitor| other("x", monitor)).collect(),
                1 => right.monitors.clone(),
                _ => Vec::new(),
            };
            let blind = (wrong != 2).then(|| Digest::of(b"another"));
            let activated = SnapshotRef { blind, monitors, digest: right.digest, ..none.clone() };
            let archive = vault::plain(&bundle.to_archive());
            let change = Change::SnapshotActivated(activated);
            gate.note("snapshot.activate", OPERATOR, &[], change, archive).await.unwrap();
            gate.close();
            drop(gate);
            let gate = open(&fs, (wrong == 0).then_some(&bundle)).await;
            assert_eq!(gate.snapshot().0, "v2", "the text is kept as v2");
            assert_eq!(activations(&gate), 3, "activated again");
            assert!(!refund(&gate).await, "the history was found again");
            gate.close();
            drop(gate);
            assert_eq!(activations(open(&fs, None).await.as_ref()), 3, "and only once");
        }
    }
}
