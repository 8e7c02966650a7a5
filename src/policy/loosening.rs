//! Whether other rules would allow anything that these do not: then the passphrase is asked for.
//!
//! When in doubt, they do. A window of another length starts with another past, so that only one of
//! the same purpose, coin and length can stand in for one that goes.

use super::{CoinRules, Decay, LocalRules, TradingRules, WindowRule};
use crate::money::Amount;

impl LocalRules {
    /// Whether any request could be allowed under these rules that was not under `from`.
    pub fn loosens(&self, from: &Self) -> bool {
        let Self {
            raw_exposure,
            declared_amounts,
            actions,
            wallets,
            destinations,
            coins,
            windows,
            trading,
            decay,
            units,
        } = self;
        (*raw_exposure && !from.raw_exposure)
            || (*declared_amounts && !from.declared_amounts)
            || is_longer(actions.as_deref(), from.actions.as_deref())
            || is_longer(wallets.as_deref(), from.wallets.as_deref())
            || is_longer(destinations.as_deref(), from.destinations.as_deref())
            || from.coins.iter().any(|(coin, before)| {
                let now = coins.get(coin).copied().unwrap_or_default();
                now.is_wider(before)
            })
            // Without a rule for its coin no fee is allowed at all.
            || coins.iter().any(|(coin, now)| {
                let before = from.coins.get(coin).and_then(|before| before.fee);
                now.fee.is_some_and(|now| before.is_none_or(|before| now > before))
            })
            || from.windows.iter().any(|before| !windows.iter().any(|now| now.holds(before)))
            || trading_loosens(trading.as_ref(), from.trading.as_ref())
            || from.decay.is_some_and(|before| decay.is_none_or(|now| now.is_slower(before)))
            // Which coin a name stands for may change with any of them.
            || *units != from.units
    }
}

/// Whether a list allows what the one before did not.
fn is_longer<T: PartialEq>(now: Option<&[T]>, before: Option<&[T]>) -> bool {
    match (now, before) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(now), Some(before)) => now.iter().any(|entry| !before.contains(entry)),
    }
}

/// Whether a bound lies above the one before; none lies above all.
fn is_above(now: Option<Amount>, before: Option<Amount>) -> bool {
    before.is_some_and(|before| now.is_none_or(|now| now > before))
}

impl CoinRules {
    fn is_wider(&self, before: &Self) -> bool {
        is_above(self.per_transaction, before.per_transaction) || is_above(self.total, before.total)
    }
}

impl WindowRule {
    /// Whether it holds back all that the one before did.
    fn holds(&self, before: &Self) -> bool {
        (self.purpose, &self.coin, self.period) == (before.purpose, &before.coin, before.period)
            && !is_above(self.sum, before.sum)
            && before.count.is_none_or(|before| self.count.is_some_and(|now| now <= before))
    }
}

impl Decay {
    /// Whether at any age it leaves more than the one before.
    fn is_slower(self, before: Self) -> bool {
        let end = |decay: Self| decay.after.saturating_add(decay.over);
        self.after > before.after || end(self) > end(before)
    }
}

fn trading_loosens(now: Option<&TradingRules>, before: Option<&TradingRules>) -> bool {
    let Some(before) = before else { return false };
    let Some(now) = now else { return true };
    is_longer(now.products.as_deref(), before.products.as_deref())
        || now
            .per_order
            .iter()
            .any(|(coin, now)| before.per_order.get(coin).is_none_or(|before| now > before))
        || (before.counts_as_withdrawal && !now.counts_as_withdrawal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::any::{any_action, any_coin, any_purpose, any_rules};
    use crate::policy::{Action, Charge, Purpose, charges, check};
    use crate::scope::Scope;
    use crate::token::{TokenInfo, TokenKind};
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;
    use std::time::Duration;

    /// One that may do everything.
    fn token() -> TokenInfo {
        TokenInfo {
            id: crate::id::TokenId::from_bytes([0; 16]),
            kind: TokenKind::LongLived,
            scopes: vec![Scope::All],
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            created_at: None,
            expires_at: Some(DateTime::UNIX_EPOCH + TimeDelta::days(1)),
            is_extensible: false,
            ip_restrict: Vec::new(),
            spending_limits: Default::default(),
            erc20_limit: None,
            issued_in_clear: false,
        }
    }

    fn allows(rules: &LocalRules, action: &Action) -> bool {
        check(action, &token(), rules, 0).is_ok()
    }

    /// Whether every window, total and withdrawal that the rules know allows the last of a history,
    /// whose times are in seconds. A plain model: it sums up what lies within.
    fn budgets_allow(rules: &LocalRules, history: &[(u64, Charge)]) -> bool {
        let Some(((now, last), _)) = history.split_last() else { return true };
        let same = |purpose, coin| {
            move |it: &&(u64, Charge)| it.1.purpose == purpose && &it.1.coin == coin
        };
        let sum = |charges: &mut dyn Iterator<Item = &(u64, Charge)>| {
            charges.map(|it| it.1.amount.base_units()).sum::<u128>()
        };
        let windows =
            rules.windows.iter().filter(|it| it.purpose == last.purpose && it.coin == last.coin);
        let mut all_windows = windows.map(|window| {
            let since = |it: &&(u64, Charge)| now - it.0 < window.period.as_secs();
            let within = || history.iter().filter(same(window.purpose, &window.coin)).filter(since);
            window.sum.is_none_or(|most| sum(&mut within()) <= most.base_units())
                && window.count.is_none_or(|most| within().count() <= most as usize)
        });
        let total = rules.coins.get(&last.coin).and_then(|coin| coin.total);
        let spent = || sum(&mut history.iter().filter(same(Purpose::Withdrawal, &last.coin)));
        let fits_total =
            last.purpose == Purpose::Trade || total.is_none_or(|most| spent() <= most.base_units());
        all_windows.all(|fits| fits) && fits_total
    }

    /// Without a coin of ours that is called so, `USD` is another coin, which no rule of before counts.
    #[test]
    fn a_unit_that_goes_loosens() {
        let usd = crate::money::Coin::new("usd").unwrap();
        let units = LocalRules {
            units: [(usd, crate::policy::CoinUnit::new(2))].into(),
            ..LocalRules::default()
        };
        assert!(LocalRules::default().loosens(&units));
        assert!(!units.loosens(&units));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Rules that are much alike, for others nearly always loosen.
        #[test]
        fn what_does_not_loosen_allows_nothing_new(
            before in any_rules(), other in any_rules(), taken in 0_u8..10, and in 0_u8..10,
            action in any_action(),
            history in prop::collection::vec((0_u64..200, any_purpose(), any_coin(), 0_u128..5), 0..6),
        ) {
            let mut now = before.clone();
            for part in [taken, and] {
                match part {
                    0 => now.raw_exposure = other.raw_exposure,
                    1 => now.declared_amounts = other.declared_amounts,
                    2 => now.actions = other.actions.clone(),
                    3 => now.wallets = other.wallets.clone(),
                    4 => now.destinations = other.destinations.clone(),
                    5 => now.coins = other.coins.clone(),
                    6 => now.windows = other.windows.clone(),
                    7 => now.trading = other.trading.clone(),
                    8 => now.decay = other.decay,
                    _ => now.units = other.units.clone(),
                }
            }
            if now.loosens(&before) {
                return Ok(());
            }
            prop_assert!(!now.raw_exposure || before.raw_exposure);
            prop_assert!(!allows(&now, &action) || allows(&before, &action));
            let charged = |rules| charges(&action, rules).unwrap();
            for charge in charged(&before) {
                prop_assert!(charged(&now).contains(&charge), "a charge is gone");
            }
            let mut history: Vec<_> = history.into_iter().map(|(at, purpose, coin, amount)| {
                (at, Charge { purpose, coin, is_erc20: false, amount: Amount::new(amount) })
            }).collect();
            history.sort_by_key(|(at, _)| *at);
            prop_assert!(!budgets_allow(&now, &history) || budgets_allow(&before, &history));
        }

        /// Most pairs of rules loosen: this makes one of the two out of the other.
        #[test]
        fn what_was_only_cut_does_not_loosen(before in any_rules(), cut in 0_u8..9, action in any_action()) {
            let mut now = before.clone();
            match cut {
                0 => now.raw_exposure = false,
                1 => now.declared_amounts = false,
                2 => drop(now.actions.get_or_insert_default().pop()),
                3 => drop(now.wallets.get_or_insert_default().pop()),
                4 => drop(now.destinations.get_or_insert_default().pop()),
                5 => {
                    let half = |amount: Amount| Amount::new(amount.base_units() / 2);
                    now.coins = now.coins.into_iter().map(|(coin, rules)| {
                        let [per_transaction, total, fee] =
                            [rules.per_transaction, rules.total, rules.fee].map(|it| it.map(half));
                        (coin, CoinRules { per_transaction, total, fee })
                    }).collect();
                }
                6 => now.windows.iter_mut().for_each(|window| {
                    window.sum = Some(Amount::ZERO);
                    window.count = window.count.map(|count| count / 2);
                }),
                7 => now.trading.get_or_insert_default().counts_as_withdrawal = true,
                _ => now.decay = Some(now.decay.map_or(
                    Decay::new(Duration::ZERO, Duration::ZERO),
                    |decay| Decay::new(decay.after / 2, decay.over),
                )),
            }
            prop_assert!(!now.loosens(&before), "{before:?}");
            prop_assert!(!allows(&now, &action) || allows(&before, &action));
        }

        #[test]
        fn nothing_loosens_itself(rules in any_rules()) {
            prop_assert!(!rules.loosens(&rules));
        }
    }

    #[test]
    fn each_way_to_allow_more_loosens() {
        use crate::coin_map::CoinMap;
        use crate::money::Coin;
        use crate::policy::{ActionKind, CoinUnit};
        let tbtc = || Coin::new("tbtc").unwrap();
        let (one, two) = (Some(Amount::new(1)), Some(Amount::new(2)));
        let coins = |per_transaction, total, fee| LocalRules {
            coins: CoinMap::from([(tbtc(), CoinRules { per_transaction, total, fee })]),
            ..LocalRules::default()
        };
        let window = |purpose, minutes: u64, sum, count| {
            let period = Duration::from_secs(60 * minutes);
            let windows =
                vec![WindowRule { sum, count, ..WindowRule::new(purpose, &tbtc(), period) }];
            LocalRules { windows, ..LocalRules::default() }
        };
        let trading = |trading| LocalRules { trading: Some(trading), ..LocalRules::default() };
        let products = |product: &str| {
            let products = Some(vec![product.to_owned()]);
            trading(TradingRules { products, ..TradingRules::default() })
        };
        let per_order = |most| {
            let per_order = CoinMap::from([(tbtc(), Amount::new(most))]);
            trading(TradingRules { per_order, ..TradingRules::default() })
        };
        let decay = |after, over| {
            let [after, over] = [after, over].map(Duration::from_secs);
            LocalRules { decay: Some(Decay::new(after, over)), ..LocalRules::default() }
        };
        let units = |decimals| LocalRules {
            units: CoinMap::from([(tbtc(), CoinUnit::new(decimals))]),
            ..LocalRules::default()
        };
        let none = LocalRules::default;
        let out = Purpose::Withdrawal;
        for (now, before) in [
            (LocalRules { raw_exposure: true, ..none() }, none()),
            (LocalRules { declared_amounts: true, ..none() }, none()),
            (none(), LocalRules { actions: Some(vec![ActionKind::View]), ..none() }),
            (none(), LocalRules { destinations: Some(vec![]), ..none() }),
            (
                LocalRules { destinations: Some(vec!["a".into()]), ..none() },
                LocalRules { destinations: Some(vec!["b".into()]), ..none() },
            ),
            (none(), coins(one, None, None)),
            (coins(two, None, None), coins(one, None, None)),
            (coins(None, two, None), coins(None, one, None)),
            (coins(None, None, one), none()),
            (coins(None, None, two), coins(None, None, one)),
            (none(), window(out, 1, one, None)),
            (window(out, 1, two, None), window(out, 1, one, None)),
            (window(out, 1, one, None), window(out, 1, one, Some(1))),
            (window(out, 1, one, Some(2)), window(out, 1, one, Some(1))),
            (window(out, 2, one, None), window(out, 1, one, None)),
            (window(Purpose::Trade, 1, one, None), window(out, 1, one, None)),
            (none(), per_order(1)),
            (per_order(2), per_order(1)),
            (per_order(1), trading(TradingRules::default())),
            (products("A-B"), products("A-C")),
            (trading(TradingRules::default()), products("A-C")),
            (
                trading(TradingRules::default()),
                trading(TradingRules { counts_as_withdrawal: true, ..TradingRules::default() }),
            ),
            (none(), decay(1, 1)),
            (decay(2, 1), decay(1, 2)),
            (decay(1, 2), decay(1, 1)),
            (units(8), none()),
            (units(8), units(7)),
        ] {
            assert!(now.loosens(&before), "{now:?} {before:?}");
        }
    }
}
