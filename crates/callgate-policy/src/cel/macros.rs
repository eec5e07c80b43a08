//! Calls that are no calls: `has`, `cel.bind`, `optMap` and the loops, with the forms they stand for.

use std::ops::Range;

use super::ast::{Expr, Form, Loop, LoopKind};
use super::error::CelError;

/// The loop a method call of this name and arity stands for, and whether it names two variables.
pub(super) fn loop_kind(method: &str, args: usize) -> Option<(LoopKind, bool)> {
    Some(match (method, args) {
        ("all", 2) => (LoopKind::All, false),
        ("exists", 2) => (LoopKind::Exists, false),
        ("exists_one" | "existsOne", 2) => (LoopKind::ExistsOne, false),
        ("map", 2 | 3) => (LoopKind::Map, false),
        ("filter", 2) => (LoopKind::Filter, false),
        ("all", 3) => (LoopKind::All, true),
        ("exists", 3) => (LoopKind::Exists, true),
        ("exists_one" | "existsOne", 3) => (LoopKind::ExistsOne, true),
        ("transformList", 3 | 4) => (LoopKind::Map, true),
        ("transformMap", 3 | 4) => (LoopKind::TransformMap, true),
        ("transformMapEntry", 3 | 4) => (LoopKind::TransformMapEntry, true),
        _ => return None,
    })
}

pub(super) fn looping(
    (kind, two): (LoopKind, bool),
    range: Expr,
    args: Vec<Expr>,
    span: &Range<usize>,
) -> Result<Form, CelError> {
    let mut args = args.into_iter();
    let mut name = || args.next().map_or_else(|| Err(not_a_name(span.clone())), variable);
    let first = name()?;
    let second = if two { Some(name()?) } else { None };
    if second.as_ref() == Some(&first) {
        return Err(CelError::new(span.clone(), format!("both variables of the loop are named `{first}`")));
    }
    let mut rest = args.collect::<Vec<_>>();
    let body = rest.pop().ok_or_else(|| not_a_name(span.clone()))?;
    let filter = rest.pop();
    Ok(Form::Loop(Box::new(Loop { kind, range, first, second, filter, body })))
}

fn variable(expr: Expr) -> Result<String, CelError> {
    match expr.form {
        Form::Name { name, rooted: false } => Ok(name),
        _ => Err(not_a_name(expr.span)),
    }
}

fn not_a_name(span: Range<usize>) -> CelError {
    CelError::new(span, "a loop or binding needs a simple name for its variable")
        .hint("write `list.exists(x, x > 0)`")
}

pub(super) fn presence(mut args: Vec<Expr>, span: &Range<usize>) -> Result<Form, CelError> {
    let wrong = || CelError::new(span.clone(), "`has` takes one field").hint("write `has(a.b)`");
    let only = args.pop().filter(|_| args.is_empty()).ok_or_else(wrong)?;
    match only.form {
        Form::Select { operand, field } => Ok(Form::Has { operand, field }),
        _ => Err(wrong()),
    }
}

pub(super) fn binding(args: Vec<Expr>, span: &Range<usize>) -> Result<Form, CelError> {
    match <[Expr; 3]>::try_from(args) {
        Ok([name, value, body]) => {
            Ok(Form::Bind { name: variable(name)?, value: Box::new(value), body: Box::new(body) })
        }
        Err(_) => Err(CelError::new(span.clone(), "`cel.bind` takes a name, a value and an expression")),
    }
}

/// `operand.optMap(name, body)`.
pub(super) fn within(
    operand: Expr,
    args: Vec<Expr>,
    flat: bool,
    span: &Range<usize>,
) -> Result<Form, CelError> {
    let [name, body] = <[Expr; 2]>::try_from(args).map_err(|_| not_a_name(span.clone()))?;
    Ok(Form::Within { operand: Box::new(operand), name: variable(name)?, body: Box::new(body), flat })
}
