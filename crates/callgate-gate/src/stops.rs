//! The kill switch, as people use it: each act is decided by the control policy and receipted.
//!
//! A stop must get through while agents keep the gate busy, so that it is tried again until it has.

use std::sync::Arc;
use std::time::Duration;

use callgate_core::name::Name;
use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::Change;
use callgate_core::state::stops::{MAX_STOPS, Stop, StopScope, StopStart};
use callgate_core::value::{Map, Value};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Credential;
use crate::control::{self, Authorised};
use crate::error::ControlError;
use crate::gate::Gate;
use crate::release::checked_note;
use crate::reply::stop_id;

/// How long a stop is tried again while the gate is busy.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it waits before it is.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);
/// The most stops in one answer.
const MAX_LISTED: usize = 1000;

/// What is to be stopped: a word, and the names that go with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// `everything`, `tenant`, `team`, `agent`, `session` or `tool`.
    pub scope: String,
    /// The agent, of `agent` and `session`.
    #[serde(default)]
    pub agent: Option<String>,
    /// The session's id.
    #[serde(default)]
    pub session: Option<String>,
    /// The team.
    #[serde(default)]
    pub team: Option<String>,
    /// The tenant; every tenant if absent, of a session `default`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The tool: `server.name`, or the name alone for that of every server; a topic or function, too.
    #[serde(default)]
    pub tool: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub note: Option<String>,
}

/// A stop in effect, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopView {
    /// Its id, `stop-` and its receipt.
    pub id: String,
    /// What is stopped.
    #[serde(flatten)]
    pub scope: StopScope,
    /// By whom.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// Its receipt.
    pub receipt_index: u64,
}

impl StopView {
    fn of(stop: &Stop) -> Self {
        let StopStart { by, note, scope } = stop.start.clone();
        Self { id: stop_id(stop.id), scope, by, note, since_ms: stop.at_ms, receipt_index: stop.id }
    }
}

/// What stopping came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Whether it is new; `false` when exactly that was stopped already.
    pub created: bool,
    /// The stop that is in effect.
    pub stop: StopView,
}

/// Which stops to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopFilter {
    /// Only this kind of scope.
    #[serde(default)]
    pub scope: Option<String>,
    /// Only those with this agent, session, team, tenant or tool in their scope.
    #[serde(default)]
    pub name: Option<String>,
    /// At most so many, the newest; 1,000 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The number in a stop's id.
///
/// # Errors
/// What an id looks like.
pub fn stop_number(id: &str) -> Result<u64, ControlError> {
    let digits = id.strip_prefix("stop-").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| stop_id(*number) == id);
    number.ok_or_else(|| ControlError::Invalid("a stop's id is like `stop-12`".to_owned()))
}

impl StopRequest {
    /// What it names, and nothing that it does not need. `home` is the only tenant its sender looks after.
    fn scope(&self, home: Option<&str>) -> Result<StopScope, ControlError> {
        let invalid = |text: String| Err(ControlError::Invalid(text));
        let given = [
            ("agent", &self.agent),
            ("session", &self.session),
            ("team", &self.team),
            ("tenant", &self.tenant),
            ("tool", &self.tool),
        ];
        let fields: &[&str] = match self.scope.as_str() {
            "everything" => &[],
            "tenant" => &["tenant"],
            "team" => &["team", "tenant"],
            "agent" => &["agent", "tenant"],
            "session" => &["agent", "session", "tenant"],
            "tool" => &["tenant", "tool"],
            _ => {
                return invalid(
                    "`scope`: one of `everything`, `tenant`, `team`, `agent`, `session`, `tool`".to_owned(),
                );
            }
        };
        for (field, name) in given {
            let Some(name) = name else { continue };
            if !fields.contains(&field) {
                return invalid(format!("`{field}` does not belong to the scope `{}`", self.scope));
            }
            Name::new(name).map_err(|e| ControlError::Invalid(format!("`{field}`: {e}")))?;
        }
        let named = |field: &str, name: &Option<String>| {
            let missing = || ControlError::Invalid(format!("`{field}` is missing: whose scope is it"));
            name.clone().ok_or_else(missing)
        };
        let tenant = || self.tenant.clone().or_else(|| home.map(str::to_owned));
        Ok(match self.scope.as_str() {
            "tenant" => StopScope::Tenant { tenant: named("tenant", &tenant())? },
            "team" => StopScope::Team { team: named("team", &self.team)?, tenant: tenant() },
            "agent" => StopScope::Agent { agent: named("agent", &self.agent)?, tenant: tenant() },
            "session" => StopScope::Session {
                agent: named("agent", &self.agent)?,
                session: named("session", &self.session)?,
                tenant: tenant().unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            },
            "tool" => StopScope::Tool { tenant: tenant(), tool: named("tool", &self.tool)? },
            _ => StopScope::Everything {},
        })
    }
}

/// The only tenant that somebody looks after; `None` for all.
pub(crate) fn home(who: &Credential) -> Option<&str> {
    match who {
        Credential::Person { tenant, .. } => tenant.as_deref(),
        Credential::Agent { tenant, .. } => Some(tenant),
        Credential::Local | Credential::Development => None,
    }
}

/// Whoever looks after one tenant stops and lifts there and nowhere else.
fn within(who: &Credential, scope: &StopScope) -> Result<(), ControlError> {
    match home(who) {
        Some(home) if scope.tenant() != Some(home) => Err(ControlError::Invalid(format!(
            "that reaches beyond the tenant `{home}`, the only one that this person looks after; name it as `tenant`"
        ))),
        _ => Ok(()),
    }
}

fn arguments(scope: &StopScope) -> Map {
    let mut args = Map::default();
    args.insert("scope".to_owned(), Value::from(scope.word()));
    for (field, name) in scope.names() {
        args.insert(field.to_owned(), Value::from(name));
    }
    args
}

/// What a receipt says of a scope.
fn details(scope: &StopScope, by: &Authorised, note: Option<&String>) -> Vec<(&'static str, String)> {
    let mut details = vec![("scope", scope.word().to_owned())];
    details.extend(scope.names().into_iter().map(|(field, name)| (field, name.to_owned())));
    details.extend(note.map(|note| ("note", note.clone())));
    details.push(by.detail());
    details
}

impl Gate {
    /// Stops an agent, a session, a tool, a team, a tenant or everything, from the next decision on. What waits for
    /// people ends, and what runs is told at its next heartbeat. Stopping again what is stopped changes nothing.
    ///
    /// # Errors
    /// [`ControlError`]: then nothing was stopped.
    pub async fn stop(
        self: &Arc<Self>,
        what: StopRequest,
        who: &Credential,
    ) -> Result<Stopped, ControlError> {
        let note = checked_note(what.note.as_deref())?;
        if control::person(who).is_none() {
            return Err(ControlError::Agent("stops.create"));
        }
        let scope = what.scope(home(who))?;
        within(who, &scope)?;
        let until = patience();
        let by = self.authorise_busy(who, "stops.create", arguments(&scope), until).await?;
        let details = details(&scope, &by, note.as_ref());
        let start = StopStart { by: by.actor.clone(), note, scope: scope.clone() };
        loop {
            let (known, full) = self.store.state(|state| {
                let stops = state.0.stops();
                (stops.of_scope(&scope).map(StopView::of), stops.len() >= MAX_STOPS)
            });
            if let Some(stop) = known {
                return Ok(Stopped { created: false, stop });
            }
            if full {
                let text =
                    format!("there are {MAX_STOPS} stops; lift some, or stop a team, a tenant or everything");
                return Err(ControlError::Conflict(text));
            }
            let change = Change::StopCreated(start.clone());
            match self.note("stop.create", &by.actor, &details, change, Vec::new()).await {
                Ok(index) => {
                    self.halts_move();
                    let StopStart { by, note, scope } = start;
                    let since_ms =
                        self.store.state(|state| state.0.stops().get(index).map(|stop| stop.at_ms));
                    let since_ms = since_ms.unwrap_or_else(|| self.now_ms());
                    let stop =
                        StopView { id: stop_id(index), scope, by, note, since_ms, receipt_index: index };
                    return Ok(Stopped { created: true, stop });
                }
                Err(busy) if busy.retryable && Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(unavailable) => return Err(unavailable.into()),
            }
        }
    }

    /// Lifts a stop. What ended meanwhile stays ended: agents ask anew.
    ///
    /// # Errors
    /// [`ControlError`]: then it is still in effect.
    pub async fn lift_stop(
        self: &Arc<Self>,
        id: &str,
        note: Option<&str>,
        who: &Credential,
    ) -> Result<StopView, ControlError> {
        let number = stop_number(id)?;
        if control::person(who).is_none() {
            return Err(ControlError::Agent("stops.lift"));
        }
        let missing = || ControlError::Invalid("`note`: say why it may go on".to_owned());
        let note = checked_note(note)?.ok_or_else(missing)?;
        let unknown = || ControlError::Unknown(format!("stop `{id}` in effect"));
        let find = || self.store.state(|state| state.0.stops().get(number).cloned()).ok_or_else(unknown);
        let stop = find()?;
        // Nobody learns of another tenant's stops by guessing.
        within(who, &stop.start.scope).map_err(|_| unknown())?;
        let mut args = arguments(&stop.start.scope);
        args.insert("stop".to_owned(), Value::from(id));
        let until = patience();
        let by = self.authorise_busy(who, "stops.lift", args, until).await?;
        let mut details = details(&stop.start.scope, &by, Some(&note));
        details.push(("stop", id.to_owned()));
        loop {
            find()?;
            let change = Change::StopLifted { stop: number };
            match self.note("stop.lift", &by.actor, &details, change, Vec::new()).await {
                Ok(_) => return Ok(StopView::of(&stop)),
                Err(busy) if busy.retryable && Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(unavailable) => return Err(unavailable.into()),
            }
        }
    }

    /// The stops in effect that concern whom this person looks after, newest first, and how many there are.
    #[must_use]
    pub fn stops(&self, filter: &StopFilter, who: &Credential) -> (Vec<StopView>, usize) {
        let home = home(who);
        let wanted = |stop: &&Stop| {
            let scope = &stop.start.scope;
            let kind = filter.scope.as_ref().is_none_or(|word| word == scope.word());
            let names = scope.names();
            let name = filter.name.as_ref().is_none_or(|name| names.iter().any(|(_, of)| of == name));
            kind && name && home.is_none_or(|home| scope.tenant().is_none_or(|tenant| tenant == home))
        };
        let limit = filter.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED);
        self.store.state(|state| {
            let all = || state.0.stops().iter().rev().filter(wanted);
            (all().take(limit).map(StopView::of).collect(), all().count())
        })
    }

    /// Told when actions that run may have to stop; who minds one asks [`Gate::progress`] then.
    #[must_use]
    pub fn halts(&self) -> tokio::sync::watch::Receiver<()> {
        self.halts_moved.subscribe()
    }

    pub(crate) fn halts_move(&self) {
        self.halts_moved.send_replace(());
    }

    /// As [`Gate::authorise`], tried again while the gate is busy.
    pub(crate) async fn authorise_busy(
        &self,
        who: &Credential,
        action: &'static str,
        args: Map,
        until: Instant,
    ) -> Result<Authorised, ControlError> {
        loop {
            match self.authorise(who, action, args.clone()).await {
                Err(ControlError::Unavailable(busy)) if busy.retryable && Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }
}

pub(crate) fn patience() -> Instant {
    let now = Instant::now();
    now.checked_add(PATIENCE).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(scope: &str, names: &[(&str, &str)]) -> Result<StopScope, String> {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::Map::new();
        fields.insert("scope".to_owned(), scope.into());
        fields.extend(names.iter().map(|(field, name)| ((*field).to_owned(), (*name).into())));
        let what: StopRequest =
            serde_json::from_value(serde_json::Value::Object(fields)).map_err(|e| e.to_string())?;
        what.scope(None).map_err(|e| e.to_string())
    }

    #[test]
    fn a_scope_names_what_it_needs_and_no_more() {
        assert_eq!(asks("everything", &[]), Ok(StopScope::Everything {}));
        let bot = StopScope::Agent { agent: "bot".to_owned(), tenant: None };
        assert_eq!(asks("agent", &[("agent", "bot")]), Ok(bot));
        for (scope, names) in [
            ("", &[][..]),
            ("Everything", &[]),
            ("everything", &[("agent", "bot")]),
            ("agent", &[]),
            ("agent", &[("agent", "bot"), ("team", "support")]),
            ("agent", &[("agent", "bo\u{200b}t")]),
            ("agent", &[("agent", " bot")]),
            ("session", &[("session", "s")]),
            ("tool", &[("agent", "bot")]),
            ("tenant", &[]),
            ("team", &[("team", "a"), ("name", "b")]),
        ] {
            assert!(asks(scope, names).is_err(), "{scope} {names:?}");
        }
    }

    #[test]
    fn an_id_is_written_in_one_way() {
        assert_eq!(stop_number("stop-12").ok(), Some(12));
        for id in ["", "12", "stop-", "stop-+1", "stop-01", "STOP-1", "apr-1", "stop-99999999999999999999"] {
            assert!(stop_number(id).is_err(), "{id}");
        }
    }

    #[test]
    fn whoever_looks_after_one_tenant_stops_nothing_else() {
        let ana = Credential::Person {
            id: "ana".to_owned(),
            roles: vec!["operator".to_owned()],
            tenant: Some("acme".to_owned()),
        };
        let what = |scope: &str, tenant: Option<&str>| StopRequest {
            scope: scope.to_owned(),
            agent: (scope == "agent").then(|| "bot".to_owned()),
            tenant: tenant.map(str::to_owned),
            ..StopRequest::default()
        };
        for (scope, tenant, may) in [
            ("agent", None, true),
            ("agent", Some("acme"), true),
            ("agent", Some("other"), false),
            ("tenant", None, true),
            ("tenant", Some("ACME"), false),
            ("everything", None, false),
        ] {
            let scope = what(scope, tenant).scope(home(&ana)).unwrap();
            assert_eq!(within(&ana, &scope).is_ok(), may, "{scope}");
        }
    }
}
