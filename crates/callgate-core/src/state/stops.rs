//! The kill switch: what operators stopped, by scope.
//!
//! A stop restricts, so names are compared folded: a look-alike of what is stopped is stopped, too. It is in effect
//! for every decision that is committed after it; one that was made before is made again. What is looked for is a
//! handful of names, however many stops there are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::approvals::Approval;
use super::{Conflict, OpenAction};
use crate::facts::{Credential, StoppedBy};
use crate::name::fold;
use crate::request::Request;

/// The most stops in effect at a time.
pub const MAX_STOPS: usize = 100_000;
/// The longest note, in bytes.
pub const MAX_STOP_NOTE: usize = 4096;

/// What is stopped. Where a tenant may be absent, every tenant is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub enum StopScope {
    /// Every action of every agent.
    Everything {},
    /// Every agent of a tenant.
    Tenant {
        /// The tenant.
        tenant: String,
    },
    /// Every agent of a team.
    Team {
        /// The team.
        team: String,
        /// The team's tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
    /// An agent, and whatever others do that it delegated to.
    Agent {
        /// The agent.
        agent: String,
        /// The agent's tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
    /// One session.
    Session {
        /// The session's agent.
        agent: String,
        /// The session's id.
        session: String,
        /// The session's tenant.
        tenant: String,
    },
    /// A tool, topic or function, whoever asks for it.
    Tool {
        /// The tenant whose agents may not use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        /// What it is called: `server.name`, or the name alone, whatever server has it.
        tool: String,
    },
}

impl StopScope {
    /// The tenant it is about; `None` for every tenant.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Everything {} => None,
            Self::Tenant { tenant } | Self::Session { tenant, .. } => Some(tenant),
            Self::Team { tenant, .. } | Self::Agent { tenant, .. } | Self::Tool { tenant, .. } => {
                tenant.as_deref()
            }
        }
    }

    /// Its names, with the field that each is given in.
    #[must_use]
    pub fn names(&self) -> Vec<(&'static str, &str)> {
        let mut names = match self {
            Self::Everything {} | Self::Tenant { .. } => Vec::new(),
            Self::Team { team, .. } => vec![("team", team.as_str())],
            Self::Agent { agent, .. } => vec![("agent", agent.as_str())],
            Self::Session { agent, session, .. } => {
                vec![("agent", agent.as_str()), ("session", session.as_str())]
            }
            Self::Tool { tool, .. } => vec![("tool", tool.as_str())],
        };
        names.extend(self.tenant().map(|tenant| ("tenant", tenant)));
        names
    }

    /// The word for what kind of thing it is.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Everything {} => "everything",
            Self::Tenant { .. } => "tenant",
            Self::Team { .. } => "team",
            Self::Agent { .. } => "agent",
            Self::Session { .. } => "session",
            Self::Tool { .. } => "tool",
        }
    }

    /// What it is found by.
    fn key(&self) -> String {
        let tenant = self.tenant().map(fold).unwrap_or_default();
        match self {
            Self::Everything {} => EVERYTHING.to_owned(),
            Self::Tenant { .. } => key("tenant", &[&tenant]),
            Self::Team { team, .. } => key("team", &[&tenant, &fold(team)]),
            Self::Agent { agent, .. } => key("agent", &[&tenant, &fold(agent)]),
            Self::Session { agent, session, .. } => key("session", &[&tenant, &fold(agent), &fold(session)]),
            Self::Tool { tool, .. } => key("tool", &[&tenant, &fold(tool)]),
        }
    }
}

/// For people: what is stopped.
impl fmt::Display for StopScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything {} => return f.write_str("everything"),
            Self::Tenant { tenant } => return write!(f, "tenant `{tenant}`"),
            Self::Team { team, .. } => write!(f, "team `{team}`")?,
            Self::Agent { agent, .. } => write!(f, "agent `{agent}`")?,
            Self::Session { agent, session, .. } => write!(f, "session `{session}` of agent `{agent}`")?,
            Self::Tool { tool, .. } => write!(f, "tool `{tool}`")?,
        }
        self.tenant().map_or(Ok(()), |tenant| write!(f, " of tenant `{tenant}`"))
    }
}

const EVERYTHING: &str = "everything";

/// A zero byte cannot stand in a name.
fn key(kind: &str, names: &[&str]) -> String {
    let mut key = kind.to_owned();
    for name in names {
        key.push('\0');
        key.push_str(name);
    }
    key
}

/// The name behind a server's, where there is one.
fn bare(action: &str) -> Option<&str> {
    action.split_once('.').map(|(_, name)| name)
}

/// A stop as it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopStart {
    /// Who stops.
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is stopped; its fields lie beside the others.
    pub scope: StopScope,
}

/// A stop in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// When it began, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its receipt: the number in `stop-N`.
    pub id: u64,
    /// What is stopped, by whom and why.
    pub start: StopStart,
}

/// All names, folded, by which a request, an open action or an approval may be stopped.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    tenant: String,
    session: Option<String>,
    teams: Vec<String>,
    /// Who asks, and who delegated to it.
    agents: Vec<String>,
    tools: Vec<String>,
}

impl Subject {
    /// A request, and the team that only its key names.
    fn of_request(request: &Request, credential: &Credential) -> Self {
        let folded = |name: &crate::name::Name| name.folded().to_owned();
        let held = match credential {
            Credential::Agent { team, .. } => team.as_deref().map(fold),
            _ => None,
        };
        let agent = &request.agent;
        Self {
            tenant: folded(&request.tenant),
            session: request.session.id.as_ref().map(folded),
            teams: agent.team.as_ref().map(folded).into_iter().chain(held).collect(),
            agents: std::iter::once(&agent.id).chain(&agent.chain).map(folded).collect(),
            tools: request.called().map(folded).collect(),
        }
    }

    fn of_open(open: &OpenAction) -> Self {
        let running = &open.running;
        Self {
            tenant: fold(&open.key.tenant),
            session: Some(&open.key.session).filter(|id| !id.is_empty()).map(|id| fold(id)),
            teams: open.team.iter().map(|team| fold(team)).collect(),
            agents: std::iter::once(&open.key.agent).chain(&running.chain).map(|id| fold(id)).collect(),
            tools: running.called.iter().map(|name| fold(name)).collect(),
        }
    }

    fn of_approval(approval: &Approval) -> Self {
        let Approval { key, hold, .. } = approval;
        Self {
            tenant: fold(&key.tenant),
            session: Some(&key.session).filter(|id| !id.is_empty()).map(|id| fold(id)),
            teams: approval.team.iter().map(|team| fold(team)).collect(),
            agents: std::iter::once(&key.agent).chain(&hold.chain).map(|id| fold(id)).collect(),
            tools: std::iter::once(hold.action.as_str()).chain(bare(&hold.action)).map(fold).collect(),
        }
    }

    /// The keys of every scope that hits it.
    fn keys(&self) -> Vec<String> {
        let mut keys = vec![EVERYTHING.to_owned(), key("tenant", &[&self.tenant])];
        for tenant in ["", self.tenant.as_str()] {
            keys.extend(self.teams.iter().map(|team| key("team", &[tenant, team])));
            keys.extend(self.agents.iter().map(|agent| key("agent", &[tenant, agent])));
            keys.extend(self.tools.iter().map(|tool| key("tool", &[tenant, tool])));
        }
        if let (Some(session), Some(agent)) = (&self.session, self.agents.first()) {
            keys.push(key("session", &[&self.tenant, agent, session]));
        }
        keys
    }
}

/// Every stop in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stops {
    all: BTreeMap<u64, Stop>,
    by_scope: BTreeMap<String, u64>,
    /// The receipt of the newest stop, lifted or not.
    newest: u64,
}

impl Stops {
    /// One stop, while it is in effect.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Stop> {
        self.all.get(&id)
    }

    /// Every stop in effect, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Stop> {
        self.all.values()
    }

    /// How many are in effect.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing is stopped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The receipt of the newest stop, lifted or not; 0 before the first one.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// The stop of exactly that scope, look-alikes included.
    #[must_use]
    pub fn of_scope(&self, scope: &StopScope) -> Option<&Stop> {
        self.all.get(self.by_scope.get(&scope.key())?)
    }

    /// The oldest stop that hits a request.
    #[must_use]
    pub fn on_request(&self, request: &Request, credential: &Credential) -> Option<&Stop> {
        if self.is_empty() { None } else { self.first(&Subject::of_request(request, credential)) }
    }

    /// The oldest stop that hits whatever an agent does.
    #[must_use]
    pub fn on_agent(&self, tenant: &str, agent: &str, team: Option<&str>) -> Option<&Stop> {
        let (agents, teams) = (vec![fold(agent)], team.map(fold).into_iter().collect());
        self.first(&Subject { tenant: fold(tenant), teams, agents, ..Subject::default() })
    }

    /// A stop that hits something of what an agent does: all of it, one of its sessions, or a tool.
    #[must_use]
    pub fn near_agent(&self, tenant: &str, agent: &str, team: Option<&str>) -> Option<&Stop> {
        let (home, agent_key) = (fold(tenant), fold(agent));
        let tools = ["", home.as_str()].map(|tenant| key("tool", &[tenant, ""]));
        let sessions = key("session", &[&home, &agent_key, ""]);
        let begins = |prefix: &String| {
            let first = self.by_scope.range(prefix.clone()..).next();
            first.filter(|(scope, _)| scope.starts_with(prefix.as_str())).map(|(_, id)| id)
        };
        let part = tools.iter().chain(std::iter::once(&sessions)).find_map(begins);
        self.on_agent(tenant, agent, team).or_else(|| self.all.get(part?))
    }

    /// The oldest stop that hits an action that runs.
    #[must_use]
    pub fn on_open(&self, open: &OpenAction) -> Option<&Stop> {
        if self.is_empty() { None } else { self.first(&Subject::of_open(open)) }
    }

    fn first(&self, subject: &Subject) -> Option<&Stop> {
        let hits = subject.keys().into_iter().filter_map(|key| self.by_scope.get(&key));
        self.all.get(hits.min()?)
    }

    /// Whether a stop can begin.
    pub(super) fn check_start(&self, start: &StopStart) -> Result<(), Conflict> {
        let bounded = start.note.as_ref().is_none_or(|note| note.len() <= MAX_STOP_NOTE);
        let fits = bounded && self.all.len() < MAX_STOPS && self.of_scope(&start.scope).is_none();
        if fits { Ok(()) } else { Err(Conflict::Registry) }
    }

    pub(super) fn apply_start(&mut self, index: u64, start: &StopStart, now_ms: i64) {
        self.newest = index;
        self.by_scope.insert(start.scope.key(), index);
        self.all.insert(index, Stop { at_ms: now_ms, id: index, start: start.clone() });
    }

    pub(super) fn apply_lift(&mut self, id: u64) {
        if let Some(stop) = self.all.remove(&id) {
            self.by_scope.remove(&stop.start.scope.key());
        }
    }
}

impl Stop {
    /// What a decision knows of it.
    #[must_use]
    pub fn known(&self) -> StoppedBy {
        StoppedBy { id: self.id, scope: self.start.scope.to_string() }
    }

    /// Whether it hits what waits for people.
    pub(super) fn hits(scope: &StopScope, approval: &Approval) -> bool {
        Subject::of_approval(approval).keys().contains(&scope.key())
    }
}
