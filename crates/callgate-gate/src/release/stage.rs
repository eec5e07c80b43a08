//! Staging: a bundle is compiled, tested, signed for and kept, so that it can be published by name.

use std::sync::Arc;

use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Git, Holder, SimulationEvidence, Stage, Tested};
use callgate_core::value::{Map, Value};
use callgate_log::Hash;
use callgate_log::endorsement;
use callgate_log::keys::VerifyingKey;
use callgate_policy::Bundle;
use serde::Deserialize;

use super::shelf::{SnapshotRecord, version_of};
use crate::Credential;
use crate::control::Authorised;
use crate::error::{ControlError, Unavailable};
use crate::gate::{Gate, Named};
use crate::simulate::{Filter, Plan, Progress, Report, SimulationInput};
use crate::vault;

/// Longest note, in bytes.
const MAX_NOTE: usize = 2000;
/// Longest signature, in bytes.
const MAX_SIGNATURE: usize = 16 * 1024;

/// What goes with a bundle that is staged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// The version it gets, such as `v42`, above every earlier one; the next one if absent.
    #[serde(default)]
    pub version: Option<String>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
    /// The repository it comes from.
    #[serde(default)]
    pub git: Option<Git>,
    /// The author's signature: a DSSE envelope, see [`endorsement`].
    #[serde(default)]
    pub signature: Option<String>,
}

/// Refuses a note that no receipt should hold.
pub(crate) fn checked_note(note: Option<&str>) -> Result<Option<String>, ControlError> {
    let Some(note) = note.map(str::trim).filter(|note| !note.is_empty()) else { return Ok(None) };
    if note.len() > MAX_NOTE {
        return Err(ControlError::Invalid(format!("`note`: at most {MAX_NOTE} bytes")));
    }
    if note.chars().any(|letter| letter.is_control() && letter != '\n') {
        return Err(ControlError::Invalid("`note`: no control characters".to_owned()));
    }
    Ok(Some(note.to_owned()))
}

fn checked_git(git: Option<&Git>) -> Result<(), ControlError> {
    let Some(git) = git else { return Ok(()) };
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !(7..=64).contains(&git.commit.len()) || !hex(&git.commit) {
        return Err(ControlError::Invalid("`git.commit`: the commit's hex digits".to_owned()));
    }
    let branch = git.branch.as_deref().unwrap_or("main");
    if branch.is_empty() || branch.len() > 255 || branch.chars().any(char::is_control) {
        return Err(ControlError::Invalid("`git.branch`: a branch's name, at most 255 bytes".to_owned()));
    }
    Ok(())
}

/// Plays a bundle's tests.
fn play(bundle: &Bundle) -> Result<Tested, ControlError> {
    let report = callgate_policy::testing::run(bundle, None).map_err(ControlError::Policy)?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let failed = report.failed();
    Ok(Tested { failed: count(failed), passed: count(report.tests.len().saturating_sub(failed)) })
}

impl Gate {
    /// Compiles a bundle, plays its tests, and keeps it. Staging a bundle again gives the snapshot that
    /// there is. Nothing decides by it yet.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is kept.
    pub async fn stage(
        self: &Arc<Self>,
        bundle: Bundle,
        what: StageRequest,
        who: &Credential,
    ) -> Result<SnapshotRecord, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        checked_git(what.git.as_ref())?;
        let wanted = match &what.version {
            None => None,
            Some(name) => Some(version_of(name).ok_or_else(|| {
                ControlError::Invalid(format!(
                    "`version`: `{name}` is none; write `v` and a number, such as `v42`"
                ))
            })?),
        };
        let digest = bundle.digest().to_string();
        let mut args = Map::default();
        args.insert("digest".to_owned(), Value::Str(digest.clone()));
        let by = self.authorise(who, "stage", args).await?;
        let working = tokio::task::spawn_blocking(move || {
            let tested = play(&bundle)?;
            let (snapshot, archive) = super::compile(&bundle).map_err(ControlError::from)?;
            Ok::<_, ControlError>((tested, snapshot, archive))
        });
        let ended = |e: tokio::task::JoinError| Unavailable::now(format!("staging ended: {e}"));
        let (tested, snapshot, archive) = working.await.map_err(ended)??;
        self.check_signature(&by, what.signature.as_deref(), &snapshot)?;
        let (gate, stage) = (Arc::clone(self), (digest, note, what, tested, wanted));
        let kept = tokio::spawn(async move { gate.keep(stage, Arc::new(snapshot), &archive, &by).await });
        let version = kept.await.map_err(ended)??;
        self.snapshot_record(&format!("v{version}"))
    }

    async fn keep(
        &self,
        (digest, note, what, tested, wanted): (String, Option<String>, StageRequest, Tested, Option<u64>),
        snapshot: Arc<Snapshot>,
        archive: &[u8],
        by: &Authorised,
    ) -> Result<u64, ControlError> {
        let _publishing = self.publishing.lock().await;
        let (kept, newest) = self.store.state(|state| {
            let release = state.0.release();
            (release.kept_by_digest(&digest).cloned(), release.newest())
        });
        match (kept, wanted) {
            // A bundle that came into force by the operator's folder was not tested then.
            (Some(kept), None) if kept.stage.tested.is_some() => return Ok(kept.stage.version),
            (Some(kept), Some(wanted)) if kept.stage.version == wanted && kept.stage.tested.is_some() => {
                return Ok(wanted);
            }
            _ => {}
        }
        let version = wanted.unwrap_or_else(|| newest.saturating_add(1));
        if version <= newest {
            let message =
                format!("v{version} is taken or passed; the next version is v{}", newest.saturating_add(1));
            return Err(ControlError::Conflict(message));
        }
        let stage = Stage {
            author: by.actor.clone(),
            digest: digest.clone(),
            git: what.git,
            note,
            signature: what.signature,
            tested: Some(tested),
            version,
        };
        let mut details = vec![
            ("digest", digest),
            ("version", format!("v{version}")),
            ("tests_passed", tested.passed.to_string()),
            ("tests_failed", tested.failed.to_string()),
            by.detail(),
        ];
        details.extend(stage.note.clone().map(|note| ("note", note)));
        details.extend(stage.git.as_ref().map(|git| ("git_commit", git.commit.clone())));
        let change = Change::SnapshotStaged(stage);
        self.note("snapshot.stage", &by.actor, &details, change, vault::plain(archive)).await?;
        self.shelve(&Named::new(snapshot, version));
        Ok(version)
    }

    /// A person with a registered key signs what they stage; nobody's signature is believed otherwise.
    fn check_signature(
        &self,
        by: &Authorised,
        signature: Option<&str>,
        snapshot: &Snapshot,
    ) -> Result<(), ControlError> {
        let keys = self.store.state(|state| {
            let of = |key: &callgate_core::state::ApiKey| match &key.holder {
                Holder::Person { person, public_key, .. } if *person == by.actor => public_key.clone(),
                _ => None,
            };
            state.0.keys().values().filter_map(of).collect::<Vec<String>>()
        });
        let invalid = |problem: String| Err(ControlError::Invalid(problem));
        let Some(signature) = signature else {
            if keys.is_empty() {
                return Ok(());
            }
            return invalid(format!(
                "`{}` has a signing key, so `signature` must be there; give the key to `callgate publish --sign-key`",
                by.actor
            ));
        };
        if signature.len() > MAX_SIGNATURE {
            return invalid(format!("`signature`: at most {MAX_SIGNATURE} bytes"));
        }
        let bundle = Hash::new(*snapshot.digest.as_bytes());
        let verified = keys
            .iter()
            .filter_map(|pem| VerifyingKey::from_spki_pem(pem).ok())
            .any(|key| endorsement::verify(signature.as_bytes(), &key, &bundle).is_ok());
        if verified {
            return Ok(());
        }
        invalid(format!(
            "`signature` is not over this bundle by a key of `{}`; register the key with `callgate keys create --public-key`",
            by.actor
        ))
    }

    /// Holds a kept snapshot against the one in force, on the decisions of the log, and keeps how that came out: what
    /// publishing asks for.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn simulate_kept(
        self: &Arc<Self>,
        name: &str,
        filter: Filter,
        who: &Credential,
        progress: Progress,
    ) -> Result<Report, ControlError> {
        let kept = self.kept(name)?;
        let mut args = Map::default();
        args.insert("snapshot".to_owned(), Value::Str(format!("v{}", kept.stage.version)));
        let by = self.authorise(who, "simulate", args).await?;
        let named = self.compiled(&kept).await?;
        let live = self.active.load().live.clone();
        let whole = filter.is_everything();
        let baseline = (live.version > 0).then(|| Arc::clone(&live.snapshot));
        let plan = Plan { baseline, filter, ..Plan::new(Arc::clone(&named.snapshot)) };
        let simulating = self.simulate(SimulationInput::History(plan), progress);
        let report = simulating.await.map_err(|e| Unavailable::for_good(e.to_string()))?;
        // A part of the history shows something, but publishing asks for all of it.
        if whole {
            let evidence = SimulationEvidence { baseline: live.digest.to_string(), ..report.evidence() };
            let numbers = [evidence.decisions, evidence.loosened, evidence.tightened, evidence.not_evaluated];
            let [decisions, loosened, tightened, not_evaluated] = numbers.map(|number| number.to_string());
            let details = [
                ("baseline", evidence.baseline.clone()),
                ("decisions", decisions),
                ("loosened", loosened),
                ("not_evaluated", not_evaluated),
                ("report_sha256", evidence.report_sha256.clone()),
                ("tightened", tightened),
                ("version", named.name.to_string()),
                by.detail(),
            ];
            let change = Change::SnapshotSimulated { evidence, version: named.version };
            self.note("snapshot.simulate", &by.actor, &details, change, Vec::new()).await?;
        }
        Ok(report)
    }
}
