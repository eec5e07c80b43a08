//! What limits have counted, and which breakers are open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::Conflict;
use crate::facts::Credential;
use crate::limit::{
    Amount, Ask, CALLS, Charged, Dimension, Ended, Gauge, HalfOpen, Level, LimitFacts, Mark, Meter,
    OpenBreaker, Reading, Settle, Take, keys,
};
use crate::name::Name;
use crate::request::Request;

/// What is reserved for an action until its outcome comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// How much counts now.
    pub amount: Amount,
    /// The meter.
    pub meter: String,
    /// The most that its meter may hold while the action runs; whatever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Amount>,
    /// Which part or period of it.
    pub part: i64,
    /// What was given back because no outcome came in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Amount>,
    /// What outcomes do to it.
    pub settle: Settle,
    /// The folded unit that outcomes settle.
    pub unit: String,
}

/// What limits expect of the end of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The breakers whose probe it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
    /// What is reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Reserved>,
    /// The breakers that count its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Mark>,
}

impl Reserved {
    /// What is said that it has spent. The gate counts actions itself, so that nothing is believed of them.
    #[must_use]
    pub fn said(&self, spent: &BTreeMap<String, Amount>) -> Option<Amount> {
        spent.get(&self.unit).copied().filter(|_| self.unit != CALLS)
    }
}

impl Expected {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.reserved.is_empty() && self.watches.is_empty()
    }
}

/// A breaker that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Its id and lineage.
    pub breaker: String,
    /// How it may close without a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_open: Option<HalfOpen>,
    /// The receipt that opened it.
    pub index: u64,
    /// Whom it blocks.
    pub key: String,
    /// Whether it is only monitored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monitor: bool,
    /// What blocks are told apart by.
    pub per: Vec<Dimension>,
    /// The action that is tried, and until when its outcome is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probing: Option<(u64, i64)>,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// How many probes succeeded, one after the other.
    #[serde(default)]
    pub succeeded: u32,
    /// The receipts of what it counted, oldest first, the newest 32.
    pub violations: VecDeque<u64>,
}

impl Opened {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.breaker.rsplit_once('@').map_or(self.breaker.as_str(), |(id, _)| id)
    }

    /// The last receipt that it counted.
    #[must_use]
    pub fn last_violation(&self) -> u64 {
        self.violations.back().copied().unwrap_or(self.index)
    }

    fn takes_probe(&self, now_ms: i64) -> bool {
        let Some(half_open) = self.half_open else { return false };
        let after = i64::try_from(half_open.after_ms).unwrap_or(i64::MAX);
        // A probe whose outcome never came counts as a failure at the end of its time.
        let since = self.probing.map_or(self.since_ms, |(_, until)| until);
        now_ms >= since.saturating_add(after)
    }
}

/// A person closes a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerReset {
    /// Who.
    pub by: String,
    /// The breaker and whom it blocks.
    pub meter: String,
    /// The last violation they have seen; a later one refuses the reset.
    pub through: u64,
}

/// All meters, and the breakers that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meters {
    meters: BTreeMap<String, Meter>,
    ends: BTreeSet<(i64, String)>,
    opened: BTreeMap<String, Opened>,
    /// The open ones, by what they are told apart by and whom they block.
    blocks: BTreeMap<Vec<Dimension>, BTreeMap<String, BTreeSet<String>>>,
    epoch: u64,
    /// The open ones of which it is not written down that they opened.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    silent: BTreeSet<String>,
    /// Reservations that are given back at some time: when, the action, the meter.
    releases: BTreeSet<(i64, u64, String)>,
}

impl Meters {
    /// What a decision on `request` consults; `None` where there is nothing to consult.
    #[must_use]
    pub fn facts(
        &self,
        request: Option<&Request>,
        credential: &Credential,
        asks: Option<&[Ask]>,
        now_ms: i64,
    ) -> Option<LimitFacts> {
        if asks.is_none() && self.epoch == 0 {
            return None;
        }
        let breakers = request.filter(|_| !self.blocks.is_empty()).map(|request| match credential {
            // The team of the key is the agent's, whether it says so or not.
            Credential::Agent { team: Some(team), .. } if request.agent.team.is_none() => {
                let mut request = request.clone();
                request.agent.team = Name::new(team).ok();
                self.open_for(&request, now_ms)
            }
            _ => self.open_for(request, now_ms),
        });
        let breakers = breakers.unwrap_or_default();
        let mut levels: Vec<Reading> =
            asks.unwrap_or_default().iter().map(|ask| self.read(ask, now_ms)).collect();
        levels.sort_by(|a, b| a.ask().cmp(&b.ask()));
        levels.dedup();
        Some(LimitFacts { blind: None, breakers, epoch: self.epoch, levels })
    }

    fn read(&self, ask: &Ask, now_ms: i64) -> Reading {
        let level = self.level(&ask.meter, ask.gauge, ask.amount, ask.limit, now_ms);
        Reading { amount: ask.amount, level, limit: ask.limit, meter: ask.meter.clone() }
    }

    fn level(&self, meter: &str, gauge: Gauge, amount: Amount, limit: Amount, now_ms: i64) -> Level {
        match self.meters.get(meter) {
            Some(meter) => {
                Level { used: meter.used(now_ms), fits_at_ms: meter.fits_at(now_ms, amount, limit) }
            }
            None => {
                Level { used: Amount::ZERO, fits_at_ms: Meter::new(gauge).fits_at(now_ms, amount, limit) }
            }
        }
    }

    /// The breakers that are open for whoever asks.
    fn open_for(&self, request: &Request, now_ms: i64) -> Vec<OpenBreaker> {
        let mut found = Vec::new();
        for (per, by_key) in &self.blocks {
            let keys = keys(request, per);
            let meters = keys.iter().filter_map(|key| by_key.get(key)).flatten();
            found.extend(meters.filter_map(|meter| {
                let opened = self.opened.get(meter)?;
                Some(OpenBreaker {
                    id: opened.id().to_owned(),
                    meter: meter.clone(),
                    monitor: opened.monitor,
                    probe: opened.takes_probe(now_ms),
                    since_ms: opened.since_ms,
                })
            }));
        }
        found.sort_by(|a, b| a.meter.cmp(&b.meter));
        found
    }

    /// The breakers that opened without that being written down.
    pub fn unannounced(&self) -> impl Iterator<Item = (&str, &Opened)> {
        self.silent.iter().filter_map(|name| Some((name.as_str(), self.opened.get(name)?)))
    }

    /// Whether a breaker opened without that being written down.
    pub(super) fn check_announced(&self, meter: &str) -> Result<(), Conflict> {
        if self.silent.contains(meter) { Ok(()) } else { Err(Conflict::Registry) }
    }

    pub(super) fn announce(&mut self, meter: &str) {
        self.silent.remove(meter);
    }

    /// The first breaker that is open for whoever asks, enforced, not one whose probe this is, and not one
    /// that the decision itself opened: what trips a breaker is the last that runs.
    pub(crate) fn blocking(
        &self,
        request: &Request,
        decision: u64,
        probes: &[String],
        now_ms: i64,
    ) -> Option<OpenBreaker> {
        if self.blocks.is_empty() {
            return None;
        }
        let own = |open: &OpenBreaker| self.opened.get(&open.meter).is_some_and(|it| it.index == decision);
        let blocks = |open: &OpenBreaker| !open.monitor && !probes.contains(&open.meter) && !own(open);
        self.open_for(request, now_ms).into_iter().find(blocks)
    }

    /// One of the budgets that an action reserved from, if it holds more than its limit, or the action alone has spent
    /// more: what it spends counts where it was decided, and that time may be over.
    pub(crate) fn exceeded<'a>(&self, expected: &'a Expected, now_ms: i64) -> Option<&'a Reserved> {
        let over = |reserved: &&Reserved| {
            let used = self.meters.get(&reserved.meter).map(|meter| meter.used(now_ms));
            reserved.most.is_some_and(|most| reserved.amount > most || used.is_some_and(|used| used > most))
        };
        expected.reserved.iter().find(over)
    }

    /// The breakers that are open, by name.
    pub fn opened(&self) -> impl Iterator<Item = (&str, &Opened)> {
        self.opened.iter().map(|(name, opened)| (name.as_str(), opened))
    }

    /// One breaker, if it is open.
    #[must_use]
    pub fn breaker(&self, meter: &str) -> Option<&Opened> {
        self.opened.get(meter)
    }

    /// One meter, if anything was counted on it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Meter> {
        self.meters.get(name)
    }

    /// Meters by name, from `from` on.
    pub fn list(&self, from: &str) -> impl Iterator<Item = (&str, &Meter)> {
        self.meters.range(from.to_owned()..).map(|(name, meter)| (name.as_str(), meter))
    }

    /// How many meters there are: what memory follows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// How often breakers opened and closed.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether what was read of limits, for a decision that lets an action run, still says the same. `asked` gives
    /// who asked for what.
    ///
    /// # Errors
    /// [`Conflict::Limit`]: it must be decided again.
    pub(super) fn check(
        &self,
        charged: Option<&Charged>,
        asked: impl FnOnce() -> Option<Request>,
        now_ms: i64,
    ) -> Result<(), Conflict> {
        // Nothing was counted, so nothing was read: right while no breaker ever opened.
        let epoch = charged.map_or(0, |charged| charged.epoch);
        // Breakers that opened or closed for others say nothing of it. Or whoever makes up sessions to trip theirs
        // would have everybody decided again and again.
        let same = epoch == self.epoch || asked().is_some_and(|request| self.lets(&request, charged, now_ms));
        let same = same && charged.is_none_or(|charged| self.holds(charged, now_ms));
        if same { Ok(()) } else { Err(Conflict::Limit) }
    }

    /// Whether no breaker is open for whoever asks but those whose probe this is.
    fn lets(&self, request: &Request, charged: Option<&Charged>, now_ms: i64) -> bool {
        let probes = charged.map_or(&[][..], |charged| &charged.probes);
        let blocks = |open: OpenBreaker| !open.monitor && !probes.contains(&open.meter);
        !self.open_for(request, now_ms).into_iter().any(blocks)
    }

    fn holds(&self, charged: &Charged, now_ms: i64) -> bool {
        let take = |take: &Take| {
            let level = self.level(&take.meter, take.gauge, take.amount, take.limit, now_ms);
            let over = level.fits_at_ms != Some(now_ms);
            let near =
                |near: &crate::limit::NearTake| (level.used.plus(take.amount) >= near.at) == near.reached;
            take.loose || (over == take.over && (over || take.near.as_ref().is_none_or(near)))
        };
        let probe = |name: &String| self.opened.get(name).is_some_and(|opened| opened.takes_probe(now_ms));
        charged.takes.iter().all(take) && charged.probes.iter().all(probe)
    }

    /// Counts what a decision counts; gives what its outcome will settle.
    pub(super) fn apply(
        &mut self,
        index: u64,
        charged: &Charged,
        open_until_ms: Option<i64>,
        at_ms: i64,
    ) -> Expected {
        let mut expected = Expected { watches: charged.watches.clone(), ..Expected::default() };
        for take in &charged.takes {
            let part = self.meter(&take.meter, take.gauge).take(at_ms, take.amount, take.limit);
            self.keep(&take.meter);
            if let Some(release) = take.release_at_ms {
                self.releases.insert((release, index, take.meter.clone()));
            }
            expected.reserved.extend(take.unit.as_ref().map(|unit| Reserved {
                amount: take.amount,
                meter: take.meter.clone(),
                // Beyond its limit it goes where people agreed to it, or where it is only monitored.
                most: Some(take.limit).filter(|_| !take.over && !take.loose),
                part,
                released: None,
                settle: take.settle,
                unit: unit.clone(),
            }));
        }
        for name in &charged.probes {
            if let (Some(opened), Some(until)) = (self.opened.get_mut(name), open_until_ms) {
                opened.probing = Some((index, until));
                expected.probes.push(name.clone());
                self.epoch = self.epoch.saturating_add(1);
            }
        }
        for mark in &charged.marks {
            self.mark(index, mark, None, at_ms);
        }
        expected
    }

    /// The meter of that name.
    fn meter(&mut self, name: &str, gauge: Gauge) -> &mut Meter {
        self.meters.entry(name.to_owned()).or_insert_with(|| Meter::new(gauge))
    }

    /// Sees to it that a meter is looked at when it may hold nothing any more: once, however often it counts.
    fn keep(&mut self, name: &str) {
        if let Some(meter) = self.meters.get_mut(name)
            && let Some(at) = meter.look_again()
        {
            self.ends.insert((at, name.to_owned()));
        }
    }

    /// Counts one mark, and opens its breaker when that is enough.
    fn mark(&mut self, index: u64, mark: &Mark, has_failed: Option<bool>, at_ms: i64) {
        let name = mark.meter();
        // What opened while it was only monitored blocks nobody. It is enforced now, and goes on where it was.
        if !mark.monitor && self.opened.get(&name).is_some_and(|opened| opened.monitor) {
            self.unblock(&name);
        }
        if let Some(opened) = self.opened.get_mut(&name) {
            // It was under way when the breaker opened, or the breaker is only monitored. Nothing is counted
            // until it closes, and then from nothing: what runs on must not fill the memory.
            if has_failed != Some(false) {
                opened.violations.push_back(index);
                if opened.violations.len() > 32 {
                    opened.violations.pop_front();
                }
            }
            return;
        }
        let meter = self.meter(&name, mark.gauge);
        match has_failed {
            Some(has_failed) => meter.end(at_ms, has_failed),
            None => drop(meter.add(at_ms, mark.amount, mark.name.as_ref())),
        }
        if has_failed != Some(false) {
            meter.note(index);
        }
        self.keep(&name);
        let Some(meter) = self.meters.get(&name) else { return };
        let trips = match mark.share_bp {
            Some(share) => {
                let (all, failed) = meter.failures(at_ms);
                has_failed == Some(true) && all >= mark.at && failed >= all.share(share)
            }
            None => meter.used(at_ms) >= mark.at,
        };
        if !trips {
            return;
        }
        let opened = Opened {
            breaker: mark.breaker.clone(),
            half_open: mark.half_open,
            index,
            key: mark.key.clone(),
            monitor: mark.monitor,
            per: mark.per.clone(),
            probing: None,
            since_ms: at_ms,
            succeeded: 0,
            violations: meter.recent().collect(),
        };
        let by_key = self.blocks.entry(mark.per.clone()).or_default();
        by_key.entry(mark.key.clone()).or_default().insert(name.clone());
        self.silent.insert(name.clone());
        self.opened.insert(name, opened);
        self.epoch = self.epoch.saturating_add(1);
    }

    /// An action ended: reservations are settled, and breakers count the end.
    pub(super) fn end(
        &mut self,
        index: u64,
        decision: u64,
        expected: &Expected,
        ended: Ended,
        spent: &BTreeMap<String, Amount>,
        at_ms: i64,
    ) {
        for reserved in &expected.reserved {
            let amount = settled(reserved, ended, spent);
            if let Some(meter) = self.meters.get_mut(&reserved.meter) {
                meter.change(reserved.part, reserved.amount, amount);
            }
        }
        let has_failed = match ended {
            Ended::Succeeded => Some(false),
            Ended::Failed => Some(true),
            // Neither says anything of the tool.
            Ended::Cancelled | Ended::NotRun => None,
        };
        for mark in expected.watches.iter().filter(|_| has_failed.is_some()) {
            self.mark(index, mark, has_failed, at_ms);
        }
        for name in &expected.probes {
            self.probed(name, decision, ended, at_ms);
        }
    }

    /// Raises what is reserved for an action that has already spent more.
    pub(super) fn raise(&mut self, expected: &mut Expected, spent: &BTreeMap<String, Amount>) {
        for reserved in &mut expected.reserved {
            let Some(spent) = reserved.said(spent).filter(|spent| *spent > reserved.amount) else {
                continue;
            };
            if let Some(meter) = self.meters.get_mut(&reserved.meter) {
                meter.change(reserved.part, reserved.amount, spent);
            }
            reserved.amount = spent;
        }
    }

    fn probed(&mut self, name: &str, decision: u64, ended: Ended, at_ms: i64) {
        let Some(opened) = self.opened.get_mut(name) else { return };
        if opened.probing.is_none_or(|(probe, _)| probe != decision) {
            return;
        }
        opened.probing = None;
        self.epoch = self.epoch.saturating_add(1);
        match ended {
            Ended::Succeeded => {
                opened.succeeded = opened.succeeded.saturating_add(1);
                if opened.half_open.is_some_and(|half_open| opened.succeeded >= half_open.probes) {
                    self.close(name);
                }
            }
            Ended::Failed => (opened.succeeded, opened.since_ms) = (0, at_ms),
            // It showed nothing. The next one waits as long, or calling each off would be the way past.
            Ended::Cancelled | Ended::NotRun => opened.since_ms = at_ms,
        }
    }

    /// Whether a person may close this breaker now.
    pub(super) fn check_reset(&self, reset: &BreakerReset) -> Result<(), Conflict> {
        let opened = self.opened.get(&reset.meter).ok_or(Conflict::Registry)?;
        if opened.last_violation() > reset.through { Err(Conflict::Limit) } else { Ok(()) }
    }

    /// Closes a breaker; it counts from nothing.
    pub(super) fn close(&mut self, name: &str) {
        if self.unblock(name) {
            self.meters.remove(name);
        }
    }

    /// Closes a breaker, which keeps what it counted; whether it was open.
    fn unblock(&mut self, name: &str) -> bool {
        let Some(opened) = self.opened.remove(name) else { return false };
        self.silent.remove(name);
        self.epoch = self.epoch.saturating_add(1);
        if let Some(by_key) = self.blocks.get_mut(&opened.per) {
            if let Some(names) = by_key.get_mut(&opened.key) {
                names.remove(name);
                if names.is_empty() {
                    by_key.remove(&opened.key);
                }
            }
            if by_key.is_empty() {
                self.blocks.remove(&opened.per);
            }
        }
        true
    }

    /// The next action and meter whose reservation is given back by now.
    pub(super) fn due(&mut self, now_ms: i64) -> Option<(u64, String)> {
        self.releases.first().filter(|(at, ..)| *at <= now_ms)?;
        self.releases.pop_first().map(|(_, action, name)| (action, name))
    }

    /// Gives back what is reserved on a meter.
    pub(super) fn release(&mut self, expected: &mut Expected, name: &str) {
        for reserved in expected.reserved.iter_mut().filter(|reserved| reserved.meter == name) {
            if let Some(meter) = self.meters.get_mut(name) {
                meter.change(reserved.part, reserved.amount, Amount::ZERO);
            }
            reserved.released.get_or_insert(reserved.amount);
            reserved.amount = Amount::ZERO;
        }
    }

    /// Drops what holds nothing any more.
    pub(super) fn forget(&mut self, now_ms: i64) {
        while self.ends.first().is_some_and(|(end, _)| *end < now_ms) {
            let Some((_, name)) = self.ends.pop_first() else { break };
            match self.meters.get(&name).map(Meter::ends_ms) {
                Some(end) if end >= now_ms => drop(self.ends.insert((end, name))),
                _ => drop(self.meters.remove(&name)),
            }
        }
    }
}

/// What counts of a reservation after the end.
fn settled(reserved: &Reserved, ended: Ended, spent: &BTreeMap<String, Amount>) -> Amount {
    // An outcome that comes after all is of an action that ran, whatever was given back meanwhile.
    let estimate = reserved.amount.max(reserved.released.unwrap_or_default());
    let (reported, least) = match (reserved.said(spent), ended) {
        (Some(spent), Ended::NotRun) => (spent, reserved.amount),
        (Some(spent), _) => (spent, estimate),
        (None, Ended::NotRun) => (Amount::ZERO, reserved.amount),
        // What is not said was spent as it was estimated.
        (None, _) => (estimate, estimate),
    };
    match reserved.settle {
        Settle::Reported => reported,
        Settle::Upward => reported.max(least),
    }
}
