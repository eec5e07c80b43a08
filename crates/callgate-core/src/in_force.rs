//! What is in force: a snapshot, and while one is tried, a candidate beside it.
//!
//! Pure, like [`decide()`] itself. In a shadow the candidate sees every request and its verdict is only
//! told; in a canary it decides for some. What happens is kept for the policies of both, so that either
//! can be in force a moment later with everything before it in its history.

use std::sync::Arc;

use crate::decide::{self, Ask, Decided, decide};
use crate::decision::{Code, Decision};
use crate::digest::Digest;
use crate::facts::{Credential, Facts};
use crate::history::{HistoryFacts, Observation, Occurrence, Query};
use crate::limit::{self, Ask as Level};
use crate::snapshot::Snapshot;
use crate::state::{Trial, Tried};

/// A snapshot in force, and a candidate beside it.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'a> {
    /// Decides.
    pub live: &'a Snapshot,
    /// Is tried.
    pub candidate: Option<Candidate<'a>>,
}

/// A snapshot that is tried.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// How it is tried.
    pub trial: &'a Trial,
    /// Its version.
    pub version: u64,
}

/// What the candidate in the shadow says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Its decision; `None` when that cannot be told without asking somebody.
    pub decision: Option<Decision>,
    /// Why it is no plain allow.
    pub code: Option<Code>,
    /// The rule that decided.
    pub matched: Option<Arc<str>>,
}

impl<'a> InForce<'a> {
    /// One snapshot alone.
    #[must_use]
    pub const fn alone(live: &'a Snapshot) -> Self {
        Self { live, candidate: None }
    }

    /// The candidate, if it decides what was asked.
    fn drawn(&self, ask: &Ask, credential: &Credential) -> Option<&Candidate<'a>> {
        let Ask::Request(request) = ask else { return None };
        let candidate = self.candidate.as_ref()?;
        // Whoever is asked must not depend on what a wrong key claims.
        decide::is_identified(request, credential)
            .then_some(candidate)
            .filter(|it| it.trial.decides(it.version, request))
    }

    /// The snapshot that decides what was asked, and whether it is the candidate.
    #[must_use]
    pub fn deciding(&self, ask: &Ask, credential: &Credential) -> (&'a Snapshot, bool) {
        self.drawn(ask, credential).map_or((self.live, false), |candidate| (candidate.snapshot, true))
    }

    /// Whether a policy of either looks back.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.live.looks_back() || self.candidate.is_some_and(|it| it.snapshot.looks_back())
    }

    /// The questions about the past that deciding `ask` will ask; `None` where no policy looks back.
    #[must_use]
    pub fn plan(&self, ask: &Ask, credential: &Credential, blind: &Digest) -> Option<Vec<Query>> {
        let live = decide::plan(self.live, ask, credential, blind);
        let Some(candidate) = self.candidate else { return live };
        let tried = decide::plan(candidate.snapshot, ask, credential, blind);
        match (live, tried) {
            (Some(mut live), Some(tried)) => {
                live.extend(tried);
                Some(live)
            }
            (live, tried) => live.or(tried),
        }
    }

    /// The levels of meters that deciding `ask` reads; `None` where nothing is limited.
    #[must_use]
    pub fn levels(&self, ask: &Ask, credential: &Credential) -> Option<Vec<Level>> {
        let live = decide::levels(self.live, ask, credential);
        let Some(candidate) = self.candidate else { return live };
        let tried = decide::levels(candidate.snapshot, ask, credential);
        match (live, tried) {
            (Some(mut live), Some(tried)) => {
                live.extend(tried);
                Some(live)
            }
            (live, tried) => live.or(tried),
        }
    }

    /// Decides.
    #[must_use]
    pub fn decide(&self, ask: Ask, facts: &Facts) -> Decided {
        let Some(candidate) = self.candidate else { return decide(self.live, ask, facts) };
        let (deciding, drawn) = self.deciding(&ask, &facts.credential);
        let other = if drawn { self.live } else { candidate.snapshot };
        let again = ask.clone();
        let mut decided = decide(deciding, ask, facts);
        // It will be decided again, with more among the facts.
        if decided.held || !decided.questions.is_empty() {
            return decided;
        }
        let observed = beside(other, &again, facts, decided.settled.decision.permits());
        match observed {
            Ok(more) => {
                decided.effects.observations.extend(more);
                decided.effects.observations.sort_by_key(|observation| observation.series);
                decided.effects.observations.dedup();
            }
            // What the snapshot in force cannot remember must not run; a candidate's trouble is its own.
            Err(why) if drawn => decide::forgotten(&mut decided, &why),
            Err(_) => {}
        }
        if decided.effects.open_until_ms.is_some() && other.has_limits() {
            count_beside(other, &again, facts, &mut decided);
        }
        let shadow = (*candidate.trial == Trial::Shadow {}).then(|| shadow(candidate.snapshot, again, facts));
        decided.effects.tried = Some(Tried {
            candidate: drawn,
            decision: decided.settled.decision,
            shadow: shadow.as_ref().and_then(|shadow| shadow.decision),
        });
        decided.shadow = shadow;
        decided
    }

    /// What the end of an action adds to the history of either.
    ///
    /// # Errors
    /// Why that cannot be told for the snapshot in force.
    pub fn observe(
        &self,
        occurrence: impl Fn(&Snapshot, &HistoryFacts) -> Result<Vec<Observation>, String>,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        let mut all = occurrence(self.live, history)?;
        if let Some(candidate) = self.candidate {
            all.extend(occurrence(candidate.snapshot, history).unwrap_or_default());
        }
        all.sort_by_key(|observation| observation.series);
        all.dedup();
        Ok(all)
    }
}

/// What a decided request adds to the history of the snapshot that did not decide it.
fn beside(snapshot: &Snapshot, ask: &Ask, facts: &Facts, allowed: bool) -> Result<Vec<Observation>, String> {
    let (Ask::Request(request), Some(history)) = (ask, &facts.history) else { return Ok(Vec::new()) };
    if !snapshot.looks_back() || !decide::is_identified(request, &facts.credential) {
        return Ok(Vec::new());
    }
    let request = decide::normalised(snapshot, request.clone(), &facts.credential);
    snapshot.observe(&Occurrence::Decided { request: &request, allowed }, history)
}

/// What runs is counted by the limits of both, so that either can be in force a moment later.
fn count_beside(snapshot: &Snapshot, ask: &Ask, facts: &Facts, decided: &mut Decided) {
    let Ask::Request(request) = ask else { return };
    let request = decide::normalised(snapshot, request.clone(), &facts.credential);
    let charges = snapshot.charges(&request);
    let epoch = facts.limits.as_ref().map_or(0, |limits| limits.epoch);
    let mut charged = decided.effects.charged.take().map_or_else(Default::default, |charged| *charged);
    charged.epoch = epoch;
    limit::beside(&charges, &request, &mut charged);
    decided.effects.charged = Some(Box::new(charged));
}

fn shadow(snapshot: &Snapshot, ask: Ask, facts: &Facts) -> Shadow {
    let decided = decide(snapshot, ask, facts);
    // A judge is asked for what decides, never for what is only tried.
    let told = decided.questions.is_empty();
    Shadow {
        decision: told.then_some(decided.settled.decision),
        code: decided.settled.code.filter(|_| told),
        matched: decided.settled.matched.filter(|_| told).map(|rule| Arc::clone(&rule.id)),
    }
}
