//! What bundles load as, what they decide, and what is said of those that do not load.

#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]
#![expect(clippy::panic, reason = "a test stops at what it cannot read")]

mod dogwood;
mod errors;
mod examples;
mod fingerprints;
mod generate;
mod hostile;
mod judge;
mod laws;
mod limits;
mod matching;
mod mixtures;
mod modes;
mod playing;
mod rego;
mod schemas;
mod support;
mod timing;
