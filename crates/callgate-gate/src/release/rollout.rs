//! Trying a candidate beside the snapshot in force: in the shadow, or for a share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use callgate_core::state::{Change, Mix, Rollout, RolloutStart, Trial, Unit, WHOLE_BP};
use callgate_core::value::{Map, Value};
use serde::{Deserialize, Serialize};

use super::publish::{Overriding, needs_second};
use super::stage::checked_note;
use super::{GATE, reference};
use crate::Credential;
use crate::control::Authorised;
use crate::error::{ControlError, Unavailable};
use crate::gate::{Active, Gate, Named};

/// Begins to try a kept snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutRequest {
    /// The version or digest.
    pub snapshot: String,
    /// How.
    pub mode: RolloutMode,
    /// The share a canary decides for, in basis points: 500 is 5 %.
    #[serde(default)]
    pub share_bp: Option<u32>,
    /// What the share is drawn by; sessions unless written.
    #[serde(default)]
    pub by: Option<Unit>,
    /// Only these agents.
    #[serde(default)]
    pub agents: BTreeSet<String>,
    /// Only these tenants.
    #[serde(default)]
    pub tenants: BTreeSet<String>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
    /// Why a canary begins although something speaks against it.
    #[serde(default, rename = "override")]
    pub overriding: Option<String>,
}

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutMode {
    /// Its verdict is recorded, never obeyed.
    Shadow,
    /// It decides for a share.
    Canary,
}

/// A candidate that is tried, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutRecord {
    /// The candidate.
    pub snapshot: String,
    /// The snapshot in force.
    pub live: String,
    /// How it is tried.
    pub trial: Trial,
    /// The receipt it began with.
    pub receipt_index: u64,
    /// What the snapshot in force decided meanwhile, by decision.
    pub live_mix: Mix,
    /// What the candidate decided, or would have.
    pub candidate_mix: Mix,
    /// Decisions on which they differ, in a shadow.
    pub differ: u64,
    /// How far they are apart, in basis points.
    pub drift_bp: u32,
    /// Beyond this it ends by itself.
    pub max_drift_bp: u32,
    /// Not before so many decisions.
    pub min_decisions: u64,
    /// The drift in words.
    pub drift: String,
}

impl Gate {
    /// The candidate that is tried.
    #[must_use]
    pub fn rollout(&self) -> Option<RolloutRecord> {
        self.store.state(|state| {
            let release = state.0.release();
            release.rollout().map(|rollout| record(release.active_version(), rollout))
        })
    }

    /// Begins to try a kept snapshot beside the one in force.
    ///
    /// # Errors
    /// [`ControlError`]. A canary decides, so what speaks against publishing speaks against it.
    pub async fn start_rollout(
        self: &Arc<Self>,
        what: RolloutRequest,
        who: &Credential,
    ) -> Result<RolloutRecord, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        let overriding = checked_note(what.overriding.as_deref())?;
        let trial = trial(&what)?;
        let kept = self.kept(&what.snapshot)?;
        let mut args = Map::default();
        args.insert("digest".to_owned(), Value::Str(kept.stage.digest.clone()));
        let mode = if trial == (Trial::Shadow {}) { "shadow" } else { "canary" };
        args.insert("mode".to_owned(), Value::Str(mode.to_owned()));
        args.insert("snapshot".to_owned(), Value::Str(format!("v{}", kept.stage.version)));
        let canary = trial != (Trial::Shadow {});
        // A canary that is overridden is a publication for a share.
        let action = if canary && overriding.is_some() { "publish" } else { "rollout" };
        if let Some(why) = overriding.as_ref().filter(|_| canary) {
            args.insert("override".to_owned(), Value::Str(why.clone()));
            let second = self.active.load().live.snapshot.defaults.rollout.second_person;
            args.insert("second_person".to_owned(), Value::Bool(second));
        }
        let overriding = Overriding { why: overriding, alone: !needs_second(&args) };
        let by = self.authorise(who, action, args).await?;
        let named = self.compiled(&kept).await?;
        let gate = Arc::clone(self);
        let begun = tokio::spawn(async move { gate.try_now(named, trial, &by, note, overriding).await });
        begun.await.map_err(|e| Unavailable::now(format!("the rollout ended: {e}")))??;
        self.rollout().ok_or_else(|| ControlError::Conflict("it ended at once; see the log".to_owned()))
    }

    async fn try_now(
        self: &Arc<Self>,
        named: Named,
        trial: Trial,
        by: &Authorised,
        note: Option<String>,
        overriding: Overriding,
    ) -> Result<(), ControlError> {
        let _publishing = self.publishing.lock().await;
        let before = self.active.load_full();
        if before.live.version == named.version {
            return Err(ControlError::Conflict(format!("{} is in force already", named.name)));
        }
        if let Some((tried, _)) = &before.candidate {
            let message = format!("{} is being tried; stop that first, or publish it", tried.name);
            return Err(ControlError::Conflict(message));
        }
        let mut details = vec![("version", named.name.to_string()), by.detail()];
        details.extend(note.map(|note| ("note", note)));
        if trial != (Trial::Shadow {}) {
            let against = self.against(&named, &before.live)?;
            if !against.is_empty() {
                overriding.still_enough(&before.live)?;
            }
            match overriding.why {
                None if !against.is_empty() => {
                    let message = format!("{} decides for nobody yet: {}", named.name, against.join("; "));
                    return Err(ControlError::Conflict(message));
                }
                Some(why) if !against.is_empty() => {
                    details.push(("override", why));
                    details.push(("overridden", against.join("; ")));
                }
                _ => {}
            }
        }
        let limits = &before.live.snapshot.defaults.rollout;
        let start = RolloutStart {
            candidate: reference(&named, &self.identity.blind()),
            max_drift_bp: limits.max_drift_bp,
            min_decisions: limits.min_decisions,
            trial: trial.clone(),
        };
        let active = Arc::new(Active { candidate: Some((named, trial)), ..Active::clone(&before) });
        let filled = self.fill(&active, &by.actor).await?;
        details.extend(filled.iter().flat_map(|(_, filling)| filling.details()));
        let change = Change::RolloutStarted(start);
        self.note("rollout.start", &by.actor, &details, change, Vec::new()).await?;
        self.now_in_force(Arc::unwrap_or_clone(active));
        Ok(())
    }

    /// Ends the trial; the snapshot in force decides alone.
    ///
    /// # Errors
    /// [`ControlError`]; [`ControlError::Conflict`] when nothing is tried.
    pub async fn stop_rollout(
        self: &Arc<Self>,
        note: Option<&str>,
        who: &Credential,
    ) -> Result<(), ControlError> {
        let note = checked_note(note)?;
        let by = self.authorise(who, "rollout", Map::default()).await?;
        let reason = note.unwrap_or_else(|| "stopped by hand".to_owned());
        let (gate, details) = (Arc::clone(self), vec![("reason", reason), by.detail()]);
        let stopped = tokio::spawn(async move { gate.stop_now(&by.actor, &details).await });
        let done = stopped.await.map_err(|e| Unavailable::now(format!("stopping ended: {e}")))??;
        if done { Ok(()) } else { Err(ControlError::Conflict("no snapshot is being tried".to_owned())) }
    }

    /// Whether there was anything to stop.
    async fn stop_now(&self, actor: &str, details: &[(&'static str, String)]) -> Result<bool, Unavailable> {
        let _publishing = self.publishing.lock().await;
        let before = self.active.load_full();
        let Some((tried, _)) = &before.candidate else { return Ok(false) };
        let mut all = vec![("version", tried.name.to_string())];
        all.extend(details.iter().cloned());
        self.note("rollout.stop", actor, &all, Change::RolloutStopped {}, Vec::new()).await?;
        self.now_in_force(Active { candidate: None, ..Active::clone(&before) });
        Ok(true)
    }

    /// Ends a trial whose mix of decisions drifted too far. Called after each decision that was part of
    /// one; the first that sees it ends it, and says why in the log.
    pub(crate) fn watch_drift(&self) {
        let exceeded = self.store.state(|state| state.0.release().rollout().and_then(Rollout::exceeded));
        let Some(drift) = exceeded else { return };
        let Some(gate) = self.shared() else { return };
        if self.drifting.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(async move {
            let details = [
                ("drift_bp", drift.drift_bp.to_string()),
                ("limit_bp", drift.limit_bp.to_string()),
                ("reason", drift.reason),
            ];
            // What cannot be written now is tried again with the next decision.
            let _tried_again = gate.stop_now(GATE, &details).await;
            gate.drifting.store(false, Ordering::Release);
        });
    }
}

fn trial(what: &RolloutRequest) -> Result<Trial, ControlError> {
    let invalid = |problem: &str| Err(ControlError::Invalid(problem.to_owned()));
    match (what.mode, what.share_bp) {
        (RolloutMode::Shadow, None)
            if what.by.is_none() && what.agents.is_empty() && what.tenants.is_empty() =>
        {
            Ok(Trial::Shadow {})
        }
        (RolloutMode::Shadow, _) => {
            invalid("a shadow sees everything; `share_bp`, `by`, `agents` and `tenants` belong to a canary")
        }
        (RolloutMode::Canary, Some(share_bp)) if (1..=WHOLE_BP).contains(&share_bp) => Ok(Trial::Canary {
            agents: what.agents.clone(),
            by: what.by.unwrap_or(Unit::Session),
            share_bp,
            tenants: what.tenants.clone(),
        }),
        (RolloutMode::Canary, _) => {
            invalid("`share_bp`: a canary's share in basis points, 1 to 10000; 500 is 5 %")
        }
    }
}

fn record(live: u64, rollout: &Rollout) -> RolloutRecord {
    let (drift_bp, drift) = rollout.drift();
    RolloutRecord {
        snapshot: format!("v{}", rollout.start.candidate.version),
        live: format!("v{live}"),
        trial: rollout.start.trial.clone(),
        receipt_index: rollout.receipt,
        live_mix: rollout.live.clone(),
        candidate_mix: rollout.candidate.clone(),
        differ: rollout.differ,
        drift_bp,
        max_drift_bp: rollout.start.max_drift_bp,
        min_decisions: rollout.start.min_decisions,
        drift,
    }
}
