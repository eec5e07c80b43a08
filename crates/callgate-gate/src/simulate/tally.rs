//! Counting: what a simulation adds up while it reads.

use std::collections::BTreeMap;

use callgate_core::decision::Decision;

use super::report::{
    Busiest, Example, Inputs, Kind, Matrix, NamedFlips, NotEvaluated, Place, Reason, Report, RuleFlips, Top,
    Totals, Volume,
};

/// Most different names that are counted one by one; those that come later are counted together.
const MAX_NAMES: usize = 65_536;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// How long the lists of a report are.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// Examples of each kind of flip, and of each reason not to evaluate; 3.
    pub examples: usize,
    /// Rules, agents and tools; 10.
    pub top: usize,
    /// Examples of what stays, too.
    pub unchanged: bool,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { examples: 3, top: 10, unchanged: false }
    }
}

/// A decision before and now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flip {
    pub(super) was: Decision,
    pub(super) now: Decision,
    /// Whether the constraints are others.
    pub(super) constraints: bool,
    /// Whether enforcement of everything would answer otherwise than it would have.
    pub(super) would: bool,
}

impl Flip {
    pub(super) fn is_same(self) -> bool {
        self.was == self.now && !self.constraints && !self.would
    }
}

/// How often something became more permissive, and how often stricter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ways {
    loosened: u64,
    tightened: u64,
}

impl Ways {
    fn add(&mut self, flip: Flip) {
        let way = if flip.now < flip.was { &mut self.loosened } else { &mut self.tightened };
        *way = way.saturating_add(1);
    }

    const fn sum(self) -> u64 {
        self.loosened.saturating_add(self.tightened)
    }
}

/// Counts by name, as many names as there may be.
#[derive(Debug)]
struct Names<K> {
    counts: BTreeMap<K, Ways>,
    /// Names that came when there were enough; one that comes twice counts twice.
    beyond: u64,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), beyond: 0 }
    }
}

impl<K: Ord> Names<K> {
    fn add(&mut self, name: K, flip: Flip) {
        if self.counts.len() >= MAX_NAMES && !self.counts.contains_key(&name) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        self.counts.entry(name).or_default().add(flip);
    }

    /// The most frequent; among equals in the order of their names.
    fn top<T>(self, length: usize, shown: impl Fn(K, Ways) -> T) -> Top<T> {
        let mut all: Vec<(K, Ways)> = self.counts.into_iter().collect();
        all.sort_by_key(|(_, ways)| std::cmp::Reverse(ways.sum()));
        let more = count(all.len().saturating_sub(length)).saturating_add(self.beyond);
        Top { shown: all.into_iter().take(length).map(|(name, ways)| shown(name, ways)).collect(), more }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// New ones of one decision, by the hour.
#[derive(Debug, Default)]
struct Hours(BTreeMap<i64, u64>);

impl Hours {
    fn add(&mut self, at_ms: i64) {
        let hour = self.0.entry(at_ms.div_euclid(HOUR_MS)).or_default();
        *hour = hour.saturating_add(1);
    }

    fn volume(&self, was: u64, now: u64, hours: u64) -> Volume {
        let newly = self.0.values().fold(0u64, |sum, count| sum.saturating_add(*count));
        // Among equal hours the first.
        let busiest = self.0.iter().rev().max_by_key(|(_, count)| **count);
        let busiest =
            busiest.map(|(hour, count)| Busiest { from_ms: hour.saturating_mul(HOUR_MS), count: *count });
        Volume { was, now, newly, hours, newly_per_hour: per_hour(newly, hours), busiest }
    }
}

/// The average with two digits, rounded half up.
fn per_hour(newly: u64, hours: u64) -> String {
    let hours = u128::from(hours.max(1));
    let half = hours.checked_div(2).unwrap_or(0);
    let hundredths = u128::from(newly).saturating_mul(100).saturating_add(half);
    let hundredths = hundredths.checked_div(hours).unwrap_or(0);
    let (whole, rest) = (hundredths.checked_div(100).unwrap_or(0), hundredths.checked_rem(100).unwrap_or(0));
    format!("{whole}.{rest:02}")
}

/// Hundredths of a percent, rounded up, so that no flip is lost below the line.
fn basis_points(part: u64, whole: u64) -> u64 {
    let whole = u128::from(whole.max(1));
    let points = u128::from(part).saturating_mul(10_000).div_ceil(whole);
    u64::try_from(points).unwrap_or(u64::MAX)
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: Totals,
    lengths: Lengths,
    rows: [[u64; 5]; 5],
    now: [u64; 5],
    rules: Names<(String, String)>,
    agents: Names<String>,
    tools: Names<String>,
    approvals: Hours,
    throttles: Hours,
    /// The hours of the first and last evaluated decision.
    span: Option<(i64, i64)>,
    reasons: BTreeMap<Reason, (u64, Vec<Place>)>,
    kinds: BTreeMap<KindKey, (u64, Vec<Example>)>,
}

/// A decision before, one now, and whether anything changed.
type KindKey = (Option<Decision>, Decision, bool);

/// Which place a decision has in rows and columns.
fn place(decision: Decision) -> usize {
    Decision::ALL.iter().position(|one| *one == decision).unwrap_or(0)
}

impl Tally {
    pub(super) fn new(lengths: Lengths) -> Self {
        Self { lengths, ..Self::default() }
    }

    /// Counts a decision that was made again. What had no decision before has `None`.
    pub(super) fn evaluated(&mut self, at_ms: i64, now: Decision, flip: Option<Flip>) {
        self.totals.evaluated = self.totals.evaluated.saturating_add(1);
        let hour = at_ms.div_euclid(HOUR_MS);
        let (first, last) = self.span.unwrap_or((hour, hour));
        self.span = Some((first.min(hour), last.max(hour)));
        bump(self.now.get_mut(place(now)));
        let Some(flip) = flip else { return };
        bump(self.rows.get_mut(place(flip.was)).and_then(|row| row.get_mut(place(flip.now))));
        let totals = &mut self.totals;
        let counter = match flip.now.cmp(&flip.was) {
            std::cmp::Ordering::Less => &mut totals.loosened,
            std::cmp::Ordering::Greater => &mut totals.tightened,
            std::cmp::Ordering::Equal if flip.constraints => &mut totals.constraints_changed,
            std::cmp::Ordering::Equal if flip.would => &mut totals.would_changed,
            std::cmp::Ordering::Equal => &mut totals.same,
        };
        *counter = counter.saturating_add(1);
        if flip.was != flip.now {
            match flip.now {
                Decision::RequireApproval => self.approvals.add(at_ms),
                Decision::Throttle => self.throttles.add(at_ms),
                _ => {}
            }
        }
    }

    /// Counts whose decision became another, and by which rules.
    pub(super) fn named(&mut self, flip: Flip, rules: (String, String), agent: &str, tool: &str) {
        self.rules.add(rules, flip);
        self.agents.add(agent.to_owned(), flip);
        self.tools.add(tool.to_owned(), flip);
    }

    /// Whether another example of this kind is wanted. Counts it.
    pub(super) fn wants(&mut self, now: Decision, flip: Option<Flip>) -> bool {
        let changed = flip.is_some_and(|flip| !flip.is_same());
        if !changed && !self.lengths.unchanged {
            return false;
        }
        let (count, examples) = self.kinds.entry(kind(now, flip)).or_default();
        *count = count.saturating_add(1);
        examples.len() < self.lengths.examples
    }

    pub(super) fn example(&mut self, now: Decision, flip: Option<Flip>, example: Example) {
        self.kinds.entry(kind(now, flip)).or_default().1.push(example);
    }

    /// Counts a decision that could not be made again.
    pub(super) fn not_evaluated(&mut self, reason: Reason, place: Place) {
        self.totals.not_evaluated = self.totals.not_evaluated.saturating_add(1);
        let (count, places) = self.reasons.entry(reason).or_default();
        *count = count.saturating_add(1);
        if places.len() < self.lengths.examples {
            places.push(place);
        }
    }

    pub(super) fn finish(mut self, inputs: Inputs) -> Report {
        let totals = &mut self.totals;
        totals.loosened_bp = basis_points(totals.loosened, totals.evaluated);
        totals.tightened_bp = basis_points(totals.tightened, totals.evaluated);
        let hours = self.span.map_or(0, |(first, last)| last.abs_diff(first).saturating_add(1));
        let before = |decision: Decision| {
            let row = self.rows.get(place(decision)).into_iter().flatten();
            row.fold(0u64, |sum, count| sum.saturating_add(*count))
        };
        let after = |decision: Decision| self.now.get(place(decision)).copied().unwrap_or(0);
        let volume = |hours_of: &Hours, decision| hours_of.volume(before(decision), after(decision), hours);
        let named =
            |name, ways: Ways| NamedFlips { name, loosened: ways.loosened, tightened: ways.tightened };
        let top = self.lengths.top;
        Report {
            inputs,
            approvals: volume(&self.approvals, Decision::RequireApproval),
            throttles: volume(&self.throttles, Decision::Throttle),
            totals: self.totals,
            matrix: Matrix { decisions: Decision::ALL, rows: self.rows, now: self.now },
            by_rule: self.rules.top(top, |(was, now), ways| RuleFlips {
                was,
                now,
                loosened: ways.loosened,
                tightened: ways.tightened,
            }),
            by_agent: self.agents.top(top, named),
            by_tool: self.tools.top(top, named),
            not_evaluated: self
                .reasons
                .into_iter()
                .map(|(reason, (count, examples))| NotEvaluated { reason, count, examples })
                .collect(),
            examples: self
                .kinds
                .into_iter()
                .map(|((was, now, changed), (count, examples))| Kind { was, now, changed, count, examples })
                .collect(),
        }
    }
}

fn kind(now: Decision, flip: Option<Flip>) -> KindKey {
    (flip.map(|flip| flip.was), now, flip.is_some_and(|flip| !flip.is_same()))
}

fn bump(counter: Option<&mut u64>) {
    if let Some(counter) = counter {
        *counter = counter.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_averages_to_the_nearest() {
        assert_eq!(basis_points(0, 0), 0);
        assert_eq!(basis_points(1, 1_000_000), 1);
        assert_eq!(basis_points(1, 3), 3334);
        assert_eq!(basis_points(u64::MAX, 1), u64::MAX);
        assert_eq!(per_hour(1, 3), "0.33");
        assert_eq!(per_hour(2, 3), "0.67");
        assert_eq!(per_hour(7, 0), "7.00");
    }

    #[test]
    fn the_first_of_the_busiest_hours_is_named() {
        let mut hours = Hours::default();
        for at in [-1, 1, 2, HOUR_MS * 3, HOUR_MS * 3 + 1] {
            hours.add(at);
        }
        let volume = hours.volume(0, 5, 5);
        assert_eq!(volume.busiest, Some(Busiest { from_ms: 0, count: 2 }));
        assert_eq!(volume.newly_per_hour, "1.00");
    }

    #[test]
    fn names_beyond_the_list_are_counted() {
        let flip = Flip { was: Decision::Deny, now: Decision::Allow, constraints: false, would: false };
        let mut names = Names::default();
        for name in ["b", "a", "b", "c"] {
            names.add(name, flip);
        }
        let top = names.top(2, |name, ways| (name, ways.loosened, ways.tightened));
        assert_eq!(top, Top { shown: vec![("b", 2, 0), ("a", 1, 0)], more: 1 });
    }
}
