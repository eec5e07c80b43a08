//! What an agent asks, parsed once into types.
//!
//! The wire shape is design section 5: unknown fields are errors, only `agent` and one of `tool`,
//! `topic`, `session.function` are required, amounts are decimals in strings.

use std::collections::{BTreeMap, BTreeSet};

use crate::decimal::Decimal;
use crate::digest::Digest;
use crate::fields::{FieldError, Fields};
use crate::json::{self, JsonError, Limits};
use crate::name::Name;
use crate::value::{Map, Value, write_string};

/// The tenant of a request that names none.
pub const DEFAULT_TENANT: &str = "default";
/// The longest nonce, in bytes.
pub const MAX_NONCE: usize = 128;
/// The most entries in `agent.chain`, `risk_tags`, `labels`, `cost` or `pep.enforces`.
pub const MAX_ENTRIES: usize = 32;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The agent's name; must be the credential's.
    pub id: Name,
    /// The agent's team; the credential's, if it has one.
    pub team: Option<Name>,
    /// The agents that delegated to it, first delegator first.
    pub chain: Vec<Name>,
    /// The person or account it acts for.
    pub on_behalf_of: Option<Name>,
}

/// Where in a session the request stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The session's id, unique for one agent of one tenant.
    pub id: Option<Name>,
    /// The contract step; the function, if that is absent.
    pub step: Option<Name>,
    /// The function the agent is in.
    pub function: Option<Name>,
    /// What kind of action it is, such as `WRITE_DB`.
    pub action_type: Option<Name>,
}

/// The tool to call, as the enforcement point knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The server that offers it; has no dots.
    pub server: Option<Name>,
    /// The tool's name at that server.
    pub name: Name,
    /// `server.name`, or `name` alone: what tool patterns match.
    pub identity: Name,
}

/// What asks on the agent's behalf, and what it can enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcementPoint {
    /// Its name, such as `mcp`.
    pub id: Name,
    /// The constraint words it enforces.
    pub enforces: BTreeSet<String>,
}

/// A parsed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The tenant, [`DEFAULT_TENANT`] if unnamed.
    pub tenant: Name,
    /// Who asks.
    pub agent: Agent,
    /// Where in a session.
    pub session: Session,
    /// The tool, if one is called.
    pub tool: Option<Tool>,
    /// The tool's arguments; an empty object if absent.
    pub args: Map,
    /// The topic of a job, such as `job.mcp-bridge.write.update_ticket`.
    pub topic: Option<Name>,
    /// Risk tags; the catalogue adds to them.
    pub risk_tags: BTreeSet<Name>,
    /// Labels on the request.
    pub labels: BTreeMap<Name, String>,
    /// The environment, such as `prod`.
    pub environment: Option<Name>,
    /// Estimated cost by unit.
    pub cost: BTreeMap<Name, Decimal>,
    /// The agent's confidence, 0 to 1.
    pub confidence: Option<Decimal>,
    /// A value used once in a session; needs `ts_ms`.
    pub nonce: Option<String>,
    /// When the request was made, milliseconds since 1970 UTC.
    pub ts_ms: Option<i64>,
    /// The enforcement point.
    pub pep: Option<EnforcementPoint>,
}

/// Why a text is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a JSON document we accept.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// Nothing to decide on.
    #[error("the request names no action; give one of `tool`, `topic` or `session.function`")]
    NoAction,
    /// A nonce that could not be remembered long enough.
    #[error("a `nonce` needs `ts_ms`, so that the gate knows how long to remember it")]
    NonceWithoutTime,
}

impl Request {
    /// Parses the wire form.
    ///
    /// # Errors
    /// The first problem, naming the field and what to write.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, RequestError> {
        Self::from_value(json::parse(bytes, limits)?)
    }

    /// Reads an already parsed document.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::open(value, "")?;
        let request = Self {
            tenant: fields
                .name("tenant")?
                .map_or_else(|| Name::new(DEFAULT_TENANT), Ok)
                .map_err(|e| FieldError::new("tenant", e.to_string()))?,
            agent: agent(fields.required("agent")?)?,
            session: fields.take("session").map(session).transpose()?.unwrap_or_default(),
            tool: fields.take("tool").map(tool).transpose()?,
            args: fields.map("args")?.unwrap_or_default(),
            topic: fields.name("topic")?,
            risk_tags: fields.names("risk_tags", MAX_ENTRIES)?.into_iter().collect(),
            labels: fields.labels("labels", MAX_ENTRIES)?,
            environment: fields.name("environment")?,
            cost: cost(&mut fields)?,
            confidence: confidence(&mut fields)?,
            nonce: nonce(&mut fields)?,
            ts_ms: fields.integer("ts_ms")?,
            pep: fields.take("pep").map(enforcement_point).transpose()?,
        };
        fields.close()?;
        if request.tool.is_none() && request.topic.is_none() && request.session.function.is_none() {
            return Err(RequestError::NoAction);
        }
        if request.nonce.is_some() && request.ts_ms.is_none() {
            return Err(RequestError::NonceWithoutTime);
        }
        Ok(request)
    }

    /// The wire form; [`Self::from_value`] reads it back to an equal request.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut out = self.without_args();
        put(&mut out, "args", (!self.args.is_empty()).then(|| Value::Map(self.args.clone())));
        Value::Map(out)
    }

    /// The canonical bytes of [`Self::to_value`], without copying the arguments.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(512);
        for (key, value) in self.without_args().iter() {
            out.push(if out.is_empty() { '{' } else { ',' });
            write_string(key, &mut out);
            out.push(':');
            value.write_canonical(&mut out);
            // `agent` is always there, and `args` comes next in canonical order.
            if key == "agent" && !self.args.is_empty() {
                out.push_str(r#","args":"#);
                self.args.write_canonical(&mut out);
            }
        }
        out.push('}');
        out
    }

    fn without_args(&self) -> Map {
        let mut out = Map::default();
        put(&mut out, "tenant", Some(text(&self.tenant)));
        put(&mut out, "agent", Some(self.agent.to_value()));
        put(&mut out, "session", self.session.to_value());
        put(&mut out, "tool", self.tool.as_ref().map(Tool::to_value));
        put(&mut out, "topic", self.topic.as_ref().map(text));
        put(&mut out, "risk_tags", list(self.risk_tags.iter()));
        let labels = pairs(self.labels.iter().map(|(key, value)| (key, Value::Str(value.clone()))));
        put(&mut out, "labels", labels);
        put(&mut out, "environment", self.environment.as_ref().map(text));
        let cost = pairs(self.cost.iter().map(|(unit, amount)| (unit, Value::Str(amount.to_string()))));
        put(&mut out, "cost", cost);
        put(
            &mut out,
            "confidence",
            self.confidence.map(|c| c.to_i64().map_or(Value::Decimal(c), Value::Int)),
        );
        put(&mut out, "nonce", self.nonce.as_deref().map(Value::from));
        put(&mut out, "ts_ms", self.ts_ms.map(Value::Int));
        put(&mut out, "pep", self.pep.as_ref().map(EnforcementPoint::to_value));
        out
    }

    /// The canonical bytes of the action alone: what runs, with which arguments. Two requests with
    /// equal bytes ask for the same effect.
    #[must_use]
    pub fn action_bytes(&self) -> String {
        let mut out = String::with_capacity(256);
        let word = |key: &str, name: Option<&Name>, out: &mut String| {
            if let Some(name) = name {
                out.push_str(key);
                write_string(name.as_str(), out);
            }
        };
        // The keys stand in canonical order; `args` is always there.
        word(r#"{"action_type":"#, self.session.action_type.as_ref(), &mut out);
        out.push_str(if out.is_empty() { r#"{"args":"# } else { r#","args":"# });
        self.args.write_canonical(&mut out);
        word(r#","function":"#, self.session.function.as_ref(), &mut out);
        if let Some(tool) = &self.tool {
            out.push_str(r#","tool":"#);
            tool.to_value().write_canonical(&mut out);
        }
        word(r#","topic":"#, self.topic.as_ref(), &mut out);
        out.push('}');
        out
    }

    /// The SHA-256 of [`Self::action_bytes`]. Never published unsalted: arguments can be guessed.
    #[must_use]
    pub fn action_digest(&self) -> Digest {
        Digest::of(self.action_bytes().as_bytes())
    }

    /// What a person calls the action: the tool, else the topic, else the function.
    #[must_use]
    pub fn action_name(&self) -> &str {
        let tool = self.tool.as_ref().map(|tool| &tool.identity);
        tool.or(self.topic.as_ref()).or(self.session.function.as_ref()).map_or("", Name::as_str)
    }

    /// Every name that the action goes by: the tool, the topic, the function, and the tool's name without its server.
    pub fn called(&self) -> impl Iterator<Item = &Name> {
        let tool = self.tool.as_ref();
        let bare = tool.filter(|tool| tool.server.is_some()).map(|tool| &tool.name);
        let identity = tool.map(|tool| &tool.identity);
        [identity, self.topic.as_ref(), self.session.function.as_ref(), bare].into_iter().flatten()
    }

    /// The contract step this request claims: `session.step`, else `session.function`.
    #[must_use]
    pub fn step(&self) -> Option<&Name> {
        self.session.step.as_ref().or(self.session.function.as_ref())
    }

    /// Whether the enforcement point declared that it enforces this constraint word.
    #[must_use]
    pub fn enforces(&self, word: &str) -> bool {
        self.pep.as_ref().is_some_and(|pep| pep.enforces.contains(word))
    }
}

impl Tool {
    /// Builds the identity from server and name.
    ///
    /// # Errors
    /// A dot in the server's name, or names too long together.
    pub fn new(server: Option<Name>, name: Name) -> Result<Self, FieldError> {
        let identity = match &server {
            Some(server) if server.as_str().contains('.') => {
                return Err(FieldError::new("tool.server", "a server's name has no dots; write `-` instead"));
            }
            Some(server) => {
                Name::new(&format!("{server}.{name}")).map_err(|e| FieldError::new("tool", e.to_string()))?
            }
            None => name.clone(),
        };
        Ok(Self { server, name, identity })
    }

    fn to_value(&self) -> Value {
        let mut out = Map::default();
        put(&mut out, "server", self.server.as_ref().map(text));
        put(&mut out, "name", Some(text(&self.name)));
        Value::Map(out)
    }
}

impl Agent {
    fn to_value(&self) -> Value {
        let mut out = Map::default();
        put(&mut out, "id", Some(text(&self.id)));
        put(&mut out, "team", self.team.as_ref().map(text));
        put(&mut out, "chain", list(self.chain.iter()));
        put(&mut out, "on_behalf_of", self.on_behalf_of.as_ref().map(text));
        Value::Map(out)
    }
}

impl Session {
    fn to_value(&self) -> Option<Value> {
        let mut out = Map::default();
        put(&mut out, "id", self.id.as_ref().map(text));
        put(&mut out, "step", self.step.as_ref().map(text));
        put(&mut out, "function", self.function.as_ref().map(text));
        put(&mut out, "action_type", self.action_type.as_ref().map(text));
        (!out.is_empty()).then_some(Value::Map(out))
    }
}

impl EnforcementPoint {
    fn to_value(&self) -> Value {
        let mut out = Map::default();
        put(&mut out, "id", Some(text(&self.id)));
        let enforces = self.enforces.iter().map(|word| Value::Str(word.clone())).collect();
        put(&mut out, "enforces", Some(Value::List(enforces)));
        Value::Map(out)
    }
}

fn agent(value: Value) -> Result<Agent, FieldError> {
    let mut fields = Fields::open(value, "agent")?;
    let agent = Agent {
        id: fields.required_name("id")?,
        team: fields.name("team")?,
        chain: fields.names("chain", MAX_ENTRIES)?,
        on_behalf_of: fields.name("on_behalf_of")?,
    };
    fields.close()?;
    Ok(agent)
}

fn session(value: Value) -> Result<Session, FieldError> {
    let mut fields = Fields::open(value, "session")?;
    let session = Session {
        id: fields.name("id")?,
        step: fields.name("step")?,
        function: fields.name("function")?,
        action_type: fields.name("action_type")?,
    };
    fields.close()?;
    Ok(session)
}

fn tool(value: Value) -> Result<Tool, FieldError> {
    let mut fields = Fields::open(value, "tool")?;
    let (server, name) = (fields.name("server")?, fields.required_name("name")?);
    fields.close()?;
    Tool::new(server, name)
}

fn enforcement_point(value: Value) -> Result<EnforcementPoint, FieldError> {
    let mut fields = Fields::open(value, "pep")?;
    let id = fields.required_name("id")?;
    let enforces = fields.words("enforces", MAX_ENTRIES)?.into_iter().collect();
    fields.close()?;
    Ok(EnforcementPoint { id, enforces })
}

fn cost(fields: &mut Fields) -> Result<BTreeMap<Name, Decimal>, FieldError> {
    let mut out = BTreeMap::new();
    for (unit, value) in fields.map("cost")?.unwrap_or_default().iter() {
        let path = format!("cost.{unit}");
        let name = Name::new(unit).map_err(|e| FieldError::new(&path, e.to_string()))?;
        let amount = match value {
            Value::Str(text) => text.parse().map_err(|e| FieldError::new(&path, format!("{e}")))?,
            Value::Int(number) => Decimal::from(*number),
            _ => {
                return Err(FieldError::new(
                    &path,
                    "write the amount as a decimal in a string, such as \"0.02\"",
                ));
            }
        };
        if amount.is_negative() {
            return Err(FieldError::new(&path, "an amount cannot be negative"));
        }
        out.insert(name, amount);
    }
    if out.len() > MAX_ENTRIES {
        return Err(FieldError::new("cost", format!("at most {MAX_ENTRIES} units")));
    }
    Ok(out)
}

fn confidence(fields: &mut Fields) -> Result<Option<Decimal>, FieldError> {
    let wrong = || FieldError::new("confidence", "write a number from 0 to 1");
    let Some(value) = fields.take("confidence") else { return Ok(None) };
    let number = value.as_decimal().ok_or_else(wrong)?;
    if number.is_negative() || number > Decimal::from(1) { Err(wrong()) } else { Ok(Some(number)) }
}

fn nonce(fields: &mut Fields) -> Result<Option<String>, FieldError> {
    let Some(nonce) = fields.string("nonce")? else { return Ok(None) };
    if nonce.is_empty() || nonce.len() > MAX_NONCE {
        return Err(FieldError::new("nonce", format!("a nonce is 1 to {MAX_NONCE} bytes")));
    }
    Ok(Some(nonce))
}

fn put(map: &mut Map, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value);
    }
}

fn text(name: &Name) -> Value {
    Value::from(name.as_str())
}

fn list<'a>(names: impl Iterator<Item = &'a Name>) -> Option<Value> {
    let items: Vec<Value> = names.map(text).collect();
    (!items.is_empty()).then_some(Value::List(items))
}

fn pairs<'a>(entries: impl Iterator<Item = (&'a Name, Value)>) -> Option<Value> {
    let mut map = Map::default();
    for (key, value) in entries {
        map.insert(key.as_str().to_owned(), value);
    }
    (!map.is_empty()).then_some(Value::Map(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{ "tenant": "default",
      "agent": {"id": "support-bot", "team": "support", "chain": ["planner"], "on_behalf_of": "user:ana"},
      "session": {"id": "loan-approval-20260512-001", "step": "execution", "function": "execution", "action_type": "WRITE_DB"},
      "tool": {"server": "postgres", "name": "query"}, "args": {"sql": "update …"},
      "topic": "job.mcp-bridge.write.update_ticket", "risk_tags": ["prod", "write"], "labels": {"mcp.server": "jira"},
      "environment": "prod", "cost": {"usd": "0.02", "tokens": 1200}, "confidence": 0.82,
      "nonce": "n1", "ts_ms": 1715508000000, "pep": {"id": "mcp", "enforces": ["max_runtime_ms", "redact"]} }"#;

    fn parse(text: &str) -> Result<Request, RequestError> {
        Request::parse(text.as_bytes(), &Limits::REQUEST)
    }

    #[test]
    fn the_whole_shape_survives() {
        let request = parse(FULL).unwrap();
        assert_eq!(request.action_name(), "postgres.query");
        assert_eq!(request.canonical(), request.to_value().canonical());
        assert_eq!(Request::from_value(request.to_value()), Ok(request));
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            ("[]", "the request: expected an object, found an array"),
            ("{}", "`agent` is missing"),
            (r#"{"agent":{"id":"a"}}"#, "names no action"),
            (r#"{"agent":{"id":"a"},"tol":{}}"#, "`tol` is not a field here; did you mean `tool`"),
            (r#"{"agent":{"id":"a\u200bb"},"topic":"t"}"#, "`agent.id`"),
            (r#"{"agent":{"id":"a"},"tool":{"server":"a.b","name":"c"}}"#, "no dots"),
            (r#"{"agent":{"id":"a"},"topic":"t","nonce":"x"}"#, "needs `ts_ms`"),
            (r#"{"agent":{"id":"a"},"topic":"t","cost":{"usd":0.02}}"#, "`cost.usd`"),
            (r#"{"agent":{"id":"a"},"topic":"t","cost":{"usd":"1,000"}}"#, "`cost.usd`"),
            (r#"{"agent":{"id":"a"},"topic":"t","cost":{"usd":"-1"}}"#, "cannot be negative"),
            (r#"{"agent":{"id":"a"},"topic":"t","confidence":1.5}"#, "0 to 1"),
            (r#"{"agent":{"id":"a"},"topic":7}"#, "`topic`: expected a string, found a number"),
            (r#"{"agent":{"id":"a"},"topic":"t","args":[]}"#, "`args`: expected an object"),
        ];
        for (text, expected) in cases {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn the_action_is_canonical_json() {
        for text in [
            FULL,
            r#"{"agent":{"id":"a"},"topic":"t"}"#,
            r#"{"agent":{"id":"a"},"session":{"function":"f","action_type":"X"},"args":{"b":[1,{}],"a":null}}"#,
        ] {
            let bytes = parse(text).unwrap().action_bytes();
            assert_eq!(json::parse(bytes.as_bytes(), &Limits::REQUEST).unwrap().canonical(), bytes);
            let request = parse(text).unwrap();
            assert_eq!(request.canonical(), request.to_value().canonical());
        }
    }

    #[test]
    fn the_action_digest_is_of_the_action_alone() {
        let a = parse(r#"{"agent":{"id":"a"},"tool":{"name":"t"},"args":{"x":1.0,"y":"é"}}"#).unwrap();
        let b = parse(
            r#"{"agent":{"id":"b"},"args":{"y":"\u00e9","x":1},"tool":{"name":"t"},"environment":"prod"}"#,
        )
        .unwrap();
        let c = parse(r#"{"agent":{"id":"a"},"tool":{"name":"t"},"args":{"x":2,"y":"é"}}"#).unwrap();
        assert_eq!(a.action_digest(), b.action_digest());
        assert_ne!(a.action_digest(), c.action_digest());
    }
}
