//! What a human is told of a token's renewal, and when.
//!
//! ```text
//! who must act      told
//! a human           30, 14, 7, 1 days before the end, as far as it lives longer; where the window
//!                   opens; at the end
//! the vault         nothing, unless it fails
//! who unlocked it   5 minutes before it locks again, or a third of what it was unlocked for
//! ```
//!
//! A restart tells the nearest of them again: nobody knows who heard it before.

use super::state::{Life, Standing};
use super::windows::before;
use crate::renewal_memory::Need;
use chrono::{DateTime, Utc};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// How long before a token's end a human is told.
const DAYS_BEFORE: [u32; 4] = [30, 14, 7, 1];
/// How long before a token locks again it is told.
const BEFORE_LOCKING: Duration = Duration::from_secs(300);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The token is suspect, or dead.
    Standing(Standing),
    /// A human must act before it is renewed.
    Needs(Need),
    /// It ends, and only a human can renew it.
    Ending { expires_at: DateTime<Utc> },
    /// It has ended, and only a human can renew it.
    Ended,
    /// It locks again at the server.
    Locking { until: DateTime<Utc> },
}

/// Which alarms of one token were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alarms {
    /// The nearest threshold that was told of; zero at the end.
    told: Option<Duration>,
    locking: Option<Locking>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Locking {
    until: DateTime<Utc>,
    tell_at: DateTime<Utc>,
    is_told: bool,
}

impl Alarms {
    /// Those of the token that takes its place: it ends when it ends, but is locked as that one is.
    pub(super) fn of_successor(self) -> Self {
        Self { told: None, ..self }
    }

    /// The token is unlocked until then, or no more.
    pub(super) fn unlocked(&mut self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let known = self.locking.map(|locking| locking.until);
        if until == known {
            return;
        }
        self.locking = until.filter(|until| *until > now).map(|until| {
            let left = (until - now).to_std().unwrap_or_default();
            let tell_at = before(until, BEFORE_LOCKING.min(left / 3));
            Locking { until, tell_at, is_told: false }
        });
    }

    /// What is to be told by now.
    pub(super) fn due(
        &mut self,
        life: &Life,
        needs_human: bool,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = Notice> + use<> {
        let locking = self.locking.as_mut();
        let locking = locking.filter(|locking| !locking.is_told && locking.tell_at <= now);
        let locking = locking.map(|locking| {
            locking.is_told = true;
            Notice::Locking { until: locking.until }
        });
        let ending = self.ending(life, needs_human, now);
        locking.into_iter().chain(ending)
    }

    fn ending(&mut self, life: &Life, needs_human: bool, now: DateTime<Utc>) -> Option<Notice> {
        let expires_at = life.expires_at.filter(|_| needs_human)?;
        let reached = |threshold: &Duration| before(expires_at, *threshold) <= now;
        let nearest = thresholds(life).filter(reached).min()?;
        if self.told.is_some_and(|told| told <= nearest) {
            return None;
        }
        self.told = Some(nearest);
        Some(if nearest.is_zero() { Notice::Ended } else { Notice::Ending { expires_at } })
    }

    /// When the next is to be told.
    pub(super) fn next_at(
        &self,
        life: &Life,
        needs_human: bool,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let expires_at = life.expires_at.filter(|_| needs_human);
        let untold = |threshold: &Duration| self.told.is_none_or(|told| *threshold < told);
        let ending = expires_at.into_iter().flat_map(|end| {
            thresholds(life).filter(untold).map(move |threshold| before(end, threshold))
        });
        let locking = self.locking.filter(|locking| !locking.is_told);
        let locking = locking.map(|locking| locking.tell_at);
        ending.chain(locking).filter(|at| *at > now).min()
    }
}

/// How long before its end a token's end is told.
fn thresholds(life: &Life) -> impl Iterator<Item = Duration> {
    let days = DAYS_BEFORE.map(|days| days * DAY).into_iter();
    let lifetime = life.lifetime;
    let days = days.filter(move |threshold| *threshold < lifetime);
    days.chain([life.windows.advisory, Duration::ZERO])
}

#[cfg(test)]
mod tests {
    use super::super::windows::{WindowSettings, Windows, after};
    use super::*;
    use crate::id::TokenId;

    fn life(days: u32) -> Life {
        let lifetime = days * DAY;
        Life {
            token: TokenId::from_bytes([1; 16]),
            expires_at: Some(after(DateTime::UNIX_EPOCH, lifetime)),
            lifetime,
            windows: Windows::of(lifetime, WindowSettings::default()),
        }
    }

    /// The seconds before its end at which a token of so many days is told of.
    fn told(days: u32) -> Vec<u64> {
        let (life, mut alarms, mut told) = (life(days), Alarms::default(), Vec::new());
        let end = life.expires_at.unwrap();
        let mut now = DateTime::UNIX_EPOCH;
        loop {
            for notice in alarms.due(&life, true, now) {
                assert_eq!(notice == Notice::Ended, now == end, "{notice:?}");
                told.push((end - now).to_std().unwrap().as_secs());
            }
            match alarms.next_at(&life, true, now) {
                Some(at) => now = at,
                None => return told,
            }
        }
    }

    #[test]
    fn a_human_is_told_a_month_two_weeks_a_week_and_a_day_before() {
        let day = 86_400;
        assert_eq!(told(90), [30 * day, 14 * day, 7 * day, day, 3600, 0]);
        assert_eq!(told(14), [7 * day, day, 3600, 0], "not as soon as it is there");
        assert_eq!(told(1), [3600, 0]);
    }

    #[test]
    fn who_comes_late_is_told_the_nearest_alone() {
        let (life, mut alarms) = (life(90), Alarms::default());
        let now = before(life.expires_at.unwrap(), 3 * DAY);
        assert_eq!(alarms.due(&life, true, now).count(), 1);
        assert_eq!(alarms.due(&life, true, now).count(), 0, "once");
        assert_eq!(alarms.next_at(&life, true, now), Some(before(life.expires_at.unwrap(), DAY)));
        assert_eq!(alarms.next_at(&life, false, now), None, "the vault sees to it");
    }

    #[test]
    fn locking_is_told_once_and_before() {
        let (life, mut alarms, now) = (life(90), Alarms::default(), DateTime::UNIX_EPOCH);
        let until = after(now, Duration::from_secs(600));
        alarms.unlocked(Some(until), now);
        assert_eq!(alarms.next_at(&life, false, now), Some(after(now, Duration::from_secs(400))));
        let late = after(now, Duration::from_secs(400));
        let notices: Vec<_> = alarms.due(&life, false, late).collect();
        assert_eq!(notices, [Notice::Locking { until }]);
        alarms.unlocked(Some(until), late);
        assert_eq!(alarms.due(&life, false, late).count(), 0, "said again");
        alarms.unlocked(Some(now), until);
        assert_eq!(alarms.next_at(&life, false, until), None, "it is locked already");
    }
}
