//! Types of loops and bindings.

use super::super::ast::{Expr, Loop, LoopKind};
use super::super::program::{self, Expect, Node};
use super::super::types::{Kind, Type};
use super::{Checker, Local, Typed};

impl Checker<'_> {
    pub(super) fn looping(&mut self, expr: &Expr, inner: &Loop) -> Typed {
        let range = self.check(&inner.range);
        let two = inner.second.is_some();
        let Some((key, value)) = elements(&range.ty, two) else {
            let message = format!("{} cannot be looped over", range.ty);
            let hint = "loops run over lists and the keys of maps".to_owned();
            return self.fail(inner.range.span.clone(), message, Some(hint));
        };
        self.loops = self.loops.saturating_add(1);
        if self.loops > self.limits.loops {
            let message = format!("loops nest deeper than {}", self.limits.loops);
            self.loops = self.loops.saturating_sub(1);
            return self.fail(expr.span.clone(), message, Some("split the rule".to_owned()));
        }
        let element = range.path.as_ref().map(|path| format!("{path}[]"));
        let is_list = matches!(range.ty.kind(), Some(Kind::List));
        let first_path = element.clone().filter(|_| !two && is_list);
        let bottom = self.locals.len();
        self.locals.push(Local { name: inner.first.clone(), ty: key.clone(), path: first_path });
        if let Some(second) = &inner.second {
            self.locals.push(Local { name: second.clone(), ty: value.clone(), path: element });
        }
        let filter = inner.filter.as_ref().map(|filter| self.condition(filter));
        let body = match inner.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Filter => {
                Typed::new(self.condition(&inner.body), Type::BOOL)
            }
            LoopKind::Map | LoopKind::TransformMap | LoopKind::TransformMapEntry => self.check(&inner.body),
        };
        self.locals.truncate(bottom);
        self.loops = self.loops.saturating_sub(1);
        let ty = match inner.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::BOOL,
            LoopKind::Filter => Type::list(key.clone()),
            LoopKind::Map => Type::list(body.ty),
            LoopKind::TransformMap => Type::map(key.clone(), body.ty),
            LoopKind::TransformMapEntry => match body.ty.present() {
                Type::Map(..) => body.ty,
                Type::Dyn | Type::Never | Type::Object(_) => Type::map(Type::Dyn, Type::Dyn),
                other => {
                    let message = format!("`transformMapEntry` needs a map for each entry, not {other}");
                    return self.fail(inner.body.span.clone(), message, None);
                }
            },
        };
        let node = Node::Loop(Box::new(program::Loop {
            kind: inner.kind,
            range: range.node,
            two,
            expect: [Expect::of(&key), Expect::of(&value)],
            filter,
            body: body.node,
        }));
        Typed::new(node, ty)
    }

    /// The condition inside a loop.
    fn condition(&mut self, expr: &Expr) -> Node {
        let typed = self.check(expr);
        if typed.ty.kind().is_some_and(|kind| kind != Kind::Bool) {
            let message = format!("the condition of a loop is {}, not bool", typed.ty);
            self.fail(expr.span.clone(), message, None);
        }
        typed.node
    }

    pub(super) fn bind(&mut self, name: &str, value: &Expr, body: &Expr) -> Typed {
        let value = self.check(value);
        self.locals.push(Local { name: name.to_owned(), ty: value.ty, path: value.path });
        let body = self.check(body);
        self.locals.pop();
        let node = Node::Bind { value: Box::new(value.node), body: Box::new(body.node) };
        Typed { node, ty: body.ty, path: body.path }
    }
}

/// The types of a loop's first and second variable over a range of type `ty`.
fn elements(ty: &Type, two: bool) -> Option<(Type, Type)> {
    Some(match ty.present() {
        Type::Dyn | Type::Never => (Type::Dyn, Type::Dyn),
        Type::List(element) if two => (Type::INT, element.as_ref().clone()),
        Type::List(element) => (element.as_ref().clone(), Type::Dyn),
        Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
        Type::Object(object) => {
            let undeclared = object.rest.clone().unwrap_or(Type::Never);
            let value = object.fields.values().fold(undeclared, |ty, field| ty.join(&field.ty));
            (Type::STRING, value)
        }
        Type::Plain(_) | Type::Nullable(_) | Type::Optional(_) => return None,
    })
}
