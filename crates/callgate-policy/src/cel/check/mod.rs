//! An expression and its environment to a program: names are resolved, types checked, every mistake
//! reported, constants folded.

mod calls;
mod fields;
mod loops;
mod operators;
mod optional;
mod reads;

use std::ops::Range;

use callgate_core::decimal::Decimal;

use self::reads::Reads;
use super::ast::{Expr, Form, Literal};
use super::env::Env;
use super::error::CelError;
use super::eval;
use super::fuel::{Fuel, Limits};
use super::names::nearest;
use super::program::{Compiled, Expect, Node};
use super::types::{Kind, ObjectType, Type};
use super::value::CelValue;

/// No expression needs to hear of more mistakes at once.
const MOST_ERRORS: usize = 50;

/// Checks `expr`; with `result`, it must be of that kind.
pub(super) fn check(
    expr: &Expr,
    env: &Env,
    limits: &Limits,
    result: Option<Kind>,
) -> Result<Compiled, Vec<CelError>> {
    let mut checker = Checker {
        env,
        limits,
        errors: Vec::new(),
        locals: Vec::new(),
        loops: 0,
        patterns: 0,
        fold: Fuel::new(limits.fold_fuel),
        reads: Reads::default(),
    };
    let typed = checker.check(expr);
    if let Some(wanted) = result
        && typed.ty.kind().is_some_and(|kind| kind != wanted)
    {
        checker.fail(expr.span.clone(), format!("the condition is {}, not {wanted}", typed.ty), None);
    }
    let mut errors = checker.errors;
    if errors.is_empty() {
        return Ok(Compiled { root: typed.node, ty: typed.ty, reads: checker.reads.paths() });
    }
    errors.sort_by_key(|error| (error.span.start, error.span.end));
    errors.truncate(MOST_ERRORS);
    Err(errors)
}

struct Checker<'e> {
    env: &'e Env,
    limits: &'e Limits,
    errors: Vec<CelError>,
    /// Loop variables and bindings in scope, innermost last; the index is the run-time slot.
    locals: Vec<Local>,
    /// How many loop bodies surround the expression.
    loops: u32,
    /// How many patterns have been compiled.
    patterns: u32,
    fold: Fuel,
    reads: Reads,
}

struct Local {
    name: String,
    ty: Type,
    path: Option<String>,
}

/// A checked expression: what runs, its type, and the path it reads if it is one.
struct Typed {
    node: Node,
    ty: Type,
    path: Option<String>,
}

impl Typed {
    const fn new(node: Node, ty: Type) -> Self {
        Self { node, ty, path: None }
    }

    /// Stands in for an expression that could not be checked, so that others still are.
    const fn unknown() -> Self {
        Self::new(Node::Constant(CelValue::Null), Type::Dyn)
    }
}

impl Checker<'_> {
    fn fail(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Typed {
        if self.env.is_unchecked() {
            return Typed::new(Node::Mistake(message.into().into()), Type::Dyn);
        }
        self.errors.push(CelError { span, message: message.into(), hint });
        // Null is a constant, and folding on it would report a second mistake for the same place.
        Typed::unknown()
    }

    fn check(&mut self, expr: &Expr) -> Typed {
        let mut typed = self.form(expr);
        if self.env.is_unchecked() {
            typed.ty = Type::Dyn;
        }
        typed
    }

    fn form(&mut self, expr: &Expr) -> Typed {
        match &expr.form {
            Form::Literal(literal) => self.literal(expr, literal),
            Form::Name { name, rooted } => self.name(expr, name, *rooted),
            Form::Select { operand, field } => self.select(expr, operand, field),
            Form::Has { operand, field } => self.has(expr, operand, field),
            Form::OptionalSelect { operand, field } => self.optional_select(expr, operand, field),
            Form::Index { operand, key } => self.index(expr, operand, key, false),
            Form::OptionalIndex { operand, key } => self.index(expr, operand, key, true),
            Form::Call { name, rooted, target, args } => {
                self.call(expr, name, *rooted, target.as_deref(), args)
            }
            Form::Not(operand) => self.not(operand),
            Form::Negate(operand) => self.negate(expr, operand),
            Form::Arithmetic { sign, left, right } => self.arithmetic(expr, *sign, left, right),
            Form::Compare { order, left, right } => self.compare(expr, *order, left, right),
            Form::Equal { negated, left, right } => self.equal(expr, *negated, left, right),
            Form::In { left, right } => self.contained(expr, left, right),
            Form::And(operands) => self.logic("&&", operands, Node::And),
            Form::Or(operands) => self.logic("||", operands, Node::Or),
            Form::Choose(parts) => self.choose(parts),
            Form::List(items) => self.list(items),
            Form::Map(entries) => self.map(entries),
            Form::Loop(inner) => self.looping(expr, inner),
            Form::Bind { name, value, body } => self.bind(name, value, body),
            Form::Maybe(inner) => self.maybe(inner),
            Form::Within { operand, name, body, flat } => self.within(operand, name, body, *flat),
        }
    }

    fn literal(&mut self, expr: &Expr, literal: &Literal) -> Typed {
        let (value, ty) = match literal {
            Literal::Null => (CelValue::Null, Type::NULL),
            Literal::Bool(flag) => (CelValue::Bool(*flag), Type::BOOL),
            Literal::Int(number) => (CelValue::Int(*number), Type::INT),
            Literal::Uint(number) => (CelValue::Uint(*number), Type::UINT),
            Literal::Str(text) => (CelValue::string(text.as_str()), Type::STRING),
            Literal::Bytes(octets) => (CelValue::octets(octets.as_slice()), Type::BYTES),
            Literal::Double { value, written } => {
                return match written.parse::<Decimal>() {
                    Ok(decimal) => Typed::new(Node::Written { double: *value, decimal }, Type::DOUBLE),
                    Err(error) => self.fail(expr.span.clone(), error.to_string(), None),
                };
            }
        };
        Typed::new(Node::Constant(value), ty)
    }

    fn name(&mut self, expr: &Expr, name: &str, rooted: bool) -> Typed {
        if !rooted && let Some(slot) = self.locals.iter().rposition(|local| local.name == name) {
            return self.local(slot);
        }
        self.global(name, rooted).unwrap_or_else(|| self.unknown_name(expr, name))
    }

    fn local(&mut self, slot: usize) -> Typed {
        let Some(local) = self.locals.get(slot) else { return Typed::unknown() };
        let path = local.path.clone();
        let ty = local.ty.clone();
        if let Some(path) = &path {
            self.reads.add(path);
        }
        Typed { node: Node::Local(slot), ty, path }
    }

    /// The declared variable or the type of this (perhaps dotted) name.
    fn global(&mut self, name: &str, rooted: bool) -> Option<Typed> {
        if let Some((slot, full, ty)) = self.env.resolve(name, rooted) {
            self.reads.add(full);
            let node = Node::Variable { slot, name: full.into(), expect: Expect::of(ty) };
            return Some(Typed { node, ty: ty.clone(), path: Some(full.to_owned()) });
        }
        let kind = Kind::named(name)?;
        Some(Typed::new(Node::Constant(CelValue::Type(kind)), Type::TYPE))
    }

    fn unknown_name(&mut self, expr: &Expr, name: &str) -> Typed {
        let locals = self.locals.iter().map(|local| local.name.as_str());
        let known = locals.chain(self.env.variables().map(|(name, _)| name));
        let hint = nearest(name, known).map(|known| format!("did you mean `{known}`?")).or_else(|| {
            let names: Vec<&str> = self.env.variables().map(|(name, _)| name).take(12).collect();
            (!names.is_empty()).then(|| format!("the variables are `{}`", names.join("`, `")))
        });
        self.fail(expr.span.clone(), format!("there is no variable `{}`", super::error::shown(name)), hint)
    }

    /// `operand.field`, where dots may also be part of a variable's name.
    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str) -> Typed {
        if let Some((dotted, rooted)) = self.dotted(expr)
            && let Some(typed) = self.global(&dotted, rooted)
        {
            return typed;
        }
        let inner = self.check(operand);
        if matches!(inner.ty, Type::Optional(_)) {
            return self.optional_field(expr, inner, field);
        }
        let Some(ty) = self.field_type(expr, &inner.ty, field) else { return Typed::unknown() };
        let path = inner.path.map(|path| self.reads.extend(&path, &format!(".{field}")));
        let node =
            Node::Select { operand: Box::new(inner.node), field: field.into(), expect: Expect::of(&ty) };
        let mut typed = self.folded(node, ty);
        typed.path = path;
        typed
    }

    /// The dotted name an expression spells, unless a local name hides its beginning.
    fn dotted(&self, expr: &Expr) -> Option<(String, bool)> {
        match &expr.form {
            Form::Name { name, rooted } => {
                let hidden = !rooted && self.locals.iter().any(|local| local.name == *name);
                (!hidden).then(|| (name.clone(), *rooted))
            }
            Form::Select { operand, field } => {
                let (mut name, rooted) = self.dotted(operand)?;
                name.push('.');
                name.push_str(field);
                Some((name, rooted))
            }
            _ => None,
        }
    }

    /// The type of a field, or a reported mistake.
    fn field_type(&mut self, expr: &Expr, ty: &Type, field: &str) -> Option<Type> {
        match ty.present() {
            Type::Dyn | Type::Never => Some(Type::Dyn),
            Type::Object(object) => match (object.fields.get(field), &object.rest) {
                (Some(known), _) => Some(known.ty.clone()),
                (None, Some(rest)) => Some(rest.clone()),
                (None, None) => {
                    self.unknown_field(expr, object, field);
                    None
                }
            },
            Type::Optional(inner) => self.field_type(expr, &inner.clone(), field),
            Type::Map(key, value) if key.comparable(&Type::STRING) => Some(value.as_ref().clone()),
            other => {
                let message =
                    format!("{other} has no fields, so `{}` cannot be read", super::error::shown(field));
                self.fail(expr.span.clone(), message, None);
                None
            }
        }
    }

    fn unknown_field(&mut self, expr: &Expr, object: &ObjectType, field: &str) {
        let known = object.fields.keys().map(String::as_str);
        let hint = nearest(field, known).map(|known| format!("did you mean `{known}`?")).or_else(|| {
            let names: Vec<&str> = object.fields.keys().map(String::as_str).take(12).collect();
            (!names.is_empty()).then(|| format!("the fields are `{}`", names.join("`, `")))
        });
        let message = format!("the schema has no field `{}`", super::error::shown(field));
        self.fail(expr.span.clone(), message, hint);
    }

    fn has(&mut self, expr: &Expr, operand: &Expr, field: &str) -> Typed {
        let inner = self.check(operand);
        if self.field_type(expr, &inner.ty, field).is_none() {
            return Typed::new(Node::Constant(CelValue::Bool(false)), Type::BOOL);
        }
        if let Some(path) = inner.path {
            self.reads.extend(&path, &format!(".{field}"));
        }
        self.folded(Node::Has { operand: Box::new(inner.node), field: field.into() }, Type::BOOL)
    }

    /// The node, or its value if its parts are constant and it has one.
    fn folded(&mut self, node: Node, ty: Type) -> Typed {
        if !eval::foldable(&node) || !self.errors.is_empty() {
            return Typed::new(node, ty);
        }
        let value = eval::run(&node, &(), &mut self.fold).ok().map(CelValue::into_static);
        Typed::new(value.map_or(node, Node::Constant), ty)
    }
}
