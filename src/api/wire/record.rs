//! The token record: what BitGo says of one token, and how the vault understands it.

use super::object::{Malformed, Object, required};
use super::unlock::Unlock;
use crate::id::{EnterpriseId, TokenId, WalletId};
use crate::scope::Scope;
use crate::token::{TokenInfo, TokenKind};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// How far a token's administrative permissions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminScope {
    /// Look, but change nothing.
    Read,
    /// Everything.
    Full,
}

/// Whether a single sign-on is wanted, and until when the last one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OauthState {
    /// Whether the account's enterprise wants a single sign-on.
    pub required: bool,
    /// When the last one ends.
    pub expires: Option<DateTime<Utc>>,
}

/// What BitGo says of a token (PROTOCOL section 6). Never the token itself.
pub struct TokenRecord {
    /// `id`: the public id.
    pub id: TokenId,
    /// `label`
    pub label: Option<Box<str>>,
    /// `user`: the id of the account.
    pub user: Option<Box<str>>,
    /// `enterprise`: what `_enterprise` scopes reach.
    pub enterprise: Option<EnterpriseId>,
    /// `client`: the OAuth client it was made through.
    pub client: Option<Box<str>>,
    /// `origin`: the environment that issued it.
    pub origin: Option<Box<str>>,
    /// `created`
    pub created: Option<DateTime<Utc>>,
    /// `expires`; absent never means for ever.
    pub expires: Option<DateTime<Utc>>,
    /// `isExtensible`
    pub is_extensible: bool,
    /// `extensionAddress`
    pub extension_address: Option<Box<str>>,
    /// `ip`: the address it was made from.
    pub ip: Option<Box<str>>,
    /// `ipRestrict`: addresses and CIDR blocks it is confined to.
    pub ip_restrict: Vec<String>,
    /// `scope`
    pub scope: Vec<Scope>,
    /// `isMobileAccessToken`
    pub is_mobile_access_token: Option<bool>,
    /// `oauth`
    pub oauth: Option<OauthState>,
    /// `bitgoAdminPermissions`
    pub bitgo_admin_permissions: Vec<String>,
    /// `adminScope`
    pub admin_scope: Option<AdminScope>,
    /// `permittedEnterprises`; absent means no restriction.
    pub permitted_enterprises: Option<Vec<EnterpriseId>>,
    /// `permittedWallets`; absent means no restriction.
    pub permitted_wallets: Option<Vec<WalletId>>,
    /// `unlock`
    pub unlock: Unlock,
    /// `internal`
    pub internal: Option<bool>,
    /// `organizations`
    pub organizations: Vec<String>,
    /// The fields we do not know, as they came.
    pub other: BTreeMap<Box<str>, Box<RawValue>>,
}

/// The fields of a record that [`TokenRecord`] types, and those that an issuance adds.
const KNOWN: [&str; 26] = [
    "id",
    "label",
    "user",
    "enterprise",
    "client",
    "origin",
    "created",
    "expires",
    "isExtensible",
    "extensionAddress",
    "ip",
    "ipRestrict",
    "scope",
    "isMobileAccessToken",
    "oauth",
    "bitgoAdminPermissions",
    "adminScope",
    "permittedEnterprises",
    "permittedWallets",
    "unlock",
    "internal",
    "organizations",
    "token",
    "encryptedToken",
    "derivationPath",
    "encryptedECDHXprv",
];

impl TokenRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Malformed`] if `id` is missing or a known field does not have its shape.
    pub fn read(object: &Object<'_>) -> Result<Self, Malformed> {
        let text = |name| Ok(object.text(name)?.map(|text| Box::from(text.as_ref())));
        let admin_scope = match object.text("adminScope")?.as_deref() {
            Some("read") => Some(AdminScope::Read),
            Some("full") => Some(AdminScope::Full),
            // A word of later years spoils nothing: nothing here acts upon it.
            _ => None,
        };
        Ok(Self {
            id: required(object.word("id")?, "id")?,
            label: text("label")?,
            user: text("user")?,
            enterprise: object.word("enterprise")?,
            client: text("client")?,
            origin: text("origin")?,
            created: object.instant("created")?,
            expires: object.instant("expires")?,
            is_extensible: object.flag("isExtensible")?.unwrap_or(false),
            extension_address: text("extensionAddress")?,
            ip: text("ip")?,
            ip_restrict: object.words("ipRestrict")?.unwrap_or_default(),
            scope: scopes(object)?,
            is_mobile_access_token: object.flag("isMobileAccessToken")?,
            oauth: object.object("oauth")?.as_ref().map(OauthState::read).transpose()?,
            bitgo_admin_permissions: object.words("bitgoAdminPermissions")?.unwrap_or_default(),
            admin_scope,
            permitted_enterprises: object.words("permittedEnterprises")?,
            permitted_wallets: object.words("permittedWallets")?,
            unlock: match object.object("unlock")? {
                Some(unlock) => Unlock::read(&unlock)?,
                None => Unlock::default(),
            },
            internal: object.flag("internal")?,
            organizations: object.words("organizations")?.unwrap_or_default(),
            other: object
                .entries()
                .filter(|(name, _)| !KNOWN.contains(name))
                .map(|(name, json)| Ok((name.into(), RawValue::from_string(json.to_owned())?)))
                .collect::<Result<_, serde_json::Error>>()
                .map_err(|_| Malformed("an unknown field"))?,
        })
    }

    /// Whether it says that somebody else acts as the user (`spooferContext`): BitGo publishes the
    /// field with the scoped session, but wherever it stands it means the same.
    pub fn is_spoofed(&self) -> bool {
        let is_there = |object: &Object<'_>| object.raw("spooferContext").is_some();
        let of = |name| self.other.get(name).map(|json| json.get()).filter(|json| *json != "null");
        of("spooferContext").is_some()
            || of("authenticationMetadata")
                .and_then(|json| Object::parse(json.as_bytes()).ok())
                .is_some_and(|metadata| is_there(&metadata))
    }

    /// The record as the vault's other floors know it.
    pub fn to_info(&self, kind: TokenKind, issued_in_clear: bool) -> TokenInfo {
        TokenInfo {
            id: self.id,
            kind,
            scopes: self.scope.clone(),
            enterprise: self.enterprise,
            permitted_wallets: self.permitted_wallets.clone(),
            permitted_enterprises: self.permitted_enterprises.clone(),
            created_at: self.created,
            expires_at: self.expires,
            is_extensible: self.is_extensible,
            ip_restrict: self.ip_restrict.clone(),
            spending_limits: self.unlock.to_spending_limits(),
            erc20_limit: self.unlock.to_erc20_limit(),
            issued_in_clear,
        }
    }
}

impl fmt::Debug for TokenRecord {
    /// Names the fields we do not know without their values: they might be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRecord")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .field("scope", &self.scope)
            .field("unlock", &self.unlock)
            .field("other", &self.other.keys())
            .finish_non_exhaustive()
    }
}

impl OauthState {
    fn read(object: &Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            required: object.flag("oauthRequired")?.unwrap_or(false),
            expires: object.instant("expires")?,
        })
    }
}

/// The scope list. A word we cannot read is kept as one that grants nothing.
pub(super) fn scopes(object: &Object<'_>) -> Result<Vec<Scope>, Malformed> {
    let words: Vec<String> = object.words("scope")?.unwrap_or_default();
    Ok(words.iter().map(|word| Scope::of_server(word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;

    const ID: &str = "5941b202b42fcbc707170d5b597491d9";

    fn read(json: &str) -> Result<TokenRecord, Malformed> {
        TokenRecord::read(&Object::parse(json.as_bytes())?)
    }

    #[test]
    fn limits_are_exact_and_a_missing_one_spends_nothing() {
        let record = read(&format!(
            r#"{{"id":"{ID}","isExtensible":false,"unlock":{{
                "txCount":1,"txValue":2,"txValueLimit":3,
                "spendingLimits":{{
                    "tbtc":{{"txCount":3,"txValue":9007199254740993,"txValueLimit":"9007199254740995"}},
                    "hteth":{{"txValue":0,"txValueLimit":1.5e+21}},
                    "tsol":{{"txValue":7,"maxLimit":true}},
                    "tltc":{{"txValue":7}},
                    "not a coin":{{}}
                }},
                "allErc20TokensLimit":{{"enabled":true,"txCount":1,"txValue":"12","txValueLimitInSmallUnits":"99"}}
            }}}}"#
        ))
        .unwrap();
        let limits = record.to_info(TokenKind::LongLived, false).spending_limits;
        let told: Vec<_> = limits
            .iter()
            .map(|(coin, l)| (coin.as_str(), l.limit.map(Amount::base_units), l.spent.base_units()))
            .collect();
        assert_eq!(
            told,
            [
                ("hteth", Some(1_500_000_000_000_000_000_000), 0),
                ("tbtc", Some(9_007_199_254_740_995), 9_007_199_254_740_993),
                ("tsol", None, 7),
            ]
        );
        let pool = record.unlock.all_erc20_tokens_limit.unwrap();
        assert_eq!(pool.limit.tx_value_limit, Some(Amount::new(99)));
        assert_eq!(record.unlock.legacy.unwrap().tx_value_limit, Some(Amount::new(3)));
    }

    #[test]
    fn a_spoofer_is_seen_wherever_the_record_has_it() {
        for (more, spoofed) in [
            ("", false),
            (r#","spooferContext":null"#, false),
            (r#","spooferContext":{}"#, true),
            (r#","authenticationMetadata":{"userId":"u"}"#, false),
            (r#","authenticationMetadata":{"spooferContext":{"userId":"x"}}"#, true),
        ] {
            let record = read(&format!(r#"{{"id":"{ID}"{more}}}"#)).unwrap();
            assert_eq!(record.is_spoofed(), spoofed, "{more}");
        }
    }

    #[test]
    fn unknown_fields_are_kept_and_not_printed() {
        let record = read(&format!(
            r#"{{"id":"{ID}","token":"v2xsecret","scope":["openid","Odd One"],"futureField":{{"n":[1, 2]}}}}"#
        ))
        .unwrap();
        assert_eq!(record.other.len(), 1, "the token is no unknown field");
        assert_eq!(record.other["futureField"].get(), r#"{"n":[1, 2]}"#);
        assert_eq!(record.scope[1], Scope::Other("Odd One".into()));
        assert_eq!(record.expires, None);
        let printed = format!("{record:?}");
        assert!(!printed.contains("secret") && !printed.contains("[1"), "{printed}");
    }

    #[test]
    fn a_restriction_that_cannot_be_read_is_an_error_not_freedom() {
        for (json, broken) in [
            (r#"{"label":"x"}"#.to_owned(), "id"),
            (format!(r#"{{"id":"{ID}","permittedWallets":["x"]}}"#), "permittedWallets"),
            (format!(r#"{{"id":"{ID}","permittedWallets":{{}}}}"#), "permittedWallets"),
            (format!(r#"{{"id":"{ID}","ipRestrict":"10.0.0.1"}}"#), "ipRestrict"),
            (format!(r#"{{"id":"{ID}","expires":"soon"}}"#), "expires"),
            (
                format!(
                    r#"{{"id":"{ID}","unlock":{{"spendingLimits":{{"tbtc":{{"txValue":-1}}}}}}}}"#
                ),
                "txValue",
            ),
            (
                format!(
                    r#"{{"id":"{ID}","unlock":{{"spendingLimits":{{"tbtc":{{"txValueLimit":0.5}}}}}}}}"#
                ),
                "txValueLimit",
            ),
        ] {
            assert_eq!(read(&json).unwrap_err(), Malformed(broken), "{json}");
        }
    }
}
