//! What bounds a program: the limits on its text, and the fuel one evaluation may spend.

use super::error::EvalError;

/// Bytes of text that cost one unit of fuel when they are compared, searched or copied.
const BYTES_PER_UNIT: usize = 8;

/// Limits on the text of one expression, enforced while it is parsed and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest source text, in bytes.
    pub source_bytes: usize,
    /// How deep brackets, conditionals and unary operators may nest.
    pub nesting: u32,
    /// How tall the expression tree may be; a chain such as `a + b + c` grows it by one per operator.
    pub height: u32,
    /// How many nodes the expression tree may have.
    pub nodes: u32,
    /// How deep loops (`all`, `exists`, `map`, …) may nest in each other's bodies.
    pub loops: u32,
    /// How many patterns an expression may match with; each takes memory and time to compile.
    pub patterns: u32,
    /// Fuel for folding constant sub-expressions, for the whole expression.
    pub fold_fuel: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes: 4096,
            nesting: 64,
            height: 160,
            nodes: 2000,
            loops: 3,
            patterns: 16,
            fold_fuel: 20_000,
        }
    }
}

/// What is left of the work one evaluation may do.
///
/// Every evaluated node costs 1, every list element or map entry visited or built 1, every eight
/// bytes of text compared, searched or copied 1; a pattern match costs more (see `docs/cel.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fuel {
    left: u64,
}

impl Fuel {
    /// Fuel for `units` steps.
    #[must_use]
    pub const fn new(units: u64) -> Self {
        Self { left: units }
    }

    /// The units left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Spends `units`; spending more than is left empties the fuel, so a later step cannot go on.
    pub(super) const fn burn(&mut self, units: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::OutOfFuel)
            }
        }
    }

    /// Spends what `count` elements cost.
    pub(super) fn burn_elements(&mut self, count: usize) -> Result<(), EvalError> {
        self.burn(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Spends what touching `count` bytes costs, at least 1.
    pub(super) fn burn_bytes(&mut self, count: usize) -> Result<(), EvalError> {
        self.burn_elements(count.div_euclid(BYTES_PER_UNIT).saturating_add(1))
    }
}

impl Default for Fuel {
    /// 100,000 units: a few milliseconds at most (`tests/cel_timing.rs` measures it).
    fn default() -> Self {
        Self::new(100_000)
    }
}
