//! Time, asked at one door: the only place that reads a clock.
//!
//! Everything below the door takes `now` as an argument, so that tests move time and
//! nothing depends on when it happens to run.

use chrono::{DateTime, Utc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time and of time that only moves forward.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump; nothing that frees budget relies on it.
    fn now(&self) -> DateTime<Utc>;

    /// The wall clock, in milliseconds since 1970: in the form that is read and compared fastest.
    fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// How far [`Clock::monotonic`] may be behind.
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

    #[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn grain(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn monotonic(&self) -> Duration {
        monotonic().saturating_sub(self.start)
    }
}

/// As of the last tick of the system's clock, at most 10 ms ago: leases and windows need no more, and
/// it is read in a fifth of the time.
#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let part = |part: i64| part.unsigned_abs();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
fn monotonic() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
