//! What agents of the model ask, and what operators stop of it.

use callgate_core::name::fold;
use callgate_gate::StopRequest;

/// What somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) agent: u8,
    pub(crate) tool: &'static str,
    pub(crate) cents: Option<i64>,
    pub(crate) chained: bool,
    pub(crate) session: u8,
    pub(crate) nonce: Option<u8>,
}

/// Everybody whom agent 2 works with.
pub(crate) const fn team_of(agent: u8) -> &'static str {
    if agent == 2 { "blue" } else { "red" }
}

/// What a meter that counts by `dimension` calls it.
pub(crate) fn key(dimension: &str, name: &str) -> String {
    format!("{dimension}={}", fold(name))
}

pub(crate) fn name(agent: u8) -> String {
    format!("bot-{agent}")
}

impl Call {
    pub(crate) fn team(&self) -> &'static str {
        team_of(self.agent)
    }

    pub(crate) fn bytes(&self, now_ms: i64) -> Vec<u8> {
        let Self { agent, tool, session, .. } = self;
        let chain = if self.chained { r#","chain":["bot-0"]"# } else { "" };
        let cost = self
            .cents
            .map_or_else(String::new, |cents| format!(r#","cost":{{"usd":"{}"}}"#, crate::kit::usd(cents)));
        let session =
            if *session == 0 { String::new() } else { format!(r#","session":{{"id":"s{session}"}}"#) };
        let nonce =
            self.nonce.map_or_else(String::new, |nonce| format!(r#","nonce":"n{nonce}","ts_ms":{now_ms}"#));
        format!(
            r#"{{"agent":{{"id":"bot-{agent}","team":"{}"{chain}}},"tool":{{"server":"files","name":"{tool}"}},"pep":{{"id":"p","enforces":["max_runtime_ms"]}}{cost}{session}{nonce}}}"#,
            self.team()
        )
        .into_bytes()
    }

    pub(crate) fn principals(&self) -> Vec<u8> {
        if self.chained && self.agent != 0 { vec![0, self.agent] } else { vec![self.agent] }
    }

    /// What its session's meter is called.
    pub(crate) fn life(&self) -> String {
        let session = if self.session == 0 { String::new() } else { fold(&format!("s{}", self.session)) };
        format!("session={}/{}/{session}", fold("default"), fold(&name(self.agent)))
    }
}

/// What an operator stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    Tenant(&'static str),
    Team(&'static str),
    Agent(u8),
    /// Of an agent, one from 1 on.
    Session(u8, u8),
    Tool(&'static str),
}

impl Scope {
    /// Whether it stops this call.
    pub(crate) fn covers(&self, call: &Call) -> bool {
        match *self {
            Self::Everything => true,
            Self::Tenant(tenant) => tenant == "default",
            Self::Team(team) => call.team() == team,
            Self::Agent(agent) => call.principals().contains(&agent),
            Self::Session(agent, session) => (call.agent, call.session) == (agent, session),
            Self::Tool(tool) => call.tool == tool,
        }
    }

    /// Whether it stops something of what the agent does.
    pub(crate) fn covers_part_of(&self, agent: u8) -> bool {
        match *self {
            Self::Session(of, _) => of == agent,
            Self::Tool(_) => true,
            _ => self.covers(&Call { agent, tool: "", cents: None, chained: false, session: 0, nonce: None }),
        }
    }

    /// With names that only look like those that are meant.
    pub(crate) fn request(&self) -> StopRequest {
        let upper = |text: String| Some(text.to_uppercase());
        let empty = StopRequest { note: Some("it loops".to_owned()), ..StopRequest::default() };
        let of = |scope: &str| StopRequest { scope: scope.to_owned(), ..empty.clone() };
        match *self {
            Self::Everything => of("everything"),
            Self::Tenant(tenant) => StopRequest { tenant: upper(tenant.to_owned()), ..of("tenant") },
            Self::Team(team) => StopRequest { team: upper(team.to_owned()), ..of("team") },
            Self::Agent(agent) => StopRequest { agent: upper(name(agent)), ..of("agent") },
            Self::Session(agent, session) => StopRequest {
                agent: upper(name(agent)),
                session: upper(format!("s{session}")),
                ..of("session")
            },
            Self::Tool(tool) => StopRequest { tool: upper(format!("files.{tool}")), ..of("tool") },
        }
    }
}
