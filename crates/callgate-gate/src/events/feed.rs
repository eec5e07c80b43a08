//! Where in the log events are, as far as is remembered, and who is to be woken.

use std::collections::VecDeque;

use callgate_core::state::Change;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::derive::said;

/// The most places that are remembered; what lies before is looked for in the log.
const REMEMBERED: usize = if cfg!(test) { 8 } else { 4096 };

/// What readers wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tide {
    /// How many events there were.
    pub(crate) events: u64,
    /// Whether there will be no more.
    pub(crate) closed: bool,
}

/// The places of the newest events. Part of the fold: it holds what is admitted, durable or not yet.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    places: Places,
    tide: watch::Sender<Tide>,
}

/// What a saved state keeps of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Places {
    places: VecDeque<u64>,
    /// Every event from this receipt on has its place here.
    from: u64,
}

/// Where a reader finds its next event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There.
    At(u64),
    /// Somewhere in the log before `until`, or not.
    Unknown { until: u64 },
    /// Nowhere so far.
    NoneYet,
}

impl Feed {
    /// As it was when its places were saved.
    pub(crate) fn at(places: Places) -> Self {
        Self { places, tide: watch::Sender::default() }
    }

    pub(crate) const fn places(&self) -> &Places {
        &self.places
    }

    /// Notes the receipt at `index`, if it is an event.
    pub(crate) fn note(&mut self, index: u64, change: &Change) {
        if said(change).is_none() {
            return;
        }
        let Places { places, from } = &mut self.places;
        if places.len() >= REMEMBERED
            && let Some(first) = places.pop_front()
        {
            *from = first.saturating_add(1);
        }
        places.push_back(index);
        self.tide.send_modify(|tide| tide.events = tide.events.saturating_add(1));
    }

    /// The first event at `next` or after it.
    pub(crate) fn next(&self, next: u64) -> Next {
        let Places { places, from } = &self.places;
        if next < *from {
            return Next::Unknown { until: *from };
        }
        let before = places.partition_point(|place| *place < next);
        places.get(before).map_or(Next::NoneYet, |place| Next::At(*place))
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Tide> {
        self.tide.subscribe()
    }

    /// There will be no more.
    pub(crate) fn close(&self) {
        self.tide.send_modify(|tide| tide.closed = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_looked_for_in_the_log() {
        let mut feed = Feed::default();
        assert_eq!(feed.next(0), Next::NoneYet);
        let revoked = Change::KeyRevoked { id: "k".to_owned() };
        for index in 0..u64::try_from(REMEMBERED).unwrap() {
            feed.note(index * 2, &revoked);
            feed.note(index * 2 + 1, &Change::Noted {});
        }
        assert_eq!((feed.next(0), feed.next(1)), (Next::At(0), Next::At(2)));
        feed.note(100, &revoked);
        assert_eq!((feed.next(0), feed.next(1)), (Next::Unknown { until: 1 }, Next::At(2)));
        assert_eq!((feed.next(100), feed.next(101)), (Next::At(100), Next::NoneYet));
        assert_eq!(feed.watch().borrow().events, 9);
    }
}
