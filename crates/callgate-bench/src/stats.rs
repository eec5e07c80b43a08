//! Samples, percentiles, and what machine they were taken on.

use std::time::Instant;

/// Measurements of one thing, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn push(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which `share` (in percent) of the samples lie.
    pub(crate) fn percentile(&mut self, share: usize) -> u64 {
        self.0.sort_unstable();
        let at = (self.0.len() * share / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn p50_p99(&mut self) -> String {
        format!("{}/{}", self.percentile(50), self.percentile(99))
    }

    /// As milliseconds.
    pub(crate) fn p50_p99_ms(&mut self) -> String {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        format!("{:.3}/{:.3}", ms(self.percentile(50)), ms(self.percentile(99)))
    }
}

/// Runs `work` and says how long it took.
pub(crate) fn nanos<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let out = work();
    (out, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// The load average, as the kernel gives it.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

pub(crate) fn machine() {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!(
        "machine: {} × {cores}, memory {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal")
    );
    println!("load average at the start: {}", load());
}
