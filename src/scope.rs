//! What a token may do, as BitGo's scopes say it.
//!
//! A scope is a permission and how far it reaches: `wallet_spend:<walletId>` names one
//! wallet, `wallet_spend_enterprise` the token's enterprise, `wallet_spend_all` every
//! wallet. One permission never implies another (PROTOCOL section 6).

use crate::id::WalletId;
use crate::word_error::WordError;
use std::fmt;
use std::str::FromStr;

/// One permission, apart from how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// See wallets, balances and transfers.
    WalletView,
    /// Move money out of wallets.
    WalletSpend,
    /// Approve pending transfers.
    WalletApprove,
    /// Manage wallet users and policies.
    WalletManage,
    /// Edit wallet settings.
    WalletEdit,
    /// Freeze wallets.
    WalletFreeze,
    /// Stake from wallets.
    WalletStake,
    /// Create wallets.
    WalletCreate,
    /// See trading accounts and orders.
    TradeView,
    /// Place and cancel orders.
    TradeTrade,
    /// See portfolios.
    PortfolioView,
    /// See enterprises.
    EnterpriseView,
}

impl Permission {
    const WALLET: [(&'static str, Self); 7] = [
        ("wallet_view", Self::WalletView),
        ("wallet_spend", Self::WalletSpend),
        ("wallet_approve", Self::WalletApprove),
        ("wallet_manage", Self::WalletManage),
        ("wallet_edit", Self::WalletEdit),
        ("wallet_freeze", Self::WalletFreeze),
        ("wallet_stake", Self::WalletStake),
    ];
    const PLAIN: [(&'static str, Self); 5] = [
        ("wallet_create", Self::WalletCreate),
        ("trade_view", Self::TradeView),
        ("trade_trade", Self::TradeTrade),
        ("portfolio_view", Self::PortfolioView),
        ("enterprise_view_all", Self::EnterpriseView),
    ];

    /// BitGo's word for the permission, without its reach.
    pub fn as_str(self) -> &'static str {
        Self::WALLET
            .iter()
            .chain(&Self::PLAIN)
            .find(|(_, permission)| *permission == self)
            .map_or("unknown", |(word, _)| word)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a permission reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// One wallet.
    Wallet(WalletId),
    /// The wallets of the token's enterprise.
    Enterprise,
    /// Everything the account reaches.
    All,
}

/// One entry of a token's scope list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// A permission the vault understands.
    Granted(Permission, Reach),
    /// `all`: every permission everywhere (BitGo gives it in its test environment only).
    All,
    /// A scope the vault does not act upon (`openid`, `profile`, a word it does not know). It grants nothing.
    Other(Box<str>),
}

impl Scope {
    /// Reads a scope that the server names. What is no word of ours is kept as it is, and grants
    /// nothing.
    pub(crate) fn of_server(text: &str) -> Self {
        text.parse().unwrap_or_else(|_| Self::Other(text.into()))
    }
}

/// The longest scope accepted, in bytes.
const SCOPE_MAX: usize = 128;

impl FromStr for Scope {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        if text.is_empty()
            || text.len() > SCOPE_MAX
            || !text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b))
        {
            return Err(WordError::Scope);
        }
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some((_, permission)) = Permission::PLAIN.iter().find(|(word, _)| *word == text) {
            return Ok(Self::Granted(*permission, Reach::All));
        }
        for (word, permission) in Permission::WALLET {
            let reach = match text.strip_prefix(word) {
                Some("_all") => Reach::All,
                Some("_enterprise") => Reach::Enterprise,
                Some(rest) if rest.starts_with(':') => Reach::Wallet(rest[1..].parse()?),
                _ => continue,
            };
            return Ok(Self::Granted(permission, reach));
        }
        Ok(Self::Other(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Other(text) => f.write_str(text),
            Self::Granted(permission, Reach::Wallet(wallet)) => write!(f, "{permission}:{wallet}"),
            Self::Granted(permission, Reach::Enterprise) => write!(f, "{permission}_enterprise"),
            Self::Granted(permission, Reach::All) => {
                let plain = Permission::PLAIN.iter().any(|(_, other)| other == permission);
                write!(f, "{permission}{}", if plain { "" } else { "_all" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_they_are_read() {
        let wallet = "5941b202b42fcbc707170d5b597491d9";
        for text in [
            "all",
            "openid",
            "wallet_create",
            "trade_trade",
            "wallet_view_all",
            "wallet_spend_enterprise",
            "wallet_spend",
            &format!("wallet_spend:{wallet}"),
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!(
            "wallet_spend".parse::<Scope>().unwrap(),
            Scope::Other("wallet_spend".into()),
            "a bare wallet scope names no wallet, so it grants none"
        );
        for bad in ["", "wallet spend", "wallet_spend:xyz", "WALLET_VIEW_ALL", &"a".repeat(200)] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
    }
}
