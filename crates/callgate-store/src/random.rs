//! Randomness as something passed in, so that a simulation is the same for the same seed.

use std::io;

/// A source of random bytes.
pub trait Random: Send + Sync + 'static {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// When the system has none to give.
    fn fill(&self, out: &mut [u8]) -> io::Result<()>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        getrandom::fill(out).map_err(io::Error::other)
    }
}
