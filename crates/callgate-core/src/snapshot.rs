//! A snapshot: one compiled, immutable bundle, named by its digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::constraint::Constraints;
use crate::contract::Contract;
use crate::decision::Mode;
use crate::digest::Digest;
use crate::fail::{FailOpen, Tiers};
use crate::finding::JudgeSettings;
use crate::history::{HistoryFacts, Monitor, Observation, Occurrence, Query};
use crate::limit::{Charge, Limit};
use crate::module::Module;
use crate::pattern::Pattern;
use crate::request::Request;

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
    /// Whether anything is enforced.
    pub mode: Mode,
    /// The agents that are only monitored, by their exact names.
    pub monitored: Vec<Pattern>,
    /// How much may change when a snapshot takes the place of another.
    pub rollout: Rollout,
    /// Which agents are how risky.
    pub tiers: Tiers,
    /// What may run while the gate cannot be reached; nothing without it.
    pub fail_open: Option<FailOpen>,
}

/// How much may change when a snapshot takes the place of another. Shares are in basis points:
/// hundredths of a percent, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// The share of simulated decisions that may become more permissive.
    pub max_loosen_bp: u32,
    /// The share of simulated decisions that may become more restrictive.
    pub max_tighten_bp: u32,
    /// Whether going beyond these limits needs a second person.
    pub second_person: bool,
    /// How far the mix of decisions of a canary may drift before it is rolled back.
    pub max_drift_bp: u32,
    /// How many decisions a canary makes before its drift counts.
    pub min_decisions: u64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_loosen_bp: 500,
            max_tighten_bp: 2000,
            second_person: false,
            max_drift_bp: 1000,
            min_decisions: 100,
        }
    }
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
            mode: Mode::Enforce,
            monitored: Vec::new(),
            rollout: Rollout::default(),
            tiers: Tiers::default(),
            fail_open: None,
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

impl Snapshot {
    /// What must be kept of events for its policies, by id, each once.
    #[must_use]
    pub fn monitors(&self) -> Vec<Monitor> {
        let all = self.modules.iter().flat_map(|module| module.monitors());
        let by_id: BTreeMap<Digest, Monitor> = all.map(|monitor| (monitor.id, monitor.clone())).collect();
        by_id.into_values().collect()
    }

    /// Whether any of its policies looks back.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.modules.iter().any(|module| !module.monitors().is_empty())
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        self.modules.iter().any(|module| module.has_limits())
    }

    /// Every limit, in an order of its own.
    #[must_use]
    pub fn limits(&self) -> Vec<Arc<Limit>> {
        self.modules.iter().flat_map(|module| module.limits()).collect()
    }

    /// The limits that speak of `request`, and how much it is to each.
    #[must_use]
    pub fn charges(&self, request: &Request) -> Vec<Charge> {
        self.modules.iter().flat_map(|module| module.charges(request)).collect()
    }

    /// The questions about the past for `occurrence`.
    #[must_use]
    pub fn plan(&self, occurrence: &Occurrence<'_>, blind: &Digest) -> Vec<Query> {
        self.modules.iter().flat_map(|module| module.plan(occurrence, blind)).collect()
    }

    /// What `occurrence` adds to the history.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn observe(
        &self,
        occurrence: &Occurrence<'_>,
        history: &HistoryFacts,
    ) -> Result<Vec<Observation>, String> {
        let mut all = Vec::new();
        for module in &self.modules {
            all.extend(module.observe(occurrence, history)?);
        }
        all.sort_by_key(|observation| observation.series);
        all.dedup();
        Ok(all)
    }
}
