//! A token's record as the server shows it: `AccessTokenResponse`, `OAuthAccessToken`, `Session`.

use super::spending::{Cap, Pool, Spending, Spent};
use super::token::Token;
use crate::money::Amount;
use crate::token::TokenKind;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

/// The record on the wire. Amounts are JSON numbers of any size.
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
    ip: String,
    ip_restrict: &'a [String],
    scope: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_wallets: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_enterprises: Option<Vec<String>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    spending_limits: BTreeMap<&'a str, CoinLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_erc20_tokens_limit: Option<Erc20Limit>,
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Erc20Limit {
    enabled: bool,
    tx_count: u64,
    tx_value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_value_limit_in_small_units: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_limit: Option<bool>,
}

impl<'a> Record<'a> {
    /// The record as it is listed, without the token.
    pub(super) fn listed(token: &'a Token, user: &'a str) -> Self {
        let pool = token.spending.limits.erc20;
        let pool = pool.map(|pool| Erc20Limit::new(pool, token.spending.erc20));
        Self::new(token, user, pool)
    }

    /// The record as its bearer sees it: the pool of ERC-20 coins does not stand there.
    pub(super) fn session(token: &'a Token, user: &'a str) -> Self {
        Self::new(token, user, None)
    }

    fn new(token: &'a Token, user: &'a str, pool: Option<Erc20Limit>) -> Self {
        let grant = &token.grant;
        Self {
            id: token.id.to_string(),
            label: grant.label.as_deref(),
            user,
            client: "bitgo",
            origin: "emulator",
            enterprise: grant.enterprise.map(|id| id.to_string()),
            created: iso(token.created),
            expires: iso(token.expires),
            is_extensible: grant.extension_address.is_some(),
            extension_address: grant.extension_address.as_deref(),
            ip: token.ip.to_string(),
            ip_restrict: &grant.ip_restrict,
            scope: texts(&grant.scopes),
            admin_scope: grant.admin_scope,
            permitted_wallets: grant.permitted_wallets.as_deref().map(texts),
            permitted_enterprises: grant.permitted_enterprises.as_deref().map(texts),
            unlock: Unlock::new(&token.spending, pool),
            internal: matches!(token.kind, TokenKind::Internal).then_some(true),
            token: None,
            encrypted_token: None,
            derivation_path: None,
        }
    }
}

impl<'a> Unlock<'a> {
    /// What there is to say of limits; `None` if nothing is.
    fn new(spending: &'a Spending, pool: Option<Erc20Limit>) -> Option<Self> {
        let coins = spending.limits.coins.iter();
        let unlock = Self {
            time: spending.unlocked.map(|unlocked| iso(unlocked.at)),
            expires: spending.unlocked.map(|unlocked| iso(unlocked.until)),
            spending_limits: coins
                .map(|(coin, cap)| (coin.as_str(), CoinLimit::new(*cap, spending.of(coin))))
                .collect(),
            all_erc20_tokens_limit: pool,
        };
        let says = unlock.expires.is_some()
            || !unlock.spending_limits.is_empty()
            || unlock.all_erc20_tokens_limit.is_some();
        says.then_some(unlock)
    }
}

impl CoinLimit {
    fn new(cap: Cap, spent: Spent) -> Self {
        Self {
            tx_count: spent.count,
            tx_value: spent.value.base_units(),
            tx_value_limit: cap.map(Amount::base_units),
            max_limit: cap.is_none().then_some(true),
        }
    }
}

impl Erc20Limit {
    fn new(pool: Pool, spent: Spent) -> Self {
        Self {
            enabled: pool.enabled,
            tx_count: spent.count,
            tx_value: spent.value.to_string(),
            tx_value_limit_in_small_units: pool.cap.map(|cap| cap.to_string()),
            max_limit: pool.cap.is_none().then_some(true),
        }
    }
}

fn texts(words: &[impl ToString]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
