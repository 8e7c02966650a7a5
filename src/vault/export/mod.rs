//! What the vault knows of its tokens, as JSON: to look at, to compare, to keep beside a backup.
//! Never a secret.
//!
//! ```text
//! format, exported, rootUri, accessTokens: by label
//!   as BitGo's record has them   label id user scope enterprise permittedWallets permittedEnterprises created expires
//!                                isExtensible ipRestrict unlock.spendingLimits
//!   the vault's own              lineage kind issuedInClear renewal rules counters
//! ```
//!
//! Names stay as they are while `format` does; new ones may come. Amounts are strings of digits in
//! base units, times RFC 3339 in UTC; what is not known, or sets no bound, is `null`. Every type is
//! taken apart field by field, so that one that gains a field does not compile until it is seen to.

use super::Vault;
use super::control::ControlCounter;
use crate::coin_map::CoinMap;
use crate::money::{Amount, Coin};
use crate::policy::{Counter, KeptRules, RulesJson};
use crate::store::TokenRecord;
use crate::token::{Renewal, SpendingLimit, TokenInfo, TokenKind};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

const FORMAT: u16 = 1;

impl Vault {
    /// All that is known of the tokens, as JSON without secrets: labels, ids, scopes, wallets,
    /// expiry, limits, what was spent, rules and renewal, under BitGo's names where there are any.
    ///
    /// ```json
    /// {
    ///   "format": 1,
    ///   "exported": "2026-01-02T03:04:05.678Z",
    ///   "rootUri": "https://app.bitgo-test.com",
    ///   "accessTokens": [{"label": "market-maker", "scope": ["wallet_spend_all"]}]
    /// }
    /// ```
    ///
    /// # Security
    /// It holds no token and no key, but it tells whom the tokens belong to, what they may move,
    /// from where and where to: keep it as you keep account statements.
    pub fn export(&self) -> String {
        let core = &self.core;
        let mut access_tokens = Vec::new();
        for held in core.holdings() {
            let counters = core.store.counters(held.record.lineage);
            access_tokens.push(AccessToken::of(&held.record, counters));
        }
        let root_uri = core.environment.root_uri().into();
        print(&Export { format: FORMAT, exported: time(core.clock.now()), root_uri, access_tokens })
    }
}

fn print(export: &Export) -> String {
    serde_json::to_string_pretty(export).expect("structs of text, numbers and lists are JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    format: u16,
    exported: String,
    root_uri: String,
    access_tokens: Vec<AccessToken>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessToken {
    label: String,
    lineage: String,
    id: String,
    user: Option<String>,
    kind: &'static str,
    scope: Vec<String>,
    enterprise: Option<String>,
    permitted_wallets: Option<Vec<String>>,
    permitted_enterprises: Option<Vec<String>>,
    created: Option<String>,
    expires: Option<String>,
    is_extensible: bool,
    ip_restrict: Vec<String>,
    issued_in_clear: bool,
    unlock: Unlock,
    renewal: Way,
    rules: Rules,
    /// `null` where the vault has no ledger for the token.
    counters: Option<BTreeMap<String, ControlCounter>>,
}

#[derive(Serialize)]
struct Rules {
    /// How often they were edited.
    version: u64,
    #[serde(flatten)]
    rules: RulesJson,
}

/// The server's limits, and what it had counted when it was last asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unlock {
    spending_limits: BTreeMap<String, CoinLimit>,
    /// What ERC-20 coins without a limit of their own share.
    all_erc20_tokens_limit: Option<CoinLimit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CoinLimit {
    tx_value: String,
    tx_value_limit: Option<String>,
    max_limit: bool,
}

#[derive(Serialize)]
#[serde(tag = "way", rename_all = "camelCase")]
enum Way {
    Manual,
    Extend { duration: u64 },
    InternalToken,
    Oauth,
    Reissue,
}

impl AccessToken {
    fn of(record: &TokenRecord, counters: Option<CoinMap<Counter>>) -> Self {
        let TokenRecord { lineage, label, account, renewal, rules, info, .. } = record;
        let TokenInfo {
            id,
            kind,
            scopes,
            enterprise,
            permitted_wallets,
            permitted_enterprises,
            created_at,
            expires_at,
            is_extensible,
            ip_restrict,
            spending_limits,
            erc20_limit,
            issued_in_clear,
        } = info;
        let limits = spending_limits.iter();
        let limits = limits.map(|(coin, limit)| (coin.to_string(), CoinLimit::of(limit)));
        let parts =
            |(coin, counter): (Coin, Counter)| (coin.to_string(), ControlCounter::from(&counter));
        Self {
            label: label.to_string(),
            lineage: lineage.to_string(),
            id: id.to_string(),
            user: account.clone(),
            kind: match kind {
                TokenKind::Session => "session",
                TokenKind::LongLived => "longLived",
                TokenKind::Internal => "internal",
                TokenKind::Oauth => "oauth",
                TokenKind::Imported => "imported",
                TokenKind::Unverified => "unverified",
            },
            scope: scopes.iter().map(ToString::to_string).collect(),
            enterprise: enterprise.map(|id| id.to_string()),
            permitted_wallets: permitted_wallets
                .as_ref()
                .map(|wallets| wallets.iter().map(ToString::to_string).collect()),
            permitted_enterprises: permitted_enterprises
                .as_ref()
                .map(|enterprises| enterprises.iter().map(ToString::to_string).collect()),
            created: created_at.map(time),
            expires: expires_at.map(time),
            is_extensible: *is_extensible,
            ip_restrict: ip_restrict.clone(),
            issued_in_clear: *issued_in_clear,
            unlock: Unlock {
                spending_limits: limits.collect(),
                all_erc20_tokens_limit: erc20_limit.as_ref().map(CoinLimit::of),
            },
            renewal: match renewal {
                Renewal::Manual => Way::Manual,
                Renewal::Extend { lifetime } => Way::Extend { duration: lifetime.as_secs() },
                Renewal::InternalToken => Way::InternalToken,
                Renewal::Oauth => Way::Oauth,
                Renewal::Reissue => Way::Reissue,
            },
            rules: Rules::of(rules),
            counters: counters.map(|counters| counters.into_iter().map(parts).collect()),
        }
    }
}

impl Rules {
    fn of(kept: &KeptRules) -> Self {
        Self { version: kept.version(), rules: RulesJson::of(kept) }
    }
}

impl CoinLimit {
    fn of(limit: &SpendingLimit) -> Self {
        let SpendingLimit { limit, spent } = limit;
        Self {
            tx_value: spent.to_string(),
            tx_value_limit: digits(*limit),
            max_limit: limit.is_none(),
        }
    }
}

fn digits(amount: Option<Amount>) -> Option<String> {
    amount.map(|amount| amount.to_string())
}

/// To the millisecond, as BitGo writes times.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EnterpriseId, LineageId, TokenId, WalletId};
    use crate::policy::LocalRules;
    use crate::token::Label;
    use std::time::Duration;

    fn coin(name: &str) -> Coin {
        Coin::new(name).unwrap()
    }

    fn full() -> TokenRecord {
        let limit = |limit, spent| SpendingLimit { limit, spent: Amount::new(spent) };
        TokenRecord {
            lineage: LineageId::from_bytes([1; 16]),
            label: Label::new("desk \"a\"").unwrap(),
            account: Some("user-1".into()),
            renewal: Renewal::Extend { lifetime: Duration::from_secs(3600) },
            rules: LocalRules { raw_exposure: true, ..LocalRules::default() }.into(),
            is_revoked: false,
            info: TokenInfo {
                id: TokenId::from_bytes([2; 16]),
                kind: TokenKind::LongLived,
                scopes: vec!["wallet_spend_all".parse().unwrap(), "openid".parse().unwrap()],
                enterprise: Some(EnterpriseId::from_bytes([3; 16])),
                permitted_wallets: Some(vec![WalletId::from_bytes([4; 16])]),
                permitted_enterprises: Some(vec![EnterpriseId::from_bytes([5; 16])]),
                created_at: DateTime::from_timestamp_millis(1_767_323_045_678),
                expires_at: DateTime::from_timestamp_millis(1_767_326_645_000),
                is_extensible: true,
                ip_restrict: vec!["203.0.113.0/28".into()],
                spending_limits: [
                    (coin("tbtc"), limit(Some(Amount::MAX), 9_007_199_254_740_993)),
                    (coin("hteth"), limit(None, 0)),
                ]
                .into(),
                erc20_limit: None,
                issued_in_clear: false,
            },
        }
    }

    fn exported(access_tokens: Vec<AccessToken>) -> String {
        let exported = time(DateTime::UNIX_EPOCH);
        let root_uri = "https://app.bitgo-test.com".into();
        print(&Export { format: FORMAT, exported, root_uri, access_tokens })
    }

    #[test]
    fn the_shape_is_kept() {
        let amount = Amount::new;
        let counter = Counter {
            limit: Some(Amount::MAX),
            total: None,
            accepted: amount(1),
            pending: amount(2),
            uncertain: amount(3),
            reserved: amount(4),
            allotted: amount(5),
            foreign: amount(9_007_199_254_740_993),
            carried: amount(6),
            renewed: amount(7),
        };
        let uncountable =
            Counter { accepted: Amount::MAX, foreign: amount(1), ..Counter::default() };
        let counters = [(coin("tbtc"), counter), (coin("hteth"), uncountable)].into();
        let mut bare = full();
        bare.label = Label::new("bare").unwrap();
        bare.account = None;
        bare.renewal = Renewal::InternalToken;
        bare.rules = LocalRules::default().into();
        bare.info = TokenInfo {
            kind: TokenKind::Session,
            issued_in_clear: true,
            ..TokenInfo::of_limits(bare.info.id, CoinMap::default())
        };
        let tokens = vec![AccessToken::of(&full(), Some(counters)), AccessToken::of(&bare, None)];
        let expect = r#"{
  "format": 1,
  "exported": "1970-01-01T00:00:00.000Z",
  "rootUri": "https://app.bitgo-test.com",
  "accessTokens": [
    {
      "label": "desk \"a\"",
      "lineage": "01010101010101010101010101010101",
      "id": "02020202020202020202020202020202",
      "user": "user-1",
      "kind": "longLived",
      "scope": [
        "wallet_spend_all",
        "openid"
      ],
      "enterprise": "03030303030303030303030303030303",
      "permittedWallets": [
        "04040404040404040404040404040404"
      ],
      "permittedEnterprises": [
        "05050505050505050505050505050505"
      ],
      "created": "2026-01-02T03:04:05.678Z",
      "expires": "2026-01-02T04:04:05.000Z",
      "isExtensible": true,
      "ipRestrict": [
        "203.0.113.0/28"
      ],
      "issuedInClear": false,
      "unlock": {
        "spendingLimits": {
          "hteth": {
            "txValue": "0",
            "txValueLimit": null,
            "maxLimit": true
          },
          "tbtc": {
            "txValue": "9007199254740993",
            "txValueLimit": "340282366920938463463374607431768211455",
            "maxLimit": false
          }
        },
        "allErc20TokensLimit": null
      },
      "renewal": {
        "way": "extend",
        "duration": 3600
      },
      "rules": {
        "version": 0,
        "rawExposure": true,
        "declaredAmounts": false,
        "actions": null,
        "wallets": null,
        "destinations": null,
        "coins": {},
        "windows": [],
        "trading": null,
        "decay": null,
        "units": {}
      },
      "counters": {
        "hteth": {
          "limit": null,
          "total": null,
          "accepted": "340282366920938463463374607431768211455",
          "pending": "0",
          "uncertain": "0",
          "reserved": "0",
          "allotted": "0",
          "foreign": "1",
          "carried": "0",
          "renewed": "0",
          "used": null,
          "left": null
        },
        "tbtc": {
          "limit": "340282366920938463463374607431768211455",
          "total": null,
          "accepted": "1",
          "pending": "2",
          "uncertain": "3",
          "reserved": "4",
          "allotted": "5",
          "foreign": "9007199254740993",
          "carried": "6",
          "renewed": "7",
          "used": "9007199254741003",
          "left": "340282366920938463463365600232513470452"
        }
      }
    },
    {
      "label": "bare",
      "lineage": "01010101010101010101010101010101",
      "id": "02020202020202020202020202020202",
      "user": null,
      "kind": "session",
      "scope": [],
      "enterprise": null,
      "permittedWallets": null,
      "permittedEnterprises": null,
      "created": null,
      "expires": null,
      "isExtensible": false,
      "ipRestrict": [],
      "issuedInClear": true,
      "unlock": {
        "spendingLimits": {},
        "allErc20TokensLimit": null
      },
      "renewal": {
        "way": "internalToken"
      },
      "rules": {
        "version": 0,
        "rawExposure": false,
        "declaredAmounts": false,
        "actions": null,
        "wallets": null,
        "destinations": null,
        "coins": {},
        "windows": [],
        "trading": null,
        "decay": null,
        "units": {}
      },
      "counters": null
    }
  ]
}"#;
        assert_eq!(exported(tokens), expect);
    }

    #[test]
    fn a_token_renewed_by_hand_says_so() {
        let mut record = full();
        record.renewal = Renewal::Manual;
        record.info.kind = TokenKind::Internal;
        let printed = exported(vec![AccessToken::of(&record, None)]);
        assert!(printed.contains(r#""way": "manual""#) && printed.contains(r#""internal""#));
    }
}
