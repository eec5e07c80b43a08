//! Time as the gate sees it. Nothing else in the workspace reads the clock for a decision.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

/// Gives the time, milliseconds since 1970 UTC.
pub trait Clock: Send + Sync {
    /// Now.
    fn now_ms(&self) -> i64;

    /// How far the system's clock is away from what [`Self::now_ms`] gives, if that is too far to follow, in
    /// milliseconds: positive when the system's clock is ahead.
    fn astray_ms(&self) -> Option<i64> {
        None
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.ok().and_then(|span| i64::try_from(span.as_millis()).ok()).unwrap_or(0)
    }
}

/// The system's clock, as far as it goes as time does: a jump, either way, is not followed, so that
/// nobody gets a new day's budget, or an old nonce, by setting the clock. What a gate goes by after a
/// jump is the time since it was opened; a restart takes the system's clock as it then is.
#[derive(Debug)]
pub struct SteadyClock<C = SystemClock, T = SinceBoot> {
    wall: C,
    elapsed: T,
    anchor: Mutex<Anchor>,
}

/// A time of the wall clock, and what had elapsed then.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    wall_ms: i64,
    elapsed_ms: i64,
}

/// How far a correction is followed, at most once in [`FOLLOW_EVERY_MS`]: enough for every clock that NTP slews.
const FOLLOW_MS: i64 = 1_000;
/// See [`FOLLOW_MS`].
const FOLLOW_EVERY_MS: i64 = 60_000;
/// From here on the clock is said to be astray.
const ASTRAY_MS: i64 = 5_000;

/// Time that passes whatever is set, milliseconds since some moment.
pub trait Elapsed: Send + Sync {
    /// Now.
    fn elapsed_ms(&self) -> i64;
}

/// The time since the machine was started, sleep included.
#[derive(Debug, Clone, Copy, Default)]
pub struct SinceBoot;

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Elapsed for SinceBoot {
    fn elapsed_ms(&self) -> i64 {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        since.tv_sec.saturating_mul(1_000).saturating_add(since.tv_nsec.div_euclid(1_000_000))
    }
}

// Elsewhere nothing in reach counts the time asleep, and a laptop that slept must not lose that time.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Elapsed for SinceBoot {
    fn elapsed_ms(&self) -> i64 {
        SystemClock.now_ms()
    }
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new(SystemClock, SinceBoot)
    }
}

impl<C: Clock, T: Elapsed> SteadyClock<C, T> {
    /// Goes by `elapsed` from what `wall` says now.
    pub fn new(wall: C, elapsed: T) -> Self {
        let anchor = Mutex::new(Anchor { wall_ms: wall.now_ms(), elapsed_ms: elapsed.elapsed_ms() });
        Self { wall, elapsed, anchor }
    }

    /// The time, and how far the system's clock is ahead of it.
    fn read(&self) -> (i64, i64) {
        let mut anchor = self.anchor.lock();
        let elapsed_ms = self.elapsed.elapsed_ms();
        let since = elapsed_ms.saturating_sub(anchor.elapsed_ms).max(0);
        let steady = anchor.wall_ms.saturating_add(since);
        let ahead = self.wall.now_ms().saturating_sub(steady);
        if since < FOLLOW_EVERY_MS {
            return (steady, ahead);
        }
        // What this sets back, the gate waits out: its time never goes back behind its log.
        let step = ahead.clamp(FOLLOW_MS.saturating_neg(), FOLLOW_MS);
        let now = steady.saturating_add(step);
        *anchor = Anchor { wall_ms: now, elapsed_ms };
        (now, ahead.saturating_sub(step))
    }
}

impl<C: Clock, T: Elapsed> Clock for SteadyClock<C, T> {
    fn now_ms(&self) -> i64 {
        self.read().0
    }

    fn astray_ms(&self) -> Option<i64> {
        let (_, ahead) = self.read();
        (ahead.abs() > ASTRAY_MS).then_some(ahead)
    }
}

/// A clock that is set by hand: for tests, simulation and replay.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now_ms`.
    #[must_use]
    pub const fn new(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Sets the time.
    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    impl Elapsed for Arc<ManualClock> {
        fn elapsed_ms(&self) -> i64 {
            Clock::now_ms(self.as_ref())
        }
    }

    impl Clock for Arc<ManualClock> {
        fn now_ms(&self) -> i64 {
            self.as_ref().now_ms()
        }
    }

    const DAY: i64 = 86_400_000;

    type Hand = Arc<ManualClock>;

    fn clocks() -> (Hand, Hand, SteadyClock<Hand, Hand>) {
        let (wall, elapsed) = (Arc::new(ManualClock::new(1_000 * DAY)), Arc::new(ManualClock::new(0)));
        let steady = SteadyClock::new(Arc::clone(&wall), Arc::clone(&elapsed));
        (wall, elapsed, steady)
    }

    #[test]
    fn jumps_either_way_are_not_followed_and_are_told() {
        for jump in [DAY, -DAY, 365 * DAY, 300_000] {
            let (wall, elapsed, steady) = clocks();
            elapsed.set(30_000);
            wall.set(1_000 * DAY + jump + 30_000);
            assert_eq!(steady.now_ms(), 1_000 * DAY + 30_000);
            assert_eq!(steady.astray_ms(), Some(jump));
        }
    }

    #[test]
    fn small_corrections_are_followed_slowly() {
        let (wall, elapsed, steady) = clocks();
        for minute in 1..=10i64 {
            elapsed.set(minute * 60_000);
            wall.set(1_000 * DAY + minute * 60_000 + 4_500);
            let ahead = steady.now_ms() - (1_000 * DAY + minute * 60_000);
            assert_eq!(ahead, (minute * 1_000).min(4_500));
            assert_eq!(steady.astray_ms(), None);
        }
    }
}
