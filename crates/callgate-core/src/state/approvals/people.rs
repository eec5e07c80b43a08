//! Who may say what about an approval.
//!
//! Nobody decides on their own request or their own agent's, and nobody twice. What an agent says of
//! the person it acts for can only take somebody's vote away, never give one.

use super::{Approval, Cast, Delegation, Vote};
use crate::facts::Credential;
use crate::name::fold;
use crate::rule::Stage;

/// The gate role of those who decide approvals of rules that name nobody.
pub const REVIEWER: &str = "reviewer";
/// What the operator of this machine is called as a person.
pub const OPERATOR: &str = "operator";
/// What the only person of a gate without authentication is called.
pub const DEVELOPER: &str = "developer";

/// A person, as the gate knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reviewer<'a> {
    /// Who.
    pub id: &'a str,
    /// Their roles; every one if absent.
    roles: Option<&'a [String]>,
    /// The only tenant they look after.
    tenant: Option<&'a str>,
}

impl<'a> Reviewer<'a> {
    /// The person behind a credential; an agent is none.
    #[must_use]
    pub fn of(credential: &'a Credential) -> Option<Self> {
        match credential {
            Credential::Agent { .. } => None,
            Credential::Local => Some(Self { id: OPERATOR, roles: None, tenant: None }),
            Credential::Development => Some(Self { id: DEVELOPER, roles: None, tenant: None }),
            Credential::Person { id, roles, tenant } => {
                Some(Self { id, roles: Some(roles), tenant: tenant.as_deref() })
            }
        }
    }

    /// Whether they have this role.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.roles.is_none_or(|roles| roles.iter().any(|held| held == role))
    }

    /// Whether they look after this tenant.
    #[must_use]
    pub fn looks_after(&self, tenant: &str) -> bool {
        self.tenant.is_none_or(|own| own == tenant)
    }

    /// The first of the stage's reviewers that they are.
    fn seat(&self, stage: &Stage) -> Option<String> {
        if stage.reviewers.is_empty() {
            return self.has(REVIEWER).then(|| role(REVIEWER));
        }
        let named = |entry: &String| entry.strip_prefix("role:").is_some_and(|role| self.has(role));
        let may = self.has(REVIEWER) || stage.reviewers.iter().any(named);
        let fits = |entry: &&String| match entry.strip_prefix("role:") {
            Some(role) => self.has(role),
            None => entry.strip_prefix("user:").unwrap_or(entry) == self.id,
        };
        stage.reviewers.iter().find(fits).filter(|_| may).cloned()
    }
}

fn role(name: &str) -> String {
    format!("role:{name}")
}

/// Why somebody may not do that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An agent asks.
    #[error("an agent cannot decide on approvals; use the key of a person")]
    Agent,
    /// The person looks after another tenant.
    #[error("`{0}` looks after another tenant")]
    OtherTenant(String),
    /// The request is theirs, or their agent's.
    #[error("`{0}` asked for this, or answers for the agent that did; somebody else must decide")]
    Own(String),
    /// The stage asks for others.
    #[error("stage {stage} asks for {wanted}; `{person}` is none of them")]
    NotAsked {
        /// Who.
        person: String,
        /// The stage, counted from 1.
        stage: u32,
        /// Whom it asks for.
        wanted: String,
    },
    /// They said yes before.
    #[error("`{0}` has agreed to this approval already; a person counts once")]
    Voted(String),
    /// Their vote is somebody else's now.
    #[error("`{0}` handed their vote on this approval to `{1}`")]
    HandedOver(String, String),
    /// A vote that was handed over stays where it is.
    #[error("`{0}` cannot take a vote over: they have agreed already, or handed their own vote on")]
    CannotTake(String),
}

impl Approval {
    /// Whether the person is the one who asked, or for whom. Names that look alike count as one.
    #[must_use]
    pub fn is_own(&self, person: &str) -> bool {
        let bare = |name: &str| fold(name.split_once(':').map_or(name, |(_, rest)| rest));
        let (whole, person) = (fold(person), bare(person));
        let hold = &self.hold;
        let mut names = std::iter::once(&self.key.agent).chain(&hold.chain).chain(hold.on_behalf_of.as_ref());
        names.any(|name| bare(name) == person || fold(name) == whole)
    }

    fn handed_over(&self, person: &str) -> Option<&Delegation> {
        self.delegations.iter().find(|delegation| delegation.from == person)
    }

    fn has_agreed(&self, person: &str) -> bool {
        self.votes.iter().any(|cast| cast.vote.approve && cast.vote.person == person)
    }

    /// The seat that `reviewer` may vote from now, and whose it was.
    ///
    /// # Errors
    /// Why they may not.
    pub fn seat(&self, reviewer: &Reviewer<'_>) -> Result<(String, Option<String>), Refusal> {
        let person = || reviewer.id.to_owned();
        if !reviewer.looks_after(&self.key.tenant) {
            return Err(Refusal::OtherTenant(person()));
        }
        if self.is_own(reviewer.id) {
            return Err(Refusal::Own(person()));
        }
        if let Some(delegation) = self.handed_over(reviewer.id) {
            return Err(Refusal::HandedOver(person(), delegation.to.clone()));
        }
        let stage = self.current();
        if let Some(seat) = stage.and_then(|stage| reviewer.seat(stage)) {
            return Ok((seat, None));
        }
        let given = |one: &&Delegation| one.to == reviewer.id && one.stage == self.stage;
        if let Some(taken) = self.delegations.iter().find(given) {
            return Ok((taken.seat.clone(), Some(taken.from.clone())));
        }
        let wanted = stage.map_or_else(String::new, wanted);
        Err(Refusal::NotAsked { person: person(), stage: self.stage.saturating_add(1), wanted })
    }

    /// As [`Self::seat`], for a yes.
    ///
    /// # Errors
    /// Why they may not.
    pub fn seat_to_agree(&self, reviewer: &Reviewer<'_>) -> Result<(String, Option<String>), Refusal> {
        let seat = self.seat(reviewer)?;
        if self.has_agreed(reviewer.id) {
            return Err(Refusal::Voted(reviewer.id.to_owned()));
        }
        Ok(seat)
    }

    /// The seat that `reviewer` may hand to `to`.
    ///
    /// # Errors
    /// Why they may not.
    pub fn seat_to_hand_over(&self, reviewer: &Reviewer<'_>, to: &str) -> Result<String, Refusal> {
        let (seat, taken) = self.seat_to_agree(reviewer)?;
        if let Some(from) = taken {
            return Err(Refusal::HandedOver(from, reviewer.id.to_owned()));
        }
        if self.is_own(to) {
            return Err(Refusal::Own(to.to_owned()));
        }
        if !self.may_take(reviewer.id, to) {
            return Err(Refusal::CannotTake(to.to_owned()));
        }
        Ok(seat)
    }

    fn may_take(&self, from: &str, to: &str) -> bool {
        from != to && !self.has_agreed(to) && self.handed_over(to).is_none() && !self.is_own(to)
    }

    /// Whether one more yes in this stage is the one that was missing.
    #[must_use]
    pub fn lacks_one(&self) -> bool {
        let next = self.stage.saturating_add(1);
        let last = usize::try_from(next).is_ok_and(|next| next >= self.hold.stages.len());
        last && self.current().is_some_and(|stage| self.agreed().saturating_add(1) >= stage.quorum)
    }

    /// How many agreed in the stage that is being decided.
    pub(super) fn agreed(&self) -> u32 {
        let here = |cast: &&Cast| cast.vote.approve && cast.vote.stage == self.stage;
        u32::try_from(self.votes.iter().filter(here).count()).unwrap_or(u32::MAX)
    }

    /// Whether a vote is one that [`Self::seat`] gives, as far as the log can tell.
    pub(super) fn takes(&self, vote: &Vote) -> bool {
        let (true, Some(stage)) = (vote.stage == self.stage, self.current()) else { return false };
        let handed = |from: &String| {
            self.delegations
                .iter()
                .any(|one| one.from == *from && one.to == vote.person && one.seat == vote.seat)
        };
        is_seat(stage, &vote.seat)
            && vote.instead_of.as_ref().is_none_or(handed)
            && vote.grants == (vote.approve && self.lacks_one())
            && !self.is_own(&vote.person)
            && self.handed_over(&vote.person).is_none()
            && !(vote.approve && self.has_agreed(&vote.person))
    }

    /// Whether a delegation is one that [`Self::seat_to_hand_over`] gives.
    pub(super) fn lets(&self, delegation: &Delegation) -> bool {
        let (true, Some(stage)) = (delegation.stage == self.stage, self.current()) else { return false };
        is_seat(stage, &delegation.seat)
            && self.handed_over(&delegation.from).is_none()
            && !self.has_agreed(&delegation.from)
            && !self.is_own(&delegation.from)
            && self.may_take(&delegation.from, &delegation.to)
    }
}

fn is_seat(stage: &Stage, seat: &str) -> bool {
    if stage.reviewers.is_empty() {
        seat.strip_prefix("role:") == Some(REVIEWER)
    } else {
        stage.reviewers.iter().any(|entry| entry == seat)
    }
}

/// Whom a stage asks for, in words.
fn wanted(stage: &Stage) -> String {
    if stage.reviewers.is_empty() {
        return "anybody with the role `reviewer`".to_owned();
    }
    let names: Vec<String> = stage.reviewers.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
