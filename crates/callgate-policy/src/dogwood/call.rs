//! A request as an event: what happened, to whom, with which arguments.

use std::cell::RefCell;

use callgate_core::history::Occurrence;
use callgate_core::name::Name;
use callgate_core::request::Request;
use callgate_core::value::Value;

use super::atom::Atom;
use super::eval::Sight;
use super::formula::{ALLOWED, DENIED, ERROR, EventName, REQUEST, RESPONSE};
use super::{AGENT, RECORD, RESOURCE, SESSION};
use crate::cedar::{Actions, FUNCTION, Listed, Record, Shape, TOPIC, UNLISTED, ten_thousandths};

/// The kinds of events that one position may be at once.
pub(super) type Kinds = &'static [&'static str];

/// A call that was allowed. One that is being decided is seen as this, too: it counts as if it were
/// allowed, so that a limit can count it in.
pub(super) const PASSED: Kinds = &[REQUEST, ALLOWED];
/// One that was not.
pub(super) const STOPPED: Kinds = &[REQUEST, DENIED];
/// The end of one that did what it should.
pub(super) const SUCCEEDED: Kinds = &[RESPONSE];
/// Another end.
pub(super) const FAILED: Kinds = &[ERROR];

/// The kinds of events that an occurrence is.
pub(super) fn kinds(occurrence: &Occurrence<'_>) -> Kinds {
    match occurrence {
        Occurrence::Asked(_) | Occurrence::Decided { allowed: true, .. } => PASSED,
        Occurrence::Decided { allowed: false, .. } => STOPPED,
        Occurrence::Ended { status: "succeeded", .. } => SUCCEEDED,
        Occurrence::Ended { .. } => FAILED,
    }
}

/// A request, seen as an event.
pub(super) struct Call<'r> {
    kinds: Kinds,
    request: &'r Request,
    listed: Option<&'r Listed>,
    /// Why something that was asked for cannot be read.
    broken: RefCell<Option<String>>,
}

impl<'r> Call<'r> {
    pub(super) fn new(request: &'r Request, kinds: Kinds, actions: &'r Actions) -> Self {
        let listed = request.tool.as_ref().and_then(|tool| actions.get(&tool.identity));
        Self { kinds, request, listed, broken: RefCell::new(None) }
    }

    /// The id of its action.
    pub(super) fn action(&self) -> &str {
        match (self.listed, &self.request.tool, &self.request.topic) {
            (Some(listed), _, _) => listed.identity.as_str(),
            (None, Some(_), _) => UNLISTED,
            (None, None, Some(_)) => TOPIC,
            (None, None, None) => FUNCTION,
        }
    }

    /// Whether the tool's name only looks like the listed one.
    pub(super) fn is_disguised(&self) -> bool {
        let same =
            |listed: &Listed| self.request.tool.as_ref().is_some_and(|it| it.identity == listed.identity);
        self.listed.is_some_and(|listed| !same(listed))
    }

    /// Why something that was asked for since the last time could not be read.
    pub(super) fn take_broken(&self) -> Option<String> {
        self.broken.take()
    }

    fn arg(&self, path: &[String]) -> Option<Atom> {
        let (first, rest) = path.split_first()?;
        let value = self.request.args.get(first)?;
        let found = match self.listed {
            Some(listed) => typed(&listed.args, first, value, rest),
            None => Ok(within(value, rest).and_then(untyped)),
        };
        found.unwrap_or_else(|why| {
            self.broken.replace(Some(format!("`args.{}` {why}", path.join("."))));
            None
        })
    }

    fn agent(&self) -> Atom {
        Atom::Entity("Agent".to_owned(), self.request.agent.id.to_string())
    }

    fn resource(&self) -> Atom {
        let entity = |of: &str, name: &str| Atom::Entity(of.to_owned(), name.to_owned());
        let request = self.request;
        match (self.listed, &request.tool, &request.topic, &request.session.function) {
            (Some(listed), ..) => entity("Tool", listed.identity.as_str()),
            (None, Some(tool), ..) => entity("Tool", tool.identity.as_str()),
            (None, None, Some(topic), _) => entity("Topic", topic.as_str()),
            (None, None, None, function) => entity("Function", function.as_ref().map_or("", Name::as_str)),
        }
    }
}

impl Sight for Call<'_> {
    fn is(&self, event: &EventName) -> bool {
        self.kinds.contains(&event.kind.as_str())
            && event.action == self.action()
            && matches!(event.namespace.as_slice(), [only] if only == "Action")
    }

    fn field(&self, path: &[String]) -> Option<Atom> {
        match path {
            [root, rest @ ..] if root == RECORD => self.arg(rest),
            [only] if only == AGENT => Some(self.agent()),
            [only] if only == RESOURCE => Some(self.resource()),
            [only] if only == SESSION => {
                self.request.session.id.as_ref().map(|id| Atom::Text(id.as_str().to_owned()))
            }
            _ => None,
        }
    }

    fn context(&self, path: &[String]) -> Option<Atom> {
        match path {
            [root, rest @ ..] if root == RECORD => self.arg(rest),
            _ => None,
        }
    }

    fn scope(&self, path: &[String]) -> Option<Atom> {
        match path {
            [only] if only == "principal" => Some(self.agent()),
            [only] if only == "resource" => Some(self.resource()),
            _ => None,
        }
    }

    fn tenant(&self) -> &str {
        self.request.tenant.as_str()
    }
}

/// The value below `value` at that path.
fn within<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    let mut at = value;
    for name in path {
        let Value::Map(map) = at else { return None };
        at = map.get(name)?;
    }
    Some(at)
}

/// The atom at a path into an argument; `None` where the call leaves it out.
fn typed(record: &Record, name: &str, value: &Value, rest: &[String]) -> Result<Option<Atom>, String> {
    let Some(attribute) = record.get(name) else { return Ok(None) };
    let (mut shape, mut value) = (&attribute.shape, value);
    for name in rest {
        let Shape::Record(record) = shape else { return Ok(None) };
        let Value::Map(map) = value else { return Err(mismatch(shape)) };
        let Some(attribute) = record.get(name.as_str()) else { return Ok(None) };
        let Some(next) = map.get(name) else { return Ok(None) };
        (shape, value) = (&attribute.shape, next);
    }
    shaped(shape, value).map(Some)
}

fn mismatch(shape: &Shape) -> String {
    format!("is not {}, as the tool's schema says", shape.word())
}

fn shaped(shape: &Shape, value: &Value) -> Result<Atom, String> {
    match (shape, value) {
        (Shape::Bool, Value::Bool(flag)) => Ok(Atom::Bool(*flag)),
        (Shape::Long, Value::Int(number)) => Ok(Atom::Int(*number)),
        (Shape::Decimal, Value::Int(_) | Value::Decimal(_)) => {
            let number = value.as_decimal().and_then(ten_thousandths).map(Atom::Decimal);
            number.ok_or_else(|| "is a number that cannot be kept exactly (a decimal has four places)".into())
        }
        (Shape::Text, Value::Str(text)) => Ok(Atom::Text(text.clone())),
        (Shape::Set(item), Value::List(items)) => {
            items.iter().map(|it| shaped(item, it)).collect::<Result<_, _>>().map(Atom::List)
        }
        _ => Err(mismatch(shape)),
    }
}

/// The atom of an argument whose type nobody declared.
fn untyped(value: &Value) -> Option<Atom> {
    Some(match value {
        Value::Null | Value::Map(_) => return None,
        Value::Bool(flag) => Atom::Bool(*flag),
        Value::Int(number) => Atom::Int(*number),
        Value::Decimal(number) => Atom::Decimal(ten_thousandths(*number)?),
        Value::Str(text) => Atom::Text(text.clone()),
        Value::List(items) => Atom::List(items.iter().map(untyped).collect::<Option<_>>()?),
    })
}
