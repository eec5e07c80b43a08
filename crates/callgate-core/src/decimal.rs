//! Exact decimal numbers: amounts, and every JSON number a policy compares.
//!
//! A float never stands for an amount here. Results that cannot be exact are errors, never rounded.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most significant digits a coefficient may have.
pub const MAX_DIGITS: u32 = 34;
/// The largest power of ten, either way (covers every finite IEEE 754 double).
pub const MAX_EXPONENT: i32 = 400;
/// The longest text accepted for one number, in bytes.
pub const MAX_TEXT: usize = 512;

/// An exact decimal, `coefficient × 10^exponent`, at most 34 significant digits.
///
/// Always normalised (no trailing zero in the coefficient), so equal values are equal structures
/// and hash alike: `1.50` and `1.5` are one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Decimal {
    coefficient: i128,
    exponent: i32,
}

/// Why a text or an operation gives no exact decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text is not a plain decimal number.
    #[error(
        "`{0}` is not a decimal number; write digits with an optional sign, point and exponent, such as `12.50`"
    )]
    Syntax(String),
    /// More digits or a larger exponent than can be kept exactly.
    #[error(
        "a number with more than {MAX_DIGITS} significant digits or beyond 10^±{MAX_EXPONENT} is not kept exactly"
    )]
    Range,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { coefficient: 0, exponent: 0 };

    /// Builds `coefficient × 10^exponent`.
    ///
    /// # Errors
    /// [`DecimalError::Range`] outside 34 digits or 10^±400.
    pub fn new(coefficient: i128, exponent: i32) -> Result<Self, DecimalError> {
        let mut value = Self { coefficient, exponent };
        if coefficient == 0 {
            return Ok(Self::ZERO);
        }
        while value.coefficient.checked_rem(10) == Some(0) {
            value.coefficient = value.coefficient.checked_div(10).ok_or(DecimalError::Range)?;
            value.exponent = value.exponent.checked_add(1).ok_or(DecimalError::Range)?;
        }
        let fits = digits(value.coefficient) <= MAX_DIGITS
            && value.exponent >= MAX_EXPONENT.saturating_neg()
            && value.exponent <= MAX_EXPONENT;
        if fits { Ok(value) } else { Err(DecimalError::Range) }
    }

    /// The significant digits as an integer (negative for negative numbers).
    #[must_use]
    pub const fn coefficient(&self) -> i128 {
        self.coefficient
    }

    /// The power of ten.
    #[must_use]
    pub const fn exponent(&self) -> i32 {
        self.exponent
    }

    /// `true` below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.coefficient < 0
    }

    /// The value as an `i64`, if it is a whole number in that range.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        i64::try_from(self.scaled_to(0)?).ok()
    }

    /// The nearest IEEE 754 double.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        format!("{}e{}", self.coefficient, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// The coefficient this value would have with `exponent`, if that is exact and fits.
    fn scaled_to(self, exponent: i32) -> Option<i128> {
        if self.coefficient == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_sub(exponent)?;
        let factor = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
        self.coefficient.checked_mul(factor)
    }

    /// `self + other`, exact.
    ///
    /// # Errors
    /// [`DecimalError::Range`] when the sum needs more digits than are kept.
    pub fn checked_add(self, other: Self) -> Result<Self, DecimalError> {
        if other.coefficient == 0 {
            return Ok(self);
        }
        if self.coefficient == 0 {
            return Ok(other);
        }
        let exponent = self.exponent.min(other.exponent);
        let sum = self
            .scaled_to(exponent)
            .zip(other.scaled_to(exponent))
            .and_then(|(a, b)| a.checked_add(b))
            .ok_or(DecimalError::Range)?;
        Self::new(sum, exponent)
    }

    /// `self - other`, exact.
    ///
    /// # Errors
    /// As [`Self::checked_add`].
    pub fn checked_sub(self, other: Self) -> Result<Self, DecimalError> {
        self.checked_add(other.negated())
    }

    /// `self × other`, exact.
    ///
    /// # Errors
    /// [`DecimalError::Range`] when the product needs more digits than are kept.
    pub fn checked_mul(self, other: Self) -> Result<Self, DecimalError> {
        let coefficient = self.coefficient.checked_mul(other.coefficient).ok_or(DecimalError::Range)?;
        let exponent = self.exponent.checked_add(other.exponent).ok_or(DecimalError::Range)?;
        Self::new(coefficient, exponent)
    }

    /// `-self`; always exact.
    #[must_use]
    pub const fn negated(self) -> Self {
        // |coefficient| < 10^34, so negation cannot overflow.
        Self { coefficient: self.coefficient.saturating_neg(), exponent: self.exponent }
    }

    /// The decimal that `number` prints as with the fewest digits that read back to it.
    ///
    /// # Errors
    /// [`DecimalError::Range`] for NaN and infinities.
    pub fn from_f64(number: f64) -> Result<Self, DecimalError> {
        // Of two equally short texts ECMAScript takes the even one, as `serde_json` does and `{:e}` does not.
        let shortest = serde_json::Number::from_f64(number).ok_or(DecimalError::Range)?;
        shortest.to_string().parse().map_err(|_| DecimalError::Range)
    }

    /// The exponent of the leading digit plus one; orders magnitudes without scaling.
    fn magnitude(self) -> i64 {
        i64::from(digits(self.coefficient)).saturating_add(i64::from(self.exponent))
    }

    fn cmp_magnitude(self, other: Self) -> Ordering {
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            // Equal magnitudes differ by at most 34 digits of exponent, so one side scales exactly
            // into 68 digits at most; beyond i128 the digit strings are compared instead.
            let exponent = self.exponent.min(other.exponent);
            match (self.scaled_to(exponent), other.scaled_to(exponent)) {
                (Some(a), Some(b)) => a.unsigned_abs().cmp(&b.unsigned_abs()),
                _ => self.digit_text().cmp(&other.digit_text()),
            }
        })
    }

    /// Significant digits, most significant first; of two values of equal magnitude the larger
    /// compares greater as text.
    fn digit_text(self) -> String {
        self.coefficient.unsigned_abs().to_string()
    }
}

fn digits(coefficient: i128) -> u32 {
    coefficient.unsigned_abs().checked_ilog10().map_or(1, |n| n.saturating_add(1))
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        // 19 digits at most: always in range.
        Self::new(i128::from(number), 0).unwrap_or(Self::ZERO)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.coefficient.signum(), other.coefficient.signum()) {
            (0, 0) => Ordering::Equal,
            (1, 1) => self.cmp_magnitude(*other),
            (-1, -1) => other.cmp_magnitude(*self),
            (a, b) => a.cmp(&b),
        }
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Accepts `[+-]digits[.digits][(e|E)[+-]digits]`, ASCII only, no separators, no spaces.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let syntax = || DecimalError::Syntax(text.chars().take(64).collect());
        if text.len() > MAX_TEXT {
            return Err(DecimalError::Range);
        }
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at).ok_or_else(syntax)?, text.get(at.saturating_add(1)..)),
            None => (text, None),
        };
        let written: i32 = match exponent {
            None => 0,
            Some(e) if signed_digits(e) => e.parse().map_err(|_| DecimalError::Range)?,
            Some(_) => return Err(syntax()),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        if !signed_digits(whole) || !all_digits(fraction) {
            return Err(syntax());
        }
        let fraction = fraction.trim_end_matches('0');
        let (unsigned, negative) = match whole.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (whole.strip_prefix('+').unwrap_or(whole), false),
        };
        let mut joined = format!("{unsigned}{fraction}");
        let trimmed = joined.trim_end_matches('0').len();
        let zeros = joined.len().saturating_sub(trimmed);
        joined.truncate(trimmed);
        let significant = joined.trim_start_matches('0');
        if significant.is_empty() {
            return Ok(Self::ZERO);
        }
        let coefficient: i128 = significant.parse().map_err(|_| DecimalError::Range)?;
        let shift = i32::try_from(zeros).ok().zip(i32::try_from(fraction.len()).ok());
        let exponent =
            shift.and_then(|(z, f)| written.checked_add(z)?.checked_sub(f)).ok_or(DecimalError::Range)?;
        Self::new(if negative { coefficient.saturating_neg() } else { coefficient }, exponent)
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn signed_digits(text: &str) -> bool {
    all_digits(text.strip_prefix(['-', '+']).unwrap_or(text))
}

impl fmt::Display for Decimal {
    /// The form of ECMAScript's `Number.prototype.toString` (RFC 8785 section 3.2.2.3), exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.coefficient == 0 {
            return f.write_str("0");
        }
        if self.is_negative() {
            f.write_str("-")?;
        }
        let digits = self.digit_text();
        let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        let point = count.saturating_add(self.exponent);
        if (count..=21).contains(&point) {
            write!(f, "{digits}{}", zeros(point.saturating_sub(count)))
        } else if (1..=21).contains(&point) {
            let (whole, fraction) = split(&digits, point);
            write!(f, "{whole}.{fraction}")
        } else if (-5..=0).contains(&point) {
            write!(f, "0.{}{digits}", zeros(point.saturating_neg()))
        } else {
            let (first, rest) = split(&digits, 1);
            let dot = if rest.is_empty() { "" } else { "." };
            write!(f, "{first}{dot}{rest}e{:+}", point.saturating_sub(1))
        }
    }
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or(0))
}

fn split(digits: &str, at: i32) -> (&str, &str) {
    usize::try_from(at).ok().and_then(|at| digits.split_at_checked(at)).unwrap_or((digits, ""))
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Decimal {
    /// Always a string: amounts never travel as floats.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_two_shortest_texts_the_even_one_is_taken() {
        assert_eq!(
            Decimal::from_f64("-2042643132882434.25".parse().unwrap()).unwrap().to_string(),
            "-2042643132882434.2"
        );
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn equal_values_are_equal_structures() {
        assert_eq!(decimal("1.50"), decimal("1.5"));
        assert_eq!(decimal("100"), decimal("1e2"));
        assert_eq!(decimal("-0.00"), Decimal::ZERO);
        assert_eq!(decimal("0.1").checked_add(decimal("0.2")).unwrap(), decimal("0.3"));
    }

    #[test]
    fn text_that_is_not_a_number_is_refused() {
        for text in
            ["", "-", ".5", "5.", "1,000", "1_0", " 1", "1 ", "NaN", "inf", "0x10", "1e", "1e+", "١", "--1"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        assert_eq!("1e9999999999".parse::<Decimal>(), Err(DecimalError::Range));
        assert_eq!("9".repeat(35).parse::<Decimal>(), Err(DecimalError::Range));
        assert_eq!("1".repeat(600).parse::<Decimal>(), Err(DecimalError::Range));
    }

    #[test]
    fn inexact_results_are_errors() {
        let tiny = decimal("1e-300");
        let huge = decimal("1e300");
        assert_eq!(huge.checked_add(tiny), Err(DecimalError::Range));
        assert_eq!(huge.checked_mul(huge), Err(DecimalError::Range));
        assert!(tiny < huge && huge.negated() < tiny);
    }

    #[test]
    fn order_agrees_where_scaling_would_overflow() {
        let long = decimal("1.234567890123456789012345678901234e300");
        let short = decimal("1.3e300");
        assert!(long < short);
        assert!(decimal("1e300") < long);
    }

    proptest! {
        #[test]
        fn doubles_survive_and_print_as_ecmascript_does(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let exact = Decimal::from_f64(number).unwrap();
            prop_assert_eq!(exact.to_f64(), number);
            let canonical = serde_json_canonicalizer::to_string(&serde_json::json!(number)).unwrap();
            prop_assert_eq!(exact.to_string(), canonical);
        }

        #[test]
        fn order_is_that_of_integers(a in any::<i64>(), b in any::<i64>(), e in -20i32..20) {
            let scaled = |n: i64| Decimal::new(i128::from(n), e).unwrap();
            prop_assert_eq!(scaled(a).cmp(&scaled(b)), a.cmp(&b));
            let sum = scaled(a).checked_add(scaled(b)).unwrap();
            let whole = i128::from(a).checked_add(i128::from(b)).unwrap();
            prop_assert_eq!(sum, Decimal::new(whole, e).unwrap());
        }

        #[test]
        fn any_text_parses_or_errs(text in ".{0,40}") {
            if let Ok(value) = text.parse::<Decimal>() {
                prop_assert_eq!(value.to_string().parse::<Decimal>().unwrap(), value);
            }
        }
    }
}
