//! API keys: who may ask. Only hashes are kept; a key is shown once, when it is made.
//!
//! A key is `cg_<id>_<secret>`: 8 random bytes of id and 32 of secret, in hex. The secret has full
//! entropy, so one SHA-256 is as strong a hash of it as any.

use callgate_core::digest::{Digest, hex};
use callgate_core::name::Name;
use callgate_core::state::{ApiKey, Change, Holder, SessionKey};
use callgate_log::keys::VerifyingKey;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::Credential;
use crate::error::{AdminError, Unavailable};
use crate::gate::Gate;

const PREFIX: &str = "cg_";

/// A key in the clear; wiped when dropped.
#[derive(Debug)]
pub struct ApiKeySecret(Zeroizing<String>);

impl ApiKeySecret {
    /// The key, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A registered key, without its secret: of an agent, or of a person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyRecord {
    /// The key's public name.
    pub id: String,
    /// The agent it speaks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The person it speaks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The tenant; for a person, every tenant if absent.
    pub tenant: Option<String>,
    /// The agent's team.
    pub team: Option<String>,
    /// The person who answers for the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What the person may do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl From<&ApiKey> for KeyRecord {
    fn from(key: &ApiKey) -> Self {
        let none = Self {
            id: key.id.clone(),
            agent: None,
            person: None,
            tenant: None,
            team: None,
            owner: None,
            roles: Vec::new(),
        };
        match key.holder.clone() {
            Holder::Agent { agent, owner, team, tenant } => {
                Self { agent: Some(agent), tenant: Some(tenant), team, owner, ..none }
            }
            Holder::Person { person, roles, tenant, .. } => {
                Self { person: Some(person), tenant, roles: roles.into_iter().collect(), ..none }
            }
        }
    }
}

/// Refuses names that are none, and people who may do nothing.
fn check(holder: &Holder) -> Result<(), AdminError> {
    let invalid = |problem: String| AdminError::Invalid(problem);
    let (names, roles): (Vec<&String>, _) = match holder {
        Holder::Agent { agent, owner, team, tenant } => {
            let optional = [owner, team].into_iter().flatten();
            ([agent, tenant].into_iter().chain(optional).collect(), None)
        }
        Holder::Person { person, roles, tenant, .. } => {
            (std::iter::once(person).chain(tenant).chain(roles).collect(), Some(roles))
        }
    };
    for name in names {
        Name::new(name).map_err(|e| invalid(e.to_string()))?;
    }
    if roles.is_some_and(std::collections::BTreeSet::is_empty) {
        let roles = crate::control::ROLES.join("`, `");
        return Err(invalid(format!("a person needs a role: `{roles}`, or one that an approval rule names")));
    }
    match holder {
        Holder::Person { public_key: Some(pem), .. } => VerifyingKey::from_spki_pem(pem)
            .map(|_| ())
            .map_err(|e| invalid(format!("the public key is not an Ed25519 key in PEM (SPKI): {e}"))),
        _ => Ok(()),
    }
}

impl Gate {
    /// Registers a key and hands out its only copy.
    ///
    /// # Errors
    /// When a name is not one, or the change cannot be recorded.
    pub async fn create_key(
        &self,
        holder: Holder,
        actor: &str,
    ) -> Result<(KeyRecord, ApiKeySecret), AdminError> {
        check(&holder)?;
        let mut bytes = Zeroizing::new([0u8; 40]);
        self.random
            .fill(bytes.as_mut_slice())
            .map_err(|e| Unavailable::now(format!("the system gave no random bytes: {e}")))?;
        let (id, secret) = bytes.split_at(8);
        let (id, secret) = (hex(id), Zeroizing::new(hex(secret)));
        let key = ApiKey { holder, id: id.clone(), sha256: Digest::of(secret.as_bytes()).hex() };
        let record = KeyRecord::from(&key);
        let mut details = vec![("key", id.clone())];
        let named = [("agent", &record.agent), ("person", &record.person), ("tenant", &record.tenant)];
        details.extend(named.into_iter().filter_map(|(field, name)| Some((field, name.clone()?))));
        if !record.roles.is_empty() {
            details.push(("roles", record.roles.join(" ")));
        }
        self.note("key.create", actor, &details, Change::KeyCreated(key), Vec::new()).await?;
        Ok((record, ApiKeySecret(Zeroizing::new(format!("{PREFIX}{id}_{}", secret.as_str())))))
    }

    /// Takes a key back; the next request with it is refused.
    ///
    /// # Errors
    /// When there is no such key, or the change cannot be recorded.
    pub async fn revoke_key(&self, id: &str, actor: &str) -> Result<(), AdminError> {
        let known = self.store.state(|state| state.0.keys().contains_key(id));
        if !known {
            return Err(AdminError::Unknown(format!("key `{id}`")));
        }
        let details = [("key", id.to_owned())];
        self.note("key.revoke", actor, &details, Change::KeyRevoked { id: id.to_owned() }, Vec::new())
            .await?;
        Ok(())
    }

    /// The registered keys.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyRecord> {
        self.store.state(|state| state.0.keys().values().map(KeyRecord::from).collect())
    }

    /// Whom a presented key speaks for; `None` for anything but a registered key.
    #[must_use]
    pub fn authenticate(&self, presented: &str) -> Option<Credential> {
        let (id, secret) = presented.strip_prefix(PREFIX)?.split_once('_')?;
        let found = Digest::of(secret.as_bytes()).hex();
        self.store.state(|state| {
            let key = state.0.keys().get(id)?;
            let equal: bool = found.as_bytes().ct_eq(key.sha256.as_bytes()).into();
            equal.then(|| key.holder.credential())
        })
    }

    /// Makes everything a session's requests said unreadable, for ever. Receipts and proofs stay valid.
    ///
    /// The key is erased before the change is recorded: after a crash in between, erasing again works.
    ///
    /// # Errors
    /// When the session has no sealed requests, or the system refuses.
    pub async fn erase_session(&self, key: SessionKey, actor: &str) -> Result<u64, AdminError> {
        let slot = self.store.state(|state| state.0.slot(&key));
        let slot = slot.ok_or_else(|| {
            AdminError::Unknown(format!(
                "sealed request of agent `{}` in session `{}`",
                key.agent, key.session
            ))
        })?;
        self.vault.erase(slot)?;
        let details = [
            ("agent", key.agent.clone()),
            ("session", key.session.clone()),
            ("slot", slot.to_string()),
            ("tenant", key.tenant.clone()),
        ];
        Ok(self.note("subject.erase", actor, &details, Change::SessionErased(key), Vec::new()).await?)
    }
}
