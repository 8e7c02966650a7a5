//! BitGo's time, as far as its verified answers tell: the last they told, and what has gone by since
//! on a clock that never goes back. Windows run on it; the machine's own clock frees nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How far the server's clock is ahead of the monotonic one, in milliseconds; it only grows.
pub(super) struct ServerTime(AtomicI64);

/// No answer was heard and none is remembered.
const UNKNOWN: i64 = i64::MIN;

impl ServerTime {
    /// A time that was remembered, or 0 for none. It stood still since.
    pub(super) fn resume(seen_ms: i64, monotonic: Duration) -> Self {
        let time = Self(AtomicI64::new(UNKNOWN));
        time.note(seen_ms, monotonic);
        time
    }

    /// Notes that the server signed something at a time; 0 for none.
    pub(super) fn note(&self, server_ms: i64, monotonic: Duration) {
        let ahead = server_ms.saturating_sub(millis(monotonic));
        // Every spend comes by here, and a write that changes nothing takes the line from the others.
        if server_ms > 0 && ahead > self.0.load(Ordering::Acquire) {
            self.0.fetch_max(ahead, Ordering::AcqRel);
        }
    }

    /// The time now, in milliseconds since 1970; 0 if it is not known.
    pub(super) fn now_ms(&self, monotonic: Duration) -> i64 {
        match self.0.load(Ordering::Acquire) {
            UNKNOWN => 0,
            ahead => ahead.saturating_add(millis(monotonic)),
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_was_heard_and_never_back() {
        let secs = Duration::from_secs;
        let time = ServerTime::resume(0, secs(10));
        assert_eq!(time.now_ms(secs(1000)), 0, "not known");
        time.note(1_000_000, secs(1000));
        assert_eq!(time.now_ms(secs(1005)), 1_005_000);
        time.note(1_001_000, secs(1010));
        assert_eq!(time.now_ms(secs(1010)), 1_010_000, "an answer that was long on its way");
        time.note(1_020_000, secs(1010));
        assert_eq!(time.now_ms(secs(1010)), 1_020_000);
        let resumed = ServerTime::resume(1_020_000, secs(0));
        assert_eq!(resumed.now_ms(secs(1)), 1_021_000, "what was slept through does not count");
    }
}
