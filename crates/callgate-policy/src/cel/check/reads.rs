//! Which paths of the request an expression reads.

use std::collections::BTreeMap;

/// Paths with how often each is read as a whole; a longer path takes back the read of its beginning.
#[derive(Debug, Default)]
pub(super) struct Reads(BTreeMap<String, usize>);

impl Reads {
    /// Counts one read of `path`.
    pub(super) fn add(&mut self, path: &str) {
        let count = self.0.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Turns one read of `path` into one of `path` + `step`, which it returns.
    pub(super) fn extend(&mut self, path: &str, step: &str) -> String {
        if let Some(count) = self.0.get_mut(path) {
            *count = count.saturating_sub(1);
        }
        let longer = format!("{path}{step}");
        self.add(&longer);
        longer
    }

    /// The paths read, sorted.
    pub(super) fn paths(self) -> Vec<String> {
        self.0.into_iter().filter(|(_, count)| *count > 0).map(|(path, _)| path).collect()
    }
}
