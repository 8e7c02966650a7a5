//! Calls that read, and what a token must hold for them.

use super::super::coins::Counted;
use super::{Action, ActionKind, TRADING, named_wallet, unknown_call};
use crate::coin_map::CoinMap;
use crate::policy::{CoinUnit, Denied, Request};
use crate::scope::Permission;

/// What a wallet is asked for, below its own path. No call that mutates ends so.
const OF_WALLET: [&str; 6] =
    ["addresses", "balances", "transfer", "tx", "unspents", "maximumSpendable"];

/// What a trading account is asked for, below its own path.
const OF_ACCOUNT: [&str; 5] = ["balances", "currencies", "orders", "products", "trades"];

pub(super) fn of(
    request: &Request,
    path: &[&str],
    units: &CoinMap<CoinUnit>,
) -> Result<Action, Denied> {
    let view = |permission, wallet| Action::still(ActionKind::View, permission, wallet);
    if !request.body().is_empty() {
        return Err(Denied::body("a call that reads has no body"));
    }
    let (wallets, trading) = (Some(Permission::WalletView), Some(Permission::TradeView));
    match path {
        ["api", "v1" | "v2", "user", "session" | "me"] => Ok(view(None, None)),
        ["api", "v2", "wallets"] => Ok(view(wallets, None)),
        ["api", "v2", "wallet", wallet] => Ok(view(wallets, Some(named_wallet(wallet)?))),
        ["api", "v2", coin, "wallet"] => {
            Counted::of(coin, units)?;
            Ok(view(wallets, None))
        }
        ["api", "v2", coin, "wallet", wallet, rest @ ..] if is_of_wallet(rest) => {
            Counted::of(coin, units)?;
            Ok(view(wallets, Some(named_wallet(wallet)?)))
        }
        ["api", "v2", "enterprise"] => Ok(view(Some(Permission::EnterpriseView), None)),
        ["api", "v2", "enterprise", id] => {
            let enterprise = id.parse().map_err(|_| unknown_call(request))?;
            let view = view(Some(Permission::EnterpriseView), None);
            Ok(Action { enterprise: Some(enterprise), ..view })
        }
        ["api", "prime", "trading", "v1", "user", "current"] => Ok(view(trading, None)),
        of_trading if of_trading == TRADING => Ok(view(trading, None)),
        [of_trading @ .., account] if of_trading == TRADING => {
            Ok(view(trading, Some(named_wallet(account)?)))
        }
        [of_trading @ .., account, what] if of_trading == TRADING && OF_ACCOUNT.contains(what) => {
            Ok(view(trading, Some(named_wallet(account)?)))
        }
        [of_trading @ .., account, "orders" | "trades", id]
            if of_trading == TRADING && is_id(id) =>
        {
            Ok(view(trading, Some(named_wallet(account)?)))
        }
        _ => Err(unknown_call(request)),
    }
}

/// A wallet itself, one of its collections, or one entry of it.
fn is_of_wallet(below_wallet: &[&str]) -> bool {
    match below_wallet {
        [] => true,
        [view] => OF_WALLET.contains(view),
        ["transfer" | "tx", id] => is_id(id),
        _ => false,
    }
}

/// Whether a segment is an id, of 32 or more hex digits, or a UUID.
pub(super) fn is_id(segment: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
    segment.len() >= 32 && segment.bytes().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::super::tests::WALLET;
    use super::*;

    #[test]
    fn a_read_wants_the_permission_to_view() {
        use Permission::{EnterpriseView, TradeView, WalletView};
        let order = "00000000-aaaa-4bbb-8ccc-0123456789ab";
        for (target, permission, names_wallet) in [
            ("/api/v1/user/session", None, false),
            ("/api/v2/user/session", None, false),
            ("/api/v2/user/me", None, false),
            ("/api/v2/wallets", Some(WalletView), false),
            ("/api/v2/wallet/{w}", Some(WalletView), true),
            ("/api/v2/tbtc/wallet", Some(WalletView), false),
            ("/api/v2/tbtc/wallet?limit=5", Some(WalletView), false),
            ("/api/v2/tbtc/wallet/{w}", Some(WalletView), true),
            ("/api/v2/tbtc/wallet/{w}/transfer", Some(WalletView), true),
            ("/api/v2/tbtc/wallet/{w}/unspents", Some(WalletView), true),
            ("/api/v2/tbtc/wallet/{w}/transfer/{w}", Some(WalletView), true),
            ("/api/v2/enterprise", Some(EnterpriseView), false),
            ("/api/v2/enterprise/{w}", Some(EnterpriseView), false),
            ("/api/prime/trading/v1/user/current", Some(TradeView), false),
            ("/api/prime/trading/v1/accounts", Some(TradeView), false),
            ("/api/prime/trading/v1/accounts/{w}", Some(TradeView), true),
            ("/api/prime/trading/v1/accounts/{w}/balances", Some(TradeView), true),
            ("/api/prime/trading/v1/accounts/{w}/products", Some(TradeView), true),
            ("/api/prime/trading/v1/accounts/{w}/orders?limit=2", Some(TradeView), true),
            (
                &format!("/api/prime/trading/v1/accounts/{{w}}/orders/{order}"),
                Some(TradeView),
                true,
            ),
            (
                &format!("/api/prime/trading/v1/accounts/{{w}}/trades/{order}"),
                Some(TradeView),
                true,
            ),
        ] {
            let request = Request::get(&target.replace("{w}", WALLET)).unwrap();
            let action = Action::of(&request, &CoinMap::default()).unwrap();
            assert_eq!(
                (action.kind, action.permission),
                (ActionKind::View, permission),
                "{target}"
            );
            assert_eq!(action.wallet.is_some(), names_wallet, "{target}");
            assert!(action.transfers.is_empty());
        }
    }
}
