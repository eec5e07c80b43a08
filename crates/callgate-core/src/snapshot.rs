//! A snapshot: one compiled, immutable bundle, named by its digest.

use crate::catalogue::Catalogue;
use crate::constraint::Constraints;
use crate::contract::Contract;
use crate::digest::Digest;
use crate::finding::JudgeSettings;
use crate::module::Module;

/// What holds where no rule says otherwise.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Constraints of everything that may run.
    pub constraints: Constraints,
    /// How far `ts_ms` may be from the gate's clock, either way, in milliseconds.
    pub freshness_ms: u64,
    /// How long an approval request waits unless its rule says, in milliseconds.
    pub approval_expires_ms: u64,
    /// How long an allow may be acted on, in milliseconds.
    pub permit_ttl_ms: u64,
    /// `retry_after_ms` of a throttle that names none.
    pub retry_after_ms: u64,
    /// Whether every request needs a nonce and a time.
    pub require_nonce: bool,
    /// The judge that rules may ask; without one, none does.
    pub judge: Option<JudgeSettings>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            constraints: Constraints::default(),
            freshness_ms: 5 * 60 * 1000,
            approval_expires_ms: 30 * 60 * 1000,
            permit_ttl_ms: 60 * 1000,
            retry_after_ms: 1000,
            require_nonce: false,
            judge: None,
        }
    }
}

/// A compiled bundle.
#[derive(Debug)]
pub struct Snapshot {
    /// The digest of the bundle's text: its name.
    pub digest: Digest,
    /// The engines, in a fixed order that no decision depends on.
    pub modules: Vec<Box<dyn Module>>,
    /// The contracts, by id.
    pub contracts: Vec<Contract>,
    /// The tools.
    pub catalogue: Catalogue,
    /// Where no rule says otherwise.
    pub defaults: Defaults,
}
