//! How far something long is: one line on standard error, while that is a terminal.

use std::io::{IsTerminal as _, Write as _};

use callgate_gate::clock::{Clock as _, SystemClock};

/// How often the clock is looked at.
const STEP: u64 = 2048;
/// How often the line is written again, in milliseconds.
const AGAIN_MS: i64 = 100;
const WIDTH: u64 = 24;

/// The line.
pub(super) struct Progress {
    /// How much there is, if that is known; nothing is shown otherwise.
    total: Option<u64>,
    began_ms: i64,
    shown_ms: i64,
    done: u64,
}

impl Progress {
    pub(super) fn of(total: Option<u64>) -> Self {
        let now = SystemClock.now_ms();
        let total = total.filter(|total| *total > 0 && std::io::stderr().is_terminal());
        Self { total, began_ms: now, shown_ms: now, done: 0 }
    }

    /// So much is done.
    pub(super) fn at(&mut self, done: u64) {
        self.done = done;
        let Some(total) = self.total.filter(|_| done.is_multiple_of(STEP)) else { return };
        let now = SystemClock.now_ms();
        if now.saturating_sub(self.shown_ms) >= AGAIN_MS {
            self.shown_ms = now;
            write(&line(done, total, now.saturating_sub(self.began_ms)));
        }
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if self.total.is_some() && self.shown_ms > self.began_ms {
            write("\u{1b}[2K");
        }
    }
}

fn write(text: &str) {
    let mut err = std::io::stderr().lock();
    // When standard error is gone, there is nobody left to tell.
    let _ = write!(err, "\r{text}");
    let _ = err.flush();
}

fn line(done: u64, total: u64, took_ms: i64) -> String {
    let share = |of: u64| done.min(total).saturating_mul(of).checked_div(total).unwrap_or(0);
    let full = usize::try_from(share(WIDTH)).unwrap_or(0);
    let empty = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(full);
    let took = u64::try_from(took_ms).unwrap_or(0).max(1);
    let rate = done.saturating_mul(1000).checked_div(took).unwrap_or(0);
    format!("[{}{}] {:>3} %  {done} of {total}, {rate}/s ", "#".repeat(full), ".".repeat(empty), share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let half = line(500, 1000, 250);
        assert_eq!(half, "[############............]  50 %  500 of 1000, 2000/s ");
        assert_eq!(line(2000, 1000, 0), format!("[{}] 100 %  2000 of 1000, 2000000/s ", "#".repeat(24)));
    }
}
