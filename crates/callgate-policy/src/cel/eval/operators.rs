//! Operators on values of any kind.

use std::cmp::Ordering;

use super::super::ast::Order;
use super::super::cidr;
use super::super::entries::{Entries, Key};
use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::number::{self, Arithmetic, mismatch};
use super::super::program::Node;
use super::super::time;
use super::super::value::{CelValue, List, Map};
use super::{Outcome, Run};

/// How deep equality follows lists and maps.
const DEEPEST: u32 = 200;

impl<'a> Run<'a, '_> {
    /// Both operands; a floating literal beside a decimal is the decimal as written.
    fn sides(&mut self, [left, right]: &'a [Node; 2]) -> Result<[CelValue<'a>; 2], EvalError> {
        let (mut a, mut b) = (self.eval(left)?, self.eval(right)?);
        if let (CelValue::Decimal(_), Node::Written { decimal, .. }) = (&a, right) {
            b = CelValue::Decimal(*decimal);
        }
        if let (Node::Written { decimal, .. }, CelValue::Decimal(_)) = (left, &b) {
            a = CelValue::Decimal(*decimal);
        }
        Ok([a, b])
    }

    pub(super) fn arithmetic(&mut self, sign: Arithmetic, sides: &'a [Node; 2]) -> Outcome<'a> {
        let [left, right] = self.sides(sides)?;
        match (sign, &left, &right) {
            (_, a, b) if a.kind().is_number() && b.kind().is_number() => number::calculate(sign, a, b),
            (Arithmetic::Add, CelValue::Str(a), CelValue::Str(b)) => {
                self.fuel.burn_bytes(a.len().saturating_add(b.len()))?;
                Ok(CelValue::string([&**a, &**b].concat()))
            }
            (Arithmetic::Add, CelValue::Bytes(a), CelValue::Bytes(b)) => {
                self.fuel.burn_bytes(a.len().saturating_add(b.len()))?;
                Ok(CelValue::octets([&**a, &**b].concat()))
            }
            (Arithmetic::Add, CelValue::List(a), CelValue::List(b)) => {
                self.fuel.burn_elements(a.len().saturating_add(b.len()))?;
                Ok(CelValue::list(a.iter().chain(b.iter()).collect()))
            }
            _ => moved(sign, &left, &right),
        }
    }

    pub(super) fn compare(&mut self, order: Order, sides: &'a [Node; 2]) -> Outcome<'a> {
        let [left, right] = self.sides(sides)?;
        let ordering = match (&left, &right) {
            (a, b) if a.kind().is_number() && b.kind().is_number() => {
                // Only NaN has no place on the line: no order holds.
                return Ok(CelValue::Bool(
                    number::compare(a, b).is_some_and(|ordering| order.holds(ordering)),
                ));
            }
            (CelValue::Str(a), CelValue::Str(b)) => {
                self.fuel.burn_bytes(a.len().min(b.len()))?;
                a.as_bytes().cmp(b.as_bytes())
            }
            (CelValue::Bytes(a), CelValue::Bytes(b)) => {
                self.fuel.burn_bytes(a.len().min(b.len()))?;
                a.cmp(b)
            }
            (CelValue::Bool(a), CelValue::Bool(b)) => a.cmp(b),
            (CelValue::Timestamp(a), CelValue::Timestamp(b)) => a.cmp(b),
            (CelValue::Duration(a), CelValue::Duration(b)) => a.cmp(b),
            (a, b) => return Err(mismatch(order.sign(), a, b)),
        };
        Ok(CelValue::Bool(order.holds(ordering)))
    }

    pub(super) fn equal(&mut self, negated: bool, sides: &'a [Node; 2]) -> Outcome<'a> {
        let [left, right] = self.sides(sides)?;
        Ok(CelValue::Bool(values_equal(&left, &right, self.fuel)? != negated))
    }

    pub(super) fn contained(&mut self, [item, range]: &'a [Node; 2]) -> Outcome<'a> {
        let (item, range) = (self.eval(item)?, self.eval(range)?);
        let found = match &range {
            CelValue::List(list) => {
                let mut found = false;
                for element in list.iter() {
                    if values_equal(&item, &element, self.fuel)? {
                        found = true;
                        break;
                    }
                }
                found
            }
            CelValue::Map(map) => {
                if let CelValue::Str(name) = &item {
                    self.fuel.burn_bytes(name.len())?;
                }
                map.get(&item).is_some()
            }
            _ => return Err(mismatch("in", &item, &range)),
        };
        Ok(CelValue::Bool(found))
    }

    pub(super) fn list(&mut self, items: &'a [Node]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.extend(self.maybe(item)?);
        }
        self.made(values)
    }

    /// A new list; its memory costs fuel.
    pub(super) fn made(&mut self, items: Vec<CelValue<'a>>) -> Outcome<'a> {
        self.fuel.burn_elements(items.len().saturating_add(4))?;
        Ok(CelValue::list(items))
    }

    pub(super) fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.key(key)?;
            pairs.extend(self.maybe(value)?.map(|value| (key, value)));
        }
        self.entries(pairs)
    }

    fn key(&mut self, node: &'a Node) -> Result<Key<'a>, EvalError> {
        let value = self.eval(node)?;
        let kind = value.kind();
        Key::from_value(value).ok_or(EvalError::WrongOperand { operation: "{}", found: kind })
    }

    /// A map of `pairs`; sorting them costs fuel.
    pub(super) fn entries(&mut self, pairs: Vec<(Key<'a>, CelValue<'a>)>) -> Outcome<'a> {
        let rounds = pairs.len().checked_ilog2().map_or(1, |n| n.saturating_add(1));
        self.fuel.burn_elements(pairs.len().saturating_mul(usize::try_from(rounds).unwrap_or(64)))?;
        Entries::from_pairs(pairs).map(CelValue::map).map_err(|repeated| EvalError::RepeatedKey(repeated.0))
    }
}

/// `+` and `-` of timestamps and durations.
fn moved<'a>(sign: Arithmetic, left: &CelValue<'_>, right: &CelValue<'_>) -> Outcome<'a> {
    use CelValue::{Duration, Timestamp};
    let overflow = EvalError::Overflow(sign.sign());
    match (sign, left, right) {
        (Arithmetic::Add, Duration(a), Duration(b)) => a.checked_add(*b).map(Duration).ok_or(overflow),
        (Arithmetic::Subtract, Duration(a), Duration(b)) => a.checked_sub(*b).map(Duration).ok_or(overflow),
        (Arithmetic::Add, Timestamp(at), Duration(by)) | (Arithmetic::Add, Duration(by), Timestamp(at)) => {
            let moved = at.checked_add(i128::from(*by)).and_then(time::in_range);
            moved.map(Timestamp).ok_or(overflow)
        }
        (Arithmetic::Subtract, Timestamp(at), Duration(by)) => {
            let moved = at.checked_sub(i128::from(*by)).and_then(time::in_range);
            moved.map(Timestamp).ok_or(overflow)
        }
        (Arithmetic::Subtract, Timestamp(a), Timestamp(b)) => {
            let apart = a.checked_sub(*b).and_then(|nanos| i64::try_from(nanos).ok());
            apart.map(Duration).ok_or(overflow)
        }
        _ => Err(mismatch(sign.sign(), left, right)),
    }
}

/// Equality across all kinds: numbers by value, lists and maps by their parts, different kinds never.
pub(in super::super) fn values_equal(
    left: &CelValue<'_>,
    right: &CelValue<'_>,
    fuel: &mut Fuel,
) -> Result<bool, EvalError> {
    equal_below(left, right, fuel, 0)
}

fn equal_below(
    left: &CelValue<'_>,
    right: &CelValue<'_>,
    fuel: &mut Fuel,
    depth: u32,
) -> Result<bool, EvalError> {
    fuel.burn(1)?;
    Ok(match (left, right) {
        (CelValue::Null, CelValue::Null) => true,
        (CelValue::Bool(a), CelValue::Bool(b)) => a == b,
        (CelValue::Timestamp(a), CelValue::Timestamp(b)) => a == b,
        (CelValue::Duration(a), CelValue::Duration(b)) => a == b,
        (CelValue::Type(a), CelValue::Type(b)) => a == b,
        (CelValue::Ip(a), CelValue::Ip(b)) => cidr::plain(*a) == cidr::plain(*b),
        (CelValue::Cidr(a), CelValue::Cidr(b)) => a == b,
        (CelValue::Optional(a), CelValue::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal_below(a, b, fuel, deeper(depth)?)?,
            (a, b) => a.is_none() && b.is_none(),
        },
        (CelValue::Str(a), CelValue::Str(b)) => same_bytes(a.as_bytes(), b.as_bytes(), fuel)?,
        (CelValue::Bytes(a), CelValue::Bytes(b)) => same_bytes(a, b, fuel)?,
        (CelValue::List(a), CelValue::List(b)) => lists_equal(a, b, fuel, deeper(depth)?)?,
        (CelValue::Map(a), CelValue::Map(b)) => maps_equal(a, b, fuel, deeper(depth)?)?,
        (a, b) => number::compare(a, b) == Some(Ordering::Equal),
    })
}

fn deeper(depth: u32) -> Result<u32, EvalError> {
    depth.checked_add(1).filter(|depth| *depth <= DEEPEST).ok_or(EvalError::TooDeep)
}

fn same_bytes(a: &[u8], b: &[u8], fuel: &mut Fuel) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    fuel.burn_bytes(a.len())?;
    Ok(a == b)
}

fn lists_equal(a: &List<'_>, b: &List<'_>, fuel: &mut Fuel, depth: u32) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (x, y) in a.iter().zip(b.iter()) {
        if !equal_below(&x, &y, fuel, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(a: &Map<'_>, b: &Map<'_>, fuel: &mut Fuel, depth: u32) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    fuel.burn_elements(a.len())?;
    for (key, value) in a.entries() {
        let same = match b.get(&key) {
            Some(other) => equal_below(&value, &other, fuel, depth)?,
            None => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
