//! Amounts that limits count: exact, never negative, in billionths of a unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::Decimal;

/// Billionths in one unit.
const NANOS: i128 = 1_000_000_000;
/// The largest amount of one action or limit, in units.
pub const MAX_UNITS: i64 = 1_000_000_000_000_000;

/// An amount of some unit: 0 to 10^15, to nine decimals. Written as a decimal in a string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

/// Why a number is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Below zero.
    #[error("an amount cannot be negative")]
    Negative,
    /// More than [`MAX_UNITS`].
    #[error("an amount is at most {MAX_UNITS}")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(NANOS);

    /// So many.
    #[must_use]
    pub fn whole(units: u32) -> Self {
        Self(i128::from(units).saturating_mul(NANOS))
    }

    /// The amount `number` stands for; what is finer than a billionth is rounded up.
    ///
    /// # Errors
    /// When it is negative or too large.
    pub fn from_decimal(number: Decimal) -> Result<Self, AmountError> {
        if number.is_negative() {
            return Err(AmountError::Negative);
        }
        let most = Decimal::new(i128::from(MAX_UNITS), 0).map_err(|_| AmountError::TooLarge)?;
        if number > most {
            return Err(AmountError::TooLarge);
        }
        let (coefficient, shift) = (number.coefficient(), number.exponent().saturating_add(9));
        let power = |by: u32| 10i128.checked_pow(by);
        let nanos = if shift >= 0 {
            power(shift.unsigned_abs()).and_then(|factor| coefficient.checked_mul(factor))
        } else {
            // Beyond any divisor it is next to nothing, and that is rounded up.
            let part = power(shift.unsigned_abs()).and_then(|by| {
                let up = i128::from(coefficient.checked_rem(by)? != 0);
                coefficient.checked_div(by)?.checked_add(up)
            });
            Some(part.unwrap_or(1))
        };
        nanos.map(Self).ok_or(AmountError::TooLarge)
    }

    /// The sum; stays at the largest number there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left, never less than nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        if other.0 >= self.0 { Self::ZERO } else { Self(self.0.saturating_sub(other.0)) }
    }

    /// That share of it, in basis points, rounded up.
    #[must_use]
    pub fn share(self, basis_points: u32) -> Self {
        let scaled = self.0.saturating_mul(i128::from(basis_points)).saturating_add(9_999);
        Self(scaled.checked_div(10_000).unwrap_or(0))
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// How many whole units it is, rounded up.
    #[must_use]
    pub fn ceil(self) -> u64 {
        let up = self.0.saturating_add(NANOS.saturating_sub(1)).checked_div(NANOS).unwrap_or(0);
        u64::try_from(up).unwrap_or(u64::MAX)
    }

    pub(super) const fn of_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Its billionths.
    pub(super) const fn nanos(self) -> i128 {
        self.0
    }
}

impl fmt::Display for Amount {
    /// A plain decimal without needless zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0.checked_div(NANOS).unwrap_or(0), self.0.checked_rem(NANOS).unwrap_or(0));
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: Decimal = text.parse().map_err(|e: crate::decimal::DecimalError| e.to_string())?;
        Self::from_decimal(number).map_err(|e| e.to_string())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    /// Also of a sum, which may be larger than any one amount.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("`{text}` is not an amount"));
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        let whole: i128 = whole.parse().map_err(|_| wrong())?;
        let part: i128 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
        let nanos = whole.checked_mul(NANOS).and_then(|nanos| nanos.checked_add(part));
        nanos.map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_exact_and_round_up() {
        let of = |text: &str| text.parse::<Amount>().map(|amount| amount.to_string());
        for (text, shown) in [
            ("0", "0"),
            ("12.50", "12.5"),
            ("1e3", "1000"),
            ("0.0000000001", "0.000000001"),
            ("1e-400", "0.000000001"),
            ("1000000000000000", "1000000000000000"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(shown), "{text}");
        }
        for text in
            ["-1", "-0.000000001", "NaN", "inf", "1,000", "1 000", "", "0x10", "1000000000000001", "1e400"]
        {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!(Amount::whole(3).share(5_000).to_string(), "1.5");
        assert_eq!("1.2".parse::<Amount>().map(Amount::ceil), Ok(2));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0i128..i128::MAX) {
            let amount = Amount(nanos);
            let text = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&text).unwrap(), amount);
        }
    }
}
