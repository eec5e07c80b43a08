//! Optional values: reading on through what may be absent.

use super::super::error::EvalError;
use super::super::number;
use super::super::program::{Expect, Node};
use super::super::value::CelValue;
use super::{Outcome, Run};

/// The field of a map, or of the map in an optional, as an optional.
pub(super) fn select<'a>(operand: &CelValue<'a>, field: &str, expect: Expect) -> Outcome<'a> {
    let found = match operand {
        CelValue::Optional(None) => None,
        CelValue::Optional(Some(inner)) => return select(inner, field, expect),
        CelValue::Map(map) => map.field(field),
        other => return Err(EvalError::WrongOperand { operation: ".?", found: other.kind() }),
    };
    admitted(found, expect)
}

fn admitted(found: Option<CelValue<'_>>, expect: Expect) -> Outcome<'_> {
    Ok(CelValue::optional(found.map(|value| expect.admit(value)).transpose()?))
}

impl<'a> Run<'a, '_> {
    /// The element or entry, as an optional.
    pub(super) fn optional_index(
        &mut self,
        operand: &CelValue<'a>,
        key: &CelValue<'_>,
        expect: Expect,
    ) -> Outcome<'a> {
        let found = match operand {
            CelValue::Optional(None) => None,
            CelValue::Optional(Some(inner)) => {
                self.fuel.burn(1)?;
                return self.optional_index(inner, key, expect);
            }
            CelValue::List(list) => {
                let index = number::whole(key).ok_or_else(|| number::mismatch("[?]", operand, key))?;
                usize::try_from(index).ok().and_then(|at| list.get(at))
            }
            CelValue::Map(map) => {
                if let CelValue::Str(name) = key {
                    self.fuel.burn_bytes(name.len())?;
                }
                map.get(key)
            }
            _ => return Err(number::mismatch("[?]", operand, key)),
        };
        admitted(found, expect)
    }

    /// `operand.optMap(x, body)`.
    pub(super) fn within(&mut self, operand: &'a Node, body: &'a Node, flat: bool) -> Outcome<'a> {
        let operation = if flat { "optFlatMap" } else { "optMap" };
        let inner = match self.eval(operand)? {
            CelValue::Optional(Some(inner)) => inner,
            none @ CelValue::Optional(None) => return Ok(none),
            other => return Err(EvalError::WrongOperand { operation, found: other.kind() }),
        };
        let bottom = self.locals.len();
        self.locals.push(inner.as_ref().clone());
        let result = self.eval(body);
        self.locals.truncate(bottom);
        match result? {
            value if !flat => Ok(CelValue::optional(Some(value))),
            value @ CelValue::Optional(_) => Ok(value),
            other => Err(EvalError::WrongOperand { operation, found: other.kind() }),
        }
    }

    /// The value of an element that may be left out; `None` if it is.
    pub(super) fn maybe(&mut self, node: &'a Node) -> Result<Option<CelValue<'a>>, EvalError> {
        let Node::Maybe(inner) = node else { return self.eval(node).map(Some) };
        self.fuel.burn(1)?;
        match self.eval(inner)? {
            CelValue::Optional(inner) => Ok(inner.map(|value| value.as_ref().clone())),
            other => Err(EvalError::WrongOperand { operation: "?", found: other.kind() }),
        }
    }
}
