//! Temporal conditions in the form that is evaluated: questions to series, and what to make of the
//! answers.
//!
//! A *position* is one event: the request that is being decided, or an event at the time it was
//! recorded. A formula is read at a position; a monitor says which positions a series holds.

use std::collections::BTreeMap;

use callgate_core::digest::Digest;
use callgate_core::history::Measure;
use dogwood_language::temporal_ast::CmpOp;
use serde::Serialize;

use super::atom::Atom;

/// A dotted path, such as `input.user`.
pub(crate) type Path = Vec<String>;

/// Which action an event is of, and of which kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EventName {
    /// Such as `["Action"]`.
    pub(crate) namespace: Vec<String>,
    /// The action's id.
    pub(crate) action: String,
    /// Such as `request`.
    pub(crate) kind: String,
}

/// A call, decided or not: what it is allowed or denied later belongs to the same event.
pub(crate) const REQUEST: &str = "request";
/// A call that was allowed, or the one that is being decided.
pub(crate) const ALLOWED: &str = "allowed";
/// A call that was denied.
pub(crate) const DENIED: &str = "denied";
/// An allowed call that succeeded.
pub(crate) const RESPONSE: &str = "response";
/// An allowed call that ended otherwise.
pub(crate) const ERROR: &str = "error";

impl EventName {
    /// The events that have both names; `None` where there can be none.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        let narrows = |kind: &str| kind == ALLOWED || kind == DENIED;
        if (&self.namespace, &self.action) != (&other.namespace, &other.action) {
            return None;
        }
        match (self.kind.as_str(), other.kind.as_str()) {
            (kind, same) if kind == same => Some(self),
            (REQUEST, kind) if narrows(kind) => Some(other),
            (kind, REQUEST) if narrows(kind) => Some(self),
            _ => None,
        }
    }
}

/// Something with a value at a position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Operand {
    /// As written.
    Literal(Atom),
    /// A field of the context of the request that is decided.
    Context(Path),
    /// `principal` or `resource` of the request that is decided, and what hangs on it.
    Scope(Path),
    /// A field of the event at this position.
    Field(Path),
    /// A count or a sum.
    Total(Box<Total>),
}

/// A condition at a position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Formula {
    /// Always so, or never.
    Constant(bool),
    /// All of them.
    All(Vec<Self>),
    /// Not that.
    Not(Box<Self>),
    /// The event at this position has this name, carries these fields, and these values.
    Happens {
        /// The name.
        event: EventName,
        /// Fields it must carry.
        present: Vec<Path>,
        /// Fields and the values they must have.
        equal: Vec<(Path, Operand)>,
    },
    /// A comparison; false where a side has no value.
    Compare(#[serde(serialize_with = "comparison")] Comparison, Operand, Operand),
    /// An event of the past, or this one.
    Seen(Box<Seen>),
    /// The event before this one.
    Previous(Box<Previous>),
}

/// How two operands are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comparison(pub(crate) CmpOp);

impl Comparison {
    pub(crate) const fn word(self) -> &'static str {
        match self.0 {
            CmpOp::Le => "<=",
            CmpOp::Lt => "<",
            CmpOp::Ge => ">=",
            CmpOp::Gt => ">",
            CmpOp::Eq => "==",
            CmpOp::NotEq => "!=",
        }
    }
}

impl PartialOrd for Comparison {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Comparison {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.word().cmp(other.word())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
fn comparison<S: serde::Serializer>(op: &Comparison, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(op.word())
}

/// `formerly` and `since`: this position counts, or an earlier one that is still valid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Seen {
    /// Whether this position itself is such an event.
    pub(crate) now: Formula,
    /// Whether this position leaves earlier events valid.
    pub(crate) still: Formula,
    /// The earlier ones; `None` where there can be none.
    pub(crate) past: Option<Past>,
}

/// Earlier events of one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Past {
    /// What must be so at this position for any of them to count.
    pub(crate) when: Formula,
    /// The monitor.
    pub(crate) monitor: Digest,
    /// The values of its key fields, in their order.
    pub(crate) keys: Vec<Operand>,
    /// How far back.
    pub(crate) within_ms: i64,
    /// What ends their validity.
    pub(crate) unless: Vec<Unless>,
}

/// What ends the validity of an earlier event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Unless {
    /// Nothing earlier is valid if this is so.
    Always(Formula),
    /// A later event of this series, if the formula is so.
    Event(Formula, Digest, Vec<Operand>),
    /// A later event that is not of this name in a series of streaks.
    Other(Digest, Vec<Operand>),
}

/// `previous`: the event before this one in its partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Previous {
    /// What must be so at this position.
    pub(crate) when: Formula,
    /// A monitor of streaks.
    pub(crate) monitor: Digest,
    /// The values of its name.
    pub(crate) name: Vec<Operand>,
    /// How far back.
    pub(crate) within_ms: i64,
}

/// A count or a sum over events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Total {
    /// What must be so at this position for anything to count.
    pub(crate) when: Formula,
    /// Whether this position counts.
    pub(crate) now: Formula,
    /// Whether this position leaves earlier events valid.
    pub(crate) still: Formula,
    /// The field whose numbers are summed; `None` counts.
    pub(crate) sum: Option<Path>,
    /// The fields in which events differ; `None` counts every event.
    pub(crate) distinct: Option<Vec<Path>>,
    /// The earlier ones.
    pub(crate) past: Option<Past>,
}

/// Whose events make one history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Span {
    /// All events of the tenant.
    Tenant,
    /// Those that agree in these fields.
    Fields(Vec<Path>),
}

/// Which events a series holds, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Watch {
    /// The events.
    pub(crate) event: EventName,
    /// Whose events.
    pub(crate) span: Span,
    /// Fields an event must carry.
    pub(crate) present: Vec<Path>,
    /// Fields and the values they must have: literals, or other fields of the event.
    pub(crate) equal: Vec<(Path, Operand)>,
    /// What else must be so at the event.
    pub(crate) guard: Formula,
    /// The fields that tell series apart; of a streak, what tells its names apart.
    pub(crate) keys: Vec<Path>,
    /// What tells the events of a series apart.
    pub(crate) names: Vec<Path>,
    /// The field that is summed.
    pub(crate) number: Option<Path>,
    /// How events are kept.
    pub(crate) measure: Measure,
    /// How far back, in milliseconds.
    pub(crate) reach_ms: i64,
}

/// Begins every definition of a monitor, so that another meaning gets other names.
const VERSION: &str = "callgate-monitor-v1";

impl Watch {
    /// The digest of the definition.
    pub(crate) fn id(&self) -> Digest {
        // Every part is a list, a text or a number, so that writing it cannot fail.
        let text = serde_json::to_vec(&(VERSION, self)).unwrap_or_default();
        Digest::of(&text)
    }
}

/// Monitors by their ids.
pub(crate) type Watches = BTreeMap<Digest, Watch>;

impl Formula {
    /// All of `parts`, without what is always so.
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        let mut parts: Vec<Self> = parts.into_iter().filter(|part| *part != Self::Constant(true)).collect();
        match parts.len() {
            0 => Self::Constant(true),
            1 => parts.pop().unwrap_or(Self::Constant(true)),
            _ => Self::All(parts),
        }
    }

    /// The opposite.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }
}
