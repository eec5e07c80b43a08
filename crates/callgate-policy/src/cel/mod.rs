//! The condition language: a typed, total and bounded Common Expression Language.
//!
//! Follows the language definition of `cel-expr/cel-spec` (`doc/langdef.md`), with one more number
//! type, the exact `decimal`, and without protocol buffer messages. `docs/cel.md` is the description
//! for people who write rules.
//!
//! A text becomes a [`Program`] in one direction: *parse* (bounded text, nodes and nesting), *check*
//! (every mistake is reported, with its span), *lower* (names become slots, constants are folded,
//! patterns are compiled). *Evaluate* then borrows from the request and spends [`Fuel`].
//!
//! Nothing here reads a clock, a file or an environment variable, panics, recurses deeper than the
//! limits say, or keeps anything between evaluations.

mod ast;
mod check;
mod cidr;
mod entries;
mod env;
mod error;
mod eval;
mod fuel;
mod functions;
mod lexer;
mod macros;
mod names;
mod number;
mod parser;
mod program;
mod schema;
mod time;
mod types;
mod value;

pub use cidr::Cidr;
pub use entries::{Entries, Key, RepeatedKey};
pub use env::{Env, Lookup};
pub use error::{CelError, EvalError};
pub use fuel::{Fuel, Limits};
pub use program::{Program, compile, compile_condition};
pub use types::{Field, Kind, ObjectType, Type};
pub use value::{CelValue, Fields, List, Map, Octets, Text};
