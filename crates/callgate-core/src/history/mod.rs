//! History: what earlier decisions and outcomes left behind, as far as a policy in force asks for it.
//!
//! A policy engine names **monitors**: patterns of events, each with the way its events are kept. An
//! event that fits a monitor adds one *observation* to the *series* of its correlation key. State keeps
//! the series as a fold of the observations in the log, so a question about the past costs the same
//! however long that past is, and memory follows what is inside the windows, not the log.
//!
//! Nothing here knows a policy language, and no clock is read: an event's time is that of its receipt.

mod series;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::request::Request;

use series::Series;
pub use series::{Kept, KeptEvent};

/// Something that happens, as monitors see it.
#[derive(Debug, Clone, Copy)]
pub enum Occurrence<'a> {
    /// A request that is being decided.
    Asked(&'a Request),
    /// A request that was decided.
    Decided {
        /// The request as decided.
        request: &'a Request,
        /// Whether it may run.
        allowed: bool,
    },
    /// An allowed action that ended.
    Ended {
        /// The request that asked for it.
        request: &'a Request,
        /// How it ended, in the words of an outcome report; `succeeded` if it did what it should.
        status: &'a str,
    },
}

impl<'a> Occurrence<'a> {
    /// The request behind it.
    #[must_use]
    pub const fn request(&self) -> &'a Request {
        match self {
            Self::Asked(request) | Self::Decided { request, .. } | Self::Ended { request, .. } => request,
        }
    }
}

/// How the events of a monitor are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Only the newest event: enough to know whether it happened.
    Newest,
    /// Every event inside the window, with a number: enough to count and to sum.
    Totals,
    /// The newest event of each distinct name inside the window, with a number.
    Distinct,
    /// Which name the newest event had, and since when every event had it.
    Streak,
}

/// One pattern of events that a policy in force watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// The digest of its definition: the same pattern has the same name in every bundle.
    pub id: Digest,
    /// How its events are kept.
    pub measure: Measure,
    /// How far back it looks, in milliseconds; older events are forgotten.
    pub reach_ms: i64,
}

/// One monitor's events with one correlation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesId {
    /// The blinded digest of the correlated values.
    pub key: Digest,
    /// The monitor.
    pub monitor: Digest,
}

/// What one event adds to one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What distinguishes it in [`Measure::Distinct`] and [`Measure::Streak`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Digest>,
    /// What it adds to a sum.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: i64,
    /// The series.
    pub series: SeriesId,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What ends the validity of an earlier event: "… and not X since".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Break {
    /// An event of this series after it.
    Event {
        /// A series of [`Measure::Newest`].
        series: SeriesId,
    },
    /// An event after it that has not this name.
    Other {
        /// The name that every event must have.
        name: Digest,
        /// A series of [`Measure::Streak`].
        series: SeriesId,
    },
}

/// A question about the past, relative to the moment of reading. Windows include both ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The series asked about.
    pub series: SeriesId,
    /// The question.
    pub question: Question,
    /// How far back, in milliseconds.
    pub within_ms: i64,
}

/// What is asked of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Whether an event lies inside the window, with none of these breaks after it.
    Seen {
        /// What ends an event's validity.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unless: Vec<Break>,
    },
    /// How many lie inside the window, and the sum of their numbers.
    Totals {
        /// Also tell whether this name is among them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Digest>,
        /// What ends an event's validity.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unless: Vec<Break>,
    },
    /// Whether the newest event of a [`Measure::Streak`] lies inside the window and has this name.
    Newest {
        /// The name.
        name: Digest,
    },
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Question::Seen`] and [`Question::Newest`].
    Seen {
        /// Yes or no.
        seen: bool,
    },
    /// To [`Question::Totals`].
    Totals {
        /// How many.
        count: u64,
        /// Whether the name asked for is among them.
        named: bool,
        /// The exact sum, in decimal digits.
        #[serde(with = "exact")]
        sum: i128,
    },
}

/// 128-bit numbers as decimal text: JSON numbers would lose digits.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The answer.
    pub answer: Answer,
    /// The question.
    pub query: Query,
}

/// What a decision learned about the past, all at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFacts {
    /// How many receipts the log had.
    pub as_of: u64,
    /// Hides correlated values from whoever reads the log without its key ring.
    pub blind: Digest,
    /// The questions in order, each with its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
}

impl HistoryFacts {
    /// The answer to a question, if it was asked.
    #[must_use]
    pub fn answer(&self, query: &Query) -> Option<Answer> {
        let at = self.readings.binary_search_by(|reading| reading.query.cmp(query)).ok()?;
        self.readings.get(at).map(|reading| reading.answer)
    }

    /// The series these answers depend on: they hold while none of them gets another event.
    #[must_use]
    pub fn reads(&self) -> Option<Reads> {
        let mut series = BTreeSet::new();
        for Reading { query, .. } in &self.readings {
            series.insert(query.series);
            let unless = match &query.question {
                Question::Seen { unless } | Question::Totals { unless, .. } => unless.as_slice(),
                Question::Newest { .. } => &[],
            };
            series.extend(unless.iter().map(Break::series));
        }
        (!series.is_empty()).then(|| Reads { as_of: self.as_of, series: series.into_iter().collect() })
    }
}

impl Break {
    /// The series that is looked at.
    #[must_use]
    pub const fn series(&self) -> SeriesId {
        match self {
            Self::Event { series } | Self::Other { series, .. } => *series,
        }
    }
}

/// The versions of the series a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// How many receipts the log had when they were read.
    pub as_of: u64,
    /// The series, sorted.
    pub series: Vec<SeriesId>,
}

/// The series of one monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    measure: Measure,
    reach_ms: i64,
    series: BTreeMap<Digest, Series>,
    /// When each series will hold nothing any more.
    ends: BTreeSet<(i64, Digest)>,
}

/// How long a series is kept after its last event left the window, so that what a decision read is still
/// there when its receipt is replayed; a decision that takes longer to commit must read again.
pub(crate) const LINGER_MS: i64 = 60_000;

/// All series of the monitors in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    monitors: BTreeMap<Digest, Watched>,
    /// How many receipts were folded.
    size: u64,
}

impl History {
    /// How many receipts were folded.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether this monitor's events are being kept.
    #[must_use]
    pub fn watches(&self, monitor: &Digest) -> bool {
        self.monitors.contains_key(monitor)
    }

    /// How many series there are: what memory follows.
    #[must_use]
    pub fn series(&self) -> usize {
        self.monitors.values().map(|watched| watched.series.len()).fold(0, usize::saturating_add)
    }

    /// Answers `queries` at `now_ms`. Each question is answered once; the readings are sorted.
    #[must_use]
    pub fn read(&self, mut queries: Vec<Query>, now_ms: i64, blind: Digest) -> HistoryFacts {
        queries.sort_unstable();
        queries.dedup();
        let readings =
            queries.into_iter().map(|query| Reading { answer: self.answer(&query, now_ms), query }).collect();
        HistoryFacts { as_of: self.size, blind, readings }
    }

    fn get(&self, id: &SeriesId) -> Option<&Series> {
        self.monitors.get(&id.monitor)?.series.get(&id.key)
    }

    fn answer(&self, query: &Query, now_ms: i64) -> Answer {
        let from_ms = now_ms.saturating_sub(query.within_ms.max(0));
        let series = self.get(&query.series);
        match &query.question {
            Question::Seen { unless } => {
                let after = self.last_break(unless);
                Answer::Seen { seen: series.is_some_and(|series| series.seen(from_ms, after)) }
            }
            Question::Totals { name, unless } => {
                let after = self.last_break(unless);
                let (count, sum, named) =
                    series.map_or((0, 0, false), |series| series.totals(from_ms, after, name.as_ref()));
                Answer::Totals { count, named, sum }
            }
            Question::Newest { name } => {
                Answer::Seen { seen: series.is_some_and(|series| series.newest_is(from_ms, name)) }
            }
        }
    }

    /// The place in the log of the latest break; events before it do not count, one at it does.
    fn last_break(&self, unless: &[Break]) -> u64 {
        let place = |broken: &Break| {
            let series = self.get(&broken.series())?;
            match broken {
                Break::Event { .. } => Some(series.newest()),
                Break::Other { name, .. } => series.broken(name),
            }
        };
        unless.iter().filter_map(place).max().unwrap_or(0)
    }

    /// Whether nothing was added to what was read.
    #[must_use]
    pub fn holds(&self, reads: &Reads) -> bool {
        reads.series.iter().all(|id| self.get(id).is_none_or(|series| series.newest() < reads.as_of))
    }

    /// Folds one receipt in. Observations of monitors that are not in force are left out.
    pub fn apply(&mut self, index: u64, at_ms: i64, observations: &[Observation]) {
        self.size = index.saturating_add(1);
        for observation in observations {
            if let Some(watched) = self.monitors.get_mut(&observation.series.monitor) {
                watched.observe(index, at_ms, observation);
            }
        }
        self.forget(at_ms);
    }

    /// Makes `monitors` those in force. The series of every other are dropped; a new one begins empty.
    pub fn enforce(&mut self, monitors: &[Monitor]) {
        let named: BTreeSet<&Digest> = monitors.iter().map(|monitor| &monitor.id).collect();
        self.monitors.retain(|id, _| named.contains(id));
        for monitor in monitors {
            self.monitors.entry(monitor.id).or_insert_with(|| Watched::new(monitor));
        }
    }

    /// Makes `monitors` known and empty, whatever was kept of them, before they are filled.
    pub fn begin(&mut self, monitors: &[Monitor]) {
        for monitor in monitors {
            self.monitors.insert(monitor.id, Watched::new(monitor));
        }
    }

    /// Adds what was found in the log for monitors that were not in force.
    pub fn fill(&mut self, kept: &[Kept]) {
        for kept in kept {
            if let Some(watched) = self.monitors.get_mut(&kept.series.monitor) {
                watched.fill(kept);
            }
        }
    }

    /// What is kept of these monitors from place `from` of the log on, in pieces of at most `size` events.
    pub fn kept<'a>(
        &'a self,
        monitors: &'a [Monitor],
        from: u64,
        size: usize,
    ) -> impl Iterator<Item = Kept> + 'a {
        let watched =
            monitors.iter().filter_map(|monitor| Some((monitor.id, self.monitors.get(&monitor.id)?)));
        watched.flat_map(move |(monitor, watched)| {
            watched
                .series
                .iter()
                .flat_map(move |(key, series)| series.kept(SeriesId { key: *key, monitor }, from, size))
        })
    }

    fn forget(&mut self, now_ms: i64) {
        for watched in self.monitors.values_mut() {
            while watched.ends.first().is_some_and(|(end, _)| *end < now_ms) {
                if let Some((_, key)) = watched.ends.pop_first() {
                    watched.series.remove(&key);
                }
            }
        }
    }
}

impl Watched {
    const fn new(monitor: &Monitor) -> Self {
        Self {
            measure: monitor.measure,
            reach_ms: monitor.reach_ms,
            series: BTreeMap::new(),
            ends: BTreeSet::new(),
        }
    }

    fn observe(&mut self, index: u64, at_ms: i64, observation: &Observation) {
        let key = observation.series.key;
        let series = self.series.entry(key).or_insert_with(|| Series::new(self.measure));
        let before = series.newest_ms();
        series.observe(index, at_ms, observation);
        series.forget(at_ms.saturating_sub(self.reach_ms));
        let after = series.newest_ms();
        self.moved(key, before, after);
    }

    fn fill(&mut self, kept: &Kept) {
        let series = self.series.entry(kept.series.key).or_insert_with(|| Series::new(self.measure));
        let before = series.newest_ms();
        series.fill(kept);
        let after = series.newest_ms();
        self.moved(kept.series.key, before, after);
    }

    fn moved(&mut self, key: Digest, before: Option<i64>, after: Option<i64>) {
        let end = |at: i64| at.saturating_add(self.reach_ms).saturating_add(LINGER_MS);
        if let Some(at) = before {
            self.ends.remove(&(end(at), key));
        }
        if let Some(at) = after {
            self.ends.insert((end(at), key));
        }
    }
}
