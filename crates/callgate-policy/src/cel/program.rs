//! A checked expression in the form that is evaluated: slots for names, folded constants, compiled
//! patterns.

use std::fmt;
use std::sync::Arc;

use callgate_core::decimal::Decimal;

use super::ast::{LoopKind, Order};
use super::check;
use super::env::{Env, Lookup};
use super::error::{CelError, EvalError};
use super::eval;
use super::fuel::{Fuel, Limits};
use super::functions::{Callable, glob::Glob, pattern::Pattern};
use super::number::Arithmetic;
use super::parser::parse;
use super::types::{Kind, Type};
use super::value::CelValue;

/// A checked expression. Cloning shares it; evaluating it changes nothing in it.
#[derive(Clone)]
pub struct Program(Arc<Compiled>);

pub(super) struct Compiled {
    pub(super) root: Node,
    pub(super) ty: Type,
    pub(super) reads: Vec<String>,
}

impl Program {
    /// Evaluates with the values of `vars`.
    ///
    /// # Errors
    /// Everything in [`EvalError`]; [`EvalError::OutOfFuel`] leaves `fuel` empty.
    pub fn evaluate<'a>(&'a self, vars: &'a dyn Lookup, fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
        eval::run(&self.0.root, vars, fuel)
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and [`EvalError::NotBool`] for any other type of value.
    pub fn evaluate_bool(&self, vars: &dyn Lookup, fuel: &mut Fuel) -> Result<bool, EvalError> {
        match self.evaluate(vars, fuel)? {
            CelValue::Bool(flag) => Ok(flag),
            other => Err(EvalError::NotBool(other.kind())),
        }
    }

    /// The type it was checked to have.
    #[must_use]
    pub fn result_type(&self) -> &Type {
        &self.0.ty
    }

    /// The variables and field paths it may read, sorted, each as far as it is written out:
    /// `args.amount`, `args.items[].price`; `args` alone stands for all of it.
    #[must_use]
    pub fn reads(&self) -> &[String] {
        &self.0.reads
    }

    /// The value, if the expression is constant.
    #[must_use]
    pub fn constant(&self) -> Option<CelValue<'_>> {
        self.0.root.constant()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("ty", &self.0.ty)
            .field("reads", &self.0.reads)
            .finish_non_exhaustive()
    }
}

/// Parses, checks and lowers `source`.
///
/// # Errors
/// Every mistake found, in the order of the text; never empty.
pub fn compile(source: &str, env: &Env, limits: &Limits) -> Result<Program, Vec<CelError>> {
    let expr = parse(source, limits)?;
    check::check(&expr, env, limits, None).map(|compiled| Program(Arc::new(compiled)))
}

/// As [`compile`], and the expression must be a `bool` (or `dyn`, which evaluation checks).
///
/// # Errors
/// As [`compile`].
pub fn compile_condition(source: &str, env: &Env, limits: &Limits) -> Result<Program, Vec<CelError>> {
    let expr = parse(source, limits)?;
    check::check(&expr, env, limits, Some(Kind::Bool)).map(|compiled| Program(Arc::new(compiled)))
}

/// One step of a program. Its height is that of the expression it came from.
pub(super) enum Node {
    Constant(CelValue<'static>),
    /// A floating literal: a double, or the decimal as written where it meets decimals.
    Written {
        double: f64,
        decimal: Decimal,
    },
    Variable {
        slot: usize,
        name: Box<str>,
        expect: Expect,
    },
    Local(usize),
    Select {
        operand: Box<Node>,
        field: Box<str>,
        expect: Expect,
    },
    Has {
        operand: Box<Node>,
        field: Box<str>,
    },
    /// The field as an optional; of an operand that may be optional itself.
    OptionalSelect {
        operand: Box<Node>,
        field: Box<str>,
        expect: Expect,
    },
    Index {
        operand: Box<Node>,
        key: Box<Node>,
        expect: Expect,
    },
    OptionalIndex {
        operand: Box<Node>,
        key: Box<Node>,
        expect: Expect,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Arithmetic {
        sign: Arithmetic,
        sides: Box<[Node; 2]>,
    },
    Compare {
        order: Order,
        sides: Box<[Node; 2]>,
    },
    Equal {
        negated: bool,
        sides: Box<[Node; 2]>,
    },
    In(Box<[Node; 2]>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Choose(Box<[Node; 3]>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Call {
        function: Callable,
        args: Vec<Node>,
    },
    Matches {
        text: Box<Node>,
        pattern: Box<Pattern>,
    },
    Glob {
        text: Box<Node>,
        glob: Box<Glob>,
    },
    Loop(Box<Loop>),
    Bind {
        value: Box<Node>,
        body: Box<Node>,
    },
    /// Only among the elements of a list or the values of a map: left out if it is none.
    Maybe(Box<Node>),
    /// `optMap` or, if `flat`, `optFlatMap`; the value is the next local.
    Within {
        operand: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
    /// A mistake that an unchecked program meets when it runs.
    Mistake(Box<str>),
}

/// A loop; its variables are the next one or two locals.
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    pub(super) two: bool,
    pub(super) expect: [Expect; 2],
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

/// What a value read from outside must be, by its declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Anything,
    Exactly(Kind),
    OrNull(Kind),
}

impl Expect {
    pub(super) fn of(ty: &Type) -> Self {
        match (ty, ty.kind()) {
            (Type::Nullable(_), Some(kind)) => Self::OrNull(kind),
            (_, Some(kind)) => Self::Exactly(kind),
            (_, None) => Self::Anything,
        }
    }

    /// `value` if it has the declared type; whole numbers become decimals where those are declared.
    pub(super) fn admit(self, value: CelValue<'_>) -> Result<CelValue<'_>, EvalError> {
        let expected = match self {
            Self::Anything => return Ok(value),
            Self::OrNull(_) if matches!(value, CelValue::Null) => return Ok(value),
            Self::Exactly(kind) | Self::OrNull(kind) => kind,
        };
        match value {
            value if value.kind() == expected => Ok(value),
            CelValue::Int(number) if expected == Kind::Decimal => Ok(CelValue::Decimal(number.into())),
            other => Err(EvalError::WrongType { expected, found: other.kind() }),
        }
    }
}

impl Node {
    /// The value, if it is known without running.
    pub(super) fn constant(&self) -> Option<CelValue<'_>> {
        match self {
            Self::Constant(value) => Some(value.borrow()),
            Self::Written { double, .. } => Some(CelValue::Double(*double)),
            _ => None,
        }
    }

    pub(super) const fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_) | Self::Written { .. })
    }
}
