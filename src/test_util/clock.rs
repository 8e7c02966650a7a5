//! A clock for tests: wall time and tokio's time move together, paused or not.

use crate::clock::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A clock that follows tokio's time, and jumps when it is told to.
#[derive(Debug)]
pub struct TokioClock {
    start: Instant,
    /// The wall clock at `start`; behind a lock because `jump` moves it.
    wall: Mutex<DateTime<Utc>>,
}

impl TokioClock {
    /// A clock that shows the machine's time now.
    pub fn new() -> Self {
        let wall = Mutex::new(crate::clock::SystemClock::new().now());
        Self { start: Instant::now(), wall }
    }

    /// Sets the wall clock forward, or back; monotonic time goes on as before.
    pub fn jump(&self, by: TimeDelta) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.start)
    }
}
