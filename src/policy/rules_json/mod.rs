//! Local rules as JSON, the one shape in which they are shown, exported and written by hand. Where
//! something is `null` or left out, no rule bounds it.
//!
//! ```text
//! mod      rules → JSON
//! reader   JSON → rules, or the first field that is not as it should be
//! ```

mod reader;

use super::{
    ActionKind, CoinRules, CoinUnit, Decay, LocalRules, Purpose, RulesError, TradingRules,
    WindowRule,
};
use crate::coin_map::CoinMap;
use crate::money::Amount;
use serde::Serialize;
use std::collections::BTreeMap;

impl LocalRules {
    /// The rules as JSON: names in camelCase, amounts as strings of digits in base units, whiles in
    /// seconds.
    ///
    /// ```json
    /// {
    ///   "destinations": ["tb1q…"],
    ///   "coins": {"tbtc": {"perTransaction": "50000", "total": null, "fee": "2000"}},
    ///   "windows": [{"purpose": "withdrawal", "coin": "tbtc", "period": 86400, "sum": "1000000"}]
    /// }
    /// ```
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&RulesJson::of(self))
            .expect("structs of text, numbers and lists are JSON")
    }

    /// The reverse of [`LocalRules::to_json`]. What is left out is as it is by default; a name that is
    /// not known, or stands twice, is refused.
    ///
    /// # Errors
    /// [`RulesError`] with the field that is not as it should be, or the bound that the rules break.
    pub fn from_json(json: &str) -> Result<Self, RulesError> {
        let rules = reader::read(json)?;
        rules.validate()?;
        Ok(rules)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RulesJson {
    raw_exposure: bool,
    declared_amounts: bool,
    actions: Option<Vec<&'static str>>,
    wallets: Option<Vec<String>>,
    destinations: Option<Vec<String>>,
    coins: BTreeMap<String, Bounds>,
    windows: Vec<Window>,
    trading: Option<Trading>,
    decay: Option<Shrinking>,
    units: BTreeMap<String, Unit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bounds {
    per_transaction: Option<String>,
    total: Option<String>,
    fee: Option<String>,
}

#[derive(Serialize)]
struct Window {
    purpose: &'static str,
    coin: String,
    /// In seconds, as all whiles.
    period: u64,
    sum: Option<String>,
    count: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trading {
    products: Option<Vec<String>>,
    per_order: BTreeMap<String, String>,
    counts_as_withdrawal: bool,
}

#[derive(Serialize)]
struct Shrinking {
    after: u64,
    over: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unit {
    decimals: u8,
    is_erc20: bool,
}

impl RulesJson {
    pub(crate) fn of(rules: &LocalRules) -> Self {
        let LocalRules {
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
        } = rules;
        let kinds = |kinds: &Vec<ActionKind>| kinds.iter().map(|kind| kind.as_str()).collect();
        let ids = wallets.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect());
        Self {
            raw_exposure: *raw_exposure,
            declared_amounts: *declared_amounts,
            actions: actions.as_ref().map(kinds),
            wallets: ids,
            destinations: destinations.clone(),
            coins: by_name(coins, Bounds::of),
            windows: windows.iter().map(Window::of).collect(),
            trading: trading.as_ref().map(Trading::of),
            decay: decay.as_ref().map(Shrinking::of),
            units: by_name(units, Unit::of),
        }
    }
}

fn by_name<T, U>(coins: &CoinMap<T>, of: impl Fn(&T) -> U) -> BTreeMap<String, U> {
    coins.iter().map(|(coin, value)| (coin.to_string(), of(value))).collect()
}

impl Bounds {
    fn of(rules: &CoinRules) -> Self {
        let CoinRules { per_transaction, total, fee } = rules;
        Self { per_transaction: digits(*per_transaction), total: digits(*total), fee: digits(*fee) }
    }
}

impl Window {
    fn of(rule: &WindowRule) -> Self {
        let WindowRule { purpose, coin, period, sum, count } = rule;
        Self {
            purpose: purpose_name(*purpose),
            coin: coin.to_string(),
            period: period.as_secs(),
            sum: digits(*sum),
            count: *count,
        }
    }
}

fn purpose_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Withdrawal => "withdrawal",
        Purpose::Trade => "trade",
    }
}

impl Trading {
    fn of(rules: &TradingRules) -> Self {
        let TradingRules { products, per_order, counts_as_withdrawal } = rules;
        Self {
            products: products.clone(),
            per_order: by_name(per_order, ToString::to_string),
            counts_as_withdrawal: *counts_as_withdrawal,
        }
    }
}

impl Shrinking {
    fn of(decay: &Decay) -> Self {
        let Decay { after, over } = decay;
        Self { after: after.as_secs(), over: over.as_secs() }
    }
}

impl Unit {
    fn of(unit: &CoinUnit) -> Self {
        let CoinUnit { decimals, is_erc20 } = unit;
        Self { decimals: *decimals, is_erc20: *is_erc20 }
    }
}

fn digits(amount: Option<Amount>) -> Option<String> {
    amount.map(|amount| amount.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WalletId;
    use crate::money::Coin;
    use crate::policy::any::any_rules;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn every_rule_is_told() {
        let tbtc = Coin::new("tbtc").unwrap();
        let hour = Duration::from_secs(3600);
        let bounds = CoinRules {
            per_transaction: Some(Amount::new(9_007_199_254_740_993)),
            total: None,
            fee: Some(Amount::new(2)),
        };
        let window = WindowRule::new(Purpose::Withdrawal, &tbtc, hour).sum(Amount::new(3));
        let often = WindowRule::new(Purpose::Trade, &tbtc, hour).count(4);
        let rules = LocalRules {
            raw_exposure: true,
            declared_amounts: true,
            actions: Some(vec![ActionKind::View, ActionKind::CancelOrder]),
            wallets: Some(vec![WalletId::from_bytes([4; 16])]),
            destinations: Some(vec!["a?memoId=7".into()]),
            coins: [(tbtc.clone(), bounds)].into(),
            windows: vec![window, often],
            trading: Some(TradingRules {
                products: Some(vec!["TBTC-TUSD*".into()]),
                per_order: [(tbtc, Amount::new(5))].into(),
                counts_as_withdrawal: true,
            }),
            decay: Some(Decay::new(hour, 6 * hour)),
            units: [(Coin::new("newcoin").unwrap(), CoinUnit::erc20(3))].into(),
        };
        let told: Value = serde_json::from_str(&rules.to_json()).unwrap();
        let expect = json!({
            "rawExposure": true,
            "declaredAmounts": true,
            "actions": ["view", "cancel-order"],
            "wallets": ["04040404040404040404040404040404"],
            "destinations": ["a?memoId=7"],
            "coins": {
                "tbtc": {"perTransaction": "9007199254740993", "total": null, "fee": "2"},
            },
            "windows": [
                {"purpose": "withdrawal", "coin": "tbtc", "period": 3600, "sum": "3", "count": null},
                {"purpose": "trade", "coin": "tbtc", "period": 3600, "sum": null, "count": 4},
            ],
            "trading": {
                "products": ["TBTC-TUSD*"],
                "perOrder": {"tbtc": "5"},
                "countsAsWithdrawal": true,
            },
            "decay": {"after": 3600, "over": 21600},
            "units": {"newcoin": {"decimals": 3, "isErc20": true}},
        });
        assert_eq!(told, expect);
        assert_eq!(LocalRules::from_json(&rules.to_json()), Ok(rules));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(rules in any_rules()) {
            let read = LocalRules::from_json(&rules.to_json());
            prop_assert_eq!(read, rules.validate().map(|()| rules));
        }
    }
}
