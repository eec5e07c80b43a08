//! The expression as written. Its height is bounded while it is built, so walking and dropping it
//! by recursion is safe.

use std::ops::Range;

use super::number::Arithmetic;

/// One expression.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) form: Form,
    pub(super) span: Range<usize>,
    /// 1 for a leaf.
    pub(super) height: u32,
}

#[derive(Debug)]
pub(super) enum Form {
    Literal(Literal),
    /// A name; `rooted` ones start with a dot and skip local names.
    Name {
        name: String,
        rooted: bool,
    },
    Select {
        operand: Box<Expr>,
        field: String,
    },
    /// `has(operand.field)`.
    Has {
        operand: Box<Expr>,
        field: String,
    },
    /// `operand.?field`.
    OptionalSelect {
        operand: Box<Expr>,
        field: String,
    },
    Index {
        operand: Box<Expr>,
        key: Box<Expr>,
    },
    /// `operand[?key]`.
    OptionalIndex {
        operand: Box<Expr>,
        key: Box<Expr>,
    },
    Call {
        name: String,
        rooted: bool,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Arithmetic {
        sign: Arithmetic,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Compare {
        order: Order,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Equal {
        negated: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    In {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `test ? then : other`.
    Choose(Box<[Expr; 3]>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// `?value` among the elements of a list, or of `{?key: value}`: left out if it is none.
    Maybe(Box<Expr>),
    /// `operand.optMap(name, body)`; with `flat`, `optFlatMap`, whose body is optional itself.
    Within {
        operand: Box<Expr>,
        name: String,
        body: Box<Expr>,
        flat: bool,
    },
    Loop(Box<Loop>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The digits are kept: compared with a decimal, the literal is the decimal as written.
    Double {
        value: f64,
        written: String,
    },
    Str(String),
    Bytes(Vec<u8>),
}

/// `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    pub(super) const fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// What a loop macro makes of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
}

/// A loop macro: `range.kind(first[, second][, filter], body)`.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Expr,
    pub(super) first: String,
    /// With a second name the first is the index or key and the second the value.
    pub(super) second: Option<String>,
    pub(super) filter: Option<Expr>,
    pub(super) body: Expr,
}
