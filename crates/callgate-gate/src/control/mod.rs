//! The gate guards itself (law 10): what people do to it is decided by a policy of its own, and receipted.
//!
//! Each such action is a request to the tool `callgate.<action>`, by the agent `person:<id>`, with a label
//! `role.<role>: yes` for each role. The policy is a bundle like any other, kept in the log under `c1`, `c2`,
//! …; unless the operator gives another, it is [`DEFAULT_RULES`]. An agent's credential is refused before
//! any policy is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::decide::{Ask, PERSON};
use callgate_core::decision::{Decision, Mode};
use callgate_core::name::Name;
use callgate_core::request::{Agent, DEFAULT_TENANT, Request, Session, Tool};
use callgate_core::state::{Change, ControlRef};
use callgate_core::value::Map;
use callgate_policy::Bundle;
use callgate_store::SegmentStore;

use crate::Credential;
use crate::commit::Arrived;
use crate::error::{ControlError, OpenError, PublishError, Unavailable};
use crate::fold::GateState;
use crate::gate::{Active, Gate, Named};
use crate::release::{OPERATOR, plain_at};
use crate::reply::Reply;
use crate::vault::{self, Vault};

/// The policy of the gate's own actions unless the operator gives another.
pub const DEFAULT_RULES: &str = include_str!("rules.yaml");
/// The roles that this policy knows; every other role is one that approval rules name.
pub const ROLES: [&str; 5] = ["auditor", "operator", "point", "publisher", "reviewer"];
/// The server that the gate's own actions belong to.
const SERVER: &str = "callgate";
/// Who acts where nobody is authenticated.
const DEVELOPER: &str = "developer";

/// An action on the gate itself that was decided and may be done, once.
#[derive(Debug)]
#[must_use = "what was authorised is still to be done"]
pub struct Authorised {
    /// Who does it.
    pub(crate) actor: String,
    /// The receipt of the decision.
    pub(crate) receipt: u64,
}

/// Who a credential is among the people who look after the gate; `None` for an agent.
#[must_use]
pub fn person(who: &Credential) -> Option<&str> {
    match who {
        Credential::Agent { .. } => None,
        Credential::Local => Some(OPERATOR),
        Credential::Development => Some(DEVELOPER),
        Credential::Person { id, .. } => Some(id),
    }
}

/// Whether a credential holds a role. Who started the gate holds all of them.
#[must_use]
pub fn holds(who: &Credential, role: &str) -> bool {
    match who {
        Credential::Agent { .. } => false,
        Credential::Local | Credential::Development => true,
        Credential::Person { .. } => who.has_role(role),
    }
}

/// The default bundle.
pub(crate) fn default_bundle() -> Bundle {
    let files = BTreeMap::from([("rules/control.yaml".to_owned(), DEFAULT_RULES.to_owned())]);
    Bundle::new(files, BTreeMap::new())
}

/// The policy of the gate's own actions that the log names.
pub(crate) fn in_force(store: &SegmentStore<GateState>, vault: &Vault) -> Result<Option<Named>, OpenError> {
    let Some((control, at)) = store.state(|state| state.0.release().control().cloned()) else {
        return Ok(None);
    };
    let wrong = |problem: String| OpenError::Snapshot(format!("the control policy: {problem}"));
    let text = plain_at(store, vault, at).map_err(wrong)?;
    let snapshot = crate::release::compile_text(&text).map_err(wrong)?;
    if snapshot.digest.to_string() != control.digest {
        return Err(wrong("its text does not have the digest that was signed".to_owned()));
    }
    Ok(Some(named(Arc::new(snapshot), control.version)))
}

fn named(snapshot: Arc<callgate_core::snapshot::Snapshot>, version: u64) -> Named {
    Named { name: format!("c{version}").into(), ..Named::new(snapshot, version) }
}

impl Gate {
    /// Puts what the operator gave in force; without it, the default follows with the first action.
    pub(crate) async fn begin_control(&self, bundle: Option<&Bundle>) -> Result<(), OpenError> {
        let Some(bundle) = bundle else { return Ok(()) };
        self.put_control_in_force(bundle, OPERATOR).await.map_err(OpenError::Publish).map(|_| ())
    }

    async fn control(&self) -> Result<Arc<Active>, ControlError> {
        if let Some(control) = self.control.load_full() {
            return Ok(control);
        }
        let _publishing = self.publishing.lock().await;
        let unavailable = |e: PublishError| Unavailable::for_good(e.to_string());
        if self.control.load().is_none() {
            self.put_control_in_force(&default_bundle(), OPERATOR).await.map_err(unavailable)?;
        }
        let none = || Unavailable::for_good("there is no policy for the gate's own actions");
        self.control.load_full().ok_or_else(none).map_err(ControlError::from)
    }

    async fn put_control_in_force(&self, bundle: &Bundle, actor: &str) -> Result<bool, PublishError> {
        let (snapshot, archive) = crate::release::compile(bundle)?;
        if snapshot.looks_back() {
            return Err(PublishError::Control(
                "policies about the past cannot decide over the gate itself; use rules".to_owned(),
            ));
        }
        if snapshot.has_limits() {
            return Err(PublishError::Control(
                "limits cannot decide over the gate itself; remove `limits/`".to_owned(),
            ));
        }
        let rules = snapshot.modules.iter().flat_map(|module| module.listed());
        if snapshot.defaults.mode == Mode::Monitor
            || !snapshot.defaults.monitored.is_empty()
            || rules.into_iter().any(|rule| rule.mode == Mode::Monitor)
        {
            return Err(PublishError::Control(
                "the policy of the gate's own actions cannot be in monitor mode; remove `mode` and `monitor`"
                    .to_owned(),
            ));
        }
        let before = self.control.load_full();
        if before.as_ref().is_some_and(|before| before.live.snapshot.digest == snapshot.digest) {
            return Ok(false);
        }
        let version = self.store.state(|state| {
            state.0.release().control().map_or(0, |(control, _)| control.version).saturating_add(1)
        });
        let named = named(Arc::new(snapshot), version);
        let details = [("digest", named.digest.to_string()), ("version", named.name.to_string())];
        let change = Change::ControlActivated(ControlRef { digest: named.digest.to_string(), version });
        self.note("control.activate", actor, &details, change, vault::plain(&archive)).await?;
        self.control.store(Some(Arc::new(Active { control: true, ..Active::alone(named, 0) })));
        Ok(true)
    }

    /// Decides whether `who` may do `action` to the gate, and receipts that.
    ///
    /// # Errors
    /// [`ControlError`]: then nothing may be done.
    pub async fn authorise(
        &self,
        who: &Credential,
        action: &'static str,
        args: Map,
    ) -> Result<Authorised, ControlError> {
        let Some(id) = person(who) else {
            return Err(ControlError::Agent(action));
        };
        let request = request(who, id, action, args).map_err(ControlError::Invalid)?;
        let control = self.control().await?;
        let arrived = Arrived { ask: Ask::Request(Box::new(request)), raw: Vec::new() };
        let latest = || self.control.load_full().unwrap_or_else(|| Arc::clone(&control));
        let decided = self.decide_by(arrived, who.clone(), latest).await?;
        let reply = decided.reply;
        match (reply.decision, reply.receipt_index) {
            (decision, Some(receipt)) if decision.permits() => {
                Ok(Authorised { actor: id.to_owned(), receipt })
            }
            (Decision::RequireApproval, _) => Err(ControlError::Held(Box::new(reply))),
            _ => Err(ControlError::Forbidden { action, id: id.to_owned(), reply: Box::new(reply) }),
        }
    }
}

impl Authorised {
    /// Who does it.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// What the receipt of the act says of its decision.
    pub(crate) fn detail(&self) -> (&'static str, String) {
        ("authorised_by", self.receipt.to_string())
    }
}

/// The request that stands for an action on the gate.
fn request(who: &Credential, id: &str, action: &str, args: Map) -> Result<Request, String> {
    let name = |text: &str| Name::new(text).map_err(|e| e.to_string());
    let tenant = match who {
        Credential::Person { tenant: Some(tenant), .. } => tenant,
        _ => DEFAULT_TENANT,
    };
    let agent = Agent {
        id: name(&format!("{PERSON}{id}"))?,
        team: None,
        chain: Vec::new(),
        on_behalf_of: Some(name(id)?),
    };
    let held: Vec<&str> = match who {
        Credential::Person { roles, .. } => roles.iter().map(String::as_str).collect(),
        _ => ROLES.to_vec(),
    };
    let mut labels = BTreeMap::new();
    for role in held {
        labels.insert(name(&format!("role.{role}"))?, "yes".to_owned());
    }
    let tool = Tool::new(Some(name(SERVER)?), name(action)?).map_err(|e| e.to_string())?;
    Ok(Request {
        tenant: name(tenant)?,
        agent,
        session: Session::default(),
        tool: Some(tool),
        args,
        topic: None,
        risk_tags: std::collections::BTreeSet::new(),
        labels,
        environment: None,
        cost: BTreeMap::new(),
        confidence: None,
        nonce: None,
        ts_ms: None,
        pep: None,
    })
}

/// Why somebody may not do something, from the reply.
pub(crate) fn said(reply: &Reply) -> String {
    reply.reason.clone().unwrap_or_else(|| "no rule of the control policy permits it".to_owned())
}

#[cfg(test)]
mod tests;
