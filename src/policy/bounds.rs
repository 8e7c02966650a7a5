//! The bounds within which local rules are kept: a record holds them, and every request is held
//! against them.

use super::LocalRules;
use std::collections::BTreeSet;
use std::time::Duration;

/// The most entries that each list may have.
const LISTS_MAX: [(&str, usize); 8] = [
    ("actions", 16),
    ("wallets", 256),
    ("destinations", 256),
    ("coins", 64),
    ("windows", super::book::WINDOWS_MAX),
    ("products", 64),
    ("per_order", 64),
    ("units", 64),
];
/// The most text that destinations and products may have together, in bytes.
const TEXT_MAX: usize = 12 << 10;
/// The longest JSON that is read as rules, in bytes: four times what the longest lists take.
pub(super) const JSON_MAX: usize = 256 << 10;
/// The shortest window.
const PERIOD_MIN: Duration = Duration::from_secs(60);
/// The longest while of any rule: 366 days.
const PERIOD_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The most decimals that a coin may have.
const DECIMALS_MAX: u8 = 38;

/// Rules that are not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Their JSON is too long.
    #[error("the rules have more than {JSON_MAX} bytes: name fewer")]
    TooLong,
    /// A field of their JSON is not of the kind that it should be.
    #[error("{field}: want {wanted}")]
    Unreadable {
        /// The names that lead to it, such as `coins.tbtc.fee`.
        field: Box<str>,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A field of their JSON names no rule.
    #[error("{field}: no rule is called so, correct the name")]
    Unknown {
        /// The names that lead to it.
        field: Box<str>,
    },
    /// A field of their JSON stands twice.
    #[error("{field}: it stands there twice, and which of the two holds is not plain")]
    FieldTwice {
        /// The names that lead to it.
        field: Box<str>,
    },
    /// A list is too long.
    #[error("{list} has more than {most} entries: name fewer")]
    TooMany {
        /// Which.
        list: &'static str,
        /// How many it may have.
        most: usize,
    },
    /// Destinations and products are too long.
    #[error("destinations and products have more than {TEXT_MAX} bytes together: name fewer")]
    TooMuchText,
    /// A list says the same thing twice.
    #[error("{list} says the same twice: which of the two holds is not plain")]
    Twice {
        /// Which.
        list: &'static str,
    },
    /// An entry is empty.
    #[error("{list} has an empty entry: nothing is named so")]
    Empty {
        /// Which.
        list: &'static str,
    },
    /// A window is too short or too long.
    #[error("a window lasts whole seconds, from a minute to 366 days")]
    Period,
    /// A window bounds nothing.
    #[error("a window has neither a sum nor a count: give it one")]
    Boundless,
    /// A decay is too long.
    #[error("a decay takes whole seconds, at most 366 days")]
    Decay,
    /// A coin has too many decimals.
    #[error("a coin has at most {DECIMALS_MAX} decimals")]
    Decimals,
}

impl LocalRules {
    /// Whether rules can be kept.
    ///
    /// # Errors
    /// [`RulesError`] that names the bound.
    pub fn validate(&self) -> Result<(), RulesError> {
        let len = |list: Option<usize>| list.unwrap_or(0);
        let destinations = self.destinations.as_deref().unwrap_or_default();
        let products = self.trading.as_ref().and_then(|trading| trading.products.as_deref());
        let products = products.unwrap_or_default();
        let lengths = [
            len(self.actions.as_ref().map(Vec::len)),
            len(self.wallets.as_ref().map(Vec::len)),
            destinations.len(),
            self.coins.len(),
            self.windows.len(),
            products.len(),
            len(self.trading.as_ref().map(|trading| trading.per_order.len())),
            self.units.len(),
        ];
        for ((list, most), length) in LISTS_MAX.into_iter().zip(lengths) {
            if length > most {
                return Err(RulesError::TooMany { list, most });
            }
        }
        if destinations.iter().chain(products).map(String::len).sum::<usize>() > TEXT_MAX {
            return Err(RulesError::TooMuchText);
        }
        each_once("actions", self.actions.iter().flatten())?;
        each_once("wallets", self.wallets.iter().flatten())?;
        each_once("windows", self.windows.iter().map(|it| (it.purpose, &it.coin, it.period)))?;
        for (list, texts) in [("destinations", destinations), ("products", products)] {
            each_once(list, texts.iter())?;
            if texts.iter().any(String::is_empty) {
                return Err(RulesError::Empty { list });
            }
        }
        for window in &self.windows {
            if !is_whole(window.period) || !(PERIOD_MIN..=PERIOD_MAX).contains(&window.period) {
                return Err(RulesError::Period);
            }
            if window.sum.is_none() && window.count.is_none() {
                return Err(RulesError::Boundless);
            }
        }
        let fits = |time: Duration| is_whole(time) && time <= PERIOD_MAX;
        if self.decay.is_some_and(|decay| !fits(decay.after) || !fits(decay.over)) {
            return Err(RulesError::Decay);
        }
        match self.units.iter().any(|(_, unit)| unit.decimals > DECIMALS_MAX) {
            true => Err(RulesError::Decimals),
            false => Ok(()),
        }
    }
}

/// Whether a while is told whole by its seconds, as it is written.
fn is_whole(time: Duration) -> bool {
    time.subsec_nanos() == 0
}

fn each_once<T: Ord>(
    list: &'static str,
    entries: impl Iterator<Item = T>,
) -> Result<(), RulesError> {
    let mut seen = BTreeSet::new();
    match entries.into_iter().all(|entry| seen.insert(entry)) {
        true => Ok(()),
        false => Err(RulesError::Twice { list }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WalletId;
    use crate::money::{Amount, Coin};
    use crate::policy::{
        ActionKind, CoinRules, CoinUnit, Decay, Purpose, TradingRules, WindowRule,
    };

    #[test]
    fn rules_out_of_bounds_say_which() {
        let coin = |n: usize| Coin::new(&format!("coin{n}")).unwrap();
        let day = Duration::from_secs(86_400);
        let window = |period| WindowRule::new(Purpose::Trade, &coin(0), period).count(1);
        let none = LocalRules::default;
        let many = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        let trading = |trading| LocalRules { trading: Some(trading), ..none() };
        let per_order = |n| {
            let per_order = (0..n).map(|n| (coin(n), Amount::ZERO)).collect();
            trading(TradingRules { per_order, ..TradingRules::default() })
        };
        let products =
            |products| trading(TradingRules { products: Some(products), ..Default::default() });
        let destinations = |destinations| LocalRules { destinations: Some(destinations), ..none() };
        let wallets = |n: u16| {
            let wallet = |n: u16| {
                let mut bytes = [0; 16];
                bytes[..2].copy_from_slice(&n.to_le_bytes());
                WalletId::from_bytes(bytes)
            };
            LocalRules { wallets: Some((0..n).map(wallet).collect()), ..none() }
        };
        let actions = |actions| LocalRules { actions: Some(actions), ..none() };
        let coins = |n| {
            let coins = (0..n).map(|n| (coin(n), CoinRules::default())).collect();
            LocalRules { coins, ..none() }
        };
        let units = |n, decimals| {
            let units = (0..n).map(|n| (coin(n), CoinUnit::new(decimals))).collect();
            LocalRules { units, ..none() }
        };
        let windows = |windows| LocalRules { windows, ..none() };
        let in_turn =
            |n: u32| (0..n).map(|n| window(day + Duration::from_secs(n.into()))).collect();
        let decay = |after, over| LocalRules { decay: Some(Decay::new(after, over)), ..none() };
        for (rules, line) in [
            (none(), ""),
            (
                actions(vec![ActionKind::View; 2]),
                "actions says the same twice: which of the two holds is not plain",
            ),
            (actions(vec![ActionKind::View; 17]), "actions has more than 16 entries: name fewer"),
            (wallets(256), ""),
            (wallets(257), "wallets has more than 256 entries: name fewer"),
            (destinations(many(256)), ""),
            (destinations(many(257)), "destinations has more than 256 entries: name fewer"),
            (destinations(vec!["a".repeat(12 << 10)]), ""),
            (
                destinations(vec!["a".repeat((12 << 10) + 1)]),
                "destinations and products have more than 12288 bytes together: name fewer",
            ),
            (
                destinations(vec![String::new()]),
                "destinations has an empty entry: nothing is named so",
            ),
            (products(many(65)), "products has more than 64 entries: name fewer"),
            (
                products(vec!["A-B".into(), "A-B".into()]),
                "products says the same twice: which of the two holds is not plain",
            ),
            (per_order(65), "per_order has more than 64 entries: name fewer"),
            (coins(65), "coins has more than 64 entries: name fewer"),
            (units(65, 0), "units has more than 64 entries: name fewer"),
            (units(64, 38), ""),
            (units(1, 39), "a coin has at most 38 decimals"),
            (windows(in_turn(16)), ""),
            (windows(in_turn(17)), "windows has more than 16 entries: name fewer"),
            (
                windows(vec![window(day).count(1), window(day).count(2)]),
                "windows says the same twice: which of the two holds is not plain",
            ),
            (windows(vec![window(PERIOD_MIN), window(PERIOD_MAX)]), ""),
            (
                windows(vec![window(Duration::from_millis(60_001))]),
                "a window lasts whole seconds, from a minute to 366 days",
            ),
            (
                windows(vec![window(PERIOD_MAX + Duration::from_nanos(1))]),
                "a window lasts whole seconds, from a minute to 366 days",
            ),
            (
                windows(vec![WindowRule::new(Purpose::Trade, &coin(0), day)]),
                "a window has neither a sum nor a count: give it one",
            ),
            (decay(PERIOD_MAX, Duration::ZERO), ""),
            (decay(day, Duration::from_millis(1)), "a decay takes whole seconds, at most 366 days"),
            (decay(day, PERIOD_MAX * 2), "a decay takes whole seconds, at most 366 days"),
        ] {
            let said = rules.validate().map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said, line);
        }
    }
}
