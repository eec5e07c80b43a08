//! Deciding without a trace: for `decide` without a data folder, and for what a list should show.
//!
//! A dry run is the same `decide` on the same facts, but nothing is committed and nothing may run on
//! it: it has no receipt and gives no permit.

use std::sync::Arc;

use callgate_core::decide::{self, Ask};
use callgate_core::decision::{Code, Decision, Mode};
use callgate_core::digest::hex;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Step};
use callgate_core::snapshot::Snapshot;

use crate::Credential;
use crate::commit::Arrived;
use crate::error::Unavailable;
use crate::gate::{Active, Asked, Gate};
use crate::reply::Reply;

impl Gate {
    /// Decides without committing anything. The reply has no receipt and is no permission.
    #[must_use]
    pub fn dry_run(&self, asked: Asked, credential: &Credential) -> Reply {
        let active = self.active.load_full();
        let Arrived { ask, .. } = self.arrive(asked);
        let by = active.deciding(&ask, credential);
        let (decided, now_ms) = self.decide_only(ask, credential, &active);
        Reply::new(&decided, (&by.name, &by.digest), now_ms, None)
    }

    /// Whether the snapshot in force denies this action with any arguments, so that a list need not
    /// show it. For convenience, never for enforcement: `false` when in doubt.
    ///
    /// `probe` is the request without arguments. What a later call claims of its own function or
    /// action type is not foreseen.
    #[must_use]
    pub fn never_allows(&self, probe: Request, credential: &Credential) -> bool {
        let active = self.active.load_full();
        let ask = Ask::Request(Box::new(probe));
        let snapshot = Arc::clone(&active.deciding(&ask, credential).snapshot);
        let (decided, _) = self.decide_only(ask, credential, &active);
        if decided.settled.decision != Decision::Deny {
            return false;
        }
        is_denied_unconditionally(&snapshot, &decided.trace) || nothing_could_match(&snapshot, &decided)
    }

    /// A value for `nonce`: 128 random bits in hex.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn nonce(&self) -> Result<String, Unavailable> {
        let mut bytes = [0u8; 16];
        let filled = self.random.fill(&mut bytes);
        filled.map_err(|e| Unavailable::now(format!("the system gave no random bytes: {e}")))?;
        Ok(hex(&bytes))
    }

    fn decide_only(&self, ask: Ask, credential: &Credential, active: &Active) -> (decide::Decided, i64) {
        let (decided, consulted) = self.decide_now(ask, credential, active, &[]);
        (decided, consulted.facts.now_ms)
    }
}

/// A deny matched that looks at names alone.
fn is_denied_unconditionally(snapshot: &Snapshot, trace: &[Step]) -> bool {
    let denies = |rule: &Rule| rule.effect == Decision::Deny && rule.mode == Mode::Enforce;
    let mut denies = trace.iter().filter(|step| step.outcome == Outcome::Matched && denies(&step.rule));
    denies.any(|step| snapshot.modules.iter().any(|module| module.is_unconditional(&step.rule)))
}

/// No rule spoke, and none looked at arguments before it kept silent. A contract may speak later in
/// the session, so with one nothing is certain.
fn nothing_could_match(snapshot: &Snapshot, decided: &decide::Decided) -> bool {
    let silent = |step: &Step| {
        matches!(&step.outcome, Outcome::FieldDiffers(field) if !is_claim(field))
            || step.rule.effect == Decision::Deny
    };
    decided.settled.code == Some(Code::NoPolicyMatch)
        && snapshot.contracts.is_empty()
        && decided.trace.iter().all(silent)
}

/// Fields that another call of the same tool may fill otherwise.
fn is_claim(field: &str) -> bool {
    field.contains("function") || field.contains("action_type")
}
