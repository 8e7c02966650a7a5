//! Why an attempt brought no new token, and how long the next one waits.
//!
//! | failure | the next attempt |
//! |---|---|
//! | may pass | doubling from half a second to a minute, with jitter; never more than a quarter of what is left of the window; not before `Retry-After`, of which an hour counts |
//! | asking again will not change it | a minute, within the same bound |
//! | a human must let it pass (sign-on, one-time password, login), or each attempt logs in anew | a quarter of an hour, whatever the window: to go on asking may lock the account |

use super::Life;
use super::windows::{Phase, after};
use crate::renewal_memory::Need;
use chrono::{DateTime, Utc};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The shortest wait, however near the end is.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait after a failure that may pass.
const LONGEST_WAIT: Duration = MINUTE;
/// How long it is waited for a human.
pub(super) const HUMAN_WAIT: Duration = Duration::from_secs(15 * 60);
/// The longest `Retry-After` that is honoured, and the longest wait there is.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why an attempt brought no new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: the network, a busy server; which may ask for patience, for no time where it does not
    /// say how long.
    Transient { retry_after: Option<Duration> },
    /// The token was refused as the bearer of its own renewal: it may be dead.
    Refused,
    /// Asking again soon will not help; a human must act.
    Terminal(Need),
    /// The same, and each attempt is a login with its one-time password.
    Costly(Need),
}

impl Failure {
    /// The kind's name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Transient { .. } => "transient",
            Self::Refused => "refused",
            Self::Terminal(_) => "terminal",
            Self::Costly(_) => "costly",
        }
    }

    /// How long the next attempt waits. `jitter` runs from 0 to 255 and takes up to half off.
    pub(super) fn wait(self, failures: u32, left: Duration, jitter: u8) -> Duration {
        let backoff = backoff(failures, left, jitter);
        match self {
            Self::Costly(_) => HUMAN_WAIT,
            Self::Terminal(need) if need.is_costly() => HUMAN_WAIT,
            Self::Terminal(_) | Self::Refused => LONGEST_WAIT.min(left / 4).max(FIRST_WAIT),
            Self::Transient { retry_after } => {
                retry_after.map_or(backoff, |asked| asked.min(RETRY_AFTER_MAX).max(backoff))
            }
        }
    }
}

/// The wait after so many failures in a row, with `left` of the window.
pub(super) fn backoff(failures: u32, left: Duration, jitter: u8) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let jittered = doubled.min(LONGEST_WAIT) * (512 - u32::from(jitter)) / 512;
    jittered.min(left / 4).max(SHORTEST_WAIT)
}

/// What is left of the window that `now` lies in. Past the end there is no window to miss.
pub(super) fn left_in_window(life: &Life, is_lost: bool, now: DateTime<Utc>) -> Duration {
    let left = |until: DateTime<Utc>| (until - now).to_std().unwrap_or_default();
    match (life.expires_at, life.windows.phase(life.expires_at, now)) {
        _ if is_lost => 4 * LONGEST_WAIT,
        (None, _) | (_, Phase::Expired) => 4 * LONGEST_WAIT,
        (Some(end), Phase::Mandatory) => left(end),
        (Some(end), _) => left(super::windows::before(end, life.windows.mandatory)),
    }
}

/// Where the wall clock was set back meanwhile, no wait lasts longer than the longest.
pub(super) fn cut(wait: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    wait.map(|until| until.min(after(now, RETRY_AFTER_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_follow_what_failed() {
        let transient =
            |secs: Option<u64>| Failure::Transient { retry_after: secs.map(Duration::from_secs) };
        for (failure, failures, left, wait) in [
            (transient(None), 1, 900, 0.5),
            (transient(None), 4, 900, 4.0),
            (transient(None), 40, 900, 60.0),
            (transient(None), 40, 8, 2.0),
            (transient(None), 40, 0, 0.1),
            (transient(Some(90)), 1, 15, 90.0),
            (transient(Some(99_999)), 1, 15, 3600.0),
            (Failure::Terminal(Need::LookAtError), 1, 900, 60.0),
            (Failure::Terminal(Need::LookAtError), 1, 2, 0.5),
            (Failure::Terminal(Need::SignOn), 1, 2, 900.0),
            (Failure::Costly(Need::LookAtError), 1, 2, 900.0),
            (Failure::Refused, 1, 20, 5.0),
        ] {
            let got = failure.wait(failures, left * SECOND, 0).as_secs_f64();
            assert_eq!(got, wait, "{failure:?} after {failures} with {left} s left");
        }
        assert_eq!(transient(None).wait(1, 900 * SECOND, 255).as_millis(), 250, "with jitter");
    }
}
