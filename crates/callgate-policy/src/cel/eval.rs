//! Evaluates a program. Every node costs fuel before it runs, recursion follows the bounded height
//! of the program, and nothing outlives the call.

mod loops;
mod operators;
mod optional;

use super::env::Lookup;
use super::error::EvalError;
use super::fuel::Fuel;
use super::program::{Expect, Node};
use super::value::{CelValue, Map};

pub(super) use operators::values_equal;

type Outcome<'a> = Result<CelValue<'a>, EvalError>;

/// Evaluates `root` with `vars`.
pub(super) fn run<'a>(root: &'a Node, vars: &'a dyn Lookup, fuel: &mut Fuel) -> Outcome<'a> {
    Run { vars, fuel, locals: Vec::new() }.eval(root)
}

/// Whether the value of a node depends on nothing outside the program, by its direct parts: parts
/// that can be folded have been.
pub(super) fn foldable(node: &Node) -> bool {
    match node {
        Node::Select { operand, .. } | Node::Has { operand, .. } => operand.is_constant(),
        Node::Not(operand) | Node::Negate(operand) => operand.is_constant(),
        Node::Index { operand, key, .. } => operand.is_constant() && key.is_constant(),
        Node::Arithmetic { sides, .. } | Node::Compare { sides, .. } | Node::Equal { sides, .. } => {
            sides.iter().all(Node::is_constant)
        }
        Node::In(sides) => sides.iter().all(Node::is_constant),
        Node::And(parts) | Node::Or(parts) | Node::List(parts) => parts.iter().all(Node::is_constant),
        Node::Map(entries) => entries.iter().all(|(key, value)| key.is_constant() && value.is_constant()),
        Node::Call { args, .. } => args.iter().all(Node::is_constant),
        Node::Matches { text, .. } | Node::Glob { text, .. } => text.is_constant(),
        Node::OptionalSelect { operand, .. } => operand.is_constant(),
        Node::OptionalIndex { operand, key, .. } => operand.is_constant() && key.is_constant(),
        Node::Constant(_)
        | Node::Maybe(_)
        | Node::Within { .. }
        | Node::Mistake(_)
        | Node::Written { .. }
        | Node::Variable { .. }
        | Node::Local(_)
        | Node::Choose(_)
        | Node::Loop(_)
        | Node::Bind { .. } => false,
    }
}

struct Run<'a, 'f> {
    vars: &'a dyn Lookup,
    fuel: &'f mut Fuel,
    locals: Vec<CelValue<'a>>,
}

impl<'a> Run<'a, '_> {
    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        self.fuel.burn(1)?;
        match node {
            Node::Constant(value) => Ok(value.borrow()),
            Node::Written { double, .. } => Ok(CelValue::Double(*double)),
            Node::Variable { slot, name, expect } => match self.vars.get(*slot, name) {
                Some(value) => expect.admit(value),
                None => Err(EvalError::Unset(name.clone())),
            },
            Node::Local(slot) => self.local(*slot),
            Node::Select { operand, field, expect } => {
                let operand = self.eval(operand)?;
                expect.admit(select(&operand, field)?)
            }
            Node::OptionalSelect { operand, field, expect } => {
                let operand = self.eval(operand)?;
                optional::select(&operand, field, *expect)
            }
            Node::OptionalIndex { operand, key, expect } => {
                let (operand, key) = (self.eval(operand)?, self.eval(key)?);
                self.optional_index(&operand, &key, *expect)
            }
            Node::Has { operand, field } => self.has(operand, field),
            Node::Index { operand, key, expect } => {
                let (operand, key) = (self.eval(operand)?, self.eval(key)?);
                expect.admit(self.index(&operand, &key)?)
            }
            Node::Not(operand) => match self.eval(operand)? {
                CelValue::Bool(flag) => Ok(CelValue::Bool(!flag)),
                other => Err(EvalError::WrongOperand { operation: "!", found: other.kind() }),
            },
            Node::Negate(operand) => super::number::negate(&self.eval(operand)?),
            Node::Arithmetic { sign, sides } => self.arithmetic(*sign, sides),
            Node::Compare { order, sides } => self.compare(*order, sides),
            Node::Equal { negated, sides } => self.equal(*negated, sides),
            Node::In(sides) => self.contained(sides),
            Node::And(parts) => self.logic("&&", parts, false),
            Node::Or(parts) => self.logic("||", parts, true),
            Node::Choose(parts) => self.choose(parts),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Call { function, args } => self.call(*function, args),
            Node::Matches { text, pattern } => match self.eval(text)? {
                CelValue::Str(text) => pattern.is_match(&text, self.fuel).map(CelValue::Bool),
                other => Err(EvalError::WrongOperand { operation: "matches", found: other.kind() }),
            },
            Node::Glob { text, glob } => match self.eval(text)? {
                CelValue::Str(text) => glob.is_match(&text, self.fuel).map(CelValue::Bool),
                other => Err(EvalError::WrongOperand { operation: "glob.matches", found: other.kind() }),
            },
            Node::Loop(inner) => self.looping(inner),
            Node::Bind { value, body } => self.bind(value, body),
            Node::Within { operand, body, flat } => self.within(operand, body, *flat),
            Node::Maybe(inner) => self.eval(inner),
            Node::Mistake(message) => Err(EvalError::Mistake(message.clone())),
        }
    }

    /// The checker gives out only slots that are filled here; an empty one reads as unset.
    fn local(&self, slot: usize) -> Outcome<'a> {
        self.locals.get(slot).cloned().ok_or_else(|| EvalError::Unset("local".into()))
    }

    fn has(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        match self.eval(operand)? {
            CelValue::Map(map) => Ok(CelValue::Bool(map.field(field).is_some())),
            value @ CelValue::Optional(_) => {
                let found = optional::select(&value, field, Expect::Anything)?;
                Ok(CelValue::Bool(matches!(found, CelValue::Optional(Some(_)))))
            }
            other => Err(EvalError::WrongOperand { operation: "has", found: other.kind() }),
        }
    }

    fn index(&mut self, operand: &CelValue<'a>, key: &CelValue<'_>) -> Outcome<'a> {
        match operand {
            CelValue::List(list) => {
                let index =
                    super::number::whole(key).ok_or_else(|| super::number::mismatch("[]", operand, key))?;
                let found = usize::try_from(index).ok().and_then(|at| list.get(at));
                let shown = i64::try_from(index).unwrap_or(i64::MAX);
                found.ok_or(EvalError::IndexOutOfRange(shown))
            }
            CelValue::Map(map) => {
                if let CelValue::Str(name) = key {
                    self.fuel.burn_bytes(name.len())?;
                }
                map.get(key).ok_or_else(|| missing(map, operand, key))
            }
            CelValue::Optional(_) => self.optional_index(operand, key, Expect::Anything),
            _ => Err(super::number::mismatch("[]", operand, key)),
        }
    }

    /// Commutative: an operand equal to `deciding` decides whatever the others are, errors included;
    /// only running out of fuel cannot be absorbed.
    fn logic(&mut self, sign: &'static str, parts: &'a [Node], deciding: bool) -> Outcome<'a> {
        let mut failure = None;
        for part in parts {
            match self.eval(part) {
                Ok(CelValue::Bool(flag)) if flag == deciding => return Ok(CelValue::Bool(deciding)),
                Ok(CelValue::Bool(_)) => {}
                Ok(other) => {
                    failure.get_or_insert(EvalError::WrongOperand { operation: sign, found: other.kind() });
                }
                Err(error) if error.absorbable() => {
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        failure.map_or(Ok(CelValue::Bool(!deciding)), Err)
    }

    fn choose(&mut self, [test, then, other]: &'a [Node; 3]) -> Outcome<'a> {
        match self.eval(test)? {
            CelValue::Bool(true) => self.eval(then),
            CelValue::Bool(false) => self.eval(other),
            found => Err(EvalError::WrongOperand { operation: "?:", found: found.kind() }),
        }
    }

    fn call(&mut self, function: super::functions::Callable, args: &'a [Node]) -> Outcome<'a> {
        match args {
            [only] => {
                let values = [self.eval(only)?];
                function(&values, self.fuel)
            }
            [first, second] => {
                let values = [self.eval(first)?, self.eval(second)?];
                function(&values, self.fuel)
            }
            more => {
                let values = more.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>, _>>()?;
                function(&values, self.fuel)
            }
        }
    }
}

fn select<'a>(operand: &CelValue<'a>, field: &str) -> Outcome<'a> {
    match operand {
        CelValue::Map(map) => map.field(field).ok_or_else(|| EvalError::no_field(field)),
        CelValue::Optional(_) => optional::select(operand, field, Expect::Anything),
        other => Err(EvalError::WrongOperand { operation: ".", found: other.kind() }),
    }
}

/// The error for a key that is not there, or that cannot be one.
fn missing(map: &Map<'_>, operand: &CelValue<'_>, key: &CelValue<'_>) -> EvalError {
    match (super::entries::Key::from_value(key.clone()), map) {
        (Some(key), _) => EvalError::NoSuchField(key.shown()),
        (None, _) if key.kind().is_number() => EvalError::no_field("number"),
        (None, _) => super::number::mismatch("[]", operand, key),
    }
}
