//! Breakers, as people use them: what is open and why, and closing one again.
//!
//! Whoever closes one says which receipt they looked at last. What was counted after that they have not seen, so that
//! it stays open.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use callgate_core::limit::named;
use callgate_core::name::fold;
use callgate_core::state::Change;
use callgate_core::state::meters::{BreakerReset, Opened};
use callgate_core::value::{Map, Value};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Credential;
use crate::control;
use crate::error::{ControlError, Unavailable};
use crate::gate::Gate;
use crate::release::{GATE, checked_note};
use crate::stops::{PAUSE, home, patience};

/// The most in one answer.
pub(crate) const MAX_LISTED: usize = 1000;
/// The most that are announced in one go.
const MAX_ANNOUNCED: usize = 64;
/// The longest name of a meter that is looked for, in bytes.
const MAX_NAME: usize = 4096;

/// A breaker that is open, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerView {
    /// Its name: the limit's id, and whom it blocks.
    pub name: String,
    /// The limit's id in the bundle.
    pub limit: String,
    /// Whom it blocks; empty means everybody.
    pub blocks: String,
    /// Whether it is only monitored, and so blocks nobody.
    pub monitor: bool,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// The receipt that opened it.
    pub receipt_index: u64,
    /// The receipts that it counted, oldest first, the newest 32.
    pub violations: Vec<u64>,
    /// The last of them: what a reset says as `through`.
    pub through: u64,
    /// Whether it lets single actions through to find out by itself.
    pub half_open: bool,
}

impl BreakerView {
    fn of(name: &str, opened: &Opened) -> Self {
        Self {
            name: name.to_owned(),
            limit: opened.id().to_owned(),
            blocks: opened.key.clone(),
            monitor: opened.monitor,
            since_ms: opened.since_ms,
            receipt_index: opened.index,
            violations: opened.violations.iter().copied().collect(),
            through: opened.last_violation(),
            half_open: opened.half_open.is_some(),
        }
    }
}

/// Which breakers to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerFilter {
    /// Only those whose name begins so.
    #[serde(default)]
    pub prefix: Option<String>,
    /// At most so many; 1,000 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Closes a breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// The breaker's name, or the beginning of it that no other open one has.
    pub name: String,
    /// Why it may go on.
    #[serde(default)]
    pub note: Option<String>,
    /// The last receipt that was looked at.
    pub through: u64,
}

/// Whether the names that a meter counts by are of that tenant. What counts several together is nobody's alone.
pub(crate) fn is_of(key: &str, home: Option<&str>) -> bool {
    let Some(home) = home.map(|home| named(&fold(home))) else { return true };
    key.split(',').any(|part| match part.split_once('=') {
        Some(("tenant", tenant)) => tenant == home,
        Some(("session", session)) => session.split('/').next() == Some(home.as_str()),
        _ => false,
    })
}

impl Gate {
    /// The breakers that are open for whom this person looks after, the newest first, and how many there are.
    #[must_use]
    pub fn breakers(&self, filter: &BreakerFilter, who: &Credential) -> (Vec<BreakerView>, usize) {
        let begins = |name: &str| filter.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix));
        let mut all: Vec<BreakerView> = self.store.state(|state| {
            let opened = state.0.meters().opened();
            let wanted = |(name, opened): &(&str, &Opened)| begins(name) && is_of(&opened.key, home(who));
            opened.filter(wanted).map(|(name, opened)| BreakerView::of(name, opened)).collect()
        });
        let count = all.len();
        all.sort_by_key(|view| std::cmp::Reverse(view.receipt_index));
        all.truncate(filter.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED));
        (all, count)
    }

    /// Closes a breaker, for whoever has seen everything that it counted; it counts from nothing then.
    ///
    /// # Errors
    /// [`ControlError`]: then it is still open.
    pub async fn reset_breaker(
        self: &Arc<Self>,
        what: ResetRequest,
        who: &Credential,
    ) -> Result<BreakerView, ControlError> {
        if control::person(who).is_none() {
            return Err(ControlError::Agent("breakers.reset"));
        }
        let missing = || ControlError::Invalid("`note`: say why it may go on".to_owned());
        let note = checked_note(what.note.as_deref())?.ok_or_else(missing)?;
        let breaker = self.named_breaker(&what.name, who)?;
        let mut args = Map::default();
        args.insert("breaker".to_owned(), Value::from(breaker.name.as_str()));
        args.insert("limit".to_owned(), Value::from(breaker.limit.as_str()));
        let until = patience();
        let by = self.authorise_busy(who, "breakers.reset", args, until).await?;
        let details = [
            ("breaker", breaker.name.clone()),
            ("blocks", breaker.blocks.clone()),
            ("limit", breaker.limit.clone()),
            ("note", note),
            ("through", what.through.to_string()),
            by.detail(),
        ];
        loop {
            let now = self.named_breaker(&breaker.name, who)?;
            if now.through > what.through {
                return Err(ControlError::Conflict(format!(
                    "it counted up to receipt {}, and `through` is {}: look at the receipts between, then reset it with `through` {}",
                    now.through, what.through, now.through
                )));
            }
            let reset =
                BreakerReset { by: by.actor.clone(), meter: breaker.name.clone(), through: what.through };
            let change = Change::BreakerReset(reset);
            match self.note("breaker.reset", &by.actor, &details, change, Vec::new()).await {
                Ok(_) => return Ok(now),
                Err(busy) if busy.retryable && Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(unavailable) => return Err(unavailable.into()),
            }
        }
    }

    /// Writes down breakers that opened, at most 64, so that whoever listens to the log hears of it, and tells who
    /// minds actions that run. Gives how many there were.
    ///
    /// # Errors
    /// When that cannot be recorded; the breakers are open all the same.
    pub async fn announce_breakers(&self) -> Result<usize, Unavailable> {
        let silent: Vec<BreakerView> = self.store.state(|state| {
            let silent = state.0.meters().unannounced().take(MAX_ANNOUNCED);
            silent.map(|(name, opened)| BreakerView::of(name, opened)).collect()
        });
        if silent.is_empty() {
            return Ok(0);
        }
        self.halts_move();
        for breaker in &silent {
            let details = [
                ("blocks", breaker.blocks.clone()),
                ("breaker", breaker.name.clone()),
                ("limit", breaker.limit.clone()),
                ("receipt", breaker.receipt_index.to_string()),
                ("violations", breaker.violations.len().to_string()),
            ];
            let change = Change::BreakerOpened { meter: breaker.name.clone() };
            self.note("breaker.open", GATE, &details, change, Vec::new()).await?;
        }
        Ok(silent.len())
    }

    /// Announces what a receipt may have opened, beside whoever waits for its answer.
    pub(crate) fn watch_breakers(&self) {
        if !self.has_silent_breakers() {
            return;
        }
        let Some(gate) = self.shared() else { return };
        if !self.announcing.swap(true, Ordering::AcqRel) {
            tokio::spawn(async move { gate.announce_all().await });
        }
    }

    fn has_silent_breakers(&self) -> bool {
        self.store.state(|state| state.0.meters().unannounced().next().is_some())
    }

    /// Announces until nothing is left. What cannot be written now is tried again with the next receipt.
    async fn announce_all(&self) {
        loop {
            let announced = self.announce_breakers().await;
            if matches!(announced, Ok(1..)) {
                continue;
            }
            self.announcing.store(false, Ordering::Release);
            // One may have opened just now, whose receipt found this still at work.
            let more = announced.is_ok() && self.has_silent_breakers();
            if !more || self.announcing.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// The open breaker of that name, or the only one whose name begins so.
    fn named_breaker(&self, name: &str, who: &Credential) -> Result<BreakerView, ControlError> {
        let unknown = || ControlError::Unknown("open breaker of that name".to_owned());
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(unknown());
        }
        let exact = self
            .store
            .state(|state| state.0.meters().breaker(name).map(|opened| BreakerView::of(name, opened)));
        if let Some(view) = exact {
            return if is_of(&view.blocks, home(who)) { Ok(view) } else { Err(unknown()) };
        }
        let filter = BreakerFilter { prefix: Some(name.to_owned()), limit: Some(2) };
        let (mut found, count) = self.breakers(&filter, who);
        match (found.pop(), count) {
            (Some(view), 1) => Ok(view),
            (None, _) => Err(unknown()),
            _ => Err(ControlError::Invalid(format!(
                "`name`: {count} open breakers begin so; write the whole name of one"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_several_tenants_together_is_nobodys_alone() {
        for (key, own) in [
            ("tenant=acrne", true),
            ("agent=bot,tenant=acrne", true),
            ("session=acrne/bot/s1", true),
            ("tenant=other", false),
            ("agent=acrne", false),
            ("agent=bot", false),
            ("", false),
        ] {
            assert_eq!(is_of(key, Some("ACME")), own, "{key}");
            assert!(is_of(key, None));
        }
    }
}
