//! A token as the server keeps it: what it is allowed, whether it lives.

use super::ip_block::IpBlock;
use super::spending::{Limits, Spending};
use crate::crypto::AuthKey;
use crate::id::{EnterpriseId, TokenId, WalletId};
use crate::scope::{Permission, Reach, Scope};
use crate::secret::AccessToken;
use crate::token::TokenKind;
use chrono::{DateTime, Utc};
use std::net::IpAddr;

/// A token the server has issued.
pub(super) struct Token {
    pub(super) id: TokenId,
    pub(super) kind: TokenKind,
    pub(super) secret: AccessToken,
    pub(super) key: Box<AuthKey>,
    pub(super) grant: Grant,
    /// The address it was made from.
    pub(super) ip: IpAddr,
    pub(super) created: DateTime<Utc>,
    pub(super) expires: DateTime<Utc>,
    pub(super) spending: Spending,
}

/// What a token is allowed.
#[derive(Clone, Default)]
pub(super) struct Grant {
    pub(super) label: Option<String>,
    pub(super) scopes: Vec<Scope>,
    pub(super) enterprise: Option<EnterpriseId>,
    /// As they were asked for; each has been read as an [`IpBlock`].
    pub(super) ip_restrict: Vec<String>,
    pub(super) permitted_wallets: Option<Vec<WalletId>>,
    pub(super) permitted_enterprises: Option<Vec<EnterpriseId>>,
    pub(super) admin_scope: Option<&'static str>,
    pub(super) limits: Limits,
    pub(super) extension_address: Option<String>,
}

impl Token {
    pub(super) fn is_alive(&self, now: DateTime<Utc>) -> bool {
        now < self.expires
    }

    /// Whether it may be used from this address.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let mut blocks = self.grant.ip_restrict.iter().filter_map(|text| text.parse().ok());
        self.grant.ip_restrict.is_empty() || blocks.any(|block: IpBlock| block.contains(address))
    }

    /// Whether the token may do this with this wallet, which belongs to `enterprise`.
    pub(super) fn reaches(
        &self,
        permission: Permission,
        wallet: WalletId,
        enterprise: EnterpriseId,
    ) -> bool {
        let wallets = self.grant.permitted_wallets.as_ref();
        let enterprises = self.grant.permitted_enterprises.as_ref();
        wallets.is_none_or(|permitted| permitted.contains(&wallet))
            && enterprises.is_none_or(|permitted| permitted.contains(&enterprise))
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

    /// Whether the token holds a scope by its word, such as `user_manage`.
    pub(super) fn has(&self, word: &str) -> bool {
        self.grant
            .scopes
            .iter()
            .any(|scope| matches!(scope, Scope::All) || scope.to_string() == word)
    }
}
