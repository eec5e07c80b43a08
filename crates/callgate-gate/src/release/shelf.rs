//! The shelf: every snapshot that is kept, by version; what people see of it, and what it compiles to.

use std::sync::Arc;

use callgate_core::state::{Git, Kept, SimulationEvidence, Tested};
use callgate_policy::Bundle;
use serde::Serialize;

use super::{archive, compile_text};
use crate::error::{ControlError, Unavailable};
use crate::gate::{Gate, Named};

/// So many compiled snapshots stay in memory beside those in force.
const COMPILED: usize = 8;

/// A snapshot that is kept, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotRecord {
    /// The short version, such as `v42`.
    pub version: String,
    /// `sha256:…` of the bundle.
    pub digest: String,
    /// `live`, `shadow`, `canary`, or `kept`.
    pub state: &'static str,
    /// Who staged it.
    pub author: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was staged, milliseconds since 1970 UTC.
    pub staged_at_ms: i64,
    /// The receipt that its text lies beside.
    pub receipt_index: u64,
    /// The repository it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<Git>,
    /// The author's signature: a DSSE envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// How its tests came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Its newest simulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulationEvidence>,
    /// When it was in force, each time from its activation, milliseconds since 1970 UTC.
    pub activated_at_ms: Vec<i64>,
}

/// The number in `v42`.
pub(crate) fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('v')?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

impl Gate {
    /// Every snapshot that is kept, newest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotRecord> {
        self.store.state(|state| {
            let release = state.0.release();
            release.kept().values().rev().map(|kept| record(release, kept)).collect()
        })
    }

    /// One kept snapshot, by version (`v42`) or digest (`sha256:…`).
    ///
    /// # Errors
    /// [`ControlError::Unknown`], with what there is.
    pub fn snapshot_record(&self, name: &str) -> Result<SnapshotRecord, ControlError> {
        let kept = self.kept(name)?;
        Ok(self.store.state(|state| record(state.0.release(), &kept)))
    }

    /// The text of a kept snapshot.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn snapshot_bundle(&self, name: &str) -> Result<Bundle, ControlError> {
        let kept = self.kept(name)?;
        let unreadable = |problem: String| ControlError::Unavailable(Unavailable::for_good(problem));
        let text = archive(&self.store, &self.vault, kept.stage.version).map_err(unreadable)?;
        Bundle::from_archive(&text).map_err(|e| unreadable(e.to_string()))
    }

    pub(crate) fn kept(&self, name: &str) -> Result<Kept, ControlError> {
        self.store.state(|state| {
            let release = state.0.release();
            let found = match version_of(name) {
                Some(version) => release.kept().get(&version),
                None => release.kept_by_digest(name),
            };
            found.cloned().ok_or_else(|| {
                let newest: Vec<String> =
                    release.kept().keys().rev().take(5).map(|version| format!("v{version}")).collect();
                let there = if newest.is_empty() { "none".to_owned() } else { newest.join(", ") };
                ControlError::Unknown(format!("snapshot `{name}`; the newest are: {there}"))
            })
        })
    }

    /// A kept snapshot, compiled; from memory if it was used before.
    pub(crate) async fn compiled(&self, kept: &Kept) -> Result<Named, ControlError> {
        let version = kept.stage.version;
        let active = self.active.load();
        let tried = active.candidate.iter().map(|(named, _)| named);
        let in_use = std::iter::once(&active.live).chain(tried).find(|it| it.version == version).cloned();
        if let Some(named) = in_use.or_else(|| self.shelf.lock().get(&version).cloned()) {
            return Ok(named);
        }
        let unreadable = |problem: String| ControlError::Unavailable(Unavailable::for_good(problem));
        let text = archive(&self.store, &self.vault, version).map_err(unreadable)?;
        let compiling = tokio::task::spawn_blocking(move || compile_text(&text));
        let snapshot = compiling.await.map_err(|e| unreadable(e.to_string()))?.map_err(unreadable)?;
        if snapshot.digest.to_string() != kept.stage.digest {
            return Err(unreadable("its text does not have the digest that was signed".to_owned()));
        }
        let named = Named::new(Arc::new(snapshot), version);
        self.shelve(&named);
        Ok(named)
    }

    pub(crate) fn shelve(&self, named: &Named) {
        let mut shelf = self.shelf.lock();
        shelf.insert(named.version, named.clone());
        // The one that is wanted now may be the oldest.
        while shelf.len() > COMPILED {
            let Some(oldest) = shelf.keys().find(|version| **version != named.version).copied() else {
                break;
            };
            shelf.remove(&oldest);
        }
    }
}

fn record(release: &callgate_core::state::Release, kept: &Kept) -> SnapshotRecord {
    let stage = &kept.stage;
    let live = release.active_version() == stage.version;
    let tried = release.rollout().filter(|rollout| rollout.start.candidate.version == stage.version);
    let state = match (live, tried.map(|rollout| &rollout.start.trial)) {
        (true, _) => "live",
        (_, Some(callgate_core::state::Trial::Shadow {})) => "shadow",
        (_, Some(_)) => "canary",
        _ => "kept",
    };
    let activations = release.activations().iter().filter(|it| it.snapshot.version == stage.version);
    SnapshotRecord {
        version: format!("v{}", stage.version),
        digest: stage.digest.clone(),
        state,
        author: stage.author.clone(),
        note: stage.note.clone(),
        staged_at_ms: kept.at_ms,
        receipt_index: kept.receipt,
        git: stage.git.clone(),
        signature: stage.signature.clone(),
        tested: stage.tested,
        simulated: kept.simulated.clone(),
        activated_at_ms: activations.map(|it| it.at_ms).collect(),
    }
}
