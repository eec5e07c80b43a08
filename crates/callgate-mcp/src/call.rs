//! One call of the client as a request to the gate, and back into the message that runs it.
//!
//! The message that reaches the server is written from the very request that was decided; nothing of
//! the client's text is copied beside it. What the gate does not read (`_meta`, unknown parameters)
//! stays, in canonical form.

use std::collections::{BTreeMap, BTreeSet};

use callgate_core::constraint::Kind;
use callgate_core::json::{self, JsonError, Limits};
use callgate_core::name::{Name, NameError};
use callgate_core::request::{EnforcementPoint, Request, Session, Tool};
use callgate_core::value::{Map, Value, write_string};
use serde_json::value::RawValue;

use crate::line::one_line;
use crate::message::Id;
use crate::method::Decided;
use crate::options::WrapOptions;

/// Says that a request belongs to revision 2026-07-28 or later, where every request carries it.
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What the session's claims are called in a call's `_meta`.
const STEP: &str = "callgate/step";
const FUNCTION: &str = "callgate/function";
const ACTION_TYPE: &str = "callgate/action_type";

/// What the wrapper enforces.
const ENFORCED: [Kind; 3] = [Kind::MaxRuntimeMs, Kind::MaxRetries, Kind::MaxBytes];
/// What of it holds when the server may go on after it has answered.
const ENFORCED_DEFERRED: [Kind; 1] = [Kind::MaxRetries];

/// The constraints the wrapper enforces, by their words.
pub fn enforced() -> impl Iterator<Item = &'static str> {
    ENFORCED.iter().map(|kind| kind.as_str())
}

/// A call that was read and can be decided.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: Id,
    pub(crate) kind: Decided,
    pub(crate) request: Request,
    /// Whether the client speaks revision 2026-07-28 or later.
    pub(crate) modern: bool,
    /// Until when it may wait for people, once it was held.
    pub(crate) held_until: Option<tokio::time::Instant>,
    /// Until when it may be put off, once it was throttled.
    pub(crate) throttled_until: Option<tokio::time::Instant>,
    /// Parameters the gate does not read.
    rest: Map,
    /// Whether `arguments` were there, be they empty.
    has_arguments: bool,
}

/// Why a call cannot be decided. It is not forwarded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the parameters: {0}")]
    Json(#[from] JsonError),
    #[error("{0}")]
    Shape(&'static str),
    #[error("`{field}`: {problem}")]
    Name { field: &'static str, problem: NameError },
    #[error("`{0}` is the name of a method here, so no tool can have it")]
    Reserved(String),
    #[error("`{0}` and `{1}` differ only in case, which some servers do not tell apart; send one of them")]
    Ambiguous(String, String),
    #[error("the arguments are larger than {0} bytes; send less in one call")]
    TooLarge(usize),
    #[error("the system gave no random bytes; try again")]
    Random,
}

/// What the wrapper adds to a call by itself.
pub(crate) struct Stamp {
    /// A value used once.
    pub(crate) nonce: String,
    /// The gate's clock.
    pub(crate) now_ms: i64,
}

impl Call {
    /// Reads the parameters of a decided method.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) fn read(
        id: Id,
        kind: Decided,
        params: Option<&RawValue>,
        options: &WrapOptions,
        limits: &Limits,
        stamp: Stamp,
    ) -> Result<Self, CallError> {
        let mut params = read_params(params, options, limits)?;
        let meta = params.get("_meta").and_then(Value::as_map).cloned().unwrap_or_default();
        let deferred = may_go_on(&params, &meta);
        let has_arguments = params.get("arguments").is_some_and(|arguments| *arguments != Value::Null);
        let (name, args) = match kind {
            Decided::Tool => tool(&mut params)?,
            Decided::Resource => (kind.as_str().to_owned(), uri(&mut params)?),
            Decided::Prompt => (kind.as_str().to_owned(), prompt(&mut params)?),
        };
        within(&args, limits)?;
        let name = named("name", &name)?;
        let tool = Tool::new(Some(options.server.clone()), name)
            .map_err(|_| CallError::Shape("the server's and the tool's name are too long together"))?;
        let request = Request {
            tenant: options.tenant.clone(),
            agent: options.agent.clone(),
            session: session(options, &meta)?,
            tool: Some(tool),
            args,
            topic: None,
            risk_tags: BTreeSet::new(),
            labels: labels(options, kind)?,
            environment: options.environment.clone(),
            cost: BTreeMap::new(),
            confidence: None,
            nonce: Some(stamp.nonce),
            ts_ms: Some(stamp.now_ms),
            pep: Some(enforcement_point(deferred)?),
        };
        let modern = meta.get(PROTOCOL_VERSION).is_some();
        Ok(Self {
            id,
            kind,
            request,
            modern,
            held_until: None,
            throttled_until: None,
            rest: params,
            has_arguments,
        })
    }

    /// Marks it as asked now, and not before.
    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        self.request.nonce = Some(stamp.nonce);
        self.request.ts_ms = Some(stamp.now_ms);
    }

    /// What the client wants to hear of progress under.
    pub(crate) fn progress_token(&self) -> Option<&Value> {
        self.rest.get("_meta").and_then(Value::as_map)?.get("progressToken")
    }

    /// The message that runs this call, on one line, written from the request that was decided.
    pub(crate) fn line(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str(r#"{"jsonrpc":"2.0","id":"#);
        out.push_str(self.id.raw());
        out.push_str(r#","method":""#);
        out.push_str(self.kind.as_str());
        out.push_str(r#"","params":{"#);
        let mut first = true;
        let mut member = |key: &str, value: &dyn Fn(&mut String), out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_string(key, out);
            out.push(':');
            value(out);
        };
        for (key, value) in self.rest.iter() {
            member(key, &|out| value.write_canonical(out), &mut out);
        }
        if self.kind == Decided::Tool {
            let name = self.request.tool.as_ref().map_or("", |tool| tool.name.as_str());
            member("name", &|out| write_string(name, out), &mut out);
            if self.has_arguments {
                member("arguments", &|out| self.request.args.write_canonical(out), &mut out);
            }
        } else {
            for (key, value) in self.request.args.iter() {
                member(key, &|out| value.write_canonical(out), &mut out);
            }
        }
        out.push_str("}}");
        one_line(&out).into_owned()
    }
}

fn read_params(params: Option<&RawValue>, options: &WrapOptions, limits: &Limits) -> Result<Map, CallError> {
    let params = params.ok_or(CallError::Shape("the call has no `params`"))?;
    // Arguments nest two levels deeper here than in a request of their own, and `_meta` counts, too.
    let limits = Limits {
        bytes: options.bounds.message_bytes,
        depth: limits.depth.saturating_add(2),
        values: limits.values.saturating_add(1000),
    };
    match json::parse(params.get().as_bytes(), &limits)? {
        Value::Map(map) => {
            distinct(&map)?;
            Ok(map)
        }
        _ => Err(CallError::Shape("`params` must be an object")),
    }
}

/// Refuses keys that a reader which ignores case takes for one.
fn distinct(map: &Map) -> Result<(), CallError> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (key, _) in map.iter() {
        if let Some(other) = seen.insert(key.to_lowercase(), key) {
            return Err(CallError::Ambiguous(other.to_owned(), key.to_owned()));
        }
    }
    Ok(())
}

fn tool(params: &mut Map) -> Result<(String, Map), CallError> {
    let name = text(params, "name", "`name` must be the tool's name")?;
    if Decided::ALL.iter().any(|kind| kind.as_str() == name) {
        return Err(CallError::Reserved(name));
    }
    let args = match params.remove("arguments") {
        None | Some(Value::Null) => Map::default(),
        Some(Value::Map(map)) => map,
        Some(_) => return Err(CallError::Shape("`arguments` must be an object")),
    };
    distinct(&args)?;
    Ok((name, args))
}

fn uri(params: &mut Map) -> Result<Map, CallError> {
    let uri = text(params, "uri", "`uri` must be the resource's address")?;
    let mut args = Map::default();
    args.insert("uri".to_owned(), Value::Str(uri));
    Ok(args)
}

fn prompt(params: &mut Map) -> Result<Map, CallError> {
    let name = text(params, "name", "`name` must be the prompt's name")?;
    let mut args = Map::default();
    args.insert("name".to_owned(), Value::Str(name));
    match params.remove("arguments") {
        None | Some(Value::Null) => {}
        Some(Value::Map(map)) => {
            distinct(&map)?;
            args.insert("arguments".to_owned(), Value::Map(map));
        }
        Some(_) => return Err(CallError::Shape("`arguments` must be an object")),
    }
    Ok(args)
}

fn text(params: &mut Map, key: &str, wrong: &'static str) -> Result<String, CallError> {
    match params.remove(key) {
        Some(Value::Str(text)) => Ok(text),
        _ => Err(CallError::Shape(wrong)),
    }
}

fn named(field: &'static str, text: &str) -> Result<Name, CallError> {
    Name::new(text).map_err(|problem| CallError::Name { field, problem })
}

fn within(args: &Map, limits: &Limits) -> Result<(), CallError> {
    let mut canonical = String::new();
    args.write_canonical(&mut canonical);
    if canonical.len() > limits.bytes { Err(CallError::TooLarge(limits.bytes)) } else { Ok(()) }
}

/// The session is the wrapper's; where in it the agent stands is the agent's claim, as over HTTP.
fn session(options: &WrapOptions, meta: &Map) -> Result<Session, CallError> {
    let claim = |key: &'static str| match meta.get(key) {
        None => Ok(None),
        Some(Value::Str(text)) => named(key, text).map(Some),
        Some(_) => Err(CallError::Shape(
            "`callgate/step`, `callgate/function` and `callgate/action_type` are strings",
        )),
    };
    Ok(Session {
        id: options.session.clone(),
        step: claim(STEP)?,
        function: claim(FUNCTION)?,
        action_type: claim(ACTION_TYPE)?,
    })
}

fn labels(options: &WrapOptions, kind: Decided) -> Result<BTreeMap<Name, String>, CallError> {
    let server = (named("label", "mcp.server")?, options.server.as_str().to_owned());
    let method = (named("label", "mcp.method")?, kind.as_str().to_owned());
    Ok(BTreeMap::from([server, method]))
}

fn enforcement_point(deferred: bool) -> Result<EnforcementPoint, CallError> {
    let kinds: &[Kind] = if deferred { &ENFORCED_DEFERRED } else { &ENFORCED };
    let enforces = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    Ok(EnforcementPoint { id: named("pep", "mcp")?, enforces })
}

/// Whether the server may answer with a task that runs on: then its time and its result's size are
/// out of the wrapper's hands, and it must not claim to enforce them.
fn may_go_on(params: &Map, meta: &Map) -> bool {
    let declared = meta.get(CAPABILITIES).and_then(Value::as_map).is_some_and(|capabilities| {
        let extensions = capabilities.get("extensions").and_then(Value::as_map);
        capabilities.get("tasks").is_some() || extensions.is_some_and(|all| all.get(TASKS).is_some())
    });
    declared || params.get("task").is_some()
}

/// A call of `tool` without arguments, to ask what a list should show.
pub(crate) fn probe(options: &WrapOptions, tool: Tool) -> Option<Request> {
    Some(Request {
        tenant: options.tenant.clone(),
        agent: options.agent.clone(),
        session: Session { id: options.session.clone(), ..Session::default() },
        tool: Some(tool),
        args: Map::default(),
        topic: None,
        risk_tags: BTreeSet::new(),
        labels: labels(options, Decided::Tool).ok()?,
        environment: options.environment.clone(),
        cost: BTreeMap::new(),
        confidence: None,
        nonce: None,
        ts_ms: None,
        pep: enforcement_point(false).ok(),
    })
}

/// Whether parameters come from a client of revision 2026-07-28 or later.
pub(crate) fn is_modern(params: Option<&RawValue>) -> bool {
    let members = params.and_then(|raw| crate::message::Members::read(raw.get()));
    let meta = members.and_then(|members| members.get("_meta"));
    meta.and_then(|raw| crate::message::Members::read(raw.get()))
        .is_some_and(|m| m.get(PROTOCOL_VERSION).is_some())
}

#[cfg(test)]
mod tests;
