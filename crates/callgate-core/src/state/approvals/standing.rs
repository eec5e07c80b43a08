//! Standing approvals: narrow, counted, for a time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Approvals, ENDED_KEPT, StandingEnd, StandingTerms, Under};
use crate::approval::KnownStanding;
use crate::digest::Digest;
use crate::state::Conflict;

/// The most standing approvals of one scope that can be used at a time.
const MAX_OF_SCOPE: usize = 32;

/// People agreed to an action beforehand, so and so often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The receipt of the vote that gave it: the number in `std-N`.
    pub id: u64,
    /// The approval it came from, which says for whom and what.
    pub approval: u64,
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// For whom the agent acts.
    pub on_behalf_of: Option<String>,
    /// What the action is called.
    pub action: String,
    /// The environment.
    pub environment: Option<String>,
    /// The rule it answers.
    pub rule: String,
    /// See [`crate::approval::terms_name`].
    pub terms: Digest,
    /// The scope's name.
    pub scope: Digest,
    /// How far it reaches.
    pub reach: StandingTerms,
    /// Who gave it.
    pub by: Vec<String>,
    /// The snapshot it was given under, or one of the same text.
    pub under: Under,
    /// When it was given, milliseconds since 1970 UTC.
    pub given_at_ms: i64,
    /// Until when it can be used, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// How often it was used.
    pub used: u64,
    /// What became of it, as the log says.
    pub status: StandingStatus,
}

/// What became of a standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum StandingStatus {
    /// It can be used.
    InEffect,
    /// Every use is spent.
    Spent,
    /// Its time was over.
    Expired,
    /// Another snapshot came into force.
    Lapsed,
    /// A person took it back.
    Revoked {
        /// Who.
        by: String,
    },
}

impl StandingStatus {
    /// The word in replies.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::InEffect => "in_effect",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
            Self::Revoked { .. } => "revoked",
        }
    }
}

impl Standing {
    /// What became of it by `now_ms`.
    #[must_use]
    pub fn status_at(&self, now_ms: i64) -> StandingStatus {
        match &self.status {
            StandingStatus::InEffect if now_ms > self.expires_at_ms => StandingStatus::Expired,
            other => other.clone(),
        }
    }

    fn is_usable(&self, under: Under, now_ms: i64) -> bool {
        self.under == under && self.status_at(now_ms) == StandingStatus::InEffect
    }

    pub(super) fn known(&self, under: Under, now_ms: i64) -> Option<KnownStanding> {
        self.is_usable(under, now_ms).then(|| KnownStanding {
            approval: self.approval,
            arguments: self.reach.arguments,
            by: self.by.clone(),
            fixed: self.reach.fixed.clone(),
            standing: self.id,
            terms: self.terms,
        })
    }
}

impl Approvals {
    /// Whether one more standing approval of that scope can be given.
    pub(super) fn has_room(&self, scope: &Digest) -> bool {
        self.by_scope.get(scope).is_none_or(|ids| ids.len() < MAX_OF_SCOPE)
    }

    pub(super) fn give(&mut self, standing: Standing) {
        self.by_scope.entry(standing.scope).or_default().insert(standing.id);
        self.standing_ends.insert((standing.expires_at_ms, standing.id));
        self.standing.insert(standing.id, standing);
    }

    /// Whether a use is left now, for what decides `under` that.
    pub(super) fn check_use(
        &self,
        id: u64,
        scope: &Digest,
        under: Under,
        now_ms: i64,
    ) -> Result<(), Conflict> {
        let standing = self.standing.get(&id).filter(|one| one.scope == *scope);
        let left = standing.is_some_and(|one| one.is_usable(under, now_ms) && one.used < one.reach.uses);
        if left { Ok(()) } else { Err(Conflict::Approval) }
    }

    pub(super) fn take_use(&mut self, id: u64, now_ms: i64) {
        let Some(standing) = self.standing.get_mut(&id) else { return };
        standing.used = standing.used.saturating_add(1);
        if standing.used >= standing.reach.uses {
            self.end_standing(id, StandingStatus::Spent, now_ms);
        }
    }

    pub(super) fn end_standing(&mut self, id: u64, status: StandingStatus, at_ms: i64) {
        let Some(standing) = self.standing.get_mut(&id) else { return };
        if standing.status != StandingStatus::InEffect {
            return;
        }
        standing.status = status;
        self.standing_ends.remove(&(standing.expires_at_ms, id));
        if let Some(ids) = self.by_scope.get_mut(&standing.scope) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_scope.remove(&standing.scope);
            }
        }
        self.standing_ended.insert((at_ms, id));
        while self.standing_ended.len() > ENDED_KEPT {
            if let Some((_, id)) = self.standing_ended.pop_first() {
                self.standing.remove(&id);
            }
        }
    }

    /// Whether it is there to be taken back.
    ///
    /// # Errors
    /// [`Conflict::Approval`] when it ended.
    pub fn check_revoked(&self, end: &StandingEnd) -> Result<(), Conflict> {
        let standing = self.standing.get(&end.standing);
        let there = standing.is_some_and(|one| one.status == StandingStatus::InEffect);
        if there { Ok(()) } else { Err(Conflict::Approval) }
    }

    /// Takes it back.
    pub(crate) fn apply_revoked(&mut self, end: &StandingEnd, now_ms: i64) {
        self.end_standing(end.standing, StandingStatus::Revoked { by: end.person.clone() }, now_ms);
    }

    /// Ends what was given under anything else; a snapshot of the same text inherits.
    pub(super) fn enforce_standing(
        &mut self,
        deciding: &BTreeSet<Under>,
        same: Option<(u64, u64)>,
        now_ms: i64,
    ) {
        let usable: Vec<u64> = self.by_scope.values().flatten().copied().collect();
        for id in usable {
            let Some(standing) = self.standing.get_mut(&id) else { continue };
            let inherits = same.filter(|(old, _)| !standing.under.control && standing.under.version == *old);
            if let Some((_, version)) = inherits {
                standing.under.version = version;
            }
            if !deciding.contains(&standing.under) {
                self.end_standing(id, StandingStatus::Lapsed, now_ms);
            }
        }
    }

    pub(super) fn forget_standing(&mut self, now_ms: i64) {
        while let Some((at_ms, id)) = self.standing_ends.first().copied().filter(|(at_ms, _)| *at_ms < now_ms)
        {
            self.standing_ends.remove(&(at_ms, id));
            self.end_standing(id, StandingStatus::Expired, at_ms);
        }
    }
}
