//! Time, asked at one door: the only place that reads a clock.
//!
//! Everything below the door takes `now` as an argument, so that tests move time and
//! nothing depends on when it happens to run.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// A source of wall-clock time and of time that only moves forward.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump; nothing that frees budget relies on it.
    fn now(&self) -> DateTime<Utc>;

    /// The wall clock, in milliseconds since 1970, at most [`Clock::grain`] behind: in the form that is
    /// read and compared fastest.
    fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// How far [`Clock::now_ms`] and [`Clock::monotonic`] may be behind.
    fn grain(&self) -> Duration {
        Duration::ZERO
    }

    /// Time since some fixed point in this process, to some milliseconds. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// Times what is measured, to the nanosecond. Without the feature `metrics` nothing is, and it is
/// nothing: no clock is read.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(#[cfg(feature = "metrics")] std::time::Instant);

impl Stopwatch {
    #[inline]
    #[cfg_attr(
        feature = "metrics",
        expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")
    )]
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            std::time::Instant::now(),
        )
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: monotonic() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(wall().as_millis()).unwrap_or(i64::MAX)
    }

    fn grain(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn monotonic(&self) -> Duration {
        monotonic().saturating_sub(self.start)
    }
}

#[cfg(target_os = "linux")]
use of_linux::{monotonic, wall};

/// As of the last tick of the system's clock, at most 10 ms ago: leases and windows need no more, and
/// it is read in a fifth of the time.
#[cfg(target_os = "linux")]
mod of_linux {
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub(super) fn monotonic() -> Duration {
        read(ClockId::MonotonicCoarse)
    }

    pub(super) fn wall() -> Duration {
        read(ClockId::RealtimeCoarse)
    }

    /// Since the clock's beginning; a wall clock that stands before its own is at it.
    fn read(clock: ClockId) -> Duration {
        let time = clock_gettime(clock);
        let part = |part: i64| u64::try_from(part).unwrap_or(0);
        Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
fn wall() -> Duration {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
fn monotonic() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
