//! The two ways an expression fails: at check time, with a span, and at evaluation, with a reason.

use std::fmt;
use std::ops::Range;

use super::types::Kind;

/// The longest piece of input a message repeats, in characters.
const SHOWN: usize = 64;

/// One mistake in the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelError {
    /// Where, in bytes of the source text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl CelError {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for CelError {}

/// Why an evaluation gives no value. A restrictive rule that gets one restricts, a permissive one
/// does not permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The evaluation would do more work than it may.
    #[error("the condition needs more steps than it may take; test sizes first, or loop over shorter lists")]
    OutOfFuel,
    /// A field or key that the map does not have.
    #[error("there is no field `{0}` here; test it with `has` or `in` first")]
    NoSuchField(Box<str>),
    /// An index outside a list or string.
    #[error("index {0} is outside the list or string; test its `size` first")]
    IndexOutOfRange(i64),
    /// A result outside its type's range.
    #[error("the result of {0} is outside the range of its type")]
    Overflow(&'static str),
    /// `x / 0` or `x % 0`.
    #[error("division by zero")]
    DivisionByZero,
    /// Operands of types the operation is not defined for.
    #[error("`{operation}` is not defined for {left} and {right}")]
    WrongOperands {
        /// The operator or function.
        operation: &'static str,
        /// The type of the first operand.
        left: Kind,
        /// The type of the second.
        right: Kind,
    },
    /// An operand of a type the operation is not defined for.
    #[error("`{operation}` is not defined for {found}")]
    WrongOperand {
        /// The operator or function.
        operation: &'static str,
        /// The operand's type.
        found: Kind,
    },
    /// A value whose type is not the declared one.
    #[error("the schema says {expected} but the request has {found}")]
    WrongType {
        /// The declared type.
        expected: Kind,
        /// The type of the value.
        found: Kind,
    },
    /// An argument a function cannot take.
    #[error("`{function}` cannot take `{argument}`: {reason}")]
    InvalidArgument {
        /// The function.
        function: &'static str,
        /// The beginning of the argument.
        argument: Box<str>,
        /// What it must be.
        reason: &'static str,
    },
    /// A declared variable that the request does not set.
    #[error("this request has no `{0}`")]
    Unset(Box<str>),
    /// A map with one key twice.
    #[error("the map has the key `{0}` twice")]
    RepeatedKey(Box<str>),
    /// A condition whose value is not `true` or `false`.
    #[error("the condition is {0}, not bool")]
    NotBool(Kind),
    /// `value()` of an optional that has none.
    #[error("the optional is empty; write `orValue(…)` for what it then stands for")]
    NoValue,
    /// A mistake of type in an expression that was not checked.
    #[error("{0}")]
    Mistake(Box<str>),
    /// Values nested deeper than they can be compared.
    #[error("the values are nested too deep to be compared")]
    TooDeep,
}

impl EvalError {
    pub(super) fn argument(function: &'static str, argument: &str, reason: &'static str) -> Self {
        Self::InvalidArgument { function, argument: shown(argument), reason }
    }

    pub(super) fn no_field(name: &str) -> Self {
        Self::NoSuchField(shown(name))
    }

    /// `true` for errors that `&&`, `||`, `all` and `exists` may absorb: all but running out.
    pub(super) const fn absorbable(&self) -> bool {
        !matches!(self, Self::OutOfFuel)
    }
}

/// The beginning of `text`, short enough for a message.
pub(super) fn shown(text: &str) -> Box<str> {
    text.char_indices().nth(SHOWN).and_then(|(at, _)| text.get(..at)).unwrap_or(text).into()
}
