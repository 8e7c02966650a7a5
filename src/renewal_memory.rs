//! What of a token's renewal outlives a restart, and what a human must do for it.

use crate::id::TokenId;
use chrono::{DateTime, Utc};

/// What a human must do, since the vault cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Nothing here can renew the token: issue it anew before it ends.
    NewToken,
    /// The enterprise wants a single sign-on: sign on at BitGo.
    SignOn,
    /// The one-time password was refused, or none was brought: see to its provider.
    OneTimePassword,
    /// BitGo's endpoint has moved, and the token can be had no other way. Open the vault with its new
    /// path ([`ClientSettings::path`](crate::api::ClientSettings::path) with
    /// [`Endpoint::InternalToken`](crate::api::Endpoint::InternalToken)); or put a token in its place that
    /// is minted anew ([`Vault::issue`](crate::Vault::issue), then
    /// [`Vault::reissue`](crate::Vault::reissue)).
    Endpoint,
    /// The refresh token is spent, or may be: sign in anew
    /// ([`Vault::sign_in_oauth`](crate::Vault::sign_in_oauth)).
    RefreshToken,
    /// Nobody has given the login that mints the next token, or BitGo refuses it
    /// ([`Vault::provide_login`](crate::Vault::provide_login)).
    Login,
    /// The disk takes no writes: make room, then reopen the vault.
    Disk,
    /// Asking again will not help: the last error says why.
    LookAtError,
}

impl Need {
    /// In the order of their numbers on disk, from 1 on: new ones come last.
    pub(crate) const ALL: [Self; 8] = [
        Self::NewToken,
        Self::SignOn,
        Self::OneTimePassword,
        Self::Endpoint,
        Self::RefreshToken,
        Self::Login,
        Self::Disk,
        Self::LookAtError,
    ];

    /// Its name, which stays.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewToken => "new-token",
            Self::SignOn => "sign-on",
            Self::OneTimePassword => "one-time-password",
            Self::Endpoint => "endpoint",
            Self::RefreshToken => "refresh-token",
            Self::Login => "login",
            Self::Disk => "disk",
            Self::LookAtError => "look-at-error",
        }
    }

    /// What to do, in a few words.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NewToken => "issue it anew",
            Self::SignOn => "sign on at bitgo",
            Self::OneTimePassword => "see to the one-time password",
            Self::Endpoint => {
                "reopen the vault with the endpoint's new path, or issue a token in its place"
            }
            Self::RefreshToken => "sign in anew at bitgo",
            Self::Login => "give the login that mints the next token",
            Self::Disk => "make room on the disk, then reopen the vault",
            Self::LookAtError => "look at the last error",
        }
    }

    /// Whether each attempt costs something that a human has to make good.
    pub(crate) fn is_costly(self) -> bool {
        matches!(self, Self::SignOn | Self::OneTimePassword | Self::Login)
    }
}

/// What outlives a restart: a process that is started again and again must not hammer BitGo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RenewalMemory {
    /// Attempts that failed since the last renewal.
    pub(crate) failures: u32,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) need: Option<Need>,
    /// The token that the server called dead.
    pub(crate) dead: Option<TokenId>,
    /// Tokens in a row that died soon after they were renewed.
    pub(crate) deaths: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_need_has_a_name_and_says_what_to_do() {
        for words in [Need::ALL.map(Need::as_str), Need::ALL.map(Need::advice)] {
            let apart: BTreeSet<_> = words.iter().collect();
            assert_eq!(apart.len(), words.len(), "{words:?}");
        }
    }
}
