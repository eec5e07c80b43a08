//! Types of optional values.

use super::super::ast::Expr;
use super::super::program::{Expect, Node};
use super::super::types::Type;
use super::{Checker, Local, Typed};

impl Checker<'_> {
    /// `operand.?field`.
    pub(super) fn optional_select(&mut self, expr: &Expr, operand: &Expr, field: &str) -> Typed {
        let inner = self.check(operand);
        self.optional_field(expr, inner, field)
    }

    /// A field, as an optional, of `inner` or what it holds.
    pub(super) fn optional_field(&mut self, expr: &Expr, inner: Typed, field: &str) -> Typed {
        let Some(ty) = self.field_type(expr, &inner.ty, field) else { return Typed::unknown() };
        let path = inner.path.map(|path| self.reads.extend(&path, &format!(".{field}")));
        let node = Node::OptionalSelect {
            operand: Box::new(inner.node),
            field: field.into(),
            expect: Expect::of(&ty),
        };
        let mut typed = self.folded(node, Type::optional(ty));
        typed.path = path;
        typed
    }

    /// `?value` in a list or map: its type is that of the value if there is one.
    pub(super) fn maybe(&mut self, inner: &Expr) -> Typed {
        let typed = self.check(inner);
        let ty = match &typed.ty {
            Type::Optional(ty) => ty.as_ref().clone(),
            Type::Dyn | Type::Never => Type::Dyn,
            other => {
                let hint = "write `a.?b`, `a[?b]` or `optional.of(…)`, or leave the `?` out".to_owned();
                return self.fail(
                    inner.span.clone(),
                    format!("`?` needs an optional, not {other}"),
                    Some(hint),
                );
            }
        };
        Typed::new(Node::Maybe(Box::new(typed.node)), ty)
    }

    /// `operand.optMap(name, body)` or `optFlatMap`.
    pub(super) fn within(&mut self, operand: &Expr, name: &str, body: &Expr, flat: bool) -> Typed {
        let macro_name = if flat { "optFlatMap" } else { "optMap" };
        let outer = self.check(operand);
        let ty = match &outer.ty {
            Type::Optional(ty) => ty.as_ref().clone(),
            Type::Dyn | Type::Never => Type::Dyn,
            other => {
                let message = format!("`{macro_name}` needs an optional, not {other}");
                return self.fail(operand.span.clone(), message, None);
            }
        };
        self.locals.push(Local { name: name.to_owned(), ty, path: outer.path });
        let inner = self.check(body);
        self.locals.pop();
        let ty = match inner.ty {
            ty if !flat => Type::optional(ty),
            ty @ Type::Optional(_) => ty,
            Type::Dyn | Type::Never => Type::Dyn,
            other => {
                let message = format!("`optFlatMap` needs an optional from its body, not {other}");
                return self.fail(body.span.clone(), message, Some("write `optMap`".to_owned()));
            }
        };
        let node = Node::Within { operand: Box::new(outer.node), body: Box::new(inner.node), flat };
        Typed::new(node, ty)
    }
}
