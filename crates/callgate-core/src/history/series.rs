//! One series: the events of one monitor with one correlation key, kept as its measure says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::{Entry, Window};
use super::{Measure, Observation, SeriesId};
use crate::digest::Digest;

/// A piece of a series as it stands in a receipt that fills monitors from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// For a streak: the place of the last event that had another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<u64>,
    /// The events, oldest first.
    pub events: Vec<KeptEvent>,
    /// The series.
    pub series: SeriesId,
}

/// One event of a [`Kept`] piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptEvent {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The place of its receipt in the log.
    pub index: u64,
    /// What distinguishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Digest>,
    /// What it adds to a sum.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub number: i64,
}

/// The events of one monitor with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Series {
    /// See [`Measure::Newest`].
    Newest(Option<Place>),
    /// See [`Measure::Totals`].
    Totals(Window),
    /// See [`Measure::Distinct`].
    Distinct(Names),
    /// See [`Measure::Streak`].
    Streak(Streak),
}

/// Where and when an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    index: u64,
    at_ms: i64,
}

/// The newest event of each name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    window: Window,
    by_name: BTreeMap<Digest, u64>,
    by_index: BTreeMap<u64, Digest>,
}

/// The newest event and the run of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Streak {
    newest: Option<Place>,
    name: Option<Digest>,
    /// The place of the last event before the run.
    broken: Option<u64>,
}

impl Series {
    pub(super) fn new(measure: Measure) -> Self {
        match measure {
            Measure::Newest => Self::Newest(None),
            Measure::Totals => Self::Totals(Window::default()),
            Measure::Distinct => Self::Distinct(Names::default()),
            Measure::Streak => Self::Streak(Streak::default()),
        }
    }

    pub(super) fn observe(&mut self, index: u64, at_ms: i64, observation: &Observation) {
        let event = KeptEvent { at_ms, index, name: observation.name, number: observation.number };
        self.add(&event);
    }

    fn add(&mut self, event: &KeptEvent) {
        let entry = Entry { index: event.index, at_ms: event.at_ms, number: event.number };
        let place = Place { index: event.index, at_ms: event.at_ms };
        match self {
            Self::Newest(newest) => *newest = Some(place),
            Self::Totals(window) => window.push(entry),
            Self::Distinct(names) => names.add(entry, event.name),
            Self::Streak(streak) => streak.add(place, event.name),
        }
    }

    pub(super) fn fill(&mut self, kept: &Kept) {
        for event in &kept.events {
            self.add(event);
        }
        if let Self::Streak(streak) = self {
            streak.broken = kept.broken;
        }
    }

    /// Drops events before `from_ms`.
    pub(super) fn forget(&mut self, from_ms: i64) {
        match self {
            Self::Totals(window) => while window.pop_before(from_ms).is_some() {},
            Self::Distinct(names) => names.forget(from_ms),
            Self::Newest(_) | Self::Streak(_) => {}
        }
    }

    fn place(&self) -> Option<Place> {
        let place = |entry: &Entry| Place { index: entry.index, at_ms: entry.at_ms };
        match self {
            Self::Newest(newest) => *newest,
            Self::Totals(window) => window.newest().map(place),
            Self::Distinct(names) => names.window.newest().map(place),
            Self::Streak(streak) => streak.newest,
        }
    }

    /// The place of the newest event; 0 without one.
    pub(super) fn newest(&self) -> u64 {
        self.place().map_or(0, |place| place.index)
    }

    pub(super) fn newest_ms(&self) -> Option<i64> {
        self.place().map(|place| place.at_ms)
    }

    /// Whether an event lies at or after both places.
    pub(super) fn seen(&self, from_ms: i64, after: u64) -> bool {
        self.place().is_some_and(|place| place.at_ms >= from_ms && place.index >= after)
    }

    /// Count, sum, and whether `name` is among them.
    pub(super) fn totals(&self, from_ms: i64, after: u64, name: Option<&Digest>) -> (u64, i128, bool) {
        match self {
            Self::Totals(window) => {
                let (count, sum) = window.totals(from_ms, after);
                (count, sum, false)
            }
            Self::Distinct(names) => {
                let (count, sum) = names.window.totals(from_ms, after);
                (count, sum, name.is_some_and(|name| names.holds(name, from_ms, after)))
            }
            Self::Newest(_) | Self::Streak(_) => (u64::from(self.seen(from_ms, after)), 0, false),
        }
    }

    /// Whether the newest event lies at or after `from_ms` and has this name.
    pub(super) fn newest_is(&self, from_ms: i64, name: &Digest) -> bool {
        match self {
            Self::Streak(streak) => {
                streak.name.as_ref() == Some(name)
                    && streak.newest.is_some_and(|place| place.at_ms >= from_ms)
            }
            _ => false,
        }
    }

    /// The place of the last event that has not this name, if there was one.
    pub(super) fn broken(&self, name: &Digest) -> Option<u64> {
        match self {
            Self::Streak(streak) if streak.name.as_ref() == Some(name) => streak.broken,
            _ => self.place().map(|place| place.index),
        }
    }

    /// What is kept from place `from` on, in pieces of at most `size` events.
    pub(super) fn kept(&self, series: SeriesId, from: u64, size: usize) -> Vec<Kept> {
        let event = |entry: &Entry, name: Option<Digest>| KeptEvent {
            at_ms: entry.at_ms,
            index: entry.index,
            name,
            number: entry.number,
        };
        let newer = |entry: &&Entry| entry.index >= from;
        let events: Vec<KeptEvent> = match self {
            Self::Newest(_) => self.only(None, from),
            Self::Streak(streak) => self.only(streak.name, from),
            Self::Totals(window) => window.iter().filter(newer).map(|entry| event(entry, None)).collect(),
            Self::Distinct(names) => {
                let name = |entry: &Entry| names.by_index.get(&entry.index).copied();
                names.window.iter().filter(newer).map(|entry| event(entry, name(entry))).collect()
            }
        };
        let broken = match self {
            Self::Streak(streak) => streak.broken,
            _ => None,
        };
        events.chunks(size.max(1)).map(|events| Kept { broken, events: events.to_vec(), series }).collect()
    }

    fn only(&self, name: Option<Digest>, from: u64) -> Vec<KeptEvent> {
        let event = |place: Place| KeptEvent { at_ms: place.at_ms, index: place.index, name, number: 0 };
        self.place().filter(|place| place.index >= from).map(event).into_iter().collect()
    }
}

impl Names {
    fn add(&mut self, entry: Entry, name: Option<Digest>) {
        // Without a name an event is its own.
        let name = name.unwrap_or_else(|| Digest::of(&entry.index.to_be_bytes()));
        if let Some(earlier) = self.by_name.insert(name, entry.index) {
            self.by_index.remove(&earlier);
            self.window.remove(earlier);
        }
        self.by_index.insert(entry.index, name);
        self.window.push(entry);
    }

    fn forget(&mut self, from_ms: i64) {
        while let Some(entry) = self.window.pop_before(from_ms) {
            if let Some(name) = self.by_index.remove(&entry.index) {
                self.by_name.remove(&name);
            }
        }
    }

    fn holds(&self, name: &Digest, from_ms: i64, after: u64) -> bool {
        let Some(index) = self.by_name.get(name).copied().filter(|index| *index >= after) else {
            return false;
        };
        self.window.at(index).is_some_and(|entry| entry.at_ms >= from_ms)
    }
}

impl Streak {
    fn add(&mut self, place: Place, name: Option<Digest>) {
        if name.is_none() {
            self.broken = Some(place.index);
        } else if name != self.name {
            self.broken = self.newest.map(|newest| newest.index);
        }
        self.name = name;
        self.newest = Some(place);
    }
}
