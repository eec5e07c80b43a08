//! Types of index expressions.

use super::super::ast::Expr;
use super::super::program::{Expect, Node};
use super::super::types::Type;
use super::super::value::CelValue;
use super::{Checker, Typed};

impl Checker<'_> {
    /// `operand[key]`; with `optional`, or of an optional, an optional of what is there.
    pub(super) fn index(&mut self, expr: &Expr, operand: &Expr, key: &Expr, optional: bool) -> Typed {
        let inner = self.check(operand);
        let key_typed = self.check(key);
        let written = match key_typed.node.constant() {
            Some(CelValue::Str(text)) => Some(text.to_string()),
            _ => None,
        };
        let (of, optional) = match &inner.ty {
            Type::Optional(of) => (of.as_ref().clone(), true),
            of => (of.clone(), optional),
        };
        let Some(ty) = self.element(expr, &of, &key_typed.ty, written.as_deref()) else {
            return Typed::unknown();
        };
        let step = written.map_or_else(|| "[]".to_owned(), |field| format!(".{field}"));
        let path = inner.path.map(|path| self.reads.extend(&path, &step));
        let (operand, key) = (Box::new(inner.node), Box::new(key_typed.node));
        let expect = Expect::of(&ty);
        let mut typed = if optional {
            self.folded(Node::OptionalIndex { operand, key, expect }, Type::optional(ty))
        } else {
            self.folded(Node::Index { operand, key, expect }, ty)
        };
        typed.path = path;
        typed
    }

    /// The type of an element or entry of `of`, or a reported mistake.
    fn element(&mut self, expr: &Expr, of: &Type, key: &Type, written: Option<&str>) -> Option<Type> {
        let ty = match (of.present(), written) {
            (Type::Dyn | Type::Never, _) => Some(Type::Dyn),
            (Type::List(element), _) => key.comparable(&Type::INT).then(|| element.as_ref().clone()),
            (Type::Map(wanted, value), _) => key.comparable(wanted).then(|| value.as_ref().clone()),
            (Type::Object(_), Some(field)) => return self.field_type(expr, of, field),
            (Type::Object(_), None) => key.comparable(&Type::STRING).then_some(Type::Dyn),
            _ => None,
        };
        if ty.is_none() {
            self.fail(expr.span.clone(), format!("{of} cannot be indexed by {key}"), None);
        }
        ty
    }
}
