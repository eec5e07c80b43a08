//! Enforcement points that say what they can do, and modes that an operator sets while the gate runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_core::name::Name;
use callgate_core::state::{Change, ModeScope, Point, SessionKey};
use callgate_core::value::{Map, Value};
use serde::{Deserialize, Serialize};

use super::stage::checked_note;
use crate::Credential;
use crate::error::{AdminError, ControlError, Unavailable};
use crate::gate::{Active, Gate};
use crate::{ApiKeySecret, KeyRecord};
use callgate_core::state::Holder;

/// Most names of constraints a point may list.
const MAX_ENFORCES: usize = 64;

/// What an enforcement point says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Its name.
    pub id: String,
    /// The constraints it can enforce.
    pub enforces: BTreeSet<String>,
    /// The snapshot it works with.
    pub snapshot: String,
}

/// An enforcement point, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointRecord {
    /// What it said.
    #[serde(flatten)]
    pub point: Point,
    /// Whether it works with the snapshot in force.
    pub current: bool,
    /// The receipt of that.
    pub receipt_index: u64,
}

/// Sets whether decisions bind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeRequest {
    /// `true`: decisions are only recorded; `false`: they bind.
    pub monitor: bool,
    /// One agent's; everybody's if absent.
    #[serde(default)]
    pub agent: Option<String>,
    /// The agent's tenant; `default` if absent.
    #[serde(default)]
    pub tenant: Option<String>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

fn text(args: &mut Map, key: &str, value: &str) {
    args.insert(key.to_owned(), Value::Str(value.to_owned()));
}

impl Gate {
    /// Keeps what an enforcement point says of itself. Saying the same again changes nothing.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn acknowledge(
        &self,
        what: Acknowledgement,
        who: &Credential,
    ) -> Result<PointRecord, ControlError> {
        Name::new(&what.id).map_err(|e| ControlError::Invalid(format!("`id`: {e}")))?;
        for word in &what.enforces {
            Name::new(word).map_err(|e| ControlError::Invalid(format!("`enforces`: {e}")))?;
        }
        if what.enforces.len() > MAX_ENFORCES {
            return Err(ControlError::Invalid(format!("`enforces`: at most {MAX_ENFORCES}")));
        }
        self.kept(&what.snapshot)?;
        let point = Point { enforces: what.enforces, id: what.id, snapshot: what.snapshot };
        let known = self.store.state(|state| state.0.release().points().get(&point.id).cloned());
        if known.is_none_or(|(known, _)| known != point) {
            let mut args = Map::default();
            text(&mut args, "point", &point.id);
            let by = self.authorise(who, "acknowledge", args).await?;
            let details = [("point", point.id.clone()), ("version", point.snapshot.clone()), by.detail()];
            let change = Change::PointAcknowledged(point.clone());
            // A publication looks at the points before it is in force; none comes in between.
            let _publishing = self.publishing.lock().await;
            self.note("point.acknowledge", &by.actor, &details, change, Vec::new()).await?;
        } else if crate::control::person(who).is_none() {
            return Err(ControlError::Agent("acknowledge"));
        }
        let found = self.points().into_iter().find(|record| record.point.id == point.id);
        found.ok_or_else(|| ControlError::Unknown(format!("enforcement point `{}`", point.id)))
    }

    /// The enforcement points that said what they can do.
    #[must_use]
    pub fn points(&self) -> Vec<PointRecord> {
        let live = self.active.load().live.name.clone();
        self.store.state(|state| {
            let points = state.0.release().points().values();
            points
                .map(|(point, receipt)| PointRecord {
                    current: point.snapshot == *live,
                    point: point.clone(),
                    receipt_index: *receipt,
                })
                .collect()
        })
    }

    /// Forgets an enforcement point that is gone, so that it blocks nothing.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn retire_point(&self, id: &str, who: &Credential) -> Result<(), ControlError> {
        let mut args = Map::default();
        text(&mut args, "point", id);
        let by = self.authorise(who, "retire", args).await?;
        if !self.store.state(|state| state.0.release().points().contains_key(id)) {
            return Err(ControlError::Unknown(format!("enforcement point `{id}`")));
        }
        let change = Change::PointRetired { id: id.to_owned() };
        self.note("point.retire", &by.actor, &[("point", id.to_owned()), by.detail()], change, Vec::new())
            .await?;
        Ok(())
    }

    /// Whose decisions an operator wants only recorded.
    #[must_use]
    pub fn monitored(&self) -> Vec<ModeScope> {
        self.store.state(|state| state.0.release().monitored().iter().cloned().collect())
    }

    /// Sets whether decisions bind, for everybody or for one agent. Says whether that changed anything.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn set_mode(
        self: &Arc<Self>,
        what: ModeRequest,
        who: &Credential,
    ) -> Result<bool, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        for (field, name) in [("agent", &what.agent), ("tenant", &what.tenant)] {
            if let Some(name) = name {
                Name::new(name).map_err(|e| ControlError::Invalid(format!("`{field}`: {e}")))?;
            }
        }
        let scope = match (what.agent, what.tenant) {
            (None, None) => ModeScope::Everyone {},
            (Some(agent), tenant) => ModeScope::Agent {
                agent,
                tenant: tenant.unwrap_or_else(|| callgate_core::request::DEFAULT_TENANT.to_owned()),
            },
            (None, Some(_)) => {
                return Err(ControlError::Invalid("`tenant` says which `agent`; give that, too".to_owned()));
            }
        };
        let mut args = Map::default();
        args.insert("monitor".to_owned(), Value::Bool(what.monitor));
        if let ModeScope::Agent { agent, tenant } = &scope {
            text(&mut args, "agent", agent);
            text(&mut args, "tenant", tenant);
        }
        let by = self.authorise(who, "mode", args).await?;
        let mut details = vec![("mode", (if what.monitor { "monitor" } else { "enforce" }).to_owned())];
        if let ModeScope::Agent { agent, tenant } = &scope {
            details.push(("agent", agent.clone()));
            details.push(("tenant", tenant.clone()));
        }
        details.extend(note.map(|note| ("note", note)));
        details.push(by.detail());
        let (gate, monitor) = (Arc::clone(self), what.monitor);
        let set = tokio::spawn(async move {
            let _publishing = gate.publishing.lock().await;
            if gate.store.state(|state| state.0.release().monitored().contains(&scope)) == monitor {
                return Ok(false);
            }
            let change = Change::ModeSet { monitor, scope };
            gate.note("mode.set", &by.actor, &details, change, Vec::new()).await?;
            gate.now_in_force(Active::clone(&gate.active.load()));
            Ok::<_, Unavailable>(true)
        });
        Ok(set.await.map_err(|e| Unavailable::now(format!("setting the mode ended: {e}")))??)
    }

    /// Registers a key, as an action on the gate that is decided and receipted.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn create_key_as(
        &self,
        holder: Holder,
        who: &Credential,
    ) -> Result<(KeyRecord, ApiKeySecret), ControlError> {
        let mut args = Map::default();
        match &holder {
            Holder::Agent { agent, .. } => text(&mut args, "agent", agent),
            Holder::Person { person, roles, .. } => {
                text(&mut args, "person", person);
                let roles = roles.iter().map(|role| Value::Str(role.clone())).collect();
                args.insert("roles".to_owned(), Value::List(roles));
            }
        }
        let by = self.authorise(who, "key", args).await?;
        self.create_key(holder, by.actor()).await.map_err(admin)
    }

    /// Takes a key back, as an action on the gate that is decided and receipted.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revoke_key_as(&self, id: &str, who: &Credential) -> Result<(), ControlError> {
        let mut args = Map::default();
        text(&mut args, "key", id);
        let by = self.authorise(who, "key", args).await?;
        self.revoke_key(id, by.actor()).await.map_err(admin)
    }

    /// Erases a session's requests, as an action on the gate that is decided and receipted.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn erase_session_as(&self, key: SessionKey, who: &Credential) -> Result<u64, ControlError> {
        let mut args = Map::default();
        text(&mut args, "agent", &key.agent);
        text(&mut args, "session", &key.session);
        let by = self.authorise(who, "erase", args).await?;
        self.erase_session(key, by.actor()).await.map_err(admin)
    }
}

fn admin(error: AdminError) -> ControlError {
    match error {
        AdminError::Invalid(problem) => ControlError::Invalid(problem),
        AdminError::Unknown(what) => ControlError::Unknown(what),
        AdminError::Unavailable(unavailable) => ControlError::Unavailable(unavailable),
        AdminError::Keyring(problem) => ControlError::Unavailable(Unavailable::for_good(problem.to_string())),
    }
}
