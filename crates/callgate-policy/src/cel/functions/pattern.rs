//! Regular expressions, compiled with the rule and matched in linear time.

use regex::{Regex, RegexBuilder};

use super::super::error::{EvalError, shown};
use super::super::fuel::Fuel;

/// Size limits of a compiled pattern, in bytes, and what a byte of text then costs in fuel. A match
/// takes at most time proportional to the product of both sizes, so larger patterns cost more.
const SIZES: [(usize, usize); 4] = [(8 << 10, 1), (32 << 10, 2), (128 << 10, 8), (512 << 10, 32)];

/// A compiled pattern and its price.
pub(in super::super) struct Pattern {
    regex: Regex,
    fuel_per_byte: usize,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it, as a message.
    pub(in super::super) fn new(text: &str) -> Result<Self, String> {
        let mut last = String::new();
        for (size, fuel_per_byte) in SIZES {
            match RegexBuilder::new(text).size_limit(size).dfa_size_limit(1 << 20).nest_limit(32).build() {
                Ok(regex) => return Ok(Self { regex, fuel_per_byte }),
                Err(regex::Error::CompiledTooBig(_)) => {
                    last = format!("the pattern `{}` is too large; use shorter repetitions", shown(text));
                }
                Err(error) => {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ");
                    return Err(format!("`{}` is no regular expression: {reason}", shown(text)));
                }
            }
        }
        Err(last)
    }

    /// Whether it matches anywhere in `text`.
    pub(in super::super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, EvalError> {
        fuel.burn_elements(text.len().saturating_mul(self.fuel_per_byte).saturating_add(8))?;
        Ok(self.regex.is_match(text))
    }
}
