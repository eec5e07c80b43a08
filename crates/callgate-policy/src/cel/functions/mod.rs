//! The functions of the language: one table per subject. Each checks the kinds of its arguments
//! again when it runs, spends fuel for what it touches, and is pure.

mod bits;
mod command;
mod conversion;
mod email;
mod encode;
mod format;
pub(super) mod glob;
mod json_path;
mod list;
mod math;
mod network;
mod optional;
mod path;
pub(super) mod pattern;
mod sets;
mod string;
mod text;
mod time;
mod url;

use super::error::EvalError;
use super::fuel::Fuel;
use super::types::{Kind, Type};
use super::value::CelValue;

/// What runs when a function is called.
pub(super) type Callable = for<'a> fn(&[CelValue<'a>], &mut Fuel) -> Result<CelValue<'a>, EvalError>;

/// A function with all its overloads.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) style: Style,
    pub(super) signatures: &'static [Signature],
    pub(super) call: Callable,
    /// Its one-argument form returns the argument: only the type changes.
    pub(super) identity: bool,
}

/// How a function may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(x, y)`.
    Function,
    /// `x.f(y)`.
    Method,
    /// Either way.
    Both,
}

/// The argument types of one overload and its result; a method's receiver is the first argument.
pub(super) struct Signature {
    pub(super) takes: &'static [Shape],
    pub(super) gives: Shape,
}

/// A type in a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Any,
    Of(Kind),
    /// Any of the four number types.
    Number,
    /// `list(T)`; as a result, the list type of the arguments.
    ListT,
    ListOf(Kind),
    /// A map or an object.
    Map,
    /// Any type `T`; as a result, the one the arguments agree on.
    Item,
    /// `optional(T)`; as a result, of the type the arguments agree on.
    OptionalT,
    /// A list of lists of strings.
    Table,
}

use Shape::{Any, Item, ListOf, ListT, Map, Number, Of, OptionalT, Table};

const BOOL: Shape = Of(Kind::Bool);
const INT: Shape = Of(Kind::Int);
const UINT: Shape = Of(Kind::Uint);
const DOUBLE: Shape = Of(Kind::Double);
const DECIMAL: Shape = Of(Kind::Decimal);
const STR: Shape = Of(Kind::Str);
const BYTES: Shape = Of(Kind::Bytes);
const TIMESTAMP: Shape = Of(Kind::Timestamp);
const DURATION: Shape = Of(Kind::Duration);
const TYPE: Shape = Of(Kind::Type);
const IP: Shape = Of(Kind::Ip);
const CIDR: Shape = Of(Kind::Cidr);

const fn sig(takes: &'static [Shape], gives: Shape) -> Signature {
    Signature { takes, gives }
}

const fn define(
    name: &'static str,
    style: Style,
    signatures: &'static [Signature],
    call: Callable,
) -> Definition {
    Definition { name, style, signatures, call, identity: false }
}

fn all() -> impl Iterator<Item = &'static Definition> {
    const TABLES: [&[Definition]; 17] = [
        bits::TABLE,
        command::TABLE,
        conversion::TABLE,
        email::TABLE,
        encode::TABLE,
        format::TABLE,
        glob::TABLE,
        json_path::TABLE,
        list::TABLE,
        math::TABLE,
        network::TABLE,
        optional::TABLE,
        path::TABLE,
        sets::TABLE,
        string::TABLE,
        text::TABLE,
        url::TABLE,
    ];
    TABLES.into_iter().chain([time::TABLE]).flatten()
}

/// The function called `name` that may be called in this style.
pub(super) fn find(name: &str, style: Style) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name && definition.callable(style))
}

/// Whether functions have names such as `space.name`.
pub(super) fn is_space(space: &str) -> bool {
    all().any(|definition| definition.name.rsplit_once('.').is_some_and(|(known, _)| known == space))
}

/// The names that may be called in this style.
pub(super) fn names(style: Style) -> impl Iterator<Item = &'static str> {
    all().filter(move |definition| definition.callable(style)).map(|definition| definition.name)
}

impl Definition {
    fn callable(&self, style: Style) -> bool {
        self.style == style || self.style == Style::Both
    }

    /// The type of a call with arguments of these types, unless no overload takes them.
    pub(super) fn result(&self, types: &[&Type], method: bool) -> Option<Type> {
        debug_assert!(!method || !types.is_empty(), "a method has a receiver");
        let mut found = self.signatures.iter().filter_map(|signature| signature.result(types));
        let first = found.next()?;
        Some(if found.all(|other| other == first) { first } else { Type::Dyn })
    }

    /// The overloads, for a message.
    pub(super) fn usage(&self, method: bool) -> String {
        let one = |signature: &Signature| {
            let names: Vec<String> = signature.takes.iter().map(Shape::shown).collect();
            match names.split_first() {
                Some((target, rest)) if method => format!("{target}.{}({})", self.name, rest.join(", ")),
                _ => format!("{}({})", self.name, names.join(", ")),
            }
        };
        let shown: Vec<String> = self.signatures.iter().map(one).collect();
        format!("`{}`", shown.join("`, `"))
    }
}

impl Signature {
    fn result(&self, types: &[&Type]) -> Option<Type> {
        if self.takes.len() != types.len() {
            return None;
        }
        let mut element = Type::Never;
        let fit = self.takes.iter().zip(types).all(|(shape, ty)| shape.takes(ty, &mut element));
        fit.then(|| match self.gives {
            Shape::Of(kind) => Type::Plain(kind),
            Shape::ListOf(kind) => Type::list(Type::Plain(kind)),
            Shape::ListT => Type::list(element),
            Shape::Item if element == Type::Never => Type::Dyn,
            Shape::Item => element,
            Shape::OptionalT => Type::optional(element),
            Shape::Table => Type::list(Type::list(Type::STRING)),
            Shape::Any | Shape::Number | Shape::Map => Type::Dyn,
        })
    }
}

impl Shape {
    /// Whether an argument of type `ty` may fit, and what it says of the element type.
    fn takes(&self, ty: &Type, element: &mut Type) -> bool {
        if ty.is_dynamic() {
            if matches!((self, ty), (Self::Item | Self::OptionalT, Type::Dyn)) {
                *element = Type::Dyn;
            }
            return true;
        }
        match (self, ty.present()) {
            (Self::Any, _) => true,
            (Self::Item, _) => {
                *element = element.join(ty);
                true
            }
            (Self::OptionalT, Type::Optional(inner)) => {
                *element = element.join(inner);
                true
            }
            (Self::Of(kind), ty) => ty.may_be(*kind),
            (Self::Number, ty) => ty.kind().is_none_or(Kind::is_number),
            (Self::ListT, Type::List(inner)) => {
                *element = element.join(inner);
                true
            }
            (Self::ListOf(kind), Type::List(inner)) => inner.may_be(*kind),
            (Self::Map, Type::Map(..) | Type::Object(_)) => true,
            _ => false,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Any => "any".to_owned(),
            Self::Of(kind) => kind.to_string(),
            Self::Number => "number".to_owned(),
            Self::ListT => "list".to_owned(),
            Self::ListOf(kind) => format!("list({kind})"),
            Self::Map => "map".to_owned(),
            Self::Item => "T".to_owned(),
            Self::OptionalT => "optional(T)".to_owned(),
            Self::Table => "list(list(string))".to_owned(),
        }
    }
}

/// Checks an argument that a rule writes out: a mistake in it is a mistake in the rule.
pub(super) fn check_literal(name: &'static str, at: usize, value: &CelValue<'_>) -> Result<(), EvalError> {
    match (name, at, value) {
        ("path.under", 1, CelValue::Str(root)) => path::check_root(root),
        ("cmd.has_flag", 1, CelValue::Str(flag)) => command::check_flag(flag),
        ("json.path", 1, CelValue::Str(text)) => json_path::check_path(text),
        ("url.host_in" | "email.domain_in", 1, CelValue::List(patterns)) => {
            patterns.iter().try_for_each(|pattern| match &pattern {
                CelValue::Str(pattern) => url::check_pattern(name, pattern),
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    }
}

/// The error of a call whose arguments no overload takes.
const fn unsuited(function: &'static str, args: &[CelValue<'_>]) -> EvalError {
    match args {
        [] => EvalError::WrongOperand { operation: function, found: Kind::Null },
        [only] => EvalError::WrongOperand { operation: function, found: only.kind() },
        [left, right, ..] => {
            EvalError::WrongOperands { operation: function, left: left.kind(), right: right.kind() }
        }
    }
}
