//! Amounts, durations and times, as people write and read them.

use bitgo_vault::{Amount, Coin};
use chrono::{DateTime, Local, TimeDelta, Utc};
use std::time::Duration;

/// An amount of a coin: `tbtc=0.5` in whole coins, `tbtc=50000sat` in base units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) coin: Coin,
    pub(crate) amount: Amount,
}

/// What people call the base unit of a coin, beside `base`.
const BASE_UNITS: [&str; 9] =
    ["base", "sat", "wei", "litoshi", "drops", "lamports", "stroops", "uatom", "planck"];

impl Money {
    /// Reads `COIN=AMOUNT`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let (coin, amount) = text.split_once('=').ok_or("want COIN=AMOUNT, such as tbtc=0.5")?;
        let coin = Coin::new(coin).map_err(|error| error.to_string())?;
        let amount = read_amount(&coin, amount)?;
        Ok(Self { coin, amount })
    }
}

/// Reads an amount of a coin: whole coins, or base units where a unit stands behind it.
fn read_amount(coin: &Coin, text: &str) -> Result<Amount, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let in_base = |digits: &str| digits.parse().map_err(|_| "want a whole number of base units");
    if BASE_UNITS.contains(&unit) {
        return Ok(in_base(digits)?);
    }
    if !unit.is_empty() && !unit.eq_ignore_ascii_case(coin.as_str()) {
        return Err(format!(
            "{unit} is not known: write {coin}=0.5, or base units as {coin}=50000base"
        ));
    }
    let Some(decimals) = coin.decimals() else {
        return Err(format!(
            "how {coin} is counted is not known: write base units, as {coin}=50000base"
        ));
    };
    Amount::of_whole_units(digits, decimals)
        .map_err(|_| format!("want an amount of {coin} with at most {decimals} decimals"))
}

/// An amount in both units: `0.05 tbtc (5000000 base units)`.
pub(crate) fn both_units(coin: &Coin, amount: Amount) -> String {
    match coin.decimals() {
        Some(decimals) if decimals > 0 => {
            format!("{} {coin} ({amount} base units)", amount.in_whole_units(decimals))
        }
        _ => format!("{amount} base units of {coin}"),
    }
}

/// Reads a duration: a number and `s`, `m`, `h`, `d`, `w` or `y` (365 days).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "want a number and s, m, h, d, w or y, such as 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wanted)?;
    let number = text.strip_suffix(unit).ok_or_else(wanted)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        'y' => 365 * 86_400,
        _ => return Err(wanted()),
    };
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_plain).ok_or_else(wanted)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wanted)
}

/// A time as people read it: local, and how far away.
pub(crate) fn when(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", time.with_timezone(&Local).format("%Y-%m-%d %H:%M"), relative(time, now))
}

/// How far away a time is: `in 3 days`, `2 hours ago`.
pub(crate) fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let apart = time - now;
    let (length, is_past) = (apart.abs(), apart < TimeDelta::zero());
    let (number, unit) = match length {
        length if length < TimeDelta::minutes(1) => (length.num_seconds(), "second"),
        length if length < TimeDelta::hours(1) => (length.num_minutes(), "minute"),
        length if length < TimeDelta::days(2) => (length.num_hours(), "hour"),
        length if length < TimeDelta::days(731) => (length.num_days(), "day"),
        length => (length.num_days() / 365, "year"),
    };
    let plural = if number == 1 { "" } else { "s" };
    match is_past {
        true => format!("{number} {unit}{plural} ago"),
        false => format!("in {number} {unit}{plural}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_coins_or_base_units() {
        for (text, base_units) in [
            ("tbtc=0.5", Some(50_000_000)),
            ("tbtc=0.5tbtc", Some(50_000_000)),
            ("tbtc=50000sat", Some(50_000)),
            ("tbtc=50000base", Some(50_000)),
            ("hteth=1", Some(1_000_000_000_000_000_000)),
            ("hteth=1wei", Some(1)),
            ("nobodyscoin=5base", Some(5)),
            ("nobodyscoin=5", None),
            ("tbtc=0.123456789", None),
            ("tbtc=0.5sat", None),
            ("tbtc=-1", None),
            ("tbtc=1e3", None),
            ("tbtc=", None),
            ("tbtc", None),
            ("tbtc=1hteth", None),
        ] {
            let read = Money::read(text).map(|money| money.amount.base_units());
            assert_eq!(read.clone().ok(), base_units, "{text}: {read:?}");
        }
        let coin = Coin::new("tbtc").unwrap();
        assert_eq!(both_units(&coin, Amount::new(5_000_000)), "0.05 tbtc (5000000 base units)");
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("1h", Some(3600)),
            ("30d", Some(2_592_000)),
            ("2w", Some(1_209_600)),
            ("10y", Some(315_360_000)),
            ("30", None),
            ("d", None),
            ("-1d", None),
            ("+1d", None),
            ("1.5h", None),
            ("99999999999999999999y", None),
            ("999999999999999999y", None),
            ("", None),
            ("1é", None),
        ] {
            assert_eq!(duration(text).ok().map(|it| it.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now = DateTime::UNIX_EPOCH;
        for (seconds, told) in [
            (0, "in 0 seconds"),
            (1, "in 1 second"),
            (-59, "59 seconds ago"),
            (3600, "in 1 hour"),
            (3 * 86_400 + 5, "in 3 days"),
            (-10 * 365 * 86_400, "10 years ago"),
        ] {
            assert_eq!(relative(now + TimeDelta::seconds(seconds), now), told);
        }
    }
}
