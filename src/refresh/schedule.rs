//! When a token is renewed, as pure functions of its expiry and the time.
//!
//! ```text
//! issued                                          advisory        mandatory    expires
//!   |------------------ fresh ----------------------|---- advisory ----|--------|---- expired
//!   nothing to do                                   renewed beside its use      refused
//! ```
//!
//! | lifetime | advisory window | mandatory window |
//! |---|---|---|
//! | to 20 min | 5 min, at most a third of the lifetime | 60 s, at most a tenth |
//! | below 90 min | 15 min, likewise | likewise |
//! | longer | 60 min, likewise | likewise |
//!
//! A session of one hour is renewed from 45 minutes on, one of 6 seconds from 4 seconds on.
//! A failed attempt waits, doubling from half a second with jitter, but never more than a
//! quarter of what is left of the window, so that a window is never slept through. An answer that
//! asking again will not change is believed for a minute, within the same bound.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The shortest wait, however near the end is.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait after a failure that may pass.
const LONGEST_WAIT: Duration = MINUTE;
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Where a token stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing to do.
    Fresh,
    /// To be renewed, while it is used as before.
    Advisory,
    /// To be renewed at once; who can wait a moment does.
    Mandatory,
    /// Past its end, or its end is not known.
    Expired,
}

/// How long before a token's end it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Renewal begins this long before the end.
    pub(crate) advisory: Duration,
    /// Renewal is urgent this long before the end.
    pub(crate) mandatory: Duration,
}

impl Windows {
    /// The windows for tokens of `lifetime`.
    ///
    /// Two hours: advisory 40 minutes (a third is less than 60 minutes), mandatory 60 seconds.
    pub(crate) fn of(lifetime: Duration) -> Self {
        let by_lifetime = if lifetime <= 20 * MINUTE {
            5 * MINUTE
        } else if lifetime < 90 * MINUTE {
            15 * MINUTE
        } else {
            60 * MINUTE
        };
        Self { advisory: by_lifetime.min(lifetime / 3), mandatory: MINUTE.min(lifetime / 10) }
    }

    /// The phase at `now` of a token that ends at `expires_at`. An unknown end is due, not far.
    pub(crate) fn phase(&self, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Phase {
        let left = match expires_at.map(|end| (end - now).to_std()) {
            None | Some(Err(_)) => return Phase::Expired,
            Some(Ok(left)) => left,
        };
        if left.is_zero() {
            Phase::Expired
        } else if left <= self.mandatory {
            Phase::Mandatory
        } else if left <= self.advisory {
            Phase::Advisory
        } else {
            Phase::Fresh
        }
    }
}

/// Why an attempt brought no new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: the network, a busy server.
    Transient { retry_after: Option<Duration> },
    /// Asking again will not help; a human must act.
    Terminal,
}

/// The renewal of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    expires_at: Option<DateTime<Utc>>,
    windows: Windows,
    failures: u32,
    not_before: Option<DateTime<Utc>>,
}

impl Schedule {
    pub(crate) fn new(expires_at: Option<DateTime<Utc>>, lifetime: Duration) -> Self {
        Self { expires_at, windows: Windows::of(lifetime), failures: 0, not_before: None }
    }

    /// When the next attempt is due; at or before `now` means at once.
    pub(crate) fn due_at(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let window_opens = match self.expires_at {
            Some(end) => end - time_delta(self.windows.advisory),
            None => now,
        };
        // Where the wall clock was set back meanwhile, no wait lasts longer than the longest. It is
        // cut for good: cut anew each time it is asked for, it would never end.
        let latest = now + time_delta(RETRY_AFTER_MAX);
        self.not_before = self.not_before.map(|wait| wait.min(latest));
        self.not_before.map_or(window_opens, |wait| wait.max(window_opens))
    }

    /// After a failed attempt. `jitter` runs from 0 to 255 and takes up to half off the wait.
    pub(crate) fn failed(&mut self, failure: Failure, now: DateTime<Utc>, jitter: u8) {
        self.failures = self.failures.saturating_add(1);
        let wait = match failure {
            Failure::Terminal => LONGEST_WAIT.min(self.left_in_window(now) / 4).max(FIRST_WAIT),
            Failure::Transient { retry_after: Some(asked) } => {
                asked.min(RETRY_AFTER_MAX).max(self.backoff(now, jitter))
            }
            Failure::Transient { retry_after: None } => self.backoff(now, jitter),
        };
        self.not_before = Some(now + time_delta(wait));
    }

    /// After a renewal. One that leaves the token within its window (a server that moves the end by
    /// little, or not at all) is followed up as a failure is, or it would be asked for in a loop.
    pub(crate) fn renewed(&mut self, successor: Self, now: DateTime<Utc>, jitter: u8) {
        let failures = self.failures;
        *self = successor;
        if self.due_at(now) <= now {
            self.failures = failures;
            self.failed(Failure::Transient { retry_after: None }, now, jitter);
        }
    }

    fn backoff(&self, now: DateTime<Utc>, jitter: u8) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let jittered = doubled.min(LONGEST_WAIT) * (512 - u32::from(jitter)) / 512;
        jittered.min(self.left_in_window(now) / 4).max(SHORTEST_WAIT)
    }

    /// What is left of the window that `now` lies in. Past the end there is no window to miss.
    fn left_in_window(&self, now: DateTime<Utc>) -> Duration {
        let left = |until: DateTime<Utc>| (until - now).to_std().unwrap_or_default();
        match (self.expires_at, self.windows.phase(self.expires_at, now)) {
            (None, _) | (_, Phase::Expired) => 4 * LONGEST_WAIT,
            (Some(end), Phase::Mandatory) => left(end),
            (Some(end), _) => left(end - time_delta(self.windows.mandatory)),
        }
    }
}

/// No duration here exceeds ten years, so none is out of range.
fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn windows_scale_with_the_lifetime() {
        for (lifetime, advisory, mandatory) in [
            (6, 2.0, 0.6),
            (600, 200.0, 60.0),
            (1200, 300.0, 60.0),
            (3600, 900.0, 60.0),
            (7200, 2400.0, 60.0),
            (86400 * 365, 3600.0, 60.0),
        ] {
            let windows = Windows::of(Duration::from_secs(lifetime));
            assert_eq!(windows.advisory.as_secs_f64(), advisory, "{lifetime}");
            assert_eq!(windows.mandatory.as_secs_f64(), mandatory, "{lifetime}");
        }
    }

    #[test]
    fn phases_follow_one_another() {
        let windows = Windows::of(Duration::from_secs(3600));
        for (now, phase) in [
            (0, Phase::Fresh),
            (2699, Phase::Fresh),
            (2700, Phase::Advisory),
            (3539, Phase::Advisory),
            (3540, Phase::Mandatory),
            (3599, Phase::Mandatory),
            (3600, Phase::Expired),
            (9999, Phase::Expired),
        ] {
            assert_eq!(windows.phase(Some(at(3600)), at(now)), phase, "{now}");
        }
        assert_eq!(windows.phase(None, at(0)), Phase::Expired, "unknown expiry is due");
    }

    #[test]
    fn a_terminal_answer_is_believed_for_a_minute_and_retry_after_for_an_hour() {
        let mut schedule = Schedule::new(Some(at(3600)), Duration::from_secs(3600));
        schedule.failed(Failure::Terminal, at(2700), 0);
        assert_eq!(schedule.due_at(at(2700)), at(2760));
        let mut schedule = Schedule::new(Some(at(60)), Duration::from_secs(60));
        schedule.failed(Failure::Terminal, at(50), 0);
        assert_eq!(schedule.due_at(at(50)), at(51), "a short window is not slept through");
        let ask = |secs| Failure::Transient { retry_after: Some(Duration::from_secs(secs)) };
        schedule.failed(ask(90), at(45), 0);
        assert_eq!(schedule.due_at(at(45)), at(135));
        schedule.failed(ask(99999), at(45), 0);
        assert_eq!(schedule.due_at(at(45)), at(3645));
    }

    #[test]
    fn a_successor_that_is_due_already_is_followed_up_as_a_failure() {
        let mut schedule = Schedule::new(Some(at(60)), Duration::from_secs(60));
        let mut waits = Vec::new();
        for _ in 0..3 {
            schedule.renewed(Schedule::new(None, Duration::from_secs(60)), at(50), 0);
            waits.push((schedule.due_at(at(50)) - at(50)).as_seconds_f64());
        }
        assert_eq!(waits, [0.5, 1.0, 2.0]);
        let successor = Schedule::new(Some(at(110)), Duration::from_secs(60));
        schedule.renewed(successor, at(50), 0);
        assert_eq!(schedule, successor, "a successor that is fresh is taken as it is");
    }

    #[test]
    fn a_clock_set_back_does_not_stall_renewal() {
        let mut schedule = Schedule::new(Some(at(60)), Duration::from_secs(60));
        schedule.failed(Failure::Terminal, at(1_000_000), 0);
        for now in [50, 80, 3000] {
            assert_eq!(schedule.due_at(at(now)), at(50 + 3600), "it comes nearer");
        }
    }

    proptest! {
        /// Over an outage of the whole window, attempts go on and never wait past a quarter of it.
        #[test]
        fn a_window_is_never_slept_through(lifetime in 3u64..100_000, jitter: u8) {
            let lifetime_duration = Duration::from_secs(lifetime);
            let end = at(lifetime.cast_signed());
            let mut schedule = Schedule::new(Some(end), lifetime_duration);
            let mut now = schedule.due_at(at(0));
            let mut attempts = 0;
            while now < end {
                let left = schedule.left_in_window(now);
                schedule.failed(Failure::Transient { retry_after: None }, now, jitter);
                let next = schedule.due_at(now);
                let wait = (next - now).to_std().unwrap();
                prop_assert!(wait <= (left / 4).max(SHORTEST_WAIT), "{wait:?} of {left:?}");
                prop_assert!(wait >= SHORTEST_WAIT && wait <= LONGEST_WAIT);
                now = next;
                attempts += 1;
            }
            prop_assert!(attempts >= 3, "{attempts} attempts");
        }
    }
}
