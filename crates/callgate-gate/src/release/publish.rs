//! Publishing and rolling back: a kept snapshot comes into force from one place in the log.
//!
//! Publishing asks for what was found out before: tests that pass, and a simulation of exactly this
//! snapshot against the one in force, within the limits of the policy in force. Rolling back asks for
//! nothing but who does it: it returns to what was in force before.

use std::sync::Arc;

use callgate_core::constraint::Kind;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Kept, SimulationEvidence, WHOLE_BP, percent};
use callgate_core::value::{Map, Value};
use serde::{Deserialize, Serialize};

use super::Why;
use super::stage::checked_note;
use crate::Credential;
use crate::control::Authorised;
use crate::error::{ControlError, Unavailable};
use crate::gate::{Gate, Named};

/// Puts a kept snapshot in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The version (`v42`) or digest.
    pub snapshot: String,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
    /// Why it is published although something speaks against it; goes into the receipt.
    #[serde(default, rename = "override")]
    pub overriding: Option<String>,
}

/// Returns to a snapshot that was in force before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version (`v41`) or digest.
    pub target_snapshot: String,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

/// What is in force now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Released {
    /// The version in force.
    pub snapshot: String,
    /// Its digest.
    pub digest: String,
    /// The version that was in force before.
    pub previous: String,
    /// Whether anything changed.
    pub changed: bool,
    /// The receipt of the activation: every decision after it in the log is by this snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_index: Option<u64>,
    /// What spoke against it and was overridden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
}

impl Gate {
    /// Publishes a kept snapshot.
    ///
    /// # Errors
    /// [`ControlError`]: then what was in force still is. [`ControlError::Held`] when the policy in force
    /// wants a second person behind an override: publish the same again once they agreed.
    pub async fn publish_kept(
        self: &Arc<Self>,
        what: PublishRequest,
        who: &Credential,
    ) -> Result<Released, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        let overriding = checked_note(what.overriding.as_deref())?;
        let kept = self.kept(&what.snapshot)?;
        let mut args = named(&kept);
        if let Some(why) = &overriding {
            args.insert("override".to_owned(), Value::Str(why.clone()));
            let second = self.active.load().live.snapshot.defaults.rollout.second_person;
            args.insert("second_person".to_owned(), Value::Bool(second));
        }
        let alone = !needs_second(&args);
        let by = self.authorise(who, "publish", args).await?;
        let named = self.compiled(&kept).await?;
        self.release(named, by, note, Some(Overriding { why: overriding, alone })).await
    }

    /// Returns to a kept snapshot that was in force before.
    ///
    /// # Errors
    /// [`ControlError`]: then what was in force still is.
    pub async fn roll_back(
        self: &Arc<Self>,
        what: RollbackRequest,
        who: &Credential,
    ) -> Result<Released, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        let kept = self.kept(&what.target_snapshot)?;
        let by = self.authorise(who, "rollback", named(&kept)).await?;
        let was = self.store.state(|state| {
            let mut activations = state.0.release().activations().iter();
            activations.any(|it| it.snapshot.version == kept.stage.version)
        });
        if !was {
            let message = format!("v{} was never in force; publish it instead", kept.stage.version);
            return Err(ControlError::Conflict(message));
        }
        let named = self.compiled(&kept).await?;
        self.release(named, by, note, None).await
    }

    /// Goes on even if nobody waits for it any more: the log and what decides must not come apart.
    async fn release(
        self: &Arc<Self>,
        named: Named,
        by: Authorised,
        note: Option<String>,
        publishing: Option<Overriding>,
    ) -> Result<Released, ControlError> {
        let gate = Arc::clone(self);
        let done = tokio::spawn(async move { gate.release_now(&named, &by, note, publishing).await });
        done.await.map_err(|e| Unavailable::now(format!("publishing ended: {e}")))?
    }

    async fn release_now(
        self: &Arc<Self>,
        named: &Named,
        by: &Authorised,
        note: Option<String>,
        publishing: Option<Overriding>,
    ) -> Result<Released, ControlError> {
        let _publishing = self.publishing.lock().await;
        let before = self.active.load_full().live.clone();
        let mut released = Released {
            snapshot: named.name.to_string(),
            digest: named.digest.to_string(),
            previous: before.name.to_string(),
            changed: false,
            receipt_index: None,
            overridden: Vec::new(),
        };
        if before.version == named.version {
            return Ok(released);
        }
        let mut details = vec![("previous", before.name.to_string()), by.detail()];
        details.extend(note.map(|note| ("note", note)));
        match publishing {
            None => details.push(("rollback", "true".to_owned())),
            Some(overriding) => {
                let against = self.against(named, &before)?;
                if !against.is_empty() {
                    overriding.still_enough(&before)?;
                }
                match overriding.why {
                    None if !against.is_empty() => return Err(refused(named, &against)),
                    Some(why) if !against.is_empty() => {
                        details.push(("override", why));
                        details.push(("overridden", against.join("; ")));
                        released.overridden = against;
                    }
                    _ => {}
                }
            }
        }
        let why = Why { actor: &by.actor, details };
        released.receipt_index = Some(self.put_in_force(named, None, &why).await?);
        released.changed = true;
        Ok(released)
    }

    /// What speaks against publishing a kept snapshot.
    pub(crate) fn against(&self, named: &Named, live: &Named) -> Result<Vec<String>, ControlError> {
        let kept = self.kept(&named.name)?;
        let mut against = untested(&kept);
        against.extend(unsimulated(&kept, named, live));
        against.extend(self.unenforced(&named.snapshot));
        Ok(against)
    }

    /// The enforcement points that cannot enforce what the snapshot may ask of them.
    fn unenforced(&self, snapshot: &Snapshot) -> Vec<String> {
        let wanted = wanted(snapshot);
        self.store.state(|state| {
            let points = state.0.release().points().values();
            points
                .filter_map(|(point, _)| {
                    let missing: Vec<&str> =
                        wanted.iter().copied().filter(|kind| !point.enforces.contains(*kind)).collect();
                    let id = &point.id;
                    (!missing.is_empty()).then(|| {
                        format!("the enforcement point `{id}` cannot enforce `{}`", missing.join("`, `"))
                    })
                })
                .collect()
        })
    }
}

/// The constraints that some rule of the snapshot may ask for.
fn wanted(snapshot: &Snapshot) -> Vec<&'static str> {
    let rules = snapshot.modules.iter().flat_map(|module| module.listed());
    let mut kinds: Vec<Kind> = snapshot.defaults.constraints.kinds().collect();
    for rule in rules {
        kinds.extend(rule.constraints.kinds());
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds.into_iter().map(Kind::as_str).collect()
}

/// An override as it was authorised.
pub(super) struct Overriding {
    /// Why, if anybody overrides.
    pub(super) why: Option<String>,
    /// Whether one person was enough then.
    pub(super) alone: bool,
}

impl Overriding {
    /// Whether what was authorised is enough for the snapshot that is in force now.
    pub(super) fn still_enough(&self, live: &Named) -> Result<(), ControlError> {
        if self.why.is_some() && self.alone && live.snapshot.defaults.rollout.second_person {
            let message = format!(
                "{} came into force meanwhile and wants a second person behind an override; ask again",
                live.name
            );
            return Err(ControlError::Conflict(message));
        }
        Ok(())
    }
}

/// Whether the control policy was asked with a second person in mind.
pub(super) fn needs_second(args: &Map) -> bool {
    args.get("second_person") == Some(&Value::Bool(true))
}

fn named(kept: &Kept) -> Map {
    let mut args = Map::default();
    args.insert("digest".to_owned(), Value::Str(kept.stage.digest.clone()));
    args.insert("snapshot".to_owned(), Value::Str(format!("v{}", kept.stage.version)));
    args
}

fn refused(named: &Named, against: &[String]) -> ControlError {
    let list: String = against.iter().map(|reason| format!("\n  - {reason}")).collect();
    ControlError::Conflict(format!(
        "{} is not published, because:{list}\nWhoever may publish can say `override` and why; that is receipted.",
        named.name
    ))
}

fn untested(kept: &Kept) -> Vec<String> {
    match kept.stage.tested {
        Some(tested) if tested.failed > 0 => vec![format!("{} of its tests fail", tested.failed)],
        Some(tested) if tested.passed > 0 => Vec::new(),
        _ => vec!["it has no test that passes; write some in `tests/*.yaml`".to_owned()],
    }
}

fn unsimulated(kept: &Kept, named: &Named, live: &Named) -> Vec<String> {
    // Before the first snapshot there is nothing to compare with.
    if live.version == 0 {
        return Vec::new();
    }
    let version = &named.name;
    let Some(evidence) = &kept.simulated else {
        return vec![format!("it was not simulated; run `callgate simulate {version}`")];
    };
    if evidence.candidate != *named.digest || evidence.baseline != *live.digest {
        return vec![format!(
            "its simulation was against another snapshot than {}, which is in force; run `callgate simulate {version}` again",
            live.name
        )];
    }
    flips(evidence, &live.snapshot)
}

/// Where the simulation is beyond the limits of the policy in force.
fn flips(evidence: &SimulationEvidence, live: &Snapshot) -> Vec<String> {
    let limits = &live.defaults.rollout;
    let share = |part: u64| {
        let scaled = u128::from(part).saturating_mul(u128::from(WHOLE_BP));
        // A share just above a limit is above it.
        let whole = u128::from(evidence.decisions.max(1));
        u32::try_from(scaled.div_ceil(whole)).unwrap_or(u32::MAX)
    };
    let beyond = |part: u64, limit: u32, words: &str| {
        (share(part) > limit).then(|| {
            format!(
                "{part} of {} recorded decisions become {words} ({}, and {} is the limit)",
                evidence.decisions,
                percent(share(part)),
                percent(limit)
            )
        })
    };
    let mut against: Vec<String> = [
        beyond(evidence.loosened, limits.max_loosen_bp, "less strict"),
        beyond(evidence.tightened, limits.max_tighten_bp, "stricter"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if evidence.not_evaluated > evidence.decisions {
        against.push(format!(
            "{} recorded decisions could not be made again, and only {} could",
            evidence.not_evaluated, evidence.decisions
        ));
    }
    against
}
