//! BitGo's clock, as far as its verified answers tell, held against both of this machine's.
//!
//! ```text
//! vault time   the latest that was heard, and the monotonic clock since, reckoned a thousandth slow. It
//!              only grows; windows run on it, and the wall clock frees nothing
//! offset       BitGo's beyond the wall clock: requests are dated, and answers judged, by wall clock +
//!              offset. It is 0 while the wall clock is tolerable
//! ```
//!
//! An offset is taken from verified answers alone, that came promptly and are no older than what is
//! known: one that was kept and is shown again moves nothing. One answer alone moves nothing either; it
//! takes a second that agrees, or that the request was already dated so. As long as no answer was
//! verified in this process, it goes no further than ten minutes from what it was, or from none. So a
//! wall clock that is put right is followed as one that goes wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How far the wall clock may be off before requests are dated otherwise, and by how much less no
/// offset is corrected: half of what answers may be ahead.
const TOLERATED_MS: i64 = 30_000;
/// The longest that an answer may take by which the wall clock is measured, which may be wrong by that.
const PROMPT: Duration = Duration::from_secs(10);
/// How far an answer may be behind what is known, and vault time be wrong: BitGo has more than one clock.
const STALE_MS: i64 = 120_000;
/// As far as an offset goes that rests on what nobody vouched for before.
pub(crate) const FIRST_MAX_MS: i64 = 10 * 60_000;
/// One part in so many is what a monotonic clock gains at most: twenty times what a poor one does.
const DRIFT: i64 = 1000;
/// Nothing is known.
const UNKNOWN: i64 = i64::MIN;

/// BitGo's clock. All of it is in milliseconds.
#[derive(Debug)]
pub(crate) struct ServerClock {
    /// How far vault time is ahead of the monotonic clock, reckoned slow.
    ahead: AtomicI64,
    /// The latest that was heard in this process.
    heard: AtomicI64,
    /// How far it is ahead of the wall clock.
    offset: AtomicI64,
    /// An offset that one answer tells.
    unconfirmed: AtomicI64,
}

/// A verified answer, and what this machine's clocks showed when it was there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing {
    pub(crate) answered_ms: i64,
    pub(crate) wall_ms: i64,
    /// Rather later than it was.
    pub(crate) monotonic: Duration,
    pub(crate) round_trip: Duration,
}

/// What may be wrong with the wall clock, where a request may have been refused for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// Requests should be dated so, which one more will tell.
    Try {
        offset_ms: i64,
        /// Whether it rests on verified answers.
        is_certain: bool,
    },
    /// It is off by more than may be believed.
    TooFar { offset_ms: i64 },
}

impl Default for ServerClock {
    fn default() -> Self {
        Self::resume(0, 0, Duration::ZERO)
    }
}

impl ServerClock {
    /// A time and an offset that were remembered, each 0 for none. The time stood still since.
    pub(crate) fn resume(seen_ms: i64, offset_ms: i64, monotonic: Duration) -> Self {
        let clock = Self {
            ahead: AtomicI64::new(UNKNOWN),
            heard: AtomicI64::new(UNKNOWN),
            offset: AtomicI64::new(offset_ms),
            unconfirmed: AtomicI64::new(UNKNOWN),
        };
        clock.note(seen_ms, monotonic);
        clock
    }

    /// Vault time, since 1970; 0 if it is not known.
    pub(crate) fn now_ms(&self, monotonic: Duration) -> i64 {
        match self.ahead.load(Ordering::Acquire) {
            UNKNOWN => 0,
            ahead => ahead.saturating_add(slowed(monotonic)),
        }
    }

    /// The latest time that was heard in this process, since 1970; less than 0 for none.
    pub(crate) fn heard_ms(&self) -> i64 {
        self.heard.load(Ordering::Acquire)
    }

    /// What requests are dated by beyond the wall clock.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Whether requests are dated by such an offset, or by one that is tolerably near.
    pub(crate) fn is_in_use(&self, offset_ms: i64) -> bool {
        is_within(TOLERATED_MS, offset_ms, self.offset_ms())
    }

    /// The time by which requests are dated and answers judged, when the wall clock shows this.
    pub(crate) fn dated_ms(&self, wall_ms: i64) -> i64 {
        wall_ms.saturating_add(self.offset_ms())
    }

    /// Hears a verified answer, to a request that was `dated` by another offset than the one in use, or
    /// by that.
    pub(crate) fn hear(&self, hearing: &Hearing, dated: Option<i64>) {
        let Hearing { answered_ms, wall_ms, monotonic, round_trip } = *hearing;
        let on_its_way = millis(round_trip) / 2;
        let measured = answered_ms.saturating_add(on_its_way).saturating_sub(wall_ms);
        let is_telling = round_trip <= PROMPT
            && self.is_news(answered_ms, monotonic)
            && self.is_in_reach(measured);
        self.note(answered_ms, monotonic);
        if answered_ms > self.heard_ms() {
            self.heard.fetch_max(answered_ms, Ordering::AcqRel);
        }
        if is_telling {
            self.measured(measured, dated);
        }
    }

    /// What may be wrong with the wall clock, where a request was refused that was dated by an offset:
    /// by the time that the refusal `said`, which nobody vouched for, or by vault time.
    pub(crate) fn guess(
        &self,
        dated_by: i64,
        said_ms: Option<i64>,
        wall_ms: i64,
        monotonic: Duration,
    ) -> Option<Guess> {
        let now_ms = self.now_ms(monotonic);
        let is_heard = self.heard_ms() > 0;
        let offset = |time_ms: i64| time_ms.saturating_sub(wall_ms);
        // What was heard is better than what anybody says: that may differ from it by no more than
        // from nothing.
        let is_near_known = |offset_ms| is_within(FIRST_MAX_MS, offset_ms, offset(now_ms));
        let is_believable =
            |offset_ms| self.is_near(offset_ms) || is_heard && is_near_known(offset_ms);
        let said_ms = said_ms
            .filter(|said| self.is_news(*said, monotonic))
            .filter(|said| !is_heard || is_believable(offset(*said)));
        // What is remembered has stood still: it may be far behind, but is not ahead.
        let is_known = is_heard || now_ms > wall_ms.saturating_add(dated_by);
        let known_ms = Some(now_ms).filter(|now| *now > 0 && (is_known || said_ms.is_none()));
        let is_apart = |offset: &i64| !is_within(TOLERATED_MS, *offset, dated_by);
        let apart: Vec<_> =
            said_ms.into_iter().chain(known_ms).map(offset).filter(is_apart).collect();
        // Where the refusal's own time is what the request was dated by, that was not why.
        let is_certain = is_known
            && !is_within(STALE_MS, offset(now_ms), dated_by)
            && said_ms
                .is_none_or(|said| is_within(STALE_MS, said, now_ms) && is_apart(&offset(said)));
        let believed = apart.iter().find(|offset| is_believable(**offset));
        match (believed, apart.first()) {
            (Some(offset_ms), _) => Some(Guess::Try { offset_ms: *offset_ms, is_certain }),
            (None, Some(offset_ms)) if is_known || said_ms.is_some() => {
                Some(Guess::TooFar { offset_ms: *offset_ms })
            }
            _ => None,
        }
    }

    fn note(&self, server_ms: i64, monotonic: Duration) {
        let ahead = server_ms.saturating_sub(slowed(monotonic));
        // Every answer comes by here, and a write that changes nothing takes the line from the others.
        if server_ms > 0 && ahead > self.ahead.load(Ordering::Acquire) {
            self.ahead.fetch_max(ahead, Ordering::AcqRel);
        }
    }

    /// Whether a time is not one of long ago.
    fn is_news(&self, server_ms: i64, monotonic: Duration) -> bool {
        server_ms >= self.now_ms(monotonic).saturating_sub(STALE_MS)
    }

    /// Whether an offset may be believed, should an answer prove it.
    fn is_in_reach(&self, offset_ms: i64) -> bool {
        self.heard_ms() > 0 || self.is_near(offset_ms)
    }

    /// Whether an offset is as near as one may be that nobody vouches for.
    fn is_near(&self, offset_ms: i64) -> bool {
        is_within(FIRST_MAX_MS, offset_ms, 0)
            || is_within(FIRST_MAX_MS, offset_ms, self.offset_ms())
    }

    fn measured(&self, measured: i64, dated: Option<i64>) {
        let in_use = self.offset_ms();
        if is_within(TOLERATED_MS, measured, in_use) {
            if self.unconfirmed.load(Ordering::Relaxed) != UNKNOWN {
                self.unconfirmed.store(UNKNOWN, Ordering::Relaxed);
            }
            return;
        }
        let before = self.unconfirmed.swap(measured, Ordering::Relaxed);
        let first = dated.unwrap_or(before);
        if first != UNKNOWN && is_within(TOLERATED_MS, measured, first) {
            let offset = if is_within(TOLERATED_MS, measured, 0) { 0 } else { measured };
            self.offset.store(offset, Ordering::Relaxed);
            self.unconfirmed.store(UNKNOWN, Ordering::Relaxed);
            match offset {
                0 => tracing::info!(name: "clock.right", "this machine's clock is right"),
                _ => tracing::warn!(
                    name: "clock.corrected",
                    seconds = offset / 1000,
                    "requests are dated so far beyond this machine's clock: set it"
                ),
            }
        }
    }
}

fn is_within(most: i64, one: i64, other: i64) -> bool {
    one.abs_diff(other) <= most.unsigned_abs()
}

/// What has passed at least, by a clock that may gain.
fn slowed(monotonic: Duration) -> i64 {
    let passed = millis(monotonic);
    passed - passed / DRIFT
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    /// The wall clock when the monotonic one shows 0.
    const WALL: i64 = 1_767_323_045_000;

    fn secs(secs: i64) -> Duration {
        Duration::from_secs(secs.unsigned_abs())
    }

    /// An answer that came at once after so many seconds, from a server that is `ahead` of the wall clock.
    fn answer(after: i64, ahead: i64) -> Hearing {
        let wall_ms = WALL + after * SECOND;
        Hearing {
            answered_ms: wall_ms + ahead,
            wall_ms,
            monotonic: secs(after),
            round_trip: Duration::ZERO,
        }
    }

    #[test]
    fn vault_time_goes_on_from_what_was_heard_and_never_back() {
        let clock = ServerClock::resume(0, 0, secs(10));
        assert_eq!(clock.now_ms(secs(1000)), 0, "not known");
        clock.note(1_000_000, secs(1000));
        assert_eq!(clock.now_ms(secs(1005)), 1_004_995, "slower than the monotonic clock");
        clock.note(1_001_000, secs(1010));
        assert_eq!(clock.now_ms(secs(1010)), 1_009_990, "an answer that was long on its way");
        clock.note(1_020_000, secs(1010));
        assert_eq!(clock.now_ms(secs(1010)), 1_020_000);
        let resumed = ServerClock::resume(1_020_000, 0, secs(0));
        assert_eq!(resumed.now_ms(secs(1)), 1_020_999, "what was slept through does not count");
    }

    #[test]
    fn vault_time_that_ran_ahead_is_caught_up_with() {
        let clock = ServerClock::default();
        clock.hear(&answer(0, 45 * SECOND), None);
        let ahead = |after: i64| clock.now_ms(secs(after)) - (WALL + after * SECOND);
        let (mut last, hour) = (45 * SECOND, HOUR / SECOND);
        for after in (hour..14 * hour).step_by(3600) {
            clock.hear(&answer(after, 0), None);
            assert!(ahead(after) == 0 || ahead(after) < last, "{after}");
            last = ahead(after);
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn a_monotonic_clock_that_gains_makes_no_answer_old() {
        let clock = ServerClock::default();
        // What a quartz gains that nobody corrects: by two months it is far more than answers may be old.
        let gained = |after: i64| secs(after) + secs(after) / 20_000;
        let hear = |after: i64, ahead: i64| {
            clock.hear(&Hearing { monotonic: gained(after), ..answer(after, ahead) }, None);
        };
        for hours in 0..60 * 24 {
            hear(hours * 3600, 0);
            assert_eq!(clock.now_ms(gained(hours * 3600)), WALL + hours * HOUR);
        }
        let after = 60 * 24 * 3600;
        hear(after, -40 * SECOND);
        hear(after + 1, -40 * SECOND);
        assert_eq!(clock.offset_ms(), -40 * SECOND, "it is still corrected");
    }

    #[test]
    fn one_answer_moves_nothing_and_two_that_agree_do() {
        let clock = ServerClock::default();
        for (number, (ahead, expect)) in [
            (0, 0),
            (30 * SECOND, 0),
            (40 * SECOND, 0),
            (10 * SECOND, 0),
            (40 * SECOND, 0),
            (-40 * SECOND, 0),
            (45 * SECOND, 0),
            (40 * SECOND, 40 * SECOND),
            (60 * SECOND, 40 * SECOND),
            (10 * SECOND, 40 * SECOND),
            (9 * SECOND, 40 * SECOND),
            (8 * SECOND, 0),
        ]
        .into_iter()
        .enumerate()
        {
            clock.hear(&answer(number as i64, ahead), None);
            assert_eq!(clock.offset_ms(), expect, "{number}: {ahead}");
        }
    }

    #[test]
    fn what_a_request_was_dated_by_is_half_the_proof() {
        let clock = ServerClock::default();
        clock.hear(&answer(0, 7 * MINUTE), Some(-7 * MINUTE));
        assert_eq!(clock.offset_ms(), 0, "the answer says otherwise");
        let clock = ServerClock::default();
        clock.hear(&answer(0, 7 * MINUTE + 500), Some(7 * MINUTE));
        assert_eq!(clock.offset_ms(), 7 * MINUTE + 500);
        assert!(clock.is_in_use(7 * MINUTE + 500 + 30 * SECOND) && !clock.is_in_use(0));
        clock.hear(&answer(60, SECOND), Some(0));
        assert_eq!(clock.offset_ms(), 7 * MINUTE + 500, "older than what is known by now");
    }

    #[test]
    fn the_wall_clock_may_be_put_right() {
        for offset in [7 * MINUTE, -7 * MINUTE] {
            let clock = ServerClock::resume(0, offset, Duration::ZERO);
            clock.hear(&answer(0, SECOND), Some(0));
            assert_eq!(clock.offset_ms(), 0);
        }
    }

    #[test]
    fn an_answer_that_took_long_measures_nothing() {
        for (round_trip, expect) in [(secs(10), 7 * MINUTE + 5 * SECOND), (secs(11), 0)] {
            let clock = ServerClock::default();
            let late = Hearing { round_trip, ..answer(100, 7 * MINUTE) };
            clock.hear(&late, Some(7 * MINUTE));
            assert_eq!(clock.offset_ms(), expect);
            assert_eq!(clock.now_ms(secs(100)), late.answered_ms, "it counts all the same");
        }
    }

    #[test]
    fn answers_that_are_shown_again_move_nothing() {
        let clock = ServerClock::default();
        clock.hear(&answer(0, 0), None);
        for after in 0..20 {
            clock.hear(&answer(600 + after, -4 * MINUTE), None);
        }
        assert_eq!(clock.offset_ms(), 0);
    }

    #[test]
    fn the_first_offset_is_at_most_ten_minutes() {
        let far = 11 * MINUTE;
        let check = |clock: &ServerClock, offset, expect| {
            clock.hear(&answer(1, offset), Some(offset));
            assert_eq!(clock.offset_ms(), expect, "{offset}");
        };
        check(&ServerClock::default(), 10 * MINUTE, 10 * MINUTE);
        for offset in [far, -far] {
            check(&ServerClock::default(), offset, 0);
        }
        check(&ServerClock::resume(0, 5 * MINUTE, Duration::ZERO), far, far);
        let heard = ServerClock::default();
        heard.hear(&answer(0, 0), None);
        check(&heard, far, far);
    }

    #[test]
    fn what_a_refusal_says_is_tried_where_it_may_be_true() {
        let certain = |offset_ms| Some(Guess::Try { offset_ms, is_certain: true });
        let perhaps = |offset_ms| Some(Guess::Try { offset_ms, is_certain: false });
        let too_far = |offset_ms| Some(Guess::TooFar { offset_ms });
        let fresh = ServerClock::default;
        let remembered = |ahead| ServerClock::resume(WALL + ahead, 0, Duration::ZERO);
        let offset = |offset| ServerClock::resume(0, offset, Duration::ZERO);
        let heard = |ahead| {
            let clock = ServerClock::default();
            clock.hear(&answer(0, ahead), None);
            clock
        };
        for (clock, said, expect) in [
            (fresh(), None, None),
            (fresh(), Some(30 * SECOND), None),
            (fresh(), Some(31 * SECOND), perhaps(31 * SECOND)),
            (fresh(), Some(-7 * MINUTE), perhaps(-7 * MINUTE)),
            (fresh(), Some(11 * MINUTE), too_far(11 * MINUTE)),
            (fresh(), Some(-HOUR), too_far(-HOUR)),
            (offset(7 * MINUTE), Some(7 * MINUTE), None),
            (offset(7 * MINUTE), Some(0), perhaps(0)),
            (offset(7 * MINUTE), Some(16 * MINUTE), perhaps(16 * MINUTE)),
            // What is remembered is no later than it is.
            (remembered(-HOUR), None, None),
            (remembered(-MINUTE), None, perhaps(-MINUTE)),
            (remembered(-MINUTE), Some(0), None),
            (remembered(7 * MINUTE), None, certain(7 * MINUTE)),
            (remembered(7 * MINUTE), Some(8 * MINUTE), certain(8 * MINUTE)),
            (remembered(7 * MINUTE), Some(0), certain(7 * MINUTE)),
            (remembered(HOUR), None, too_far(HOUR)),
            // What was heard stands by itself, however far it is.
            (heard(0), Some(0), None),
            (heard(HOUR), None, certain(HOUR)),
            (heard(HOUR), Some(HOUR + SECOND), certain(HOUR + SECOND)),
            (heard(-HOUR), Some(0), perhaps(-HOUR)),
            (heard(0), Some(-HOUR), None),
            (heard(0), Some(7 * MINUTE), perhaps(7 * MINUTE)),
            (heard(0), Some(MINUTE), perhaps(MINUTE)),
            (heard(0), Some(10 * MINUTE), perhaps(10 * MINUTE)),
            // What is merely said goes no further than before anything was heard.
            (heard(0), Some(11 * MINUTE), None),
            (heard(HOUR), Some(HOUR + 11 * MINUTE), certain(HOUR)),
        ] {
            let said_ms = said.map(|said| WALL + said);
            let guess = clock.guess(clock.offset_ms(), said_ms, WALL, Duration::ZERO);
            assert_eq!(guess, expect, "{said:?}, {clock:?}");
        }
        // BitGo has more than one clock: one that was ahead excuses no refusal for good.
        let clock = heard(0);
        clock.note(WALL + 45 * SECOND, Duration::ZERO);
        for said_ms in [None, Some(WALL)] {
            let guess = clock.guess(0, said_ms, WALL, Duration::ZERO);
            assert_eq!(guess, perhaps(45 * SECOND), "{said_ms:?}");
        }
        // Another question has shown the offset since this one was refused.
        let (clock, said_ms) = (offset(7 * MINUTE), Some(WALL + 7 * MINUTE));
        assert_eq!(clock.guess(0, said_ms, WALL, Duration::ZERO), perhaps(7 * MINUTE));
    }
}
