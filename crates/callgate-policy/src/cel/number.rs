//! Numbers of four types on one line: exact comparison, and arithmetic that errs instead of rounding.

use std::cmp::Ordering;

use callgate_core::decimal::Decimal;

use super::error::EvalError;
use super::value::CelValue;

/// 2^63 and 2^64 as doubles; both are exact.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// The whole number a value stands for, whatever its number type.
pub(super) fn whole(value: &CelValue<'_>) -> Option<i128> {
    match value {
        CelValue::Int(number) => Some(i128::from(*number)),
        CelValue::Uint(number) => Some(i128::from(*number)),
        CelValue::Decimal(number) => number.to_i64().map(i128::from),
        CelValue::Double(number) if number.fract() == 0.0 && number.abs() <= TWO_64 => {
            Some(whole_part(*number))
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the callers keep |number| ≤ 2^64, and truncation is wanted"
)]
const fn whole_part(number: f64) -> i128 {
    number as i128
}

/// Compares two numbers by value; `None` if one is NaN or no number.
pub(super) fn compare(left: &CelValue<'_>, right: &CelValue<'_>) -> Option<Ordering> {
    use CelValue::{Decimal as Dec, Double, Int, Uint};
    match (left, right) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Dec(a), Dec(b)) => Some(a.cmp(b)),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Int(a), Double(b)) => compare_double(i128::from(*a), *b),
        (Uint(a), Double(b)) => compare_double(i128::from(*a), *b),
        (Dec(a), Int(b)) => Some(a.cmp(&Decimal::from(*b))),
        (Dec(a), Uint(b)) => Some(a.cmp(&from_uint(*b))),
        (Dec(a), Double(b)) => compare_written(*a, *b),
        (Uint(_) | Double(_), Int(_) | Uint(_) | Dec(_)) | (Int(_), Dec(_)) => {
            compare(right, left).map(Ordering::reverse)
        }
        _ => None,
    }
}

/// Compares an integer of at most 65 bits with a double exactly.
fn compare_double(left: i128, right: f64) -> Option<Ordering> {
    if right.is_nan() {
        return None;
    }
    if right >= TWO_64 {
        return Some(Ordering::Less);
    }
    if right < -TWO_64 {
        return Some(Ordering::Greater);
    }
    let by_whole = left.cmp(&whole_part(right.trunc()));
    Some(by_whole.then_with(|| 0.0.partial_cmp(&right.fract()).unwrap_or(Ordering::Equal)))
}

/// Compares a decimal with a double that has no written form at hand: by the shortest decimal that
/// reads back to the double, which is what it prints as.
fn compare_written(left: Decimal, right: f64) -> Option<Ordering> {
    if right.is_nan() {
        return None;
    }
    if right.is_infinite() {
        return Some(if right > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    Decimal::from_f64(right).ok().map(|written| left.cmp(&written))
}

/// A `uint` as a decimal; 20 digits always fit.
pub(super) fn from_uint(number: u64) -> Decimal {
    Decimal::new(i128::from(number), 0).unwrap_or(Decimal::ZERO)
}

/// `left sign right` for two numbers.
pub(super) fn calculate<'a>(
    sign: Arithmetic,
    left: &CelValue<'_>,
    right: &CelValue<'_>,
) -> Result<CelValue<'a>, EvalError> {
    use CelValue::{Decimal as Dec, Double, Int, Uint};
    match (left, right) {
        (Int(a), Int(b)) => signed(sign, *a, *b).map(Int),
        (Uint(a), Uint(b)) => unsigned(sign, *a, *b).map(Uint),
        (Double(a), Double(b)) if sign != Arithmetic::Remainder => Ok(Double(floating(sign, *a, *b))),
        (Dec(a), Dec(b)) => exact(sign, *a, *b, left, right),
        (Dec(a), Int(b)) => exact(sign, *a, Decimal::from(*b), left, right),
        (Int(a), Dec(b)) => exact(sign, Decimal::from(*a), *b, left, right),
        _ => Err(mismatch(sign.sign(), left, right)),
    }
}

/// The error for operands that an operation does not take.
pub(super) const fn mismatch(
    operation: &'static str,
    left: &CelValue<'_>,
    right: &CelValue<'_>,
) -> EvalError {
    EvalError::WrongOperands { operation, left: left.kind(), right: right.kind() }
}

fn signed(sign: Arithmetic, a: i64, b: i64) -> Result<i64, EvalError> {
    let result = match sign {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(EvalError::DivisionByZero),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.ok_or(EvalError::Overflow(sign.sign()))
}

fn unsigned(sign: Arithmetic, a: u64, b: u64) -> Result<u64, EvalError> {
    let result = match sign {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(EvalError::DivisionByZero),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.ok_or(EvalError::Overflow(sign.sign()))
}

fn floating(sign: Arithmetic, a: f64, b: f64) -> f64 {
    match sign {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    }
}

fn exact<'a>(
    sign: Arithmetic,
    a: Decimal,
    b: Decimal,
    left: &CelValue<'_>,
    right: &CelValue<'_>,
) -> Result<CelValue<'a>, EvalError> {
    let result = match sign {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder => return Err(mismatch(sign.sign(), left, right)),
    };
    result.map(CelValue::Decimal).map_err(|_| EvalError::Overflow(sign.sign()))
}

/// `-value`.
pub(super) fn negate<'a>(value: &CelValue<'_>) -> Result<CelValue<'a>, EvalError> {
    match value {
        CelValue::Int(number) => number.checked_neg().map(CelValue::Int).ok_or(EvalError::Overflow("-")),
        CelValue::Double(number) => Ok(CelValue::Double(-number)),
        CelValue::Decimal(number) => Ok(CelValue::Decimal(number.negated())),
        CelValue::Duration(span) => {
            span.checked_neg().map(CelValue::Duration).ok_or(EvalError::Overflow("-"))
        }
        other => Err(EvalError::WrongOperand { operation: "-", found: other.kind() }),
    }
}

/// A double truncated toward zero, if it lies strictly between the ends of `int`.
pub(super) fn double_to_int(number: f64) -> Option<i64> {
    (number > -TWO_63 && number < TWO_63).then(|| whole_part(number)).and_then(|n| i64::try_from(n).ok())
}

/// A double truncated toward zero, if that is in the range of `uint`.
pub(super) fn double_to_uint(number: f64) -> Option<u64> {
    (number > -1.0 && number < TWO_64).then(|| whole_part(number)).and_then(|n| u64::try_from(n).ok())
}

/// A decimal truncated toward zero, if its whole part is within 128 bits.
pub(super) fn truncate(number: Decimal) -> Option<i128> {
    let ten = |power: u32| 10i128.checked_pow(power);
    match u32::try_from(number.exponent()) {
        Ok(up) => number.coefficient().checked_mul(ten(up)?),
        // Beyond 38 places the divisor exceeds every coefficient, so nothing whole is left.
        Err(_) => ten(number.exponent().unsigned_abs())
            .map_or(Some(0), |down| number.coefficient().checked_div(down)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what `double(int)` means")]
pub(super) const fn int_to_double(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what `double(uint)` means")]
pub(super) const fn uint_to_double(number: u64) -> f64 {
    number as f64
}
