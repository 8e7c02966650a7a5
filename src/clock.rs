//! Time, asked at one door: the only place that reads a clock.
//!
//! Everything below the door takes `now` as an argument, so that tests move time and
//! nothing depends on when it happens to run.

use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};

/// A source of wall-clock time and of time that only moves forward.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump; nothing that frees budget relies on it.
    fn now(&self) -> DateTime<Utc>;

    /// Time since some fixed point in this process. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the machine's clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
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
    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.start)
    }
}
