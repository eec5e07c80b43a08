//! What people do to approvals, each a receipt.
//!
//! What somebody says is sealed under the key of the session it is about: erasing the session makes it
//! unreadable with the request. The receipt holds a salted digest of it.

use callgate_core::approval::fixed_arguments;
use callgate_core::decide::Ask;
use callgate_core::name::{Name, fold, is_invisible};
use callgate_core::request::Request;
use callgate_core::state::approvals::{
    Approval, Comment, Delegation, MAX_FIXED, MAX_STANDING_MS, MAX_STANDING_USES, Refusal, Reviewer,
    StandingEnd, StandingTerms, Status, Vote,
};
use callgate_core::state::{Change, Delta, Holder, SessionKey, State};
use callgate_log::hash::{domain, salted, sha256};

use super::view::{ApprovalView, StandingView};
use crate::Credential;
use crate::commit::CommitFailure;
use crate::error::{ApprovalError, Unavailable};
use crate::fold::encode;
use crate::gate::Gate;
use crate::replay::ask;
use crate::reply::{approval_id, standing_id};
use crate::vault::{Attachment, Record};

/// The longest comment, in characters.
const MAX_COMMENT: usize = 1000;
/// How often something is tried again because somebody else was quicker.
const MAX_ATTEMPTS: usize = 64;
/// How long a standing approval stands unless somebody says, in milliseconds.
const STANDING_MS: u64 = 8 * 60 * 60 * 1000;
/// How often it can be used unless somebody says.
const STANDING_USES: u64 = 10;

/// What comes with a vote.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// For the other reviewers; at most 1,000 characters.
    pub comment: Option<String>,
    /// Agree to more than this one call.
    pub standing: Option<StandingAsk>,
}

/// How far a standing approval shall reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingAsk {
    /// The arguments that must stay as they are; all of them if absent.
    pub fixed: Option<Vec<String>>,
    /// For how long, in milliseconds; 8 hours if absent, 30 days at most.
    pub span_ms: Option<u64>,
    /// How often; 10 if absent, 1,000 at most.
    pub uses: Option<u64>,
}

/// What is done, what else its receipt says, and what it changes.
type Prepared = (&'static str, Details, Change);
/// What a receipt about the gate says.
type Details = Vec<(&'static str, String)>;

/// Something to be recorded, and whose session a comment belongs to.
struct Act {
    operation: &'static str,
    details: Details,
    change: Change,
    key: SessionKey,
}

impl Gate {
    /// Agrees, for the stage that is being decided.
    ///
    /// # Errors
    /// [`ApprovalError`]; then nothing was recorded.
    pub async fn approve(
        &self,
        id: u64,
        who: &Credential,
        said: Said,
    ) -> Result<ApprovalView, ApprovalError> {
        let standing = match &said.standing {
            None => None,
            Some(wanted) => Some(self.standing_terms(id, who, wanted)?),
        };
        self.vote(id, who, true, standing, said.comment).await
    }

    /// Says no: the approval is over.
    ///
    /// # Errors
    /// [`ApprovalError`]; then nothing was recorded.
    pub async fn reject(
        &self,
        id: u64,
        who: &Credential,
        comment: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        self.vote(id, who, false, None, comment).await
    }

    async fn vote(
        &self,
        id: u64,
        who: &Credential,
        approve: bool,
        standing: Option<StandingTerms>,
        comment: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        let comment = checked(comment)?;
        self.act(id, who, comment.as_deref(), |approval, person, _| {
            let (seat, instead_of) =
                if approve { approval.seat_to_agree(person)? } else { approval.seat(person)? };
            let vote = Vote {
                approval: id,
                approve,
                commented: comment.is_some(),
                grants: approve && approval.lacks_one(),
                instead_of,
                person: person.id.to_owned(),
                seat,
                stage: approval.stage,
                standing: standing.clone(),
            };
            let mut details = vec![
                ("seat", vote.seat.clone()),
                ("stage", vote.stage.saturating_add(1).to_string()),
                ("grants", vote.grants.to_string()),
            ];
            details.extend(vote.instead_of.clone().map(|from| ("instead_of", from)));
            if let Some(standing) = &vote.standing {
                details.push(("standing_uses", standing.uses.to_string()));
                details.push(("standing_span_ms", standing.span_ms.to_string()));
            }
            let operation = if approve { "approval.approve" } else { "approval.reject" };
            Ok((operation, details, Change::ApprovalVoted(vote)))
        })
        .await
    }

    /// Hands the caller's vote on this approval to another person.
    ///
    /// # Errors
    /// [`ApprovalError`]; then nothing was recorded.
    pub async fn delegate(
        &self,
        id: u64,
        who: &Credential,
        to: &str,
        comment: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        Name::new(to).map_err(|e| ApprovalError::Invalid(format!("`to`: {e}")))?;
        let comment = checked(comment)?;
        self.act(id, who, comment.as_deref(), |approval, person, state| {
            let seat = approval.seat_to_hand_over(person, to)?;
            if answers_for(state, approval, to) {
                return Err(Refusal::Own(to.to_owned()));
            }
            let stage = approval.stage;
            let details = vec![
                ("to", to.to_owned()),
                ("seat", seat.clone()),
                ("stage", stage.saturating_add(1).to_string()),
            ];
            let from = person.id.to_owned();
            let delegation = Delegation { approval: id, from, seat, stage, to: to.to_owned() };
            Ok(("approval.delegate", details, Change::ApprovalDelegated(delegation)))
        })
        .await
    }

    /// Says something without voting.
    ///
    /// # Errors
    /// [`ApprovalError`]; then nothing was recorded.
    pub async fn comment(
        &self,
        id: u64,
        who: &Credential,
        comment: String,
    ) -> Result<ApprovalView, ApprovalError> {
        let comment = checked(Some(comment))?;
        self.act(id, who, comment.as_deref(), |_, person, _| {
            let said = Comment { approval: id, person: person.id.to_owned() };
            Ok(("approval.comment", Vec::new(), Change::ApprovalCommented(said)))
        })
        .await
    }

    /// Takes a standing approval back. Whoever may review, and nobody's agent, may do that.
    ///
    /// # Errors
    /// [`ApprovalError`]; then it still stands.
    pub async fn revoke_standing(&self, id: u64, who: &Credential) -> Result<StandingView, ApprovalError> {
        let person = Reviewer::of(who).ok_or(Refusal::Agent)?;
        let unknown = || ApprovalError::Unknown(standing_id(id));
        let now_ms = self.now_ms();
        let read = || {
            self.store.state(|state| {
                let found = state.0.approvals().standing(id).map(|one| StandingView::of(one, now_ms));
                found.filter(|view| super::may_see(who, &view.tenant, &view.agent)).ok_or_else(unknown)
            })
        };
        let view = read()?;
        if view.status != "in_effect" {
            return Err(ApprovalError::Closed { id: view.id, status: view.status });
        }
        if !person.has("reviewer") && !person.has("operator") && !view.by.iter().any(|by| by == person.id) {
            let wanted = "`role:reviewer`, `role:operator`, or who gave it".to_owned();
            return Err(Refusal::NotAsked { person: person.id.to_owned(), stage: 1, wanted }.into());
        }
        let details = [("standing", view.id), ("approval", view.approval), ("agent", view.agent)];
        let end = StandingEnd { person: person.id.to_owned(), standing: id };
        self.note("approval.revoke", person.id, &details, Change::StandingRevoked(end), Vec::new()).await?;
        self.approvals_move();
        read()
    }

    /// Prepares at one moment, records, and begins again when somebody was quicker.
    async fn act(
        &self,
        id: u64,
        who: &Credential,
        comment: Option<&str>,
        prepare: impl Fn(&Approval, &Reviewer<'_>, &State) -> Result<Prepared, Refusal>,
    ) -> Result<ApprovalView, ApprovalError> {
        let person = Reviewer::of(who).ok_or(Refusal::Agent)?;
        for _ in 0..MAX_ATTEMPTS {
            let now_ms = self.now_ms();
            let act = self.with_approval(id, who, |approval, state| {
                prepared(approval, &person, state, now_ms, &prepare)
            })??;
            match self.say(act, person.id, comment, now_ms).await {
                Ok(()) => {
                    self.approvals_move();
                    let now_ms = self.now_ms();
                    return self.with_approval(id, who, |approval, _| ApprovalView::of(approval, now_ms));
                }
                Err(Failure::Quicker) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Unavailable::now("too many people decide on this approval at once; try again").into())
    }

    async fn say(&self, act: Act, actor: &str, comment: Option<&str>, now_ms: i64) -> Result<(), Failure> {
        let Act { operation, mut details, change, key } = act;
        let record = comment.map(|text| self.comment_record(text)).transpose()?;
        if let Some(record) = &record {
            let commitment = salted(&record.salt, domain::COMMENT, &record.request);
            details.push(("comment_commitment", commitment.to_string()));
        }
        let delta = Delta { change, now_ms };
        let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
        let statement = self.letterhead.admin(actor, operation, &details, &delta_bytes, now_ms);
        let attachment = match record {
            None => Vec::new(),
            Some(record) => {
                let payload = statement.to_payload().map_err(|e| Unavailable::for_good(e.to_string()))?;
                let slot = self.store.state(|state| state.0.slot(&key)).ok_or_else(erased)?;
                let bound = sha256(&payload).into_bytes();
                self.vault.seal(slot, &record, &bound, self.random.as_ref()).map_err(|_| erased())?
            }
        };
        match self.commit_delta(&statement, delta, delta_bytes, attachment).await {
            Ok(_) => Ok(()),
            Err(CommitFailure::Conflict(_)) => Err(Failure::Quicker),
            Err(CommitFailure::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }

    fn comment_record(&self, text: &str) -> Result<Record, Unavailable> {
        let mut salt = [0u8; 32];
        self.random
            .fill(&mut salt)
            .map_err(|e| Unavailable::now(format!("the system gave no random bytes: {e}")))?;
        Ok(Record { salt, malformed: false, request: text.as_bytes().to_vec(), facts: Vec::new() })
    }

    /// The request that waits, as it was decided; `None` if it was erased.
    pub(super) fn held_request(&self, id: u64) -> Result<Option<Box<Request>>, ApprovalError> {
        let unreadable = |problem: String| ApprovalError::Unreadable(problem);
        let stored = self.store.read(id).map_err(|e| unreadable(e.to_string()))?;
        let stored = stored.ok_or_else(|| ApprovalError::Unknown(approval_id(id)))?;
        let bound = sha256(&stored.payload).into_bytes();
        match self.vault.open(&stored.attachment, &bound).map_err(unreadable)? {
            Attachment::Record(record) => match ask(&record).map_err(unreadable)? {
                Ask::Request(request) => Ok(Some(request)),
                Ask::Malformed(_) => Err(unreadable(format!("receipt {id} holds no request"))),
            },
            Attachment::Erased => Ok(None),
            _ => Err(unreadable(format!("receipt {id} holds no request"))),
        }
    }

    fn standing_terms(
        &self,
        id: u64,
        who: &Credential,
        wanted: &StandingAsk,
    ) -> Result<StandingTerms, ApprovalError> {
        Reviewer::of(who).ok_or(Refusal::Agent)?;
        self.with_approval(id, who, |_, _| ())?;
        let invalid = |problem: String| Err(ApprovalError::Invalid(problem));
        let request = self.held_request(id)?;
        let Some(request) = request else { return invalid(ERASED.to_owned()) };
        let mut fixed = wanted.fixed.clone();
        if let Some(names) = &mut fixed {
            names.sort_unstable();
            names.dedup();
            if names.is_empty() && !request.args.is_empty() {
                return invalid(
                    "`fixed`: name at least one argument; leave it out to fix all of them".to_owned(),
                );
            }
            if names.len() > MAX_FIXED {
                return invalid(format!("`fixed`: name at most {MAX_FIXED} arguments"));
            }
            if let Some(other) = names.iter().find(|name| request.args.get(name).is_none()) {
                return invalid(format!("`fixed`: the call has no argument `{}`", other.escape_debug()));
            }
        }
        let terms = StandingTerms {
            arguments: fixed_arguments(&request, fixed.as_deref(), &self.identity.blind()),
            fixed,
            span_ms: wanted.span_ms.unwrap_or(STANDING_MS),
            uses: wanted.uses.unwrap_or(STANDING_USES),
        };
        if !terms.is_bounded() {
            let days = MAX_STANDING_MS / 86_400_000;
            return invalid(format!(
                "a standing approval lasts at most {days} days and {MAX_STANDING_USES} uses, and at least a moment and one"
            ));
        }
        Ok(terms)
    }
}

fn prepared(
    approval: &Approval,
    person: &Reviewer<'_>,
    state: &State,
    now_ms: i64,
    prepare: &impl Fn(&Approval, &Reviewer<'_>, &State) -> Result<Prepared, Refusal>,
) -> Result<Act, ApprovalError> {
    let status = approval.status_at(now_ms);
    let (operation, said, change) = prepare_open(approval, person, state, status, prepare)?;
    let key = &approval.key;
    let mut details = about(approval);
    details.extend(said);
    Ok(Act { operation, details, change, key: key.clone() })
}

/// What every receipt about an approval says: names, never arguments.
pub(super) fn about(approval: &Approval) -> Details {
    let (key, hold) = (&approval.key, &approval.hold);
    let mut details = vec![
        ("action", hold.action.clone()),
        ("agent", key.agent.clone()),
        ("approval", approval_id(approval.id)),
        ("rule", hold.rule.clone()),
        ("tenant", key.tenant.clone()),
    ];
    details.extend(hold.on_behalf_of.clone().map(|name| ("on_behalf_of", name)));
    details.extend(key.is_chained().then(|| ("session", key.session.clone())));
    details
}

fn prepare_open(
    approval: &Approval,
    person: &Reviewer<'_>,
    state: &State,
    status: Status,
    prepare: &impl Fn(&Approval, &Reviewer<'_>, &State) -> Result<Prepared, Refusal>,
) -> Result<Prepared, ApprovalError> {
    if status != Status::Open {
        return Err(ApprovalError::Closed { id: approval_id(approval.id), status: status.as_str() });
    }
    if answers_for(state, approval, person.id) {
        return Err(Refusal::Own(person.id.to_owned()).into());
    }
    Ok(prepare(approval, person, state)?)
}

/// Whether the person answers for the agent that asked, or for one that delegated to it.
fn answers_for(state: &State, approval: &Approval, person: &str) -> bool {
    let person = fold(person);
    state.keys().values().any(|key| match &key.holder {
        Holder::Agent { agent, owner: Some(owner), tenant, .. } => {
            *tenant == approval.key.tenant
                && (*agent == approval.key.agent || approval.hold.chain.contains(agent))
                && fold(owner) == person
        }
        _ => false,
    })
}

const ERASED: &str = "the request was erased, so nothing can be bound to it or sealed with it any more";

fn erased() -> ApprovalError {
    ApprovalError::Invalid(ERASED.to_owned())
}

/// A comment that people can read: not empty, not too long, nothing invisible.
fn checked(comment: Option<String>) -> Result<Option<String>, ApprovalError> {
    let Some(text) = comment else { return Ok(None) };
    let invalid = |problem: &str| Err(ApprovalError::Invalid(format!("`comment`: {problem}")));
    if text.trim().is_empty() {
        return invalid("write something, or leave it out");
    }
    if text.chars().count() > MAX_COMMENT {
        return invalid("at most 1000 characters");
    }
    if text.chars().any(|c| c != '\n' && c != '\t' && is_invisible(c)) {
        return invalid("has an invisible character; write it without");
    }
    Ok(Some(text))
}

enum Failure {
    /// Somebody else was.
    Quicker,
    Other(ApprovalError),
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        Self::Other(error)
    }
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        Self::Other(unavailable.into())
    }
}
