//! Conditions of rules: what a condition may name, and where its values come from.
//!
//! A condition borrows from the request; nothing is copied for it. Only the host's side lives here:
//! the language itself is `cel`.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::facts::Facts;
use callgate_core::name::Name;
use callgate_core::request::{Agent, Request, Session, Tool};
use callgate_core::value::key_order;

use crate::cel::{
    self, CelError, CelValue, Env, Field, Fields, Fuel, Limits, List, Lookup, ObjectType, Program, Type,
};

/// What the conditions of one decision may spend together.
const DECISION_FUEL: u64 = 1_000_000;
/// What one condition may spend.
const CONDITION_FUEL: u64 = 100_000;
/// Nanoseconds in a millisecond.
const NANOS: i128 = 1_000_000;

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    program: Program,
}

/// What a condition comes to before any request is seen.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// It depends on the request.
    Open(Condition),
    /// It is the same for every request.
    Always(bool),
}

impl Condition {
    /// Compiles `source` for a rule whose tools take `args`.
    ///
    /// # Errors
    /// Every mistake, in the order of the text.
    pub(crate) fn compile(source: &str, args: Type) -> Result<Compiled, Vec<CelError>> {
        Self::compile_in(source, &environment(args).variable("now", Type::TIMESTAMP))
    }

    /// As [`Self::compile`], for what must not ask for the hour: it is evaluated with [`Asked`].
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) fn compile_timeless(source: &str, args: Type) -> Result<Compiled, Vec<CelError>> {
        Self::compile_in(source, &environment(args))
    }

    fn compile_in(source: &str, env: &Env) -> Result<Compiled, Vec<CelError>> {
        let program = cel::compile_condition(source, env, &Limits::default())?;
        match program.constant() {
            Some(CelValue::Bool(constant)) => Ok(Compiled::Always(constant)),
            _ => Ok(Compiled::Open(Self { program })),
        }
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// Why it has no answer, in words.
    pub(crate) fn holds(&self, variables: &dyn Lookup, budget: &mut Budget) -> Result<bool, String> {
        let answer = budget.spend(|fuel| self.program.evaluate_bool(variables, fuel));
        answer.map_err(|error| error.to_string())
    }
}

/// Compiles an expression over a request alone, of whatever type.
///
/// # Errors
/// Every mistake, in the order of the text.
pub(crate) fn compile_value(source: &str, args: Type) -> Result<Program, Vec<CelError>> {
    cel::compile(source, &environment(args), &Limits::default())
}

/// The fuel that is left for one decision. Conditions draw on it in the order of evaluation:
/// restrictive rules first, then by id, so that neither file nor rule order shows, and no permissive
/// rule takes from a restrictive one.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: DECISION_FUEL }
    }
}

impl Budget {
    /// Runs one condition or expression on its share of what is left.
    pub(crate) fn spend<T>(&mut self, run: impl FnOnce(&mut Fuel) -> T) -> T {
        let grant = self.left.min(CONDITION_FUEL);
        let mut fuel = Fuel::new(grant);
        let answer = run(&mut fuel);
        self.left = self.left.saturating_sub(grant.saturating_sub(fuel.left()));
        answer
    }
}

/// The variables of a condition but `now`, with `args` of that type.
fn environment(args: Type) -> Env {
    let text = || Type::STRING;
    let texts = || Type::list(Type::STRING);
    let request = object(&[
        ("environment", text(), false),
        ("topic", text(), false),
        ("confidence", Type::DECIMAL, false),
    ]);
    Env::new()
        .variable(
            "agent",
            object(&[
                ("id", text(), true),
                ("team", text(), false),
                ("chain", texts(), true),
                ("on_behalf_of", text(), false),
            ]),
        )
        .variable("tenant", text())
        .variable(
            "session",
            object(&[
                ("id", text(), false),
                ("step", text(), false),
                ("function", text(), false),
                ("action_type", text(), false),
            ]),
        )
        .variable("tool", object(&[("server", text(), false), ("name", text(), true)]))
        .variable("args", args)
        .variable("topic", text())
        .variable("risk_tags", texts())
        .variable("labels", Type::map(text(), text()))
        .variable("environment", text())
        .variable("cost", Type::map(text(), Type::DECIMAL))
        .variable("confidence", Type::DECIMAL)
        .variable("request", request)
}

fn object(fields: &[(&str, Type, bool)]) -> Type {
    let field = |(name, ty, required): &(&str, Type, bool)| {
        ((*name).to_owned(), Field { ty: ty.clone(), required: *required })
    };
    Type::Object(Arc::new(ObjectType { fields: fields.iter().map(field).collect(), rest: None }))
}

/// The values of one decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variables<'a> {
    pub(crate) request: &'a Request,
    pub(crate) facts: &'a Facts,
}

/// The values of a request alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a>(pub(crate) &'a Request);

impl Lookup for Variables<'_> {
    fn get(&self, _slot: usize, name: &str) -> Option<CelValue<'_>> {
        match name {
            "now" => Some(CelValue::Timestamp(i128::from(self.facts.now_ms).saturating_mul(NANOS))),
            name => asked(self.request, name),
        }
    }
}

impl Lookup for Asked<'_> {
    fn get(&self, _slot: usize, name: &str) -> Option<CelValue<'_>> {
        asked(self.0, name)
    }
}

fn asked<'a>(request: &'a Request, name: &str) -> Option<CelValue<'a>> {
    Some(match name {
        "args" => CelValue::Map(cel::Map::Json(&request.args)),
        "agent" => CelValue::fields(&request.agent),
        "tool" => CelValue::fields(request.tool.as_ref()?),
        "session" => CelValue::fields(&request.session),
        "tenant" => word(&request.tenant),
        "topic" => word(request.topic.as_ref()?),
        "environment" => word(request.environment.as_ref()?),
        "risk_tags" => words(request.risk_tags.iter()),
        "labels" => CelValue::fields(&request.labels),
        "cost" => CelValue::fields(&request.cost),
        "confidence" => CelValue::Decimal(request.confidence?),
        "request" => CelValue::fields(request),
        _ => return None,
    })
}

fn word(name: &Name) -> CelValue<'_> {
    CelValue::text(name.as_str())
}

fn words<'a>(names: impl Iterator<Item = &'a Name>) -> CelValue<'a> {
    CelValue::List(List::Shared(names.map(word).collect()))
}

/// The names of those fields that are present.
fn present<'n>(host: &impl Fields, names: &[&'n str]) -> Vec<&'n str> {
    names.iter().copied().filter(|name| host.field(name).is_some()).collect()
}

impl Fields for Agent {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        match name {
            "id" => Some(word(&self.id)),
            "team" => self.team.as_ref().map(word),
            "chain" => Some(words(self.chain.iter())),
            "on_behalf_of" => self.on_behalf_of.as_ref().map(word),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        present(self, &["chain", "id", "on_behalf_of", "team"])
    }
}

impl Fields for Session {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        let found = match name {
            "id" => &self.id,
            "step" => &self.step,
            "function" => &self.function,
            "action_type" => &self.action_type,
            _ => return None,
        };
        found.as_ref().map(word)
    }

    fn names(&self) -> Vec<&str> {
        present(self, &["action_type", "function", "id", "step"])
    }
}

impl Fields for Tool {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        match name {
            "server" => self.server.as_ref().map(word),
            "name" => Some(word(&self.name)),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        present(self, &["name", "server"])
    }
}

/// `request` holds what may be absent, so that `has(request.environment)` can ask for it.
impl Fields for Request {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        match name {
            "environment" => self.environment.as_ref().map(word),
            "topic" => self.topic.as_ref().map(word),
            "confidence" => self.confidence.map(CelValue::Decimal),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        present(self, &["confidence", "environment", "topic"])
    }
}

impl Fields for BTreeMap<Name, String> {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        self.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| CelValue::text(value))
    }

    fn names(&self) -> Vec<&str> {
        sorted(self.keys())
    }
}

impl Fields for BTreeMap<Name, callgate_core::decimal::Decimal> {
    fn field(&self, name: &str) -> Option<CelValue<'_>> {
        self.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| CelValue::Decimal(*value))
    }

    fn names(&self) -> Vec<&str> {
        sorted(self.keys())
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a Name>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.map(Name::as_str).collect();
    names.sort_by(|a, b| key_order(a, b));
    names
}
