//! Snapshots: compiled whole or not at all, in force from one place in the log.

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
use crate::gate::{Active, Gate};
use crate::vault::{self, Attachment, Vault};

/// Who changes the gate when its operator starts it.
pub(crate) const OPERATOR: &str = "operator";

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

/// The snapshot in force, as a gate that starts finds it.
pub(crate) struct Loaded {
    pub(crate) active: Active,
    /// The bundle's text.
    pub(crate) archive: Vec<u8>,
    /// Whether what its policies watch is what was kept. Another version of the program may compile the
    /// same text to other monitors, and another signing key finds none; it must be activated again then.
    pub(crate) as_recorded: bool,
}

/// The snapshot the log names, compiled from the text that lies in the log.
pub(crate) fn in_force(
    store: &SegmentStore<GateState>,
    vault: &Vault,
    blind: &Digest,
) -> Result<Option<Loaded>, OpenError> {
    let Some(activation) = store.state(|state| state.0.active_snapshot().cloned()) else { return Ok(None) };
    let wrong = |problem: String| OpenError::Snapshot(problem);
    let receipt = store.read(activation.receipt).map_err(|e| wrong(e.to_string()))?;
    let receipt = receipt.ok_or_else(|| wrong(format!("there is no receipt {}", activation.receipt)))?;
    let payload_sha256 = sha256(&receipt.payload).into_bytes();
    let attachment = vault.open(&receipt.attachment, &payload_sha256).map_err(wrong)?;
    let snapshot = compile_archive(&attachment).map_err(wrong)?;
    if snapshot.digest.to_string() != activation.snapshot.digest {
        return Err(wrong("its text does not have the digest that was signed".to_owned()));
    }
    let Attachment::Plain(archive) = attachment else { return Ok(None) };
    let active = Active::new(snapshot, activation.snapshot.version);
    let as_recorded = reference(&active, blind) == activation.snapshot;
    Ok(Some(Loaded { active, archive, as_recorded }))
}

/// How the log names a snapshot.
fn reference(active: &Active, blind: &Digest) -> SnapshotRef {
    let monitors = active.monitors.clone();
    let blind = (!monitors.is_empty()).then(|| Digest::of(blind.as_bytes()));
    SnapshotRef { blind, digest: active.digest.clone(), monitors, version: active.version }
}

/// Compiles a bundle as it lies beside its activation.
pub(crate) fn compile_archive(attachment: &Attachment) -> Result<Snapshot, String> {
    let Attachment::Plain(text) = attachment else {
        return Err("its text is not beside its receipt".to_owned());
    };
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
        if bundle.digest() == self.active.load().snapshot.digest {
            return Ok(false);
        }
        let (snapshot, archive) = compile(bundle)?;
        let (gate, actor) = (Arc::clone(self), actor.to_owned());
        let published = tokio::spawn(async move { gate.put_in_force(snapshot, &archive, &actor).await });
        let ended = |e: tokio::task::JoinError| Unavailable::now(format!("publishing ended: {e}"));
        Ok(published.await.map_err(ended)??)
    }

    async fn put_in_force(
        self: &Arc<Self>,
        snapshot: Snapshot,
        archive: &[u8],
        actor: &str,
    ) -> Result<bool, Unavailable> {
        let _publishing = self.publishing.lock().await;
        let before = self.active.load_full();
        if before.snapshot.digest == snapshot.digest {
            return Ok(false);
        }
        let active = Arc::new(Active::new(snapshot, before.version.saturating_add(1)));
        self.activate(&active, archive, actor).await?;
        self.active.store(active);
        Ok(true)
    }

    /// Writes the first receipts of a log and the activation of a new bundle.
    pub(crate) async fn begin(self: &Arc<Self>, fresh: Option<Vec<u8>>) -> Result<(), OpenError> {
        if self.store.size() == 0 {
            let details = [
                ("origin", self.identity.origin().to_owned()),
                ("public_key", self.identity.verifying_key().to_spki_pem().unwrap_or_default()),
            ];
            self.note("log.start", OPERATOR, &details, Change::Noted {}, Vec::new()).await?;
        }
        if let Some(archive) = fresh {
            let active = self.active.load_full();
            self.activate(&active, &archive, OPERATOR).await?;
        }
        Ok(())
    }

    /// Fills what the snapshot's policies ask of the past, and writes its activation.
    async fn activate(
        self: &Arc<Self>,
        active: &Arc<Active>,
        archive: &[u8],
        actor: &str,
    ) -> Result<(), Unavailable> {
        let mut details = vec![("digest", active.digest.clone()), ("version", active.name.clone())];
        let filled = self.fill(active, actor).await?;
        details.extend(filled.iter().flat_map(|(_, filling)| filling.details()));
        let change = Change::SnapshotActivated(reference(active, &self.identity.blind()));
        self.note("snapshot.activate", actor, &details, change, vault::plain(archive)).await?;
        Ok(())
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
            let right = reference(&active, &gate.identity.blind());
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
            assert_eq!(gate.snapshot().0, "v3", "activated again");
            assert!(!refund(&gate).await, "the history was found again");
            gate.close();
            drop(gate);
            assert_eq!(open(&fs, None).await.snapshot().0, "v3", "and only once");
        }
    }
}
