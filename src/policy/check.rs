//! Whether a token may do an action, apart from how much is left of its limit.

use super::{Action, Denied, Rule};
use crate::id::WalletId;
use crate::scope::{Permission, Reach, Scope};
use crate::token::TokenInfo;
use chrono::{DateTime, Utc};

/// Checks expiry, scope and wallets; the limit is the ledger's to check, where it is also charged.
pub(crate) fn check(action: &Action, token: &TokenInfo, now: DateTime<Utc>) -> Result<(), Denied> {
    check_expiry(token, now)?;
    let Some(permission) = action.permission else { return Ok(()) };
    check_wallet(action.wallet.as_ref(), token)?;
    check_scope(permission, action.wallet.as_ref(), token)
}

/// Checks that the token has not ended.
pub(crate) fn check_expiry(token: &TokenInfo, now: DateTime<Utc>) -> Result<(), Denied> {
    match token.expires_at {
        Some(expires_at) if now < expires_at => Ok(()),
        Some(expires_at) => Err(Denied::new(
            Rule::Expired,
            format!(
                "the token expired at {}; remove it and issue anew",
                expires_at.format("%FT%TZ")
            ),
        )),
        None => Err(Denied::new(
            Rule::Expired,
            "the token's expiry is not known; remove it and issue anew",
        )),
    }
}

fn check_wallet(wallet: Option<&WalletId>, token: &TokenInfo) -> Result<(), Denied> {
    match (&token.permitted_wallets, wallet) {
        (Some(permitted), Some(wallet)) if !permitted.contains(wallet) => Err(Denied::new(
            Rule::Wallet,
            format!(
                "wallet {wallet} is not among the {} the token is confined to",
                permitted.len()
            ),
        )),
        _ => Ok(()),
    }
}

fn check_scope(
    permission: Permission,
    wallet: Option<&WalletId>,
    token: &TokenInfo,
) -> Result<(), Denied> {
    let granted = token.scopes.iter().any(|scope| match scope {
        Scope::All => true,
        Scope::Granted(held, reach) if *held == permission => match reach {
            Reach::Wallet(named) => Some(named) == wallet,
            // Which wallets an enterprise has is not known here; the token's own list of
            // permitted wallets was checked before, and the server knows the rest.
            Reach::Enterprise => token.enterprise.is_some(),
            Reach::All => true,
        },
        _ => false,
    });
    if granted {
        return Ok(());
    }
    let on = wallet.map(|wallet| format!(" on wallet {wallet}")).unwrap_or_default();
    Err(Denied::new(
        Rule::Scope,
        format!("the token does not hold {permission}{on}; renewing it will not help"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::ActionKind;
    use super::*;
    use crate::id::TokenId;
    use crate::token::TokenKind;
    use chrono::TimeDelta;

    const WALLET: WalletId = WalletId::from_bytes([1; 16]);
    const OTHER: WalletId = WalletId::from_bytes([2; 16]);

    fn token(scopes: &[&str]) -> TokenInfo {
        TokenInfo {
            id: TokenId::from_bytes([0; 16]),
            kind: TokenKind::LongLived,
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            enterprise: None,
            permitted_wallets: None,
            created_at: None,
            expires_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(100)),
            is_extensible: false,
            ip_restrict: Vec::new(),
            spending_limits: Default::default(),
            erc20_limit: None,
            issued_in_clear: false,
        }
    }

    fn rule(permission: Permission, token: &TokenInfo, seconds: i64) -> Option<Rule> {
        let action = Action {
            kind: ActionKind::Spend,
            permission: Some(permission),
            wallet: Some(WALLET),
            transfers: Vec::new(),
            is_for_express: false,
        };
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        check(&action, token, now).err().map(|denied| denied.rule())
    }

    #[test]
    fn one_permission_never_implies_another() {
        use Permission::{WalletSpend, WalletView};
        let own = format!("wallet_spend:{WALLET}");
        let other = format!("wallet_spend:{OTHER}");
        for (scopes, permission, expect) in [
            (vec!["all"], WalletSpend, None),
            (vec!["wallet_spend_all"], WalletSpend, None),
            (vec![own.as_str()], WalletSpend, None),
            (vec![other.as_str()], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend_all"], WalletView, Some(Rule::Scope)),
            (vec!["wallet_view_all"], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend"], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend_enterprise"], WalletSpend, Some(Rule::Scope)),
            (vec!["openid", "profile"], WalletView, Some(Rule::Scope)),
            (vec![], WalletView, Some(Rule::Scope)),
        ] {
            assert_eq!(rule(permission, &token(&scopes), 0), expect, "{scopes:?} {permission}");
        }
    }

    #[test]
    fn expiry_ends_everything_and_unknown_expiry_too() {
        let mut token = token(&["all"]);
        assert_eq!(rule(Permission::WalletView, &token, 99), None);
        assert_eq!(rule(Permission::WalletView, &token, 100), Some(Rule::Expired));
        token.expires_at = None;
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Expired));
    }

    #[test]
    fn permitted_wallets_bind_whatever_the_scope() {
        let mut token = token(&["all"]);
        token.permitted_wallets = Some(vec![OTHER]);
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Wallet));
        token.permitted_wallets = Some(vec![]);
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Wallet));
        token.permitted_wallets = Some(vec![WALLET]);
        assert_eq!(rule(Permission::WalletView, &token, 0), None);
    }
}
