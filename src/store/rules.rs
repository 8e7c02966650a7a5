//! A token's local rules as a row, within the row of what is known of the token.
//!
//! ```text
//! version (8) ‖ Option of: exposure (1) ‖ declared amounts (1) ‖ actions (Option of a list of 1)
//!   ‖ wallets (Option of a list of 16) ‖ destinations (Option of a list of text)
//!   ‖ coins: name ‖ per transaction, total, fee (Option of 16 each)
//!   ‖ windows: purpose (1) ‖ coin ‖ period (12) ‖ sum (Option of 16) ‖ count (Option of 4)
//!   ‖ trading (Option): products (Option of a list of text) ‖ per order: coin ‖ 16 ‖ as withdrawals (1)
//!   ‖ decay (Option of 12, 12) ‖ units: coin ‖ decimals (1) ‖ ERC-20 (1)
//! ```
//!
//! A while is seconds (8) and nanoseconds (4). Rules that say nothing are not written.

use super::record::Unreadable;
use crate::coin_map::CoinMap;
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::policy::{
    ActionKind, CoinRules, CoinUnit, Decay, KeptRules, LocalRules, Purpose, TradingRules,
    WindowRule,
};
use bincode::{BorrowDecode, Decode, Encode};
use std::borrow::Cow;
use std::time::Duration;

/// What an action is called on disk: its place here. New ones come last.
const ACTIONS: [ActionKind; 5] = [
    ActionKind::View,
    ActionKind::Build,
    ActionKind::Spend,
    ActionKind::Order,
    ActionKind::CancelOrder,
];
/// What a purpose is called on disk: its place here. New ones come last.
const PURPOSES: [Purpose; 2] = [Purpose::Withdrawal, Purpose::Trade];

/// The rules of a token.
#[derive(Encode, BorrowDecode)]
pub(super) struct RulesRow<'a> {
    version: u64,
    rules: Option<LocalRow<'a>>,
}

#[derive(Encode, BorrowDecode)]
struct LocalRow<'a> {
    raw_exposure: bool,
    declared_amounts: bool,
    actions: Option<Vec<u8>>,
    wallets: Option<Vec<[u8; 16]>>,
    destinations: Option<Vec<Cow<'a, str>>>,
    coins: Vec<(Cow<'a, str>, CoinRow)>,
    windows: Vec<WindowRow<'a>>,
    trading: Option<TradingRow<'a>>,
    decay: Option<(WhileRow, WhileRow)>,
    units: Vec<(Cow<'a, str>, u8, bool)>,
}

#[derive(Encode, Decode)]
struct CoinRow {
    per_transaction: Option<u128>,
    total: Option<u128>,
    fee: Option<u128>,
}

#[derive(Encode, BorrowDecode)]
struct WindowRow<'a> {
    purpose: u8,
    coin: Cow<'a, str>,
    period: WhileRow,
    sum: Option<u128>,
    count: Option<u32>,
}

#[derive(Encode, BorrowDecode)]
struct TradingRow<'a> {
    products: Option<Vec<Cow<'a, str>>>,
    per_order: Vec<(Cow<'a, str>, u128)>,
    counts_as_withdrawal: bool,
}

#[derive(Encode, Decode)]
struct WhileRow(u64, u32);

impl From<Duration> for WhileRow {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs(), duration.subsec_nanos())
    }
}

impl TryFrom<WhileRow> for Duration {
    type Error = Unreadable;

    fn try_from(WhileRow(secs, nanos): WhileRow) -> Result<Self, Unreadable> {
        match nanos < 1_000_000_000 {
            true => Ok(Self::new(secs, nanos)),
            false => Err(Unreadable),
        }
    }
}

impl RulesRow<'_> {
    /// The same without what only the passphrase grants: it may have been withdrawn since.
    pub(super) fn strict(mut self) -> Self {
        if let Some(rules) = &mut self.rules {
            (rules.raw_exposure, rules.declared_amounts) = (false, false);
        }
        self
    }
}

impl<'a> From<&'a KeptRules> for RulesRow<'a> {
    fn from(kept: &'a KeptRules) -> Self {
        let says_something = **kept != LocalRules::default();
        let rules = says_something.then(|| LocalRow::from(&**kept));
        Self { version: kept.version(), rules }
    }
}

impl TryFrom<RulesRow<'_>> for KeptRules {
    type Error = Unreadable;

    fn try_from(row: RulesRow<'_>) -> Result<Self, Unreadable> {
        let rules = row.rules.map(LocalRules::try_from).transpose()?;
        Ok(Self::new(rules.unwrap_or_default(), row.version))
    }
}

fn texts(texts: &[String]) -> Vec<Cow<'_, str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn owned(texts: Vec<Cow<'_, str>>) -> Vec<String> {
    texts.into_iter().map(Cow::into_owned).collect()
}

/// The place of a word in its list. Each is there, which a test shows; past its end nothing reads.
fn place<T: PartialEq>(all: &[T], word: &T) -> u8 {
    let at = all.iter().position(|other| other == word);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

impl<'a> From<&'a LocalRules> for LocalRow<'a> {
    fn from(rules: &'a LocalRules) -> Self {
        let units = |amount: Option<Amount>| amount.map(Amount::base_units);
        let LocalRules { raw_exposure, declared_amounts, actions, wallets, .. } = rules;
        let LocalRules { destinations, coins, windows, trading, decay, .. } = rules;
        Self {
            raw_exposure: *raw_exposure,
            declared_amounts: *declared_amounts,
            actions: actions
                .as_ref()
                .map(|kinds| kinds.iter().map(|kind| place(&ACTIONS, kind)).collect()),
            wallets: wallets.as_ref().map(|ids| ids.iter().map(|id| *id.as_bytes()).collect()),
            destinations: destinations.as_deref().map(texts),
            coins: coins
                .iter()
                .map(|(coin, CoinRules { per_transaction, total, fee })| {
                    let per_transaction = units(*per_transaction);
                    let row = CoinRow { per_transaction, total: units(*total), fee: units(*fee) };
                    (coin.as_str().into(), row)
                })
                .collect(),
            windows: windows
                .iter()
                .map(|WindowRule { purpose, coin, period, sum, count }| WindowRow {
                    purpose: place(&PURPOSES, purpose),
                    coin: coin.as_str().into(),
                    period: (*period).into(),
                    sum: units(*sum),
                    count: *count,
                })
                .collect(),
            trading: trading.as_ref().map(|trading| TradingRow {
                products: trading.products.as_deref().map(texts),
                per_order: trading
                    .per_order
                    .iter()
                    .map(|(coin, most)| (coin.as_str().into(), most.base_units()))
                    .collect(),
                counts_as_withdrawal: trading.counts_as_withdrawal,
            }),
            decay: decay.map(|Decay { after, over }| (after.into(), over.into())),
            units: rules
                .units
                .iter()
                .map(|(coin, unit)| (coin.as_str().into(), unit.decimals, unit.is_erc20))
                .collect(),
        }
    }
}

impl TryFrom<LocalRow<'_>> for LocalRules {
    type Error = Unreadable;

    fn try_from(row: LocalRow<'_>) -> Result<Self, Unreadable> {
        let kind = |at: u8| ACTIONS.get(usize::from(at)).copied().ok_or(Unreadable);
        let coins = row.coins.into_iter().map(|(coin, row)| {
            let CoinRow { per_transaction, total, fee } = row;
            let [per_transaction, total, fee] =
                [per_transaction, total, fee].map(|units| units.map(Amount::new));
            Ok((Coin::new(&coin)?, CoinRules { per_transaction, total, fee }))
        });
        let windows = row.windows.into_iter().map(|row| {
            Ok(WindowRule {
                purpose: *PURPOSES.get(usize::from(row.purpose)).ok_or(Unreadable)?,
                coin: Coin::new(&row.coin)?,
                period: row.period.try_into()?,
                sum: row.sum.map(Amount::new),
                count: row.count,
            })
        });
        let trading = |row: TradingRow<'_>| -> Result<_, Unreadable> {
            let per_order = row.per_order.into_iter();
            let per_order =
                per_order.map(|(coin, most)| Ok((Coin::new(&coin)?, Amount::new(most))));
            Ok(TradingRules {
                products: row.products.map(owned),
                per_order: per_order.collect::<Result<CoinMap<_>, Unreadable>>()?,
                counts_as_withdrawal: row.counts_as_withdrawal,
            })
        };
        let decay = |(after, over): (WhileRow, WhileRow)| -> Result<_, Unreadable> {
            Ok(Decay { after: after.try_into()?, over: over.try_into()? })
        };
        let units = row.units.into_iter().map(|(coin, decimals, is_erc20)| {
            Ok((Coin::new(&coin)?, CoinUnit { decimals, is_erc20 }))
        });
        let wallet_ids = |ids: Vec<_>| ids.into_iter().map(WalletId::from_bytes).collect();
        Ok(Self {
            raw_exposure: row.raw_exposure,
            declared_amounts: row.declared_amounts,
            actions: row
                .actions
                .map(|kinds| kinds.into_iter().map(kind).collect::<Result<_, _>>())
                .transpose()?,
            wallets: row.wallets.map(wallet_ids),
            destinations: row.destinations.map(owned),
            coins: coins.collect::<Result<_, Unreadable>>()?,
            windows: windows.collect::<Result<_, Unreadable>>()?,
            trading: row.trading.map(trading).transpose()?,
            decay: row.decay.map(decay).transpose()?,
            units: units.collect::<Result<_, Unreadable>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RECORD_MAX;
    use crate::store::record::{decode, encode};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<KeptRules, Unreadable> {
        decode::<RulesRow<'_>>(bytes)?.try_into()
    }

    proptest! {
        #[test]
        fn rules_are_read_as_they_were_written(
            rules in crate::policy::any_rules(), edits in 0_u64..,
        ) {
            let kept = KeptRules::new(rules, edits);
            let bytes = encode(&RulesRow::from(&kept)).unwrap();
            let found = read(&bytes).unwrap();
            prop_assert_eq!((&*found, found.version()), (&*kept, edits));
        }
    }

    #[test]
    fn no_rules_take_nine_bytes() {
        let bytes = encode(&RulesRow::from(&KeptRules::new(LocalRules::default(), 3))).unwrap();
        assert_eq!(bytes[..], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn words_that_no_list_has_are_refused() {
        let mut bytes = vec![0; 8];
        bytes.extend([1, 0, 0, 1]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        let with = |action: u8| [&bytes[..], &[action, 0, 0], &[0; 16], &[0, 0], &[0; 8]].concat();
        let last = u8::try_from(ACTIONS.len()).unwrap();
        assert_eq!(read(&with(last - 1)).unwrap().actions, Some(vec![ActionKind::CancelOrder]));
        assert!(read(&with(last)).is_err());
    }

    /// The largest that are valid, with names as long as names are.
    #[test]
    fn the_largest_rules_fit_a_record() {
        let coin = |n: u8| Coin::new(&format!("{n:0>100}")).unwrap();
        let (most, bound) = (Amount::MAX, Some(Amount::MAX));
        let text = |n: usize, len: usize| format!("{n:0>len$}");
        let rules = LocalRules {
            raw_exposure: true,
            declared_amounts: true,
            actions: Some(ACTIONS.into()),
            wallets: Some((0..=u8::MAX).map(|n| WalletId::from_bytes([n; 16])).collect()),
            destinations: Some((0..256).map(|n| text(n, 46)).collect()),
            coins: (0..64)
                .map(|n| (coin(n), CoinRules { per_transaction: bound, total: bound, fee: bound }))
                .collect(),
            windows: (0..16)
                .map(|n| {
                    let period = Duration::from_secs(60 + u64::from(n));
                    WindowRule::new(Purpose::Trade, &coin(n), period).sum(most).count(1)
                })
                .collect(),
            trading: Some(TradingRules {
                products: Some((0..64).map(|n| text(n, 8)).collect()),
                per_order: (0..64).map(|n| (coin(n), most)).collect(),
                counts_as_withdrawal: true,
            }),
            decay: Some(Decay::new(Duration::from_secs(1), Duration::from_secs(1))),
            units: (0..64).map(|n| (coin(n), CoinUnit::erc20(38))).collect(),
        };
        rules.validate().unwrap();
        let bytes = encode(&RulesRow::from(&KeptRules::new(rules, 1))).unwrap();
        assert!(bytes.len() < RECORD_MAX * 7 / 8, "{} bytes", bytes.len());
    }
}
