//! Where a token stands in its life, as a pure function of its end and the time.
//!
//! ```text
//! issued                                          advisory        mandatory    expires
//!   |------------------ fresh ----------------------|---- advisory ----|--------|---- expired
//!   nothing to do                                   renewed beside its use      refused
//!                                                   |-turn-|
//! ```
//!
//! | lifetime | advisory window | mandatory window |
//! |---|---|---|
//! | to 20 min | 5 min, at most a third of the lifetime | 60 s, at most a tenth |
//! | below 90 min | 15 min, likewise | likewise |
//! | longer | 60 min, likewise | likewise |
//!
//! A session of one hour is renewed from 45 minutes on, one of 6 seconds from 4 seconds on. Both
//! windows can be set; the third and the tenth hold all the same, or a short token would be renewed
//! without end.
//!
//! Tokens that were made together would all be renewed together, by all hosts that have some. So each
//! has its own turn in the first third of the way from the advisory window to the mandatory one, which
//! leaves two thirds to try again. The turn follows from the lineage: it is the same after a restart
//! and for each successor.

use crate::id::LineageId;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

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

impl Phase {
    /// The phase's name, which stays.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Advisory => "advisory",
            Self::Mandatory => "mandatory",
            Self::Expired => "expired",
        }
    }
}

/// What was said of the windows; where nothing was, the lifetime decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowSettings {
    pub(crate) advisory: Option<Duration>,
    pub(crate) mandatory: Option<Duration>,
    /// The most that turns lie apart.
    pub(crate) spread: Option<Duration>,
}

/// How long before a token's end it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Renewal is advised this long before the end.
    pub(crate) advisory: Duration,
    /// It is this token's turn this long before the end.
    pub(crate) turn: Duration,
    /// Renewal is urgent this long before the end.
    pub(crate) mandatory: Duration,
}

impl Windows {
    /// The windows for tokens of `lifetime`.
    ///
    /// Two hours: advisory 40 minutes (a third is less than 60 minutes), mandatory 60 seconds.
    pub(crate) fn of(lifetime: Duration, settings: WindowSettings) -> Self {
        let by_lifetime = if lifetime <= 20 * MINUTE {
            5 * MINUTE
        } else if lifetime < 90 * MINUTE {
            15 * MINUTE
        } else {
            60 * MINUTE
        };
        let advisory = settings.advisory.unwrap_or(by_lifetime).min(lifetime / 3);
        let mandatory = settings.mandatory.unwrap_or(MINUTE).min(lifetime / 10);
        Self { advisory, turn: advisory, mandatory: mandatory.min(advisory) }
    }

    /// The same for one of many tokens: each has its own turn.
    ///
    /// Of 10 000 sessions of an hour, made together, 36 a second have their turn for 280 s: a third of
    /// the 840 between 15 minutes and one before the end.
    pub(crate) fn in_turn(self, lineage: LineageId, settings: WindowSettings) -> Self {
        let third = (self.advisory - self.mandatory) / 3;
        let spread = settings.spread.map_or(third, |spread| spread.min(third));
        // Lineages are drawn at random.
        let [first, second, ..] = *lineage.as_bytes();
        let place = u32::from(u16::from_be_bytes([first, second]));
        Self { turn: self.advisory - spread / (1 << 16) * place, ..self }
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

/// As chrono has it; a duration that it cannot hold is longer than any token lives.
pub(super) fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// The time so long after another, or the last there is.
pub(super) fn after(time: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    time.checked_add_signed(time_delta(duration)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The time so long before another, or the first there is.
pub(super) fn before(time: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    time.checked_sub_signed(time_delta(duration)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
            let windows = Windows::of(lifetime * SECOND, WindowSettings::default());
            assert_eq!(windows.advisory.as_secs_f64(), advisory, "{lifetime}");
            assert_eq!(windows.mandatory.as_secs_f64(), mandatory, "{lifetime}");
        }
    }

    #[test]
    fn windows_that_were_set_stay_within_the_lifetime() {
        for (lifetime, advisory, mandatory, expect) in [
            (36_000, 7200, 600, (7200, 600)),
            (3600, 7200, 600, (1200, 360)),
            (3600, 30, 600, (30, 30)),
            (3600, 0, 0, (0, 0)),
        ] {
            let settings = WindowSettings {
                advisory: Some(advisory * SECOND),
                mandatory: Some(mandatory * SECOND),
                spread: None,
            };
            let windows = Windows::of(lifetime * SECOND, settings);
            assert_eq!((windows.advisory.as_secs(), windows.mandatory.as_secs()), expect);
        }
    }

    #[test]
    fn turns_are_spread_over_a_third_of_the_way_to_the_mandatory_window() {
        for (lifetime, spread, seconds) in [
            (3600, None, 280.0),
            (86_400, None, 1180.0),
            (6, None, 1.4 / 3.0),
            (3600, Some(60), 60.0),
            (3600, Some(9999), 280.0),
            (3600, Some(0), 0.0),
        ] {
            let settings =
                WindowSettings { spread: spread.map(|it| it * SECOND), ..<_>::default() };
            let windows = Windows::of(lifetime * SECOND, settings);
            let delay = |place: [u8; 2]| {
                let mut lineage = [7; 16];
                lineage[..2].copy_from_slice(&place);
                let turn = windows.in_turn(LineageId::from_bytes(lineage), settings).turn;
                (windows.advisory - turn).as_secs_f64()
            };
            let near = |got: f64, expect: f64| (got - expect).abs() <= seconds / 1000.0 + 0.001;
            assert_eq!(delay([0, 0]), 0.0, "{lifetime}");
            assert!(near(delay([0x40, 0]), seconds / 4.0), "{lifetime}: {}", delay([0x40, 0]));
            assert!(near(delay([0xff, 0xff]), seconds), "{lifetime}: {}", delay([0xff, 0xff]));
        }
    }

    #[test]
    fn phases_follow_one_another() {
        let windows = Windows::of(3600 * SECOND, WindowSettings::default());
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
}
