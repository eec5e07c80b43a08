//! The events of one series inside its window: appended at the back, forgotten at the front, and
//! counted or summed from any place to the end without looking at each.
//!
//! Events lie in chunks that know their own sum, so a question costs one look at each chunk and at the
//! events of one. A million events are two thousand chunks.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Most events of a chunk.
const CHUNK: usize = 512;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its receipt's place in the log.
    pub(super) index: u64,
    /// When it happened, milliseconds since 1970 UTC; never before an earlier entry.
    pub(super) at_ms: i64,
    /// What it adds to a sum.
    pub(super) number: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunk {
    entries: VecDeque<Entry>,
    sum: i128,
}

/// Events in log order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    chunks: VecDeque<Chunk>,
}

impl Chunk {
    fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    fn drop_number(&mut self, number: i64) {
        self.sum = self.sum.saturating_sub(i128::from(number));
    }
}

impl Window {
    /// Appends an event; it must not lie before the newest one.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.chunks.back().is_none_or(|chunk| chunk.entries.len() >= CHUNK) {
            self.chunks.push_back(Chunk::default());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.entries.push_back(entry);
            chunk.sum = chunk.sum.saturating_add(i128::from(entry.number));
        }
    }

    /// Takes the oldest event out if it lies before `from_ms`.
    pub(super) fn pop_before(&mut self, from_ms: i64) -> Option<Entry> {
        let chunk = self.chunks.front_mut()?;
        if chunk.first().is_none_or(|entry| entry.at_ms >= from_ms) {
            return None;
        }
        let entry = chunk.entries.pop_front()?;
        chunk.drop_number(entry.number);
        if chunk.entries.is_empty() {
            self.chunks.pop_front();
        }
        Some(entry)
    }

    /// The number of the chunk where the event of the receipt at `index` must lie.
    fn chunk_of(&self, index: u64) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.first().is_some_and(|e| e.index <= index)).checked_sub(1)
    }

    /// The event of the receipt at `index`.
    pub(super) fn at(&self, index: u64) -> Option<&Entry> {
        let chunk = self.chunks.get(self.chunk_of(index)?)?;
        let at = chunk.entries.binary_search_by(|entry| entry.index.cmp(&index)).ok()?;
        chunk.entries.get(at)
    }

    /// Takes out the event of the receipt at `index`.
    pub(super) fn remove(&mut self, index: u64) -> Option<Entry> {
        let number = self.chunk_of(index)?;
        let chunk = self.chunks.get_mut(number)?;
        let at = chunk.entries.binary_search_by(|entry| entry.index.cmp(&index)).ok()?;
        let entry = chunk.entries.remove(at)?;
        chunk.drop_number(entry.number);
        if chunk.entries.is_empty() {
            self.chunks.remove(number);
        }
        Some(entry)
    }

    /// How many events lie at or after both places, and the sum of their numbers.
    pub(super) fn totals(&self, from_ms: i64, from_index: u64) -> (u64, i128) {
        let inside = |entry: &Entry| entry.at_ms >= from_ms && entry.index >= from_index;
        let (mut count, mut sum) = (0usize, 0i128);
        for chunk in self.chunks.iter().rev() {
            if chunk.first().is_some_and(inside) {
                count = count.saturating_add(chunk.entries.len());
                sum = sum.saturating_add(chunk.sum);
                continue;
            }
            let start = chunk.entries.partition_point(|entry| !inside(entry));
            for entry in chunk.entries.range(start..) {
                count = count.saturating_add(1);
                sum = sum.saturating_add(i128::from(entry.number));
            }
            break;
        }
        (u64::try_from(count).unwrap_or(u64::MAX), sum)
    }

    /// The newest event.
    pub(super) fn newest(&self) -> Option<&Entry> {
        self.chunks.back()?.entries.back()
    }

    /// All events, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn totals_agree_with_a_list(
            steps in proptest::collection::vec((0i64..5, -9i64..9, any::<bool>(), 0u64..4000), 1..3000),
            from_ms in 0i64..6000, from_index in 0u64..3000,
        ) {
            let (mut window, mut list, mut now) = (Window::default(), Vec::new(), 0i64);
            for (index, (wait, number, remove, which)) in (0u64..).zip(steps) {
                now = now.saturating_add(wait);
                let entry = Entry { index, at_ms: now, number };
                window.push(entry);
                list.push(entry);
                if remove {
                    let found = list.iter().position(|e| e.index == which);
                    prop_assert_eq!(window.remove(which), found.map(|at| list.remove(at)));
                }
            }
            let old = from_ms / 3;
            while let Some(entry) = window.pop_before(old) {
                prop_assert_eq!(list.remove(0), entry);
            }
            prop_assert!(list.first().is_none_or(|e| e.at_ms >= old));
            let inside: Vec<&Entry> =
                list.iter().filter(|e| e.at_ms >= from_ms && e.index >= from_index).collect();
            let sum: i128 = inside.iter().map(|e| i128::from(e.number)).sum();
            prop_assert_eq!(window.totals(from_ms, from_index), (inside.len() as u64, sum));
            prop_assert_eq!(window.iter().copied().collect::<Vec<_>>(), list);
        }
    }
}
