//! A token as it is known by: its id, its label, what BitGo says of it. Never the token itself.

use crate::coin_map::CoinMap;
use crate::id::{EnterpriseId, TokenId, WalletId};
use crate::money::Amount;
use crate::scope::Scope;
use crate::word_error::WordError;
use chrono::{DateTime, Utc};
use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

/// The longest label accepted, in bytes.
const LABEL_MAX: usize = 128;

/// The name under which a vault keeps a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// Reads a label.
    ///
    /// # Errors
    /// [`WordError`] if it is empty, longer than 128 bytes, or holds control characters.
    pub fn new(text: &str) -> Result<Self, WordError> {
        if text.is_empty() || text.len() > LABEL_MAX || text.chars().any(char::is_control) {
            return Err(WordError::Label);
        }
        Ok(Self(text.into()))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Labels are looked up by text that is none yet.
impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a token came to be, which decides how it can be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A short-lived session from a login.
    Session,
    /// A long-lived token minted by a session.
    LongLived,
    /// The user's internal token.
    Internal,
    /// What an OAuth client got for its refresh token.
    Oauth,
    /// One that somebody had already: a session or a long-lived token, which its record does not tell.
    Imported,
    /// One that somebody had already, and of which BitGo could not be asked so far: it only views, and
    /// its id is the vault's own.
    Unverified,
}

/// How a token is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewal {
    /// Nobody renews it: watch its `expires_at`.
    Manual,
    /// The server extends the session for the holder of its extension key.
    Extend {
        /// How long each extension lasts, such as one hour.
        lifetime: Duration,
    },
    /// The server hands out the user's internal token anew.
    InternalToken,
    /// The refresh token that came with it is exchanged for the next.
    Oauth,
    /// A fresh login mints the next, and then the former is revoked.
    Reissue,
}

impl Renewal {
    /// The way's name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Extend { .. } => "extend",
            Self::InternalToken => "internal-token",
            Self::Oauth => "oauth",
            Self::Reissue => "reissue",
        }
    }
}

/// The spending limit of one coin as the server counts it: over the token's whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendingLimit {
    /// The most that may be spent; `None` where the token has no cap for the coin (`maxLimit`).
    pub limit: Option<Amount>,
    /// What the server had counted when it was asked.
    pub spent: Amount,
}

/// What BitGo says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's public id.
    pub id: TokenId,
    /// How it came to be.
    pub kind: TokenKind,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The enterprise that `_enterprise` scopes reach.
    pub enterprise: Option<EnterpriseId>,
    /// The wallets it is confined to; `None` where BitGo sets no such bound.
    pub permitted_wallets: Option<Vec<WalletId>>,
    /// The enterprises it is confined to; `None` where BitGo sets no such bound.
    pub permitted_enterprises: Option<Vec<EnterpriseId>>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it ends; unknown counts as due.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the server will extend it for the holder of the extension key.
    pub is_extensible: bool,
    /// The source addresses it is confined to.
    pub ip_restrict: Vec<String>,
    /// The server's spending limits, by coin. A coin that is missing cannot be spent.
    pub spending_limits: CoinMap<SpendingLimit>,
    /// The limit that ERC-20 coins without one of their own share; `None` where there is none, or
    /// where it is not known, since the list of tokens alone tells it.
    pub erc20_limit: Option<SpendingLimit>,
    /// Whether the server handed the token out in clear (accounts without an ECDH key), or it cannot
    /// sign and travels so.
    pub issued_in_clear: bool,
}

impl TokenInfo {
    /// A token of which nothing else is known.
    pub(crate) fn unknown(id: TokenId, kind: TokenKind) -> Self {
        Self {
            id,
            kind,
            scopes: Vec::new(),
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            created_at: None,
            expires_at: None,
            is_extensible: false,
            ip_restrict: Vec::new(),
            spending_limits: CoinMap::default(),
            erc20_limit: None,
            issued_in_clear: false,
        }
    }

    /// A long-lived token of which nothing is known but what it may spend.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn of_limits(id: TokenId, spending_limits: CoinMap<SpendingLimit>) -> Self {
        Self { spending_limits, ..Self::unknown(id, TokenKind::LongLived) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_printable() {
        assert!(Label::new("market maker #1 (bücher)").is_ok());
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(129)] {
            assert!(Label::new(bad).is_err(), "{bad:?}");
        }
    }
}
