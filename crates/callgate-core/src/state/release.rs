//! What decides, as the log names it: snapshots kept, the one in force, a candidate that is tried beside
//! it, who is only monitored, and which enforcement points said what they can do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::digest::Digest;
use crate::history::Monitor;
use crate::request::Request;

/// One hundred percent, in basis points.
pub const WHOLE_BP: u32 = 10_000;

/// A snapshot that decides, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRef {
    /// The digest of the secret in the keys of their series: under another one nothing of theirs is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Digest>,
    /// `sha256:…` of the bundle.
    pub digest: String,
    /// What its policies watch; the events of every other monitor are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<Monitor>,
    /// The short version, `v1` upwards.
    pub version: u64,
}

/// A snapshot and the receipt that brought it into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// The receipt's index.
    pub receipt: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// What is known of a bundle's repository when it is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// The branch, if one is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit, in hex.
    pub commit: String,
    /// Whether files differ from that commit.
    pub dirty: bool,
}

/// How a bundle's own tests came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Tests that failed.
    pub failed: u64,
    /// Tests that passed.
    pub passed: u64,
}

/// How a candidate would have decided what was decided, compared with a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationEvidence {
    /// The snapshot compared with, `sha256:…`.
    pub baseline: String,
    /// The snapshot that was simulated, `sha256:…`.
    pub candidate: String,
    /// Decisions that stay, but with other constraints.
    pub constraints_changed: u64,
    /// Decisions that were made again.
    pub decisions: u64,
    /// Decisions that become less strict.
    pub loosened: u64,
    /// Decisions that could not be made again.
    pub not_evaluated: u64,
    /// Lower-case hex SHA-256 of the report.
    pub report_sha256: String,
    /// Decisions that become stricter.
    pub tightened: u64,
}

/// A snapshot that is kept: compiled, named, not necessarily ever in force. The bundle's text lies beside
/// the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Who staged it.
    pub author: String,
    /// `sha256:…` of the bundle.
    pub digest: String,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Git>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The author's signature over the digest: a DSSE envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// How its tests came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// The short version, above every earlier one.
    pub version: u64,
}

/// A snapshot that is kept, with what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// As it was staged.
    pub stage: Stage,
    /// The receipt that the bundle's text lies beside.
    pub receipt: u64,
    /// When it was staged, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The newest simulation.
    pub simulated: Option<SimulationEvidence>,
}

/// What one side of a canary is drawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Each session goes one way; requests without one go by agent.
    Session,
    /// Each agent goes one way.
    Agent,
    /// Each tenant goes one way.
    Tenant,
}

/// How a candidate is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trial {
    /// Its verdict is recorded and never obeyed.
    Shadow {},
    /// It decides for some.
    Canary {
        /// Only these agents; all if empty.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        agents: BTreeSet<String>,
        /// What the share is drawn by.
        by: Unit,
        /// The share of them, in basis points.
        share_bp: u32,
        /// Only these tenants; all if empty.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tenants: BTreeSet<String>,
    },
}

impl Trial {
    /// Whether the candidate `version` decides this request. Stable: the same session, agent or tenant
    /// always goes the same way, and a larger share keeps those that were in a smaller one.
    #[must_use]
    pub fn decides(&self, version: u64, request: &Request) -> bool {
        let Self::Canary { agents, by, share_bp, tenants } = self else { return false };
        let (tenant, agent) = (request.tenant.as_str(), request.agent.id.as_str());
        if !(agents.is_empty() || agents.contains(agent)) || !(tenants.is_empty() || tenants.contains(tenant))
        {
            return false;
        }
        let session = request.session.id.as_ref().map_or("", |id| id.as_str());
        let named = match by {
            Unit::Session => [tenant, agent, session],
            Unit::Agent => [tenant, agent, ""],
            Unit::Tenant => [tenant, "", ""],
        };
        let text = format!("callgate/canary\0v{version}\0{}", named.join("\0"));
        let drawn = Digest::of(text.as_bytes());
        let drawn = drawn.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        drawn.checked_rem(u64::from(WHOLE_BP)).is_some_and(|place| place < u64::from(*share_bp))
    }
}

/// A candidate begins to be tried beside the snapshot in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutStart {
    /// The candidate.
    pub candidate: SnapshotRef,
    /// How far the mix of decisions may drift before it ends by itself, in basis points.
    pub max_drift_bp: u32,
    /// A drift says nothing before so many decisions.
    pub min_decisions: u64,
    /// How it is tried.
    pub trial: Trial,
}

/// What a decision says of the candidate beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Whether the candidate decided.
    pub candidate: bool,
    /// What was decided.
    pub decision: Decision,
    /// What the candidate in the shadow says, if it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Decision>,
}

/// How often each decision was made.
pub type Mix = BTreeMap<Decision, u64>;

/// A candidate that is being tried, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// As it began.
    pub start: RolloutStart,
    /// The receipt it began with.
    pub receipt: u64,
    /// What the snapshot in force decided meanwhile; in a shadow, where both sides are known.
    pub live: Mix,
    /// What the candidate decided, or would have.
    pub candidate: Mix,
    /// Decisions on which the two differ; in a shadow only.
    pub differ: u64,
}

/// A drift beyond its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// In basis points.
    pub drift_bp: u32,
    /// The limit.
    pub limit_bp: u32,
    /// In words.
    pub reason: String,
}

fn total(mix: &Mix) -> u64 {
    mix.values().copied().fold(0, u64::saturating_add)
}

/// `part` of `whole` in basis points.
fn share_bp(part: u64, whole: u64) -> u32 {
    let scaled = u128::from(part).saturating_mul(u128::from(WHOLE_BP));
    scaled.checked_div(u128::from(whole)).and_then(|bp| u32::try_from(bp).ok()).unwrap_or(0)
}

impl Rollout {
    fn observe(&mut self, tried: &Tried) {
        let count = |mix: &mut Mix, decision| {
            let entry = mix.entry(decision).or_default();
            *entry = entry.saturating_add(1);
        };
        match (&self.start.trial, tried.shadow) {
            (Trial::Shadow {}, None) => {}
            (Trial::Shadow {}, Some(shadow)) => {
                count(&mut self.live, tried.decision);
                count(&mut self.candidate, shadow);
                if shadow != tried.decision {
                    self.differ = self.differ.saturating_add(1);
                }
            }
            (Trial::Canary { .. }, _) => {
                count(if tried.candidate { &mut self.candidate } else { &mut self.live }, tried.decision);
            }
        }
    }

    /// How many decisions each side made: in force, candidate.
    #[must_use]
    pub fn decisions(&self) -> (u64, u64) {
        (total(&self.live), total(&self.candidate))
    }

    /// How far the mix of decisions is apart, in basis points, and in words. In a shadow both sides saw
    /// the same requests, so it is the share of those on which they differ; in a canary it is the
    /// largest difference between the shares of any one decision.
    #[must_use]
    pub fn drift(&self) -> (u32, String) {
        let (live, candidate) = self.decisions();
        if self.start.trial == (Trial::Shadow {}) {
            let words = format!("the candidate differs on {} of {candidate} decisions", self.differ);
            return (share_bp(self.differ, candidate), words);
        }
        let apart = Decision::ALL.into_iter().map(|decision| {
            let of = |mix: &Mix, whole| share_bp(mix.get(&decision).copied().unwrap_or(0), whole);
            let (old, new) = (of(&self.live, live), of(&self.candidate, candidate));
            (old.abs_diff(new), decision, old, new)
        });
        let widest = apart.max_by_key(|(apart, ..)| *apart);
        widest.map_or((0, String::new()), |(apart, decision, old, new)| {
            let words = format!(
                "{decision} is {} of the candidate's {candidate} decisions and {} of the other {live}",
                percent(new),
                percent(old)
            );
            (apart, words)
        })
    }

    /// Why it must end by itself.
    #[must_use]
    pub fn exceeded(&self) -> Option<Drift> {
        let (live, candidate) = self.decisions();
        let all = matches!(self.start.trial, Trial::Canary { share_bp, .. } if share_bp >= WHOLE_BP);
        if candidate < self.start.min_decisions.max(1) || (live < self.start.min_decisions.max(1) && !all) {
            return None;
        }
        // Where the candidate decides everything there is nobody left to compare with.
        if live == 0 {
            return None;
        }
        let (drift_bp, words) = self.drift();
        let limit_bp = self.start.max_drift_bp;
        (drift_bp > limit_bp).then(|| Drift {
            drift_bp,
            limit_bp,
            reason: format!(
                "{words}: a drift of {}, and {} is the limit",
                percent(drift_bp),
                percent(limit_bp)
            ),
        })
    }
}

/// Basis points for people: `5 %`, `0.25 %`.
#[must_use]
pub fn percent(bp: u32) -> String {
    let whole = bp.checked_div(100).unwrap_or(0);
    match bp.checked_rem(100).unwrap_or(0) {
        0 => format!("{whole} %"),
        rest => format!("{whole}.{rest:02} %"),
    }
}

/// Whose decisions are only recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModeScope {
    /// Everybody's.
    Everyone {},
    /// One agent's.
    Agent {
        /// The agent.
        agent: String,
        /// Its tenant.
        tenant: String,
    },
}

/// What an enforcement point says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The constraints it can enforce.
    pub enforces: BTreeSet<String>,
    /// Its name.
    pub id: String,
    /// The snapshot it works with, `v42`.
    pub snapshot: String,
}

/// The policy of the gate's own actions. Its text lies beside the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlRef {
    /// `sha256:…` of its bundle.
    pub digest: String,
    /// The short version, `c1` upwards.
    pub version: u64,
}

/// The fold of all that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub(super) kept: BTreeMap<u64, Kept>,
    pub(super) activations: Vec<Activation>,
    pub(super) rollout: Option<Rollout>,
    pub(super) monitored: BTreeSet<ModeScope>,
    pub(super) points: BTreeMap<String, (Point, u64)>,
    pub(super) control: Option<(ControlRef, u64)>,
    /// Grows with everything that decisions depend on.
    pub(super) epoch: u64,
}

impl Release {
    /// The snapshots that are kept, by version.
    #[must_use]
    pub const fn kept(&self) -> &BTreeMap<u64, Kept> {
        &self.kept
    }

    /// The kept snapshot with that digest; the newest, should there be several.
    #[must_use]
    pub fn kept_by_digest(&self, digest: &str) -> Option<&Kept> {
        self.kept.values().rev().find(|kept| kept.stage.digest == digest)
    }

    /// The highest version there is; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.kept.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// Every time a snapshot came into force, oldest first.
    #[must_use]
    pub fn activations(&self) -> &[Activation] {
        &self.activations
    }

    /// The snapshot in force.
    #[must_use]
    pub fn active(&self) -> Option<&Activation> {
        self.activations.last()
    }

    /// The version in force; 0 before the first.
    #[must_use]
    pub fn active_version(&self) -> u64 {
        self.active().map_or(0, |active| active.snapshot.version)
    }

    /// The candidate that is being tried.
    #[must_use]
    pub const fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }

    /// Whose decisions an operator wants only recorded.
    #[must_use]
    pub const fn monitored(&self) -> &BTreeSet<ModeScope> {
        &self.monitored
    }

    /// Whether an operator wants this request's decision only recorded.
    #[must_use]
    pub fn monitors(&self, request: &Request) -> bool {
        if self.monitored.is_empty() {
            return false;
        }
        let (agent, tenant) = (request.agent.id.as_str().to_owned(), request.tenant.as_str().to_owned());
        self.monitored.contains(&ModeScope::Everyone {})
            || self.monitored.contains(&ModeScope::Agent { agent, tenant })
    }

    /// The enforcement points that said what they can do, and the receipt they said it with.
    #[must_use]
    pub const fn points(&self) -> &BTreeMap<String, (Point, u64)> {
        &self.points
    }

    /// The policy of the gate's own actions, and the receipt its text lies beside.
    #[must_use]
    pub const fn control(&self) -> Option<&(ControlRef, u64)> {
        self.control.as_ref()
    }

    /// Grows with every activation, rollout and mode: a decision holds only for the epoch it was made in.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What must be kept of events: for the snapshot in force and for the one that is tried.
    pub(super) fn watched(&self) -> Vec<Monitor> {
        let live = self.active().map(|active| &active.snapshot);
        let tried = self.rollout.as_ref().map(|rollout| &rollout.start.candidate);
        live.into_iter().chain(tried).flat_map(|snapshot| snapshot.monitors.iter().cloned()).collect()
    }

    /// Whether any policy in force or tried looks back.
    pub(super) fn looks_back(&self) -> bool {
        let of = |snapshot: &SnapshotRef| !snapshot.monitors.is_empty();
        self.active().is_some_and(|active| of(&active.snapshot))
            || self.rollout.as_ref().is_some_and(|rollout| of(&rollout.start.candidate))
    }

    pub(super) fn stage(&mut self, index: u64, at_ms: i64, stage: &Stage) {
        let kept = Kept { stage: stage.clone(), receipt: index, at_ms, simulated: None };
        self.kept.insert(stage.version, kept);
    }

    /// An activation of a version that was never staged keeps it, too: its text lies beside it.
    pub(super) fn activate(&mut self, index: u64, at_ms: i64, snapshot: &SnapshotRef) {
        self.epoch = self.epoch.saturating_add(1);
        self.rollout = None;
        self.kept.entry(snapshot.version).or_insert_with(|| Kept {
            stage: Stage {
                author: "operator".to_owned(),
                digest: snapshot.digest.clone(),
                git: None,
                note: None,
                signature: None,
                tested: None,
                version: snapshot.version,
            },
            receipt: index,
            at_ms,
            simulated: None,
        });
        self.activations.push(Activation { snapshot: snapshot.clone(), receipt: index, at_ms });
    }

    pub(super) fn start(&mut self, index: u64, start: &RolloutStart) {
        self.epoch = self.epoch.saturating_add(1);
        self.rollout = Some(Rollout {
            start: start.clone(),
            receipt: index,
            live: Mix::new(),
            candidate: Mix::new(),
            differ: 0,
        });
    }

    pub(super) fn stop(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.rollout = None;
    }

    pub(super) fn set_mode(&mut self, scope: &ModeScope, monitor: bool) {
        self.epoch = self.epoch.saturating_add(1);
        if monitor {
            self.monitored.insert(scope.clone());
        } else {
            self.monitored.remove(scope);
        }
    }

    pub(super) fn tried(&mut self, tried: Option<&Tried>) {
        if let (Some(rollout), Some(tried)) = (&mut self.rollout, tried) {
            rollout.observe(tried);
        }
    }
}
