//! The vault's own rules for one token, beside what BitGo says of it.
//!
//! Deny wins, and of two bounds the stricter holds. A token without rules is governed by its own
//! scopes, wallets and limits; what no record of BitGo's bounds (raw exposure, amounts that the
//! caller declares, fees) stays denied until a rule allows it.

use super::ActionKind;
use crate::coin_map::CoinMap;
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Local rules. The default allows nothing that BitGo's own record does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalRules {
    /// Whether the token itself may be handed out.
    pub raw_exposure: bool,
    /// Whether a transaction that the vault cannot read may be sent at amounts that the caller
    /// declares.
    pub declared_amounts: bool,
    /// What the token may be used for; `None` for all that its scopes allow.
    pub actions: Option<Vec<ActionKind>>,
    /// The wallets it may be used on; `None` for all that BitGo lets it.
    pub wallets: Option<Vec<WalletId>>,
    /// Where money may be sent to, as BitGo spells addresses; `None` for anywhere. A request that
    /// names a memo wants an entry that names it too, such as `rAddress?memoId=7`: for some coins it
    /// says whose money it is then.
    pub destinations: Option<Vec<String>>,
    /// Bounds by coin.
    pub coins: CoinMap<CoinRules>,
    /// What may be spent, or how often, over a sliding while.
    pub windows: Vec<WindowRule>,
    /// What may be traded; `None` for all that its scopes allow, for any amount.
    pub trading: Option<TradingRules>,
    /// Lets less be spent while BitGo has not confirmed for long what was.
    pub decay: Option<Decay>,
    /// Coins that the compiled table does not know. Of one that it knows this changes nothing.
    pub units: CoinMap<CoinUnit>,
}

/// Bounds of one coin, in its base unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoinRules {
    /// The most that one request may send, over all its recipients.
    pub per_transaction: Option<Amount>,
    /// The most that may be spent over the life of the token and its successors.
    pub total: Option<Amount>,
    /// The most that one request may offer as a fee; without it, a request that names any is denied.
    ///
    /// What a request names as a rate (`feeRate`, `maxFeeRate`: base units per kilobyte, or per virtual
    /// kilobyte) is held against the same number, as what the transaction weighs is not in the request:
    /// a cap of 20 000 lets a request name 20 000 satoshi per kilobyte, which for one of 400 bytes is a
    /// fee of 8 000. A transaction of many inputs weighs more than a kilobyte, and costs more than the
    /// cap at that rate. Gas is not a rate: its price times its limit is the fee.
    pub fee: Option<Amount>,
}

/// What may go out within any stretch of time that is so long.
///
/// It runs on the server's time: a spend leaves a window up to 1/64 of its length late, never early.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WindowRule {
    /// Which requests count.
    pub purpose: Purpose,
    /// The coin that counts.
    pub coin: Coin,
    /// How long it is, in whole seconds from a minute to 366 days; for example one day.
    pub period: Duration,
    /// The most that may be spent within it, in the coin's base unit.
    pub sum: Option<Amount>,
    /// The most requests within it.
    pub count: Option<u32>,
}

impl WindowRule {
    /// One that bounds nothing yet.
    pub fn new(purpose: Purpose, coin: &Coin, period: Duration) -> Self {
        Self { purpose, coin: coin.clone(), period, sum: None, count: None }
    }

    /// The same with at most that amount.
    pub fn sum(self, sum: Amount) -> Self {
        Self { sum: Some(sum), ..self }
    }

    /// The same with at most so many requests.
    pub fn count(self, count: u32) -> Self {
        Self { count: Some(count), ..self }
    }
}

/// What money moves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Out of a wallet: it draws on the token's limit.
    Withdrawal,
    /// Inside BitGo, by an order: it draws on local rules alone.
    Trade,
}

/// What may be traded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TradingRules {
    /// The products that may be ordered, such as `TBTC-TUSD*`; `None` for any.
    pub products: Option<Vec<String>>,
    /// The most of a currency that one order may let go, in base units. Currencies that are not named
    /// are denied. BitGo's `TBTC` is the coin `tbtc` here, its `USD` is `fiatusd`, its test money
    /// `TUSD*` is `tfiatusd`.
    pub per_order: CoinMap<Amount>,
    /// Whether orders also draw on the limit for withdrawals.
    pub counts_as_withdrawal: bool,
}

/// How the usable share of a limit shrinks while BitGo confirms nothing: all of it until `after`,
/// then evenly less, and nothing once `over` more has gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decay {
    /// For how long a confirmation is as good as new, such as one hour.
    pub after: Duration,
    /// How long from then on until nothing is left, such as six hours.
    pub over: Duration,
}

impl Decay {
    /// Nothing shrinks until `after`, and nothing is left once `over` more has gone by.
    pub fn new(after: Duration, over: Duration) -> Self {
        Self { after, over }
    }
}

/// What a coin's amounts are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoinUnit {
    /// How many decimals of the coin one base unit is: 8 for bitcoin.
    pub decimals: u8,
    /// Whether it falls under the limit that ERC-20 coins share.
    pub is_erc20: bool,
}

impl CoinUnit {
    /// The unit of a coin that is no ERC-20 token.
    pub fn new(decimals: u8) -> Self {
        Self { decimals, is_erc20: false }
    }

    /// The unit of an ERC-20 token.
    pub fn erc20(decimals: u8) -> Self {
        Self { decimals, is_erc20: true }
    }
}

/// The rules of one token as they are kept: of most tokens there are none, and that takes no room.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptRules {
    rules: Option<Arc<LocalRules>>,
    version: u64,
}

impl KeptRules {
    /// Rules that were kept before, after so many edits.
    pub(crate) fn new(rules: LocalRules, version: u64) -> Self {
        let rules = (rules != LocalRules::default()).then(|| Arc::new(rules));
        Self { rules, version }
    }

    /// These rules in place of those before: one more edit.
    pub(crate) fn changed_to(&self, rules: LocalRules) -> Self {
        Self::new(rules, self.version.saturating_add(1))
    }

    /// How often they were edited.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}

impl From<LocalRules> for KeptRules {
    fn from(rules: LocalRules) -> Self {
        Self::new(rules, 0)
    }
}

impl Deref for KeptRules {
    type Target = LocalRules;

    fn deref(&self) -> &LocalRules {
        static NONE: LazyLock<LocalRules> = LazyLock::new(LocalRules::default);
        self.rules.as_deref().unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rules_take_no_room_and_edits_are_counted() {
        let none = KeptRules::default();
        assert!(none.rules.is_none() && size_of::<KeptRules>() == 16);
        assert_eq!((&*none, none.version()), (&LocalRules::default(), 0));
        let strict = LocalRules { wallets: Some(Vec::new()), ..LocalRules::default() };
        let some = none.changed_to(strict.clone());
        assert_eq!((&*some, some.version()), (&strict, 1));
        let again = some.changed_to(LocalRules::default());
        assert!(again.rules.is_none() && again.version() == 2);
    }
}
