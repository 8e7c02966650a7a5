//! Rules and actions for property tests, of few words, so that they meet.

use super::{
    Action, ActionKind, CoinRules, CoinUnit, Decay, LocalRules, Purpose, TradingRules, Transfer,
    WindowRule,
};
use crate::coin_map::CoinMap;
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::scope::Permission;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::time::Duration;

pub(crate) fn any_coin() -> impl Strategy<Value = Coin> {
    prop::sample::select(vec!["tbtc", "hteth", "tfiatusd"])
        .prop_map(|name| Coin::new(name).unwrap())
}

fn any_amount() -> impl Strategy<Value = Amount> {
    (0_u128..5).prop_map(Amount::new)
}

fn any_kind() -> impl Strategy<Value = ActionKind> {
    use ActionKind::{Build, CancelOrder, Order, Spend, View};
    prop::sample::select(vec![View, Build, Spend, Order, CancelOrder])
}

fn any_wallet() -> impl Strategy<Value = WalletId> {
    (0_u8..3).prop_map(|byte| WalletId::from_bytes([byte; 16]))
}

fn any_destination() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "b?memoId=1"]).prop_map(String::from)
}

fn any_product() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["TBTC-TUSD*", "TBTC-TUSD"]).prop_map(String::from)
}

fn coin_map<V: Clone + std::fmt::Debug>(
    values: impl Strategy<Value = V>,
) -> impl Strategy<Value = CoinMap<V>> {
    vec((any_coin(), values), 0..3).prop_map(|values| values.into_iter().collect())
}

/// Any purpose.
pub(crate) fn any_purpose() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![Purpose::Withdrawal, Purpose::Trade])
}

fn any_window() -> impl Strategy<Value = WindowRule> {
    (any_purpose(), any_coin(), 1_u64..3, of(any_amount()), of(0_u32..4)).prop_map(
        |(purpose, coin, minutes, sum, count)| {
            let period = Duration::from_secs(60 * minutes);
            WindowRule { sum, count, ..WindowRule::new(purpose, &coin, period) }
        },
    )
}

fn any_trading() -> impl Strategy<Value = TradingRules> {
    let parts = (of(vec(any_product(), 0..2)), coin_map(any_amount()), any::<bool>());
    parts.prop_map(|(products, per_order, counts_as_withdrawal)| TradingRules {
        products,
        per_order,
        counts_as_withdrawal,
    })
}

/// Any rules, valid or not.
pub(crate) fn any_rules() -> impl Strategy<Value = LocalRules> {
    let coins = (of(any_amount()), of(any_amount()), of(any_amount()));
    let coins =
        coins.prop_map(|(per_transaction, total, fee)| CoinRules { per_transaction, total, fee });
    let unit = (0_u8..9, any::<bool>());
    let unit = unit.prop_map(|(decimals, is_erc20)| CoinUnit { decimals, is_erc20 });
    let decay = (0_u64..4, 0_u64..4);
    let decay = decay.prop_map(|(after, over)| {
        Decay::new(Duration::from_secs(after), Duration::from_secs(over))
    });
    let lists = (
        of(vec(any_kind(), 0..4)),
        of(vec(any_wallet(), 0..3)),
        of(vec(any_destination(), 0..3)),
        vec(any_window(), 0..3),
    );
    let rest = (coin_map(coins), of(any_trading()), of(decay), coin_map(unit));
    (any::<(bool, bool)>(), lists, rest).prop_map(|(flags, lists, rest)| {
        let (raw_exposure, declared_amounts) = flags;
        let (actions, wallets, destinations, windows) = lists;
        let (coins, trading, decay, units) = rest;
        LocalRules {
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
        }
    })
}

/// Any action that could be read.
pub(crate) fn any_action() -> impl Strategy<Value = Action> {
    let transfer = (any_coin(), any_amount(), any_destination());
    let transfer = transfer.prop_map(|(coin, amount, destination)| Transfer {
        coin,
        amount,
        destination: destination.into(),
        is_erc20: false,
    });
    let money = (vec(transfer, 1..3), of((any_coin(), any_amount())), any::<bool>());
    (any_kind(), of(any_wallet()), money, any_product()).prop_map(
        |(kind, wallet, money, product)| {
            let (mut transfers, mut fee, mut is_declared) = money;
            let permission = match kind {
                ActionKind::View => Permission::WalletView,
                ActionKind::Order | ActionKind::CancelOrder => Permission::TradeTrade,
                _ => Permission::WalletSpend,
            };
            let is_order = kind == ActionKind::Order;
            if is_order {
                transfers.truncate(1);
                transfers.iter_mut().for_each(|transfer| transfer.destination = "".into());
            }
            if matches!(kind, ActionKind::View | ActionKind::CancelOrder) {
                transfers.clear();
            }
            if !matches!(kind, ActionKind::Spend | ActionKind::Build) {
                (fee, is_declared) = (None, false);
            }
            let product = is_order.then(|| product.into());
            let permission = Some(permission);
            Action {
                kind,
                permission,
                wallet,
                enterprise: None,
                transfers,
                fee,
                product,
                is_declared,
            }
        },
    )
}
