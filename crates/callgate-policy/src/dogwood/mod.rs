//! Dogwood: Cedar policies that may ask about the past.
//!
//! The Dogwood crate parses, checks and lowers a policy to Cedar and *temporal clauses*. Here each
//! clause becomes a formula over questions to series, which [`callgate_core::history`] keeps as a fold
//! of the log; so a decision costs the same however long the past is. A clause that such a fold cannot
//! answer is refused when the bundle is checked, see [`refused`].

mod atom;
mod body;
mod call;
mod compile;
mod engine;
mod eval;
mod formula;
mod frame;
#[cfg(test)]
mod oracle;
mod refused;
#[cfg(test)]
mod tests;
mod total;

pub(crate) use compile::Compiler;
pub(crate) use engine::Dogwood;
pub(crate) use formula::{Formula, Span, Watches};
pub(crate) use frame::{Mention, mentions};

/// The module's name in traces.
pub(crate) const NAME: &str = "dogwood";
/// What policies call the arguments.
pub(crate) const RECORD: &str = "input";
/// The field of an event that says who asked.
pub(crate) const AGENT: &str = "callerPrincipal";
/// The field of an event that says what was called.
pub(crate) const RESOURCE: &str = "callerResource";
/// The field of an event that says in which session.
pub(crate) const SESSION: &str = "sessionId";

/// The events that each tool has, in Dogwood's own language. They are those of its default schema, and
/// what was decided beside them.
pub(crate) const EVENTS: &str = "\
max_window = 366d
decision event <A>::request { ...inputs(A), callerPrincipal: principalType(A), callerResource: resourceType(A), sessionId: String }
event <A>::allowed { ...inputs(A), callerPrincipal: principalType(A), callerResource: resourceType(A), sessionId: String }
event <A>::denied { ...inputs(A), callerPrincipal: principalType(A), callerResource: resourceType(A), sessionId: String }
event <A>::response { ...inputs(A), callerPrincipal: principalType(A), callerResource: resourceType(A), sessionId: String }
event <A>::error { ...inputs(A), callerPrincipal: principalType(A), callerResource: resourceType(A), sessionId: String }
";
