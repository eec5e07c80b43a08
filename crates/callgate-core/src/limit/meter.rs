//! Meters: what a limit has counted for one of those it counts by.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Amount, Dimension, Limit};
use crate::digest::Digest;
use crate::name::fold;
use crate::request::Request;

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A sum over a session's whole life is kept this long after its last change.
const IDLE_MS: i64 = 30 * DAY_MS;
/// Parts of a rolling window that are told apart: it may last up to one part longer, never shorter.
const PARTS: i64 = 1024;

/// Over which time something is summed. Hours, days and months are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Span {
    /// As long as those live that it is counted by; 30 days after the last change it is forgotten.
    Life {},
    /// A clock hour.
    Hour {},
    /// A calendar day.
    Day {},
    /// A calendar month.
    Month {},
    /// Any time of that length, up to a 1,024th longer.
    Rolling {
        /// Milliseconds.
        ms: u64,
    },
}

impl Span {
    /// When what is summed begins at nothing again, for a period of the calendar: milliseconds since 1970 UTC.
    #[must_use]
    pub fn resets_ms(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Hour {} | Self::Day {} | Self::Month {} => Some(self.period(now_ms).1),
            Self::Life {} | Self::Rolling { .. } => None,
        }
    }

    /// The number of the period that `at_ms` lies in, and when that ends.
    fn period(self, at_ms: i64) -> (i64, i64) {
        let even = |length: i64| {
            let number = at_ms.div_euclid(length);
            (number, number.saturating_add(1).saturating_mul(length))
        };
        match self {
            Self::Hour {} => even(HOUR_MS),
            Self::Day {} => even(DAY_MS),
            Self::Month {} => month(at_ms),
            Self::Life {} | Self::Rolling { .. } => (0, at_ms.saturating_add(IDLE_MS)),
        }
    }
}

/// The month that `at_ms` lies in, counted from year 0, and when it ends (days to civil dates after
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn month(at_ms: i64) -> (i64, i64) {
    let number = month_of(at_ms.div_euclid(DAY_MS));
    let end = first_day(number.saturating_add(1)).saturating_mul(DAY_MS);
    (number, end)
}

/// Years here begin in March, so that a leap day is the last of its year.
fn month_of(day: i64) -> i64 {
    let day = day.saturating_add(719_468);
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let less = |by: i64| of_era.div_euclid(by);
    let year = of_era.saturating_sub(less(1_460)).saturating_add(less(36_524)).saturating_sub(less(146_096));
    let year = year.div_euclid(365);
    let leap = year.div_euclid(4).saturating_sub(year.div_euclid(100));
    let of_year = of_era.saturating_sub(year.saturating_mul(365).saturating_add(leap));
    let march_based = of_year.saturating_mul(5).saturating_add(2).div_euclid(153);
    era.saturating_mul(400)
        .saturating_add(year)
        .saturating_mul(12)
        .saturating_add(march_based)
        .saturating_add(2)
}

/// The day on which a month begins, in days since 1970.
fn first_day(month: i64) -> i64 {
    let month = month.saturating_sub(2);
    let (year, of_year) = (month.div_euclid(12), month.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = of_year.saturating_mul(153).saturating_add(2).div_euclid(5);
    let leap = of_era.div_euclid(4).saturating_sub(of_era.div_euclid(100));
    let of_era = of_era.saturating_mul(365).saturating_add(leap).saturating_add(days);
    era.saturating_mul(146_097).saturating_add(of_era).saturating_sub(719_468)
}

/// How a meter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Gauge {
    /// It sums.
    Sum {
        /// Over which time.
        over: Span,
    },
    /// A token bucket; the limit is its size.
    Bucket {
        /// Nanoseconds for one to come back.
        interval_ns: u64,
    },
    /// It counts different names.
    Distinct {
        /// In which time, milliseconds.
        ms: u64,
    },
    /// It counts ends, and failures among them.
    Failures {
        /// In which time, milliseconds.
        ms: u64,
    },
}

/// A sum over a rolling window, in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rolling {
    /// When each part happened at the latest, and its sum; oldest first.
    parts: VecDeque<(i64, Amount)>,
    sum: Amount,
}

impl Rolling {
    fn part_of(at_ms: i64, ms: u64) -> i64 {
        let length = i64::try_from(ms).unwrap_or(i64::MAX).div_euclid(PARTS).max(1);
        at_ms.div_euclid(length).saturating_mul(length).saturating_add(length.saturating_sub(1)).max(at_ms)
    }

    fn forget(&mut self, now_ms: i64, ms: u64) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        while let Some((at, amount)) = self.parts.front().copied() {
            if at.saturating_add(ms) > now_ms {
                break;
            }
            self.parts.pop_front();
            self.sum = self.sum.minus(amount);
        }
    }

    fn used(&self, now_ms: i64, ms: u64) -> Amount {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        let over = |(at, _): &&(i64, Amount)| at.saturating_add(ms) <= now_ms;
        let gone = self.parts.iter().take_while(over).fold(Amount::ZERO, |sum, (_, it)| sum.plus(*it));
        self.sum.minus(gone)
    }

    fn add(&mut self, at_ms: i64, ms: u64, amount: Amount) -> i64 {
        self.forget(at_ms, ms);
        let part = Self::part_of(at_ms, ms);
        match self.parts.back_mut() {
            Some((at, sum)) if *at >= part => *sum = sum.plus(amount),
            _ => self.parts.push_back((part, amount)),
        }
        self.sum = self.sum.plus(amount);
        self.parts.back().map_or(part, |(at, _)| *at)
    }

    fn change(&mut self, part: i64, from: Amount, to: Amount) {
        if let Ok(found) = self.parts.binary_search_by(|(at, _)| at.cmp(&part))
            && let Some((_, sum)) = self.parts.get_mut(found)
        {
            let before = *sum;
            *sum = sum.minus(from).plus(to);
            self.sum = self.sum.minus(before).plus(*sum);
        }
    }

    /// When so much has left that no more than `room` is used.
    fn frees(&self, now_ms: i64, ms: u64, room: Amount) -> i64 {
        let mut left = self.used(now_ms, ms);
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        for (at, amount) in &self.parts {
            let gone = at.saturating_add(ms);
            if gone <= now_ms {
                continue;
            }
            left = left.minus(*amount);
            if left <= room {
                return gone;
            }
        }
        now_ms.saturating_add(ms)
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Tally {
    Sum {
        period: i64,
        used: Amount,
    },
    Rolling {
        parts: Rolling,
    },
    /// When the bucket is full again, nanoseconds since 1970 (the theoretical arrival time of the generic
    /// cell rate algorithm, ITU-T I.371).
    Bucket {
        full_ns: i64,
    },
    Distinct {
        at: BTreeMap<Digest, i64>,
    },
    Failures {
        all: Rolling,
        failed: Rolling,
    },
}

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    gauge: Gauge,
    tally: Tally,
    /// From here on it holds nothing.
    ends_ms: i64,
    /// Whether somebody will look whether it holds nothing any more.
    looked_at: bool,
    /// The receipts that a breaker counted last.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    recent: VecDeque<u64>,
}

/// The receipts that a meter remembers.
const RECENT: usize = 32;

impl Meter {
    /// An empty one.
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        let tally = match gauge {
            Gauge::Sum { over: Span::Rolling { .. } } => Tally::Rolling { parts: Rolling::default() },
            Gauge::Sum { .. } => Tally::Sum { period: 0, used: Amount::ZERO },
            Gauge::Bucket { .. } => Tally::Bucket { full_ns: 0 },
            Gauge::Distinct { .. } => Tally::Distinct { at: BTreeMap::new() },
            Gauge::Failures { .. } => Tally::Failures { all: Rolling::default(), failed: Rolling::default() },
        };
        Self { gauge, tally, ends_ms: i64::MIN, looked_at: false, recent: VecDeque::new() }
    }

    /// How it counts.
    #[must_use]
    pub const fn gauge(&self) -> Gauge {
        self.gauge
    }

    /// From when on it holds nothing.
    #[must_use]
    pub const fn ends_ms(&self) -> i64 {
        self.ends_ms
    }

    /// The receipts it counted last, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = u64> + '_ {
        self.recent.iter().copied()
    }

    /// When to look whether it holds nothing any more, the first time that is asked.
    pub(crate) fn look_again(&mut self) -> Option<i64> {
        (!std::mem::replace(&mut self.looked_at, true)).then_some(self.ends_ms)
    }

    pub(crate) fn note(&mut self, index: u64) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(index);
    }

    /// What is used at `now_ms`; of a bucket of that size, what is missing in it.
    #[must_use]
    pub fn used(&self, now_ms: i64) -> Amount {
        match (&self.tally, self.gauge) {
            (Tally::Sum { period, used }, Gauge::Sum { over }) => {
                if over.period(now_ms).0 > *period {
                    Amount::ZERO
                } else {
                    *used
                }
            }
            (Tally::Rolling { parts }, Gauge::Sum { over: Span::Rolling { ms } }) => parts.used(now_ms, ms),
            (Tally::Bucket { full_ns }, Gauge::Bucket { interval_ns }) => {
                missing(*full_ns, now_ms, interval_ns)
            }
            (Tally::Distinct { at }, Gauge::Distinct { ms }) => {
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                let inside = at.values().filter(|at| at.saturating_add(ms) > now_ms).count();
                Amount::whole(u32::try_from(inside).unwrap_or(u32::MAX))
            }
            (Tally::Failures { failed, .. }, Gauge::Failures { ms }) => failed.used(now_ms, ms),
            // One gauge has one tally (`new`), so this is not reached.
            _ => Amount::ZERO,
        }
    }

    /// Of what ended, how much there was and how much of it failed.
    #[must_use]
    pub fn failures(&self, now_ms: i64) -> (Amount, Amount) {
        match (&self.tally, self.gauge) {
            (Tally::Failures { all, failed }, Gauge::Failures { ms }) => {
                (all.used(now_ms, ms), failed.used(now_ms, ms))
            }
            _ => (Amount::ZERO, Amount::ZERO),
        }
    }

    /// When `amount` fits under `limit`; `None` when it never does.
    #[must_use]
    pub fn fits_at(&self, now_ms: i64, amount: Amount, limit: Amount) -> Option<i64> {
        if amount > limit {
            return None;
        }
        if self.used(now_ms).plus(amount) <= limit {
            return Some(now_ms);
        }
        let room = limit.minus(amount);
        match (&self.tally, self.gauge) {
            (Tally::Sum { .. }, Gauge::Sum { over: Span::Life {} }) => None,
            (Tally::Sum { .. }, Gauge::Sum { over }) => Some(over.period(now_ms).1),
            (Tally::Rolling { parts }, Gauge::Sum { over: Span::Rolling { ms } }) => {
                Some(parts.frees(now_ms, ms, room))
            }
            (Tally::Bucket { full_ns }, Gauge::Bucket { interval_ns }) => {
                Some(fits_bucket(*full_ns, room, interval_ns))
            }
            _ => None,
        }
    }

    /// Counts what an action takes of a limit of that size. A bucket is never emptier than empty, whatever runs
    /// beyond it because that is only monitored: what is enforced later must not wait for all of that.
    pub(crate) fn take(&mut self, at_ms: i64, amount: Amount, limit: Amount) -> i64 {
        let (Tally::Bucket { full_ns }, Gauge::Bucket { interval_ns }) = (&self.tally, self.gauge) else {
            return self.add(at_ms, amount, None);
        };
        let room = limit.minus(missing(*full_ns, at_ms, interval_ns));
        self.add(at_ms, amount.min(room), None)
    }

    /// Counts `amount`; gives the part or period that it went to, for [`Self::change`].
    pub(crate) fn add(&mut self, at_ms: i64, amount: Amount, name: Option<&Digest>) -> i64 {
        let part = match (&mut self.tally, self.gauge) {
            (Tally::Sum { period, used }, Gauge::Sum { over }) => {
                let (now, _) = over.period(at_ms);
                if now > *period {
                    (*period, *used) = (now, Amount::ZERO);
                }
                *used = used.plus(amount);
                *period
            }
            (Tally::Rolling { parts }, Gauge::Sum { over: Span::Rolling { ms } }) => {
                parts.add(at_ms, ms, amount)
            }
            (Tally::Bucket { full_ns }, Gauge::Bucket { interval_ns }) => {
                let from = (*full_ns).max(at_ms.saturating_mul(NS));
                *full_ns = from.saturating_add(spend_ns(amount, interval_ns));
                0
            }
            (Tally::Distinct { at }, Gauge::Distinct { ms }) => {
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                at.retain(|_, seen| seen.saturating_add(ms) > at_ms);
                if let Some(name) = name {
                    at.insert(*name, at_ms);
                }
                0
            }
            _ => 0,
        };
        self.outlive(at_ms);
        part
    }

    /// Counts an end.
    pub(crate) fn end(&mut self, at_ms: i64, has_failed: bool) {
        if let (Tally::Failures { all, failed }, Gauge::Failures { ms }) = (&mut self.tally, self.gauge) {
            all.add(at_ms, ms, Amount::ONE);
            if has_failed {
                failed.add(at_ms, ms, Amount::ONE);
            }
        }
        self.outlive(at_ms);
    }

    /// What was counted in `part` as `from` is `to` after all.
    pub(crate) fn change(&mut self, part: i64, from: Amount, to: Amount) {
        match &mut self.tally {
            Tally::Sum { period, used } if *period == part => *used = used.minus(from).plus(to),
            Tally::Rolling { parts } => parts.change(part, from, to),
            _ => {}
        }
    }

    fn outlive(&mut self, at_ms: i64) {
        let ends = match (&self.tally, self.gauge) {
            (Tally::Bucket { full_ns }, _) => full_ns.div_euclid(NS).saturating_add(1),
            (
                _,
                Gauge::Sum { over: Span::Rolling { ms } } | Gauge::Distinct { ms } | Gauge::Failures { ms },
            ) => {
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                at_ms.saturating_add(ms).saturating_add(ms.div_euclid(PARTS)).saturating_add(1)
            }
            (_, Gauge::Sum { over }) => over.period(at_ms).1,
            _ => at_ms,
        };
        self.ends_ms = self.ends_ms.max(ends);
    }
}

/// Nanoseconds in a millisecond.
const NS: i64 = 1_000_000;

/// How long `amount` takes to come back, rounded up.
fn spend_ns(amount: Amount, interval_ns: u64) -> i64 {
    let total = amount.nanos().saturating_mul(i128::from(interval_ns)).saturating_add(999_999_999);
    i64::try_from(total.checked_div(1_000_000_000).unwrap_or(0)).unwrap_or(i64::MAX)
}

/// What is missing in a bucket that will be full at `full_ns`, rounded up to what is being filled.
fn missing(full_ns: i64, now_ms: i64, interval_ns: u64) -> Amount {
    let wait = full_ns.saturating_sub(now_ms.saturating_mul(NS)).max(0);
    let interval = i128::from(interval_ns).max(1);
    let up = i128::from(wait).saturating_mul(1_000_000_000).saturating_add(interval.saturating_sub(1));
    Amount::of_nanos(up.checked_div(interval).unwrap_or(0))
}

/// When a bucket misses no more than `room`.
fn fits_bucket(full_ns: i64, room: Amount, interval_ns: u64) -> i64 {
    let total = room.nanos().saturating_mul(i128::from(interval_ns)).checked_div(1_000_000_000).unwrap_or(0);
    let at = full_ns.saturating_sub(i64::try_from(total).unwrap_or(i64::MAX));
    at.saturating_add(NS.saturating_sub(1)).div_euclid(NS)
}

/// Who is behind a request: the agent and everybody who delegated to it, folded, each once.
pub fn principals(request: &Request) -> Vec<String> {
    let chain = request.agent.chain.iter();
    let mut all: Vec<String> =
        std::iter::once(&request.agent.id).chain(chain).map(|name| name.folded().to_owned()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What a request counts as in one dimension; several for a chain. What is absent is one value of its own.
fn values(request: &Request, dimension: Dimension) -> Vec<String> {
    let folded =
        |name: Option<&crate::name::Name>| name.map_or_else(String::new, |it| it.folded().to_owned());
    match dimension {
        Dimension::Tenant => vec![request.tenant.folded().to_owned()],
        Dimension::Team => vec![folded(request.agent.team.as_ref())],
        Dimension::Agent => vec![request.agent.id.folded().to_owned()],
        Dimension::Chain => principals(request),
        Dimension::User => vec![folded(request.agent.on_behalf_of.as_ref())],
        Dimension::Session => {
            let parts = [&request.tenant, &request.agent.id].map(|name| named(name.folded()));
            vec![format!("{}/{}", parts.join("/"), named(&folded(request.session.id.as_ref())))]
        }
        Dimension::Tool => vec![fold(request.action_name())],
    }
}

/// The longest value that stands in the name of a meter as it is, in bytes.
const MAX_VALUE: usize = 90;
/// How much of a longer one stands before its digest, in bytes.
const BEGINNING: usize = 32;

/// A folded name as it stands in the name of a meter. Folding can make a name ten times as long, and who asks picks
/// many of them: of a long one there is the beginning and a digest, together longer than any that stands as it is.
#[must_use]
pub fn named(folded: &str) -> String {
    let whole = escaped(folded);
    if whole.len() <= MAX_VALUE {
        return whole;
    }
    let beginning = whole.get(..whole.floor_char_boundary(BEGINNING)).unwrap_or_default();
    format!("{beginning}~{}", Digest::of(whole.as_bytes()).hex())
}

/// Keeps `,` `=` and `/` for the names of meters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ',' => out.push_str("%2c"),
            '=' => out.push_str("%3d"),
            '/' => out.push_str("%2f"),
            '%' => out.push_str("%25"),
            c => out.push(c),
        }
    }
    out
}

/// Whom a request counts as: `agent=bot,tool=files.read`; several where a chain is counted by.
pub fn keys(request: &Request, per: &[Dimension]) -> Vec<String> {
    let mut all = vec![String::new()];
    for dimension in per {
        let values = values(request, *dimension);
        let longer = |key: &String| {
            let comma = if key.is_empty() { "" } else { "," };
            let one = |value: &String| {
                let value = if *dimension == Dimension::Session { value.clone() } else { named(value) };
                format!("{key}{comma}{dimension}={value}")
            };
            values.iter().map(one).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// The names of the meters that a request counts on: the limit's id, the beginning of its lineage, whom.
pub fn names(limit: &Limit, request: &Request) -> Vec<String> {
    let stem = limit.stem();
    keys(request, &limit.per).into_iter().map(|key| format!("{stem}:{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        // 1970-01-01, 1970-02-01, 1972-03-01 (after a leap day), 2000-03-01, 2024-02-29, 2100-03-01.
        let first = month_of(0);
        assert_eq!(first_day(first), 0);
        assert_eq!(first_day(first.saturating_add(1)), 31);
        assert_eq!(first_day(month_of(790)), 790);
        assert_eq!(first_day(month_of(11_017)), 11_017);
        assert_eq!((month_of(19_782), first_day(month_of(19_782))), (month_of(19_754), 19_754));
        assert_eq!(first_day(month_of(47_541)), 47_541);
        let mut end = first_day(month_of(-800_000));
        for month in month_of(-800_000)..month_of(800_000) {
            let next = first_day(month.saturating_add(1));
            assert_eq!(first_day(month), end);
            assert!((28..=31).contains(&next.saturating_sub(end)), "{month}");
            assert_eq!((month_of(end), month_of(next.saturating_sub(1))), (month, month));
            end = next;
        }
    }

    #[test]
    fn the_names_of_meters_are_short_whatever_they_count_by() {
        assert_eq!(named("a,b=c/d%"), "a%2cb%3dc%2fd%25");
        let longest = "\u{fdfa}".repeat(85);
        let folded = [fold(&longest), fold(&format!("{longest}x"))];
        assert!(folded[0].len() > 1_000);
        let names = folded.map(|name| named(&name));
        assert_ne!(names[0], names[1]);
        for name in &names {
            assert!((MAX_VALUE + 1..=BEGINNING + 65).contains(&name.len()), "{name}");
        }
        assert_eq!(named(&"a".repeat(MAX_VALUE)).len(), MAX_VALUE);
    }

    #[test]
    fn a_meter_is_looked_at_once_however_often_it_counts() {
        let mut meter = Meter::new(Gauge::Sum { over: Span::Rolling { ms: 1_000 } });
        meter.add(0, Amount::ONE, None);
        assert_eq!(meter.look_again(), Some(1_001));
        meter.add(500, Amount::ONE, None);
        assert_eq!((meter.look_again(), meter.ends_ms()), (None, 1_501));
    }

    #[test]
    fn a_long_window_keeps_few_parts_and_never_forgets_early() {
        let day = 86_400_000u64;
        let mut meter = Meter::new(Gauge::Sum { over: Span::Rolling { ms: day } });
        for second in 0..200_000i64 {
            meter.add(second.saturating_mul(1_000), Amount::ONE, None);
        }
        let now = 199_999_000;
        let used = meter.used(now).ceil();
        assert!((86_400..=86_400 + 85).contains(&used), "{used}");
        assert!(matches!(&meter.tally, Tally::Rolling { parts } if parts.parts.len() <= 1_026));
    }
}
