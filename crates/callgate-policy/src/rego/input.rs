//! The request and the facts as Rego's `input`; `docs/rego.md` describes it for people.
//!
//! Built straight from the request's types: no text in between, and every whole number exact.

use callgate_core::decimal::Decimal;
use callgate_core::facts::Facts;
use callgate_core::name::Name;
use callgate_core::request::{Agent, Request, Session, Tool};
use callgate_core::value::{Map, Value};
use regorus::Value as Rego;
use regorus::value::Object;

/// The version of the shape of `input`.
const VERSION: &str = "v1";

/// Builds `input`.
pub(crate) fn input(request: &Request, facts: &Facts) -> Rego {
    let mut out = Entries::default();
    out.put("version", Some(VERSION.into()));
    out.put("now_ms", Some(Rego::from(facts.now_ms)));
    out.put("tenant", Some(name(&request.tenant)));
    out.put("agent", Some(agent(&request.agent)));
    out.put("session", Some(session(&request.session, facts)));
    out.put("tool", request.tool.as_ref().map(tool));
    out.put("args", Some(object(&request.args)));
    out.put("topic", request.topic.as_ref().map(name));
    out.put("risk_tags", Some(names(request.risk_tags.iter())));
    let labels = request.labels.iter().map(|(label, text)| (name(label), text.as_str().into()));
    out.put("labels", Some(map(labels)));
    out.put("environment", request.environment.as_ref().map(name));
    let cost = request.cost.iter().map(|(unit, amount)| (name(unit), amount.to_string().into()));
    out.put("cost", Some(map(cost)));
    out.put("confidence", request.confidence.map(|confidence| decimal(&confidence)));
    out.put("nonce", request.nonce.as_deref().map(Rego::from));
    out.put("ts_ms", request.ts_ms.map(Rego::from));
    if let Some(pep) = &request.pep {
        let enforces: Vec<Rego> = pep.enforces.iter().map(|word| word.as_str().into()).collect();
        let mut point = Entries::default();
        point.put("id", Some(name(&pep.id)));
        point.put("enforces", Some(enforces.into()));
        out.put("pep", Some(point.done()));
    }
    out.done()
}

#[derive(Default)]
struct Entries(Vec<(Rego, Rego)>);

impl Entries {
    fn put(&mut self, key: &str, value: Option<Rego>) {
        self.0.extend(value.map(|value| (key.into(), value)));
    }

    fn done(self) -> Rego {
        map(self.0.into_iter())
    }
}

fn map(entries: impl Iterator<Item = (Rego, Rego)>) -> Rego {
    entries.collect::<Object>().into()
}

fn name(name: &Name) -> Rego {
    name.as_str().into()
}

fn names<'a>(names: impl Iterator<Item = &'a Name>) -> Rego {
    names.map(name).collect::<Vec<Rego>>().into()
}

fn agent(agent: &Agent) -> Rego {
    let mut out = Entries::default();
    out.put("id", Some(name(&agent.id)));
    out.put("team", agent.team.as_ref().map(name));
    out.put("chain", Some(names(agent.chain.iter())));
    out.put("on_behalf_of", agent.on_behalf_of.as_ref().map(name));
    out.done()
}

fn session(session: &Session, facts: &Facts) -> Rego {
    let mut out = Entries::default();
    out.put("id", session.id.as_ref().map(name));
    out.put("step", session.step.as_ref().map(name));
    out.put("function", session.function.as_ref().map(name));
    out.put("action_type", session.action_type.as_ref().map(name));
    if let Some(position) = facts.session.as_ref().and_then(|session| session.position.as_ref()) {
        let mut place = Entries::default();
        place.put("contract", Some(position.contract.as_str().into()));
        place.put("step", Some(position.step.as_str().into()));
        place.put("sealed", Some(Rego::Bool(position.sealed)));
        out.put("position", Some(place.done()));
    }
    out.done()
}

fn tool(tool: &Tool) -> Rego {
    let mut out = Entries::default();
    out.put("server", tool.server.as_ref().map(name));
    out.put("name", Some(name(&tool.name)));
    out.put("identity", Some(name(&tool.identity)));
    out.done()
}

fn object(args: &Map) -> Rego {
    map(args.iter().map(|(key, value)| (key.into(), value_of(value))))
}

/// A canonical value as Rego has it. Parsing bounded its depth.
pub(crate) fn value_of(value: &Value) -> Rego {
    match value {
        Value::Null => Rego::Null,
        Value::Bool(flag) => Rego::Bool(*flag),
        Value::Int(number) => Rego::from(*number),
        Value::Decimal(number) => decimal(number),
        Value::Str(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(value_of).collect::<Vec<Rego>>().into(),
        Value::Map(map) => object(map),
    }
}

/// A number as written, where Rego keeps it; a fraction is the nearest double, as in OPA.
fn decimal(number: &Decimal) -> Rego {
    let exact = number.to_i64().map(Rego::from);
    exact.unwrap_or_else(|| Rego::from_numeric_string(&number.to_string()).unwrap_or(Rego::Undefined))
}
