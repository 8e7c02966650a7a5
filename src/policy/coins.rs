//! How a coin that a request names is counted: by the compiled table, else by the user's own units.

use super::{CoinUnit, Denied, Rule};
use crate::coin_map::CoinMap;
use crate::coin_table::CoinFacts;
use crate::money::Coin;

/// A coin of which it is known how it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) coin: Coin,
    pub(super) decimals: u8,
    pub(super) is_erc20: bool,
    /// `None` for one of the user's own: which chain it lives on is not known.
    facts: Option<CoinFacts>,
}

impl Counted {
    /// The coin of that name. What the table knows no unit of the user's overrides.
    pub(super) fn of(name: &str, units: &CoinMap<CoinUnit>) -> Result<Self, Denied> {
        if let Some(facts) = CoinFacts::of(name) {
            let CoinFacts { name, decimals, is_erc20, .. } = facts;
            return Ok(Self { coin: Coin::listed(name), decimals, is_erc20, facts: Some(facts) });
        }
        if matches!(name, "ofc" | "tofc") {
            return Err(Denied::new(
                Rule::UnknownCoin,
                format!(
                    "{name} is an account and no coin: name the one that is moved, such as ofcbtc"
                ),
            ));
        }
        let coin =
            Coin::new(name).map_err(|error| Denied::new(Rule::UnknownCoin, error.to_string()))?;
        match units.get(&coin) {
            Some(&CoinUnit { decimals, is_erc20 }) => {
                Ok(Self { coin, decimals, is_erc20, facts: None })
            }
            None => Err(unknown(name)),
        }
    }

    /// The token of that name, where it lives on this coin's chain: a wallet holds no other.
    pub(super) fn token(&self, name: &str, units: &CoinMap<CoinUnit>) -> Result<Self, Denied> {
        let token = Self::of(name, units)?;
        match (self.facts, token.facts) {
            (Some(chain), Some(facts))
                if facts.is_token
                    && (!chain.is_token || *self == token)
                    && (facts.is_mainnet, facts.family) == (chain.is_mainnet, chain.family) =>
            {
                Ok(token)
            }
            _ => Err(Denied::new(
                Rule::UnknownCoin,
                format!(
                    "{name} is not known for a token of {}; name the coin in the path",
                    self.coin
                ),
            )),
        }
    }

    /// The coin that a trading currency is.
    ///
    /// ```text
    /// BTC, TBTC, TFIATUSD   the coin of that name, in lower case
    /// USD                   fiatusd, where no coin is called usd
    /// TUSD*                 tfiatusd: the asterisk marks BitGo's test money
    /// TUSD                  denied: the coin of that name and the Go Account's are counted differently
    /// ```
    pub(super) fn currency(name: &str, units: &CoinMap<CoinUnit>) -> Result<Self, Denied> {
        if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(unknown(name));
        }
        if let Some(fiat) = name.strip_suffix('*') {
            let fiat = fiat.strip_prefix('T').ok_or_else(|| unknown(name))?;
            return Self::fiat("tfiat", fiat).ok_or_else(|| unknown(name));
        }
        let lower = name.to_ascii_lowercase();
        match Self::of(&lower, units) {
            Ok(counted) => {
                let account = CoinFacts::of(&format!("ofc{lower}"));
                match account.is_none_or(|account| account.decimals == counted.decimals) {
                    true => Ok(counted),
                    false => Err(unknown(name)),
                }
            }
            Err(_) => Self::fiat("fiat", name).ok_or_else(|| unknown(name)),
        }
    }

    fn fiat(prefix: &str, name: &str) -> Option<Self> {
        let name = format!("{prefix}{}", name.to_ascii_lowercase());
        let fiat = Self::of(&name, &CoinMap::default()).ok()?;
        fiat.facts.is_some_and(|facts| facts.family == "fiat").then_some(fiat)
    }
}

fn unknown(name: &str) -> Denied {
    let name: String = name.chars().take(100).collect();
    Denied::new(
        Rule::UnknownCoin,
        format!("how {name:?} is counted is not known; add its unit to the token's local rules"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> CoinMap<CoinUnit> {
        let of = |decimals| CoinUnit { decimals, is_erc20: true };
        let coin = |name| Coin::new(name).unwrap();
        CoinMap::from([(coin("newcoin"), of(3)), (coin("tbtc"), of(3)), (coin("fiatxyz"), of(3))])
    }

    #[test]
    fn the_table_counts_first_and_own_units_after_it() {
        for (name, expect) in [
            ("tbtc", Some((8, false))),
            ("hteth:wbtc", Some((8, true))),
            ("usdc", Some((6, true))),
            ("newcoin", Some((3, true))),
            ("newcoin2", None),
            ("ofctbtc", Some((8, false))),
            ("ofcusd", Some((2, false))),
            ("TBTC", None),
            ("", None),
            ("t btc", None),
        ] {
            let counted = Counted::of(name, &units()).ok();
            assert_eq!(counted.map(|it| (it.decimals, it.is_erc20)), expect, "{name}");
        }
    }

    /// Its coins are worth different money, so that no unit counts them.
    #[test]
    fn a_go_account_is_no_coin_and_its_coins_are() {
        let units = CoinMap::from([(Coin::new("ofc").unwrap(), CoinUnit::new(8))]);
        let denied = Counted::of("ofc", &units).unwrap_err();
        let told = "ofc is an account and no coin: name the one that is moved, such as ofcbtc";
        assert_eq!((denied.rule(), denied.reason()), (Rule::UnknownCoin, told));
    }

    #[test]
    fn a_token_lives_on_the_chain_of_its_wallet() {
        for (coin, token, fits) in [
            ("hteth", "hteth:wbtc", true),
            ("teth", "terc", true),
            ("eth", "usdc", true),
            ("hteth:wbtc", "hteth:wbtc", true),
            ("hteth", "hteth", false),
            ("hteth", "usdc", false),
            ("eth", "terc", false),
            ("tbtc", "terc", false),
            ("hteth", "teth", false),
            ("terc", "hteth:wbtc", false),
            ("hteth", "newcoin", false),
            ("newcoin", "terc", false),
            ("hteth", "nothing", false),
        ] {
            let counted = Counted::of(coin, &units()).unwrap().token(token, &units());
            assert_eq!(counted.is_ok(), fits, "{coin} {token}");
        }
    }

    #[test]
    fn currencies_are_read_as_trading_spells_them() {
        for (name, expect) in [
            ("BTC", Some(("btc", 8))),
            ("TBTC", Some(("tbtc", 8))),
            ("ETH", Some(("eth", 18))),
            ("USDC", Some(("usdc", 6))),
            ("USD", Some(("fiatusd", 2))),
            ("JPY", Some(("fiatjpy", 0))),
            ("TUSD*", Some(("tfiatusd", 2))),
            ("TFIATUSD", Some(("tfiatusd", 2))),
            ("NEWCOIN", Some(("newcoin", 3))),
            ("TUSD", None),
            ("USD*", None),
            ("TBTC*", None),
            ("TUSD**", None),
            ("tbtc", None),
            ("Tbtc", None),
            ("XYZ", None),
            ("*", None),
            ("", None),
        ] {
            let counted = Counted::currency(name, &units()).ok();
            let counted = counted.as_ref().map(|it| (it.coin.as_str(), it.decimals));
            assert_eq!(counted, expect, "{name}");
        }
    }
}
