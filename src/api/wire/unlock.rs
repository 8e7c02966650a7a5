//! What a token may spend, as its record has it: `unlock`.

use super::object::{Malformed, Object};
use crate::coin_map::CoinMap;
use crate::money::{Amount, Coin};
use crate::token::SpendingLimit;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// The fields that [`Unlock`] types.
const KNOWN: [&str; 8] = [
    "time",
    "expires",
    "spendingLimits",
    "allErc20TokensLimit",
    "txCount",
    "txValue",
    "txValueLimit",
    "maxLimit",
];

/// What the server counts for one coin, over the token's whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinLimit {
    /// Transactions so far.
    pub tx_count: u64,
    /// Base units spent so far.
    pub tx_value: Amount,
    /// The most that may be spent, where the answer names it.
    pub tx_value_limit: Option<Amount>,
    /// Whether the coin has no cap.
    pub max_limit: bool,
}

/// The pool shared by ERC-20 coins that have no limit of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erc20Limit {
    /// Whether the pool counts at all.
    pub enabled: bool,
    /// Its counters and its limit, in small units.
    pub limit: CoinLimit,
}

/// What a token may spend, and until when it is unlocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlock {
    /// When it was unlocked.
    pub time: Option<DateTime<Utc>>,
    /// Until when a token without limits may spend.
    pub expires: Option<DateTime<Utc>>,
    /// The limits by coin. Coins whose names we cannot read are left out: they cannot be spent.
    pub spending_limits: BTreeMap<Coin, CoinLimit>,
    /// The pool of ERC-20 coins.
    pub all_erc20_tokens_limit: Option<Erc20Limit>,
    /// The one limit of older tokens, which does not name its coin. It is not counted with; that it
    /// is there keeps the token from being unlocked.
    pub legacy: Option<CoinLimit>,
    /// Whether there are limits for coins whose names we cannot read.
    pub has_other_limits: bool,
    /// The JSON of the fields we do not know, as it came.
    pub other: BTreeMap<Box<str>, Box<str>>,
}

impl CoinLimit {
    fn read(object: &Object<'_>, limit_name: &'static str) -> Result<Self, Malformed> {
        Ok(Self {
            tx_count: object.count("txCount")?.unwrap_or(0),
            tx_value: object.amount("txValue")?.unwrap_or(Amount::ZERO),
            tx_value_limit: object.amount(limit_name)?,
            max_limit: object.flag("maxLimit")?.unwrap_or(false),
        })
    }

    /// The limit as the vault counts with it; `None` if the answer names neither cap nor its absence.
    pub fn to_spending_limit(self) -> Option<SpendingLimit> {
        let spent = self.tx_value;
        match (self.max_limit, self.tx_value_limit) {
            (true, _) => Some(SpendingLimit { limit: None, spent }),
            (false, Some(limit)) => Some(SpendingLimit { limit: Some(limit), spent }),
            (false, None) => None,
        }
    }
}

impl Unlock {
    pub(super) fn read(object: &Object<'_>) -> Result<Self, Malformed> {
        let (mut spending_limits, mut has_other_limits) = (BTreeMap::new(), false);
        if let Some(limits) = object.object("spendingLimits")? {
            for entry in limits.objects_by_name("spendingLimits") {
                let (name, limit) = entry?;
                match Coin::new(name) {
                    Ok(coin) => {
                        spending_limits.insert(coin, CoinLimit::read(&limit, "txValueLimit")?);
                    }
                    Err(_) => has_other_limits = true,
                }
            }
        }
        let erc20 = object.object("allErc20TokensLimit")?;
        let legacy = object.raw("txValueLimit").map(|_| CoinLimit::read(object, "txValueLimit"));
        Ok(Self {
            time: object.instant("time")?,
            expires: object.instant("expires")?,
            spending_limits,
            all_erc20_tokens_limit: erc20.as_ref().map(Erc20Limit::read).transpose()?,
            legacy: legacy.transpose()?,
            has_other_limits,
            other: object
                .entries()
                .filter(|(name, _)| !KNOWN.contains(name))
                .map(|(name, json)| (name.into(), json.into()))
                .collect(),
        })
    }

    /// Whether there is any limit that unlocking would remove: of one coin, of all ERC-20 coins, or the
    /// older kind. The pool of ERC-20 coins stands in the list of tokens only.
    pub fn has_limits(&self) -> bool {
        !self.spending_limits.is_empty()
            || self.has_other_limits
            || self.legacy.is_some()
            || self.all_erc20_tokens_limit.is_some_and(|pool| pool.enabled)
    }

    /// The limits as the vault counts with them. A coin without a readable limit is left out.
    pub fn to_spending_limits(&self) -> CoinMap<SpendingLimit> {
        let limits = self.spending_limits.iter();
        limits
            .filter_map(|(coin, limit)| Some((coin.clone(), limit.to_spending_limit()?)))
            .collect()
    }

    /// The pool of ERC-20 coins as the vault counts with it, where the record tells of one that counts.
    pub fn to_erc20_limit(&self) -> Option<SpendingLimit> {
        let pool = self.all_erc20_tokens_limit.filter(|pool| pool.enabled)?;
        pool.limit.to_spending_limit()
    }
}

impl Erc20Limit {
    fn read(object: &Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            enabled: object.flag("enabled")?.unwrap_or(false),
            limit: CoinLimit::read(object, "txValueLimitInSmallUnits")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Unlock {
        Unlock::read(&Object::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_of_limit_is_one() {
        for (unlock, has) in [
            ("{}", false),
            (r#"{"expires":"2026-01-02T03:04:05.678Z","time":"2026-01-02T03:04:05.678Z"}"#, false),
            (r#"{"spendingLimits":{}}"#, false),
            (r#"{"txCount":0,"txValue":0}"#, false),
            (r#"{"allErc20TokensLimit":{"enabled":false}}"#, false),
            (r#"{"allErc20TokensLimit":{"enabled":true,"maxLimit":true}}"#, true),
            (r#"{"spendingLimits":{"tbtc":{"maxLimit":true}}}"#, true),
            (r#"{"spendingLimits":{"tbtc":{}}}"#, true),
            (r#"{"spendingLimits":{"not a coin":{}}}"#, true),
            (r#"{"txValueLimit":0}"#, true),
        ] {
            assert_eq!(read(unlock).has_limits(), has, "{unlock}");
        }
        assert!(!Unlock::default().has_limits());
    }

    #[test]
    fn unknown_fields_are_kept() {
        let unlock = read(r#"{"txCount":1,"futureField":{"n":[9007199254740993]}}"#);
        assert_eq!(unlock.other.len(), 1);
        assert_eq!(&*unlock.other["futureField"], r#"{"n":[9007199254740993]}"#);
    }
}
