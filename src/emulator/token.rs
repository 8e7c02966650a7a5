//! A token as the server keeps it, and its record as the server shows it.

use crate::crypto::AuthKey;
use crate::id::{EnterpriseId, TokenId, WalletId};
use crate::money::{Amount, Coin};
use crate::scope::{Permission, Reach, Scope};
use crate::secret::AccessToken;
use crate::token::TokenKind;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

/// A token the server has issued.
pub(super) struct Token {
    pub(super) id: TokenId,
    pub(super) kind: TokenKind,
    pub(super) secret: AccessToken,
    pub(super) key: AuthKey,
    pub(super) grant: Grant,
    pub(super) created: DateTime<Utc>,
    pub(super) expires: DateTime<Utc>,
    pub(super) spent: BTreeMap<Coin, Spent>,
}

/// What a token is allowed.
#[derive(Clone, Default)]
pub(super) struct Grant {
    pub(super) label: Option<String>,
    pub(super) scopes: Vec<Scope>,
    pub(super) enterprise: Option<EnterpriseId>,
    pub(super) ip_restrict: Vec<String>,
    pub(super) permitted_wallets: Option<Vec<WalletId>>,
    /// The limit of each coin; `None` within is no cap.
    pub(super) limits: BTreeMap<Coin, Option<Amount>>,
    pub(super) extension_address: Option<String>,
}

/// What a token has spent of one coin.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) count: u64,
    pub(super) value: Amount,
}

/// Why a token may not spend.
pub(super) enum Refusal {
    /// It lies beyond the limit, or there is none and the token is locked.
    NeedsUnlock,
    /// The sum cannot be counted.
    Overflow,
}

impl Token {
    pub(super) fn is_alive(&self, now: DateTime<Utc>) -> bool {
        now < self.expires
    }

    /// Whether the token may do this with this wallet, which belongs to `enterprise`.
    pub(super) fn reaches(
        &self,
        permission: Permission,
        wallet: WalletId,
        enterprise: EnterpriseId,
    ) -> bool {
        let permitted = self.grant.permitted_wallets.as_ref();
        permitted.is_none_or(|wallets| wallets.contains(&wallet))
            && self.grant.scopes.iter().any(|scope| match scope {
                Scope::All => true,
                Scope::Granted(granted, reach) if *granted == permission => match reach {
                    Reach::All => true,
                    Reach::Wallet(named) => *named == wallet,
                    Reach::Enterprise => self.grant.enterprise == Some(enterprise),
                },
                _ => false,
            })
    }

    /// Whether the token holds a scope that the vault has no type for, such as `user_manage`.
    pub(super) fn has(&self, word: &str) -> bool {
        self.grant
            .scopes
            .iter()
            .any(|scope| matches!(scope, Scope::All) || scope.to_string() == word)
    }

    /// Counts a spend, if the limit allows it or none is `enforced`.
    pub(super) fn spend(
        &mut self,
        coin: &Coin,
        value: Amount,
        enforced: bool,
    ) -> Result<(), Refusal> {
        let spent = self.spent.get(coin).copied().unwrap_or_default();
        let after = spent.value.checked_add(value).ok_or(Refusal::Overflow)?;
        let fits = match self.grant.limits.get(coin) {
            Some(Some(limit)) => after <= *limit,
            Some(None) => true,
            None => false,
        };
        if enforced && !fits {
            return Err(Refusal::NeedsUnlock);
        }
        let after = Spent { count: spent.count + 1, value: after };
        self.spent.insert(coin.clone(), after);
        Ok(())
    }

    /// The record as BitGo shows it, without the token.
    pub(super) fn record<'a>(&'a self, user: &'a str) -> Record<'a> {
        let iso = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let limits = self.grant.limits.iter().map(|(coin, limit)| {
            let spent = self.spent.get(coin).copied().unwrap_or_default();
            let limit = CoinLimit {
                tx_count: spent.count,
                tx_value: spent.value.base_units(),
                tx_value_limit: limit.map(Amount::base_units),
                max_limit: limit.is_none().then_some(true),
            };
            (coin.as_str(), limit)
        });
        let unlock = Unlock { spending_limits: limits.collect() };
        Record {
            id: self.id.to_string(),
            label: self.grant.label.as_deref(),
            user,
            client: "bitgo",
            origin: "emulator",
            enterprise: self.grant.enterprise.map(|id| id.to_string()),
            created: iso(self.created),
            expires: iso(self.expires),
            is_extensible: self.grant.extension_address.is_some(),
            extension_address: self.grant.extension_address.as_deref(),
            ip: "127.0.0.1",
            ip_restrict: &self.grant.ip_restrict,
            scope: self.grant.scopes.iter().map(Scope::to_string).collect(),
            permitted_wallets: self
                .grant
                .permitted_wallets
                .as_ref()
                .map(|ids| ids.iter().map(WalletId::to_string).collect()),
            unlock: (!unlock.spending_limits.is_empty()).then_some(unlock),
            internal: matches!(self.kind, TokenKind::Internal).then_some(true),
            token: None,
            encrypted_token: None,
            derivation_path: None,
        }
    }
}

/// The record on the wire (`AccessTokenResponse`, `OAuthAccessToken`). Amounts are JSON numbers of any size.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    user: &'a str,
    client: &'static str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enterprise: Option<String>,
    created: String,
    expires: String,
    is_extensible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension_address: Option<&'a str>,
    ip: &'static str,
    ip_restrict: &'a [String],
    scope: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_wallets: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlock: Option<Unlock<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encrypted_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) derivation_path: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unlock<'a> {
    spending_limits: BTreeMap<&'a str, CoinLimit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CoinLimit {
    tx_count: u64,
    tx_value: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_value_limit: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_limit: Option<bool>,
}
