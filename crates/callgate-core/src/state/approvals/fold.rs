//! Checking and folding what decisions and people do to approvals.

use std::collections::BTreeSet;

use super::standing::{Standing, StandingStatus};
use super::{
    Approval, Approvals, Cast, Comment, Delegation, ENDED_KEPT, ENDED_KEPT_MS, MAX_SAID, Remark, Status,
    Under, Vote,
};
use crate::approval::{ApprovalDelta, ApprovalEffect, ApprovalNames, Hold};
use crate::state::stops::{Stop, StopScope};
use crate::state::{Conflict, DecisionDelta, SessionKey};

fn holds(condition: bool) -> Result<(), Conflict> {
    if condition { Ok(()) } else { Err(Conflict::Approval) }
}

impl Approvals {
    /// Whether what a decision knew of approvals still holds. A grant is there to be used, or it is not.
    pub(crate) fn check_decision(
        &self,
        delta: &ApprovalDelta,
        key: &SessionKey,
        under: Under,
        now_ms: i64,
    ) -> Result<(), Conflict> {
        let names = ApprovalNames { action: delta.action, scope: delta.scope };
        let seen = self.seen(&names, key, under, now_ms);
        holds(seen.digest() == delta.seen)?;
        match &delta.effect {
            ApprovalEffect::Opens { hold } => {
                holds(seen.known.iter().all(|known| known.terms != hold.terms) && !hold.stages.is_empty())
            }
            ApprovalEffect::Meets { approval, .. } => holds(self.is(*approval, now_ms, "open")),
            ApprovalEffect::Refused { approval } => holds(self.is(*approval, now_ms, "rejected")),
            ApprovalEffect::Crowded {} => holds(seen.crowded),
            ApprovalEffect::Uses { approval, .. } => {
                let same = self
                    .all
                    .get(approval)
                    .is_some_and(|one| one.names == names && one.key == *key && one.under == under);
                holds(same && self.is(*approval, now_ms, "granted"))
            }
            ApprovalEffect::UsesStanding { standing, .. } => {
                self.check_use(*standing, &delta.scope, under, now_ms)
            }
        }
    }

    fn is(&self, id: u64, now_ms: i64, word: &str) -> bool {
        self.all.get(&id).is_some_and(|approval| approval.status_at(now_ms).as_str() == word)
    }

    /// Folds what a decision does.
    pub(crate) fn apply_decision(&mut self, index: u64, decision: &DecisionDelta, now_ms: i64) {
        let (Some(delta), Some(key)) = (&decision.approval, &decision.key) else { return };
        match &delta.effect {
            ApprovalEffect::Opens { hold } => self.open(index, decision, key, delta, hold, now_ms),
            ApprovalEffect::Uses { approval, .. } => {
                self.end(*approval, Status::Used { at_ms: now_ms, receipt: index }, now_ms);
            }
            ApprovalEffect::UsesStanding { standing, .. } => self.take_use(*standing, now_ms),
            ApprovalEffect::Meets { .. } | ApprovalEffect::Refused { .. } | ApprovalEffect::Crowded {} => {}
        }
    }

    fn open(
        &mut self,
        id: u64,
        decision: &DecisionDelta,
        key: &SessionKey,
        delta: &ApprovalDelta,
        hold: &Hold,
        now_ms: i64,
    ) {
        self.by_action.entry(delta.action).or_default().insert(id);
        self.ends.insert((hold.expires_at_ms, id));
        let waiting = self.waiting.entry((key.tenant.clone(), key.agent.clone())).or_default();
        *waiting = waiting.saturating_add(1);
        let approval = Approval {
            id,
            key: key.clone(),
            team: decision.team.clone(),
            under: Under::of(decision),
            opened_at_ms: now_ms,
            hold: hold.clone(),
            names: ApprovalNames { action: delta.action, scope: delta.scope },
            stage: 0,
            votes: Vec::new(),
            delegations: Vec::new(),
            remarks: Vec::new(),
            status: Status::Open,
            announced: false,
        };
        self.all.insert(id, approval);
    }

    fn open_at(&self, id: u64, now_ms: i64) -> Result<&Approval, Conflict> {
        let approval = self.all.get(&id).filter(|one| one.status_at(now_ms) == Status::Open);
        approval.ok_or(Conflict::Approval)
    }

    /// Whether a vote can be cast now.
    ///
    /// # Errors
    /// [`Conflict::Approval`] when it cannot.
    pub fn check_vote(&self, vote: &Vote, now_ms: i64) -> Result<(), Conflict> {
        let approval = self.open_at(vote.approval, now_ms)?;
        let standing = vote.standing.as_ref();
        let fits = standing
            .is_none_or(|terms| vote.approve && terms.is_bounded() && self.has_room(&approval.names.scope));
        holds(fits && approval.votes.len() < MAX_SAID && approval.takes(vote))
    }

    /// Whether a vote can be handed over now.
    ///
    /// # Errors
    /// [`Conflict::Approval`] when it cannot.
    pub fn check_delegation(&self, delegation: &Delegation, now_ms: i64) -> Result<(), Conflict> {
        let approval = self.open_at(delegation.approval, now_ms)?;
        holds(approval.delegations.len() < MAX_SAID && approval.lets(delegation))
    }

    /// Whether a remark can be made.
    ///
    /// # Errors
    /// [`Conflict::Approval`] when the approval is forgotten, or too much was said.
    pub fn check_comment(&self, comment: &Comment) -> Result<(), Conflict> {
        holds(self.all.get(&comment.approval).is_some_and(|one| one.remarks.len() < MAX_SAID))
    }

    /// Whether an approval ended without being used, and that is not written down.
    ///
    /// # Errors
    /// [`Conflict::Approval`] otherwise.
    pub fn check_expired(&self, id: u64, now_ms: i64) -> Result<(), Conflict> {
        let over = |one: &Approval| !one.announced && one.status_at(now_ms).is_over_unused();
        holds(self.all.get(&id).is_some_and(over))
    }

    /// Folds a vote. The last yes of the last stage grants; one no rejects.
    pub(crate) fn apply_vote(&mut self, index: u64, vote: &Vote, now_ms: i64) {
        let Some(approval) = self.all.get_mut(&vote.approval) else { return };
        approval.votes.push(Cast { vote: vote.clone(), receipt: index, at_ms: now_ms });
        let until_ms = now_ms.saturating_add(i64::try_from(approval.hold.span_ms).unwrap_or(i64::MAX));
        if !vote.approve {
            self.settle(vote.approval, Status::Rejected { at_ms: now_ms, until_ms }, until_ms);
            return;
        }
        let agreed = approval.agreed();
        if approval.current().is_some_and(|stage| agreed >= stage.quorum) {
            approval.stage = approval.stage.saturating_add(1);
        }
        if approval.current().is_some() {
            return;
        }
        match standing(approval, index, now_ms) {
            Some(standing) => {
                self.give(standing);
                self.end(vote.approval, Status::Standing { at_ms: now_ms, standing: index }, now_ms);
            }
            None => self.settle(vote.approval, Status::Granted { at_ms: now_ms, until_ms }, until_ms),
        }
    }

    /// Folds a delegation.
    pub(crate) fn apply_delegation(&mut self, delegation: &Delegation) {
        if let Some(approval) = self.all.get_mut(&delegation.approval) {
            approval.delegations.push(delegation.clone());
        }
    }

    /// Folds a remark.
    pub(crate) fn apply_comment(&mut self, index: u64, comment: &Comment, now_ms: i64) {
        if let Some(approval) = self.all.get_mut(&comment.approval) {
            let person = comment.person.clone();
            approval.remarks.push(Remark { person, receipt: index, at_ms: now_ms });
        }
    }

    /// Folds that an end is written down.
    pub(crate) fn apply_expired(&mut self, id: u64, now_ms: i64) {
        if let Some(approval) = self.all.get_mut(&id) {
            approval.announced = true;
            let status = approval.status_at(now_ms);
            if let Status::Expired { at_ms } = status {
                self.end(id, status, at_ms);
            }
        }
    }

    /// Only these decide from now on: what was asked under others is over. Standing approvals go over to
    /// another version of the same text.
    pub(crate) fn enforce(&mut self, deciding: &BTreeSet<Under>, same: Option<(u64, u64)>, now_ms: i64) {
        let in_effect: Vec<u64> = self.by_action.values().flatten().copied().collect();
        for id in in_effect {
            let Some(approval) = self.all.get(&id).filter(|one| !deciding.contains(&one.under)) else {
                continue;
            };
            let status = match approval.status_at(now_ms) {
                Status::Open | Status::Granted { .. } => Status::Lapsed { at_ms: now_ms },
                ended => ended,
            };
            self.end(id, status, now_ms);
        }
        self.enforce_standing(deciding, same, now_ms);
    }

    /// What was asked by what is stopped is over, and has to be asked anew. What people do to the gate itself is
    /// never stopped, or nobody could lift a stop.
    pub(crate) fn stop(&mut self, stop: u64, scope: &StopScope, now_ms: i64) {
        let hit = |id: &&u64| {
            let one = self.all.get(id).filter(|one| !one.under.control);
            let waits =
                |one: &&Approval| matches!(one.status_at(now_ms), Status::Open | Status::Granted { .. });
            one.filter(waits).is_some_and(|one| Stop::hits(scope, one))
        };
        let hit: Vec<u64> = self.by_action.values().flatten().filter(hit).copied().collect();
        for id in hit {
            self.end(id, Status::Stopped { at_ms: now_ms, stop }, now_ms);
        }
    }

    /// An open approval is granted or rejected, until `until_ms`.
    fn settle(&mut self, id: u64, status: Status, until_ms: i64) {
        let Some(approval) = self.all.get_mut(&id) else { return };
        if approval.status == Status::Open {
            waits_no_more(&mut self.waiting, &approval.key);
        }
        approval.status = status;
        self.ends.retain(|(_, ending)| *ending != id);
        self.ends.insert((until_ms, id));
    }

    /// No decision meets it any more.
    fn end(&mut self, id: u64, status: Status, at_ms: i64) {
        let Some(approval) = self.all.get_mut(&id) else { return };
        if approval.status == Status::Open {
            waits_no_more(&mut self.waiting, &approval.key);
        }
        let until_ms = ends_at(approval);
        approval.status = status;
        if let Some(ids) = self.by_action.get_mut(&approval.names.action) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_action.remove(&approval.names.action);
            }
        }
        if let Some(until_ms) = until_ms {
            self.ends.remove(&(until_ms, id));
        }
        self.ended.insert((at_ms, id));
        while self.ended.len() > ENDED_KEPT {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.ended.pop_first() {
            self.all.remove(&id);
        }
    }

    /// Ends what is over by `now_ms`, and forgets what ended long ago.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        while let Some((at_ms, id)) = self.ends.first().copied().filter(|(at_ms, _)| *at_ms < now_ms) {
            self.ends.remove(&(at_ms, id));
            if let Some(status) = self.all.get(&id).map(|approval| approval.status_at(now_ms)) {
                self.end(id, status, at_ms);
            }
        }
        let long_ago = now_ms.saturating_sub(ENDED_KEPT_MS);
        while self.ended.first().is_some_and(|(at_ms, _)| *at_ms < long_ago) {
            self.drop_oldest();
        }
        self.forget_standing(now_ms);
    }
}

/// When an approval that a decision may meet ends.
const fn ends_at(approval: &Approval) -> Option<i64> {
    match approval.status {
        Status::Open => Some(approval.hold.expires_at_ms),
        Status::Granted { until_ms, .. } | Status::Rejected { until_ms, .. } => Some(until_ms),
        _ => None,
    }
}

fn waits_no_more(waiting: &mut std::collections::BTreeMap<(String, String), u64>, key: &SessionKey) {
    let name = (key.tenant.clone(), key.agent.clone());
    if let Some(count) = waiting.get_mut(&name) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            waiting.remove(&name);
        }
    }
}

/// The standing approval that everyone asked for, if they did.
fn standing(approval: &Approval, id: u64, now_ms: i64) -> Option<Standing> {
    let mut yes = approval.votes.iter().filter(|cast| cast.vote.approve).map(|cast| &cast.vote.standing);
    let reach = yes.next()?.as_ref()?;
    if yes.any(|other| other.as_ref() != Some(reach)) {
        return None;
    }
    let hold = &approval.hold;
    Some(Standing {
        id,
        approval: approval.id,
        tenant: approval.key.tenant.clone(),
        agent: approval.key.agent.clone(),
        on_behalf_of: hold.on_behalf_of.clone(),
        action: hold.action.clone(),
        environment: hold.environment.clone(),
        rule: hold.rule.clone(),
        terms: hold.terms,
        scope: approval.names.scope,
        by: approval.by(),
        under: approval.under,
        given_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(i64::try_from(reach.span_ms).unwrap_or(i64::MAX)),
        reach: reach.clone(),
        used: 0,
        status: StandingStatus::InEffect,
    })
}
