//! What an enforcement point may run while this gate cannot be reached, and what it then tells of it.
//!
//! A lease is a receipt, so that nobody but the gate can grant one. What ran on it is receipted as `UNCHECKED` in
//! the order of the point's journal, once however often it is handed in, and decided again after the fact.

pub(crate) mod reconcile;
pub(crate) mod wire;

use callgate_core::constraint::Kind;
use callgate_core::fail::{FailMode, FailTerms, Tier, fail_mode};
use callgate_core::json::Limits;
use callgate_core::name::Name;
use callgate_core::request::{Request, RequestError};
use callgate_core::state::unchecked::{LeaseDelta, PointKey};
use callgate_core::state::{Change, Conflict, Delta};
use callgate_core::value::MAX_SAFE_INTEGER;
use serde_json::json;

use crate::Credential;
use crate::commit::CommitFailure;
use crate::error::{ControlError, Unavailable};
use crate::fold::encode;
use crate::gate::Gate;
use wire::{Holding, LeaseReply, LeaseRequest, OPERATION};

/// The longest nonce.
const MAX_NONCE: usize = 128;
/// The longest list of tools a lease names, in bytes.
const MAX_TOOLS: usize = 8 * 1024;
/// How often a lease is made again because something was stopped or handed in meanwhile.
const MAX_ATTEMPTS: usize = 256;

impl Gate {
    /// Says what an agent's enforcement point may do while the gate cannot be reached, and receipts it where that
    /// is anything. What ran unchecked within the window counts against it.
    ///
    /// # Errors
    /// [`ControlError`]: then the point fails closed.
    pub async fn lease(&self, what: LeaseRequest, who: &Credential) -> Result<LeaseReply, ControlError> {
        let key = checked(&what, who)?;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(reply) = self.lease_now(key.clone(), &what, who).await? {
                return Ok(reply);
            }
        }
        Err(Unavailable::now("too much is stopped or handed in at once; ask again").into())
    }

    /// The same, as things are now; `None` where something was stopped, or handed in, before that was on the log.
    async fn lease_now(
        &self,
        key: PointKey,
        what: &LeaseRequest,
        who: &Credential,
    ) -> Result<Option<LeaseReply>, ControlError> {
        let agent = Name::new(&key.agent).map_err(|e| ControlError::Invalid(format!("`agent`: {e}")))?;
        let enforces = |word: &str| what.enforces.contains(word);
        let snapshot = self.active.load().live.clone();
        let FailMode { tier, open } = fail_mode(&snapshot.snapshot, &agent, enforces);
        let closed = |why: &str| Ok(Some(LeaseReply::closed(tier, why)));
        let Some(mut terms) = open else {
            return closed("the policy in force does not let this agent's actions run unchecked");
        };
        // Whoever started the gate says which team it is; the key of an agent says so itself.
        let team = match who {
            Credential::Agent { team, .. } => team.as_deref(),
            _ => what.team.as_deref(),
        };
        let asks = whoever(&key, team).map_err(|e| ControlError::Invalid(e.to_string()))?;
        let (most, now_ms) = (terms.max_actions, self.now_ms());
        let (blocked, stops, ran) = self.store.state(|state| {
            let ran = state.0.unchecked().ran_within(&key, terms.window_ms, now_ms);
            (state.0.blocked_in_part(&asks), state.0.stops().newest(), ran)
        });
        if let Some(why) = blocked {
            return closed(why);
        }
        terms.max_actions = terms.max_actions.saturating_sub(ran);
        if terms.max_actions == 0 {
            return closed(
                "as many of this agent's actions as the policy permits ran unchecked within the window",
            );
        }
        if terms.tools.as_ref().is_some_and(|tools| tools.iter().map(String::len).sum::<usize>() > MAX_TOOLS)
        {
            return closed("the tools that may run unchecked are too many for a receipt");
        }
        if what.holds.as_ref().is_some_and(|held| held.is_within(tier, &terms, most)) {
            return Ok(Some(LeaseReply::unchanged(tier)));
        }
        let span = i64::try_from(terms.lease_ms).unwrap_or(MAX_SAFE_INTEGER);
        let expires_at_ms = now_ms.saturating_add(span).min(MAX_SAFE_INTEGER);
        let lease = LeaseDelta { key, expires_at_ms, ran, stops, terms, tier };
        self.granted(lease, &what.nonce, &snapshot.name, tier, now_ms).await
    }

    async fn granted(
        &self,
        lease: LeaseDelta,
        nonce: &str,
        snapshot: &str,
        tier: Tier,
        now_ms: i64,
    ) -> Result<Option<LeaseReply>, ControlError> {
        let details = wire::details(&lease, nonce, snapshot);
        let actor = format!("point:{}", lease.key.point);
        let delta = Delta { change: Change::PointLeased(lease), now_ms };
        let delta_bytes = encode(&delta).map_err(|e| Unavailable::for_good(e.to_string()))?;
        let statement = self.letterhead.admin(&actor, OPERATION, &details, &delta_bytes, now_ms);
        match self.commit_delta(&statement, delta, delta_bytes, Vec::new()).await {
            Ok((signed, durable)) => {
                let (receipt, proof) = self.evidence(&signed, &durable)?;
                Ok(Some(LeaseReply::open(tier, durable.index, receipt, proof)))
            }
            Err(CommitFailure::Conflict(Conflict::Stopped | Conflict::Limit)) => Ok(None),
            Err(CommitFailure::Conflict(_)) => Err(ControlError::Invalid(
                "this agent has too many enforcement points with leases; name them the same when they are"
                    .to_owned(),
            )),
            Err(CommitFailure::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }
}

impl Holding {
    /// Whether it says what would be granted now, and no more actions than the policy does.
    fn is_within(&self, tier: Tier, terms: &FailTerms, most: u64) -> bool {
        let same = FailTerms { max_actions: terms.max_actions, ..self.terms.clone() };
        self.tier == tier && same == *terms && self.terms.max_actions <= most
    }
}

/// Any request of an agent, whatever it would do.
fn whoever(key: &PointKey, team: Option<&str>) -> Result<Request, RequestError> {
    let mut agent = json!({"id": key.agent});
    if let (Some(team), Some(agent)) = (team, agent.as_object_mut()) {
        agent.insert("team".to_owned(), team.into());
    }
    let any = json!({"agent": agent, "tenant": key.tenant, "topic": "any"});
    Request::parse(any.to_string().as_bytes(), &Limits::REQUEST)
}

/// Whose point it is, if the credential may speak for it.
fn checked(what: &LeaseRequest, who: &Credential) -> Result<PointKey, ControlError> {
    for (field, text) in [("agent", &what.agent), ("tenant", &what.tenant), ("point", &what.point)] {
        Name::new(text).map_err(|e| ControlError::Invalid(format!("`{field}`: {e}")))?;
    }
    if what.nonce.is_empty() || what.nonce.len() > MAX_NONCE || !what.nonce.is_ascii() {
        return Err(ControlError::Invalid(format!("`nonce`: write 1 to {MAX_NONCE} ASCII characters")));
    }
    let known = |word: &String| Kind::from_word(word).is_some();
    if !what.enforces.iter().all(known) {
        return Err(ControlError::Invalid("`enforces`: write the names of constraints".to_owned()));
    }
    speaks_for(who, &what.agent, &what.tenant)?;
    let LeaseRequest { agent, tenant, point, .. } = what.clone();
    Ok(PointKey { agent, point, tenant })
}

/// A point speaks for the agent whose key it shows; who started the gate speaks for any.
fn speaks_for(who: &Credential, agent: &str, tenant: &str) -> Result<(), ControlError> {
    let may = match who {
        Credential::Agent { agent: own, tenant: at, .. } => own == agent && at == tenant,
        Credential::Local | Credential::Development => true,
        Credential::Person { .. } => false,
    };
    if may { Ok(()) } else { Err(ControlError::Stranger(agent.to_owned())) }
}
