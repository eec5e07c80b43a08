//! Cedar: `permit` and `forbid` over agents, tools and typed arguments.
//!
//! The bundle's tool catalogue becomes the schema that every policy is validated against (strictly);
//! each policy becomes a [`Rule`](callgate_core::rule::Rule) and is evaluated by itself, so that a
//! `forbid` that cannot be evaluated denies, where Cedar's own authorizer would skip it. A `permit` is
//! asked what is surely so, a restrictive policy what may be so; see `judge`.

mod answer;
mod door;
mod engine;
mod judge;
mod names;
mod policy;
mod reads;
mod schema;
mod shapes;
mod subject;
mod view;

pub use door::{Answered, Entities, Policies, Query, Schema};
pub(crate) use engine::{Cedar, Past};
pub(crate) use names::{FUNCTION, SERVER, TAG, TOPIC, UNLISTED};
pub(crate) use policy::{Compiled, MAX_DEPTH, MAX_PATTERN, TooMuch};
pub(crate) use reads::{children, is_deeper, rebuilt};
pub(crate) use schema::{Actions, Listed, Slice, representatives, text};
pub(crate) use shapes::{Record, Shape, ten_thousandths};

/// The module's name in traces.
pub(crate) const NAME: &str = "cedar";
/// What policies call the arguments.
pub(crate) const RECORD: &str = "args";
/// What the names of clauses about the past begin with, which stand for booleans in the context.
pub(crate) const PAST: &str = "past:";

#[cfg(test)]
mod tests;
