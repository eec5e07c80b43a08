//! Which function a call means, and the type of its result.

use super::super::ast::Expr;
use super::super::error::EvalError;
use super::super::eval;
use super::super::functions::{self, Definition, Style, glob::Glob, pattern::Pattern};
use super::super::names::nearest;
use super::super::program::Node;
use super::super::types::{Kind, Type};
use super::super::value::CelValue;
use super::{Checker, Typed};

/// Functions whose constant argument must be readable: a mistake in it is a mistake in the rule.
const LITERALS: [&str; 5] = ["dec", "timestamp", "duration", "ip", "cidr"];

/// What `target.name(…)` may be besides a method of a value.
enum Qualified {
    Known(&'static Definition),
    Unknown(String),
    Method,
}

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        name: &str,
        rooted: bool,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Typed {
        let (definition, receiver) = match target {
            None => (self.function(name, rooted), None),
            Some(target) => match self.qualified(target, name) {
                Qualified::Known(definition) => (Some(definition), None),
                Qualified::Unknown(full) => return self.unknown_function(expr, &full, false),
                Qualified::Method => (functions::find(name, Style::Method), Some(target)),
            },
        };
        let typed: Vec<Typed> = receiver.into_iter().chain(args).map(|arg| self.check(arg)).collect();
        let Some(definition) = definition else {
            return self.unknown_function(expr, name, receiver.is_some());
        };
        let types: Vec<&Type> = typed.iter().map(|arg| &arg.ty).collect();
        let Some(ty) = definition.result(&types, receiver.is_some()) else {
            return self.wrong_arguments(expr, definition, &types, receiver.is_some());
        };
        let nodes: Vec<Node> = typed.into_iter().map(|arg| arg.node).collect();
        match definition.name {
            name @ ("matches" | "glob.matches") => self.matches(expr, name, nodes),
            name => self.applied(expr, name, definition, nodes, ty),
        }
    }

    fn function(&self, name: &str, rooted: bool) -> Option<&'static Definition> {
        let names = self.env.candidates(name, rooted);
        names.iter().find_map(|full| functions::find(full, Style::Function))
    }

    /// `space.name(…)` where `space` is no variable but the first part of functions' names.
    fn qualified(&self, target: &Expr, name: &str) -> Qualified {
        let Some((space, rooted)) = self.dotted(target) else { return Qualified::Method };
        if self.env.resolve(&space, rooted).is_some() {
            return Qualified::Method;
        }
        let full = format!("{space}.{name}");
        match self.function(&full, rooted) {
            Some(definition) => Qualified::Known(definition),
            None if functions::is_space(&space) => Qualified::Unknown(full),
            None => Qualified::Method,
        }
    }

    fn applied(
        &mut self,
        expr: &Expr,
        name: &'static str,
        definition: &'static Definition,
        mut args: Vec<Node>,
        ty: Type,
    ) -> Typed {
        if let ("dec", [Node::Written { decimal, .. }]) = (name, args.as_slice()) {
            return Typed::new(Node::Constant(CelValue::Decimal(*decimal)), ty);
        }
        // A value of this type already needs no call.
        if definition.identity && args.len() == 1 {
            return args.pop().map_or_else(Typed::unknown, |node| Typed::new(node, ty));
        }
        for (at, arg) in args.iter().enumerate() {
            let checked = arg.constant().map_or(Ok(()), |value| functions::check_literal(name, at, &value));
            if let Err(error) = checked {
                return self.fail(expr.span.clone(), error.to_string(), None);
            }
        }
        let node = Node::Call { function: definition.call, args };
        if !eval::foldable(&node) || !self.errors.is_empty() {
            return Typed::new(node, ty);
        }
        match eval::run(&node, &(), &mut self.fold).map(CelValue::into_static) {
            Ok(value) => Typed::new(Node::Constant(value), ty),
            Err(error @ EvalError::InvalidArgument { .. }) if LITERALS.contains(&name) => {
                self.fail(expr.span.clone(), error.to_string(), None)
            }
            Err(_) => Typed::new(node, ty),
        }
    }

    /// Patterns are compiled once, here; one that is not constant could not be.
    fn matches(&mut self, expr: &Expr, name: &'static str, args: Vec<Node>) -> Typed {
        let Ok([text, pattern]) = <[Node; 2]>::try_from(args) else { return Typed::unknown() };
        let Some(CelValue::Str(written)) = pattern.constant() else {
            if !self.errors.is_empty() {
                return Typed::new(Node::Constant(CelValue::Null), Type::BOOL);
            }
            let hint = "patterns are compiled when the rule is; write the pattern out, with `|` between alternatives";
            return self.fail(
                expr.span.clone(),
                format!("the pattern of `{name}` is not constant"),
                Some(hint.to_owned()),
            );
        };
        self.patterns = self.patterns.saturating_add(1);
        if self.patterns > self.limits.patterns {
            let message = format!("the expression has more than {} patterns", self.limits.patterns);
            let hint = "join them with `|`, or split the rule".to_owned();
            return self.fail(expr.span.clone(), message, Some(hint));
        }
        let text = Box::new(text);
        let node = match name {
            "matches" => Pattern::new(&written).map(|new| Node::Matches { text, pattern: Box::new(new) }),
            _ => Glob::new(&written).map(|new| Node::Glob { text, glob: Box::new(new) }),
        };
        match node {
            Ok(node) => self.folded(node, Type::BOOL),
            Err(message) => self.fail(expr.span.clone(), message, None),
        }
    }

    fn unknown_function(&mut self, expr: &Expr, name: &str, method: bool) -> Typed {
        let style = if method { Style::Method } else { Style::Function };
        let other = if method { Style::Function } else { Style::Method };
        let shown = super::super::error::shown(name);
        let hint = if functions::find(name, other).is_some() {
            Some(if method { format!("write `{shown}(…)`") } else { format!("write `value.{shown}(…)`") })
        } else {
            nearest(name, functions::names(style)).map(|known| format!("did you mean `{known}`?"))
        };
        let what = if method { "method" } else { "function" };
        self.fail(expr.span.clone(), format!("there is no {what} `{shown}`"), hint)
    }

    fn wrong_arguments(
        &mut self,
        expr: &Expr,
        definition: &Definition,
        types: &[&Type],
        method: bool,
    ) -> Typed {
        let listed = |types: &[&Type]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = match types {
            [target, rest @ ..] if method => {
                format!("`{}` of {target} does not take ({})", definition.name, listed(rest))
            }
            _ => format!("`{}` does not take ({})", definition.name, listed(types)),
        };
        let hint = format!("it takes {}", definition.usage(method));
        self.fail(expr.span.clone(), message, Some(hint))
    }
}

impl Type {
    /// Whether a value of this type may be one of `kind` when it runs.
    pub(in super::super) fn may_be(&self, kind: Kind) -> bool {
        self.kind().is_none_or(|own| own == kind)
    }
}
