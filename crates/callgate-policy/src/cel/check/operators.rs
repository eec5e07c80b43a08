//! Types of operators and literals that hold expressions.

use super::super::ast::{Expr, Order};
use super::super::number::Arithmetic;
use super::super::program::Node;
use super::super::types::{Kind, Type};
use super::super::value::CelValue;
use super::{Checker, Typed};

impl Checker<'_> {
    /// Reports an operand that is known not to be a `bool`.
    fn want_bool(&mut self, expr: &Expr, typed: &Typed, operation: &str) {
        if typed.ty.kind().is_some_and(|kind| kind != Kind::Bool) {
            let message = format!("`{operation}` needs bool, not {}", typed.ty);
            let hint = match typed.ty.kind() {
                Some(Kind::Str | Kind::List | Kind::Map) => Some("compare it, or test its `size`".to_owned()),
                Some(_) => Some("compare it with a value".to_owned()),
                None => None,
            };
            self.fail(expr.span.clone(), message, hint);
        }
    }

    pub(super) fn not(&mut self, operand: &Expr) -> Typed {
        let typed = self.check(operand);
        self.want_bool(operand, &typed, "!");
        self.folded(Node::Not(Box::new(typed.node)), Type::BOOL)
    }

    pub(super) fn negate(&mut self, expr: &Expr, operand: &Expr) -> Typed {
        let typed = self.check(operand);
        let ty = match typed.ty.kind() {
            None => Type::Dyn,
            Some(kind @ (Kind::Int | Kind::Double | Kind::Decimal | Kind::Duration)) => Type::Plain(kind),
            Some(kind) => {
                return self.fail(expr.span.clone(), format!("`-` is not defined for {kind}"), None);
            }
        };
        self.folded(Node::Negate(Box::new(typed.node)), ty)
    }

    pub(super) fn logic(
        &mut self,
        sign: &'static str,
        operands: &[Expr],
        form: fn(Vec<Node>) -> Node,
    ) -> Typed {
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            let typed = self.check(operand);
            self.want_bool(operand, &typed, sign);
            nodes.push(typed.node);
        }
        self.folded(form(nodes), Type::BOOL)
    }

    pub(super) fn choose(&mut self, [test, then, other]: &[Expr; 3]) -> Typed {
        let test_typed = self.check(test);
        self.want_bool(test, &test_typed, "?:");
        let then_typed = self.check(then);
        let other_typed = self.check(other);
        let (a, b) = (&then_typed.ty, &other_typed.ty);
        let nullable = a == &Type::NULL || b == &Type::NULL;
        if !nullable && !a.comparable(b) {
            let message = format!("the branches of `?:` are {a} and {b}");
            let hint = "make them one type, or write `dyn(…)` around both".to_owned();
            return self.fail(then.span.start..other.span.end, message, Some(hint));
        }
        let ty = a.join(b);
        match test_typed.node.constant() {
            Some(CelValue::Bool(true)) => Typed::new(then_typed.node, ty),
            Some(CelValue::Bool(false)) => Typed::new(other_typed.node, ty),
            _ => {
                let parts = [test_typed.node, then_typed.node, other_typed.node];
                Typed::new(Node::Choose(Box::new(parts)), ty)
            }
        }
    }

    /// Both sides; a floating literal beside a decimal becomes the decimal as written.
    fn sides(&mut self, left: &Expr, right: &Expr) -> [Typed; 2] {
        let (mut a, mut b) = (self.check(left), self.check(right));
        if a.ty.kind() == Some(Kind::Decimal) {
            as_written(&mut b);
        }
        if b.ty.kind() == Some(Kind::Decimal) {
            as_written(&mut a);
        }
        [a, b]
    }

    pub(super) fn arithmetic(&mut self, expr: &Expr, sign: Arithmetic, left: &Expr, right: &Expr) -> Typed {
        let [a, b] = self.sides(left, right);
        let ty = match (a.ty.kind(), b.ty.kind()) {
            (Some(x), Some(y)) => {
                result_of(sign, x, y).map(|kind| match (kind, a.ty.present(), b.ty.present()) {
                    (Kind::List, x, y) => x.join(y),
                    _ => Type::Plain(kind),
                })
            }
            // One side decides where `+` only joins texts.
            (Some(kind @ (Kind::Str | Kind::Bytes)), None)
            | (None, Some(kind @ (Kind::Str | Kind::Bytes))) => {
                (sign == Arithmetic::Add).then_some(Type::Plain(kind))
            }
            (Some(Kind::List), None) | (None, Some(Kind::List)) => {
                (sign == Arithmetic::Add).then(|| Type::list(Type::Dyn))
            }
            (Some(kind), None) | (None, Some(kind)) => takes(sign, kind).then_some(Type::Dyn),
            (None, None) => Some(Type::Dyn),
        };
        let Some(ty) = ty else {
            let message = format!("`{}` is not defined for {} and {}", sign.sign(), a.ty, b.ty);
            return self.fail(expr.span.clone(), message, arithmetic_hint(sign, &a.ty, &b.ty));
        };
        self.folded(Node::Arithmetic { sign, sides: Box::new([a.node, b.node]) }, ty)
    }

    pub(super) fn compare(&mut self, expr: &Expr, order: Order, left: &Expr, right: &Expr) -> Typed {
        let [a, b] = self.sides(left, right);
        let fits = match (a.ty.kind(), b.ty.kind()) {
            (Some(x), Some(y)) => ordered(x) && (x == y || (x.is_number() && y.is_number())),
            (Some(kind), None) | (None, Some(kind)) => ordered(kind),
            (None, None) => true,
        };
        if !fits {
            let message = format!("{} cannot be compared with {} by `{}`", a.ty, b.ty, order.sign());
            return self.fail(expr.span.clone(), message, comparison_hint(&a.ty, &b.ty));
        }
        self.folded(Node::Compare { order, sides: Box::new([a.node, b.node]) }, Type::BOOL)
    }

    pub(super) fn equal(&mut self, expr: &Expr, negated: bool, left: &Expr, right: &Expr) -> Typed {
        let [a, b] = self.sides(left, right);
        if !a.ty.comparable(&b.ty) {
            let message = format!("{} is never equal to {}", a.ty, b.ty);
            let hint = if a.ty == Type::NULL || b.ty == Type::NULL {
                Some("test for absence with `has`; the schema does not allow null here".to_owned())
            } else {
                comparison_hint(&a.ty, &b.ty)
            };
            return self.fail(expr.span.clone(), message, hint);
        }
        self.folded(Node::Equal { negated, sides: Box::new([a.node, b.node]) }, Type::BOOL)
    }

    pub(super) fn contained(&mut self, expr: &Expr, left: &Expr, right: &Expr) -> Typed {
        let (a, b) = (self.check(left), self.check(right));
        let fits = match b.ty.present() {
            Type::Dyn | Type::Never => true,
            Type::List(element) => a.ty.comparable(element),
            Type::Map(key, _) => a.ty.comparable(key),
            Type::Object(_) => a.ty.comparable(&Type::STRING),
            Type::Plain(_) | Type::Nullable(_) | Type::Optional(_) => false,
        };
        if !fits {
            let message = format!("{} cannot be in {}", a.ty, b.ty);
            let hint = match b.ty.kind() {
                Some(Kind::Str) => Some("write `text.contains(part)`".to_owned()),
                _ => comparison_hint(&a.ty, &b.ty),
            };
            return self.fail(expr.span.clone(), message, hint);
        }
        self.folded(Node::In(Box::new([a.node, b.node])), Type::BOOL)
    }

    pub(super) fn list(&mut self, items: &[Expr]) -> Typed {
        let mut element = Type::Never;
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            let typed = self.check(item);
            element = element.join(&typed.ty);
            nodes.push(typed.node);
        }
        self.folded(Node::List(nodes), Type::list(element))
    }

    pub(super) fn map(&mut self, entries: &[(Expr, Expr)]) -> Typed {
        let (mut keys, mut values) = (Type::Never, Type::Never);
        let mut nodes = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (k, v) = (self.check(key), self.check(value));
            if !matches!(k.ty.kind(), None | Some(Kind::Bool | Kind::Int | Kind::Uint | Kind::Str)) {
                let hint = "keys are bool, int, uint or string".to_owned();
                self.fail(key.span.clone(), format!("{} cannot be the key of a map", k.ty), Some(hint));
            }
            keys = keys.join(&k.ty);
            values = values.join(&v.ty);
            nodes.push((k.node, v.node));
        }
        self.folded(Node::Map(nodes), Type::map(keys, values))
    }
}

/// Replaces a floating literal by the decimal it is written as.
fn as_written(typed: &mut Typed) {
    if let Node::Written { decimal, .. } = typed.node {
        *typed = Typed::new(Node::Constant(CelValue::Decimal(decimal)), Type::DECIMAL);
    }
}

const fn ordered(kind: Kind) -> bool {
    kind.is_number()
        || matches!(kind, Kind::Bool | Kind::Str | Kind::Bytes | Kind::Timestamp | Kind::Duration)
}

/// The kind of `a sign b`, if that is defined.
fn result_of(sign: Arithmetic, a: Kind, b: Kind) -> Option<Kind> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    Some(match (sign, a, b) {
        (_, Kind::Int, Kind::Int) => Kind::Int,
        (Add | Subtract | Multiply | Divide | Remainder, Kind::Uint, Kind::Uint) => Kind::Uint,
        (Add | Subtract | Multiply | Divide, Kind::Double, Kind::Double) => Kind::Double,
        (Add | Subtract | Multiply, Kind::Decimal, Kind::Decimal | Kind::Int)
        | (Add | Subtract | Multiply, Kind::Int, Kind::Decimal) => Kind::Decimal,
        (Add, Kind::Str, Kind::Str) => Kind::Str,
        (Add, Kind::Bytes, Kind::Bytes) => Kind::Bytes,
        (Add, Kind::List, Kind::List) => Kind::List,
        (Add, Kind::Timestamp, Kind::Duration)
        | (Add, Kind::Duration, Kind::Timestamp)
        | (Subtract, Kind::Timestamp, Kind::Duration) => Kind::Timestamp,
        (Add | Subtract, Kind::Duration, Kind::Duration) | (Subtract, Kind::Timestamp, Kind::Timestamp) => {
            Kind::Duration
        }
        _ => return None,
    })
}

/// Whether any operand beside one of this kind makes `sign` defined.
fn takes(sign: Arithmetic, kind: Kind) -> bool {
    const ALL: [Kind; 6] =
        [Kind::Int, Kind::Uint, Kind::Double, Kind::Decimal, Kind::Timestamp, Kind::Duration];
    ALL.into_iter().any(|other| result_of(sign, kind, other).or(result_of(sign, other, kind)).is_some())
}

fn arithmetic_hint(sign: Arithmetic, a: &Type, b: &Type) -> Option<String> {
    let kinds = [a.kind()?, b.kind()?];
    let has = |kind| kinds.contains(&kind);
    let hint = if has(Kind::Decimal) && matches!(sign, Arithmetic::Divide | Arithmetic::Remainder) {
        "a quotient of decimals is not exact; multiply the other side instead"
    } else if has(Kind::Decimal) && has(Kind::Double) {
        "write the number as `dec(\"…\")`"
    } else if has(Kind::Str) && kinds.iter().any(|kind| kind.is_number()) {
        "write `string(…)` to join texts, or `dec(…)` to calculate"
    } else if kinds.iter().all(|kind| kind.is_number()) {
        "convert one side: `int(…)`, `uint(…)`, `double(…)` or `dec(…)`"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn comparison_hint(a: &Type, b: &Type) -> Option<String> {
    let kinds = [a.kind()?, b.kind()?];
    let has = |kind| kinds.contains(&kind);
    let number = kinds.iter().any(|kind| kind.is_number());
    let hint = if has(Kind::Str) && number {
        "write `dec(…)` around the text to compare it as a number"
    } else if has(Kind::Str) && has(Kind::Timestamp) {
        "write `timestamp(…)` around the text"
    } else if has(Kind::Str) && has(Kind::Duration) {
        "write `duration(…)` around the text"
    } else if has(Kind::List) && has(Kind::Str) {
        "write `text in list`"
    } else {
        return None;
    };
    Some(hint.to_owned())
}
