//! What can go wrong: each floor's error, wrapped, and what only their joining can tell.

mod kind;

pub use kind::ErrorKind;

use crate::api::{ApiError, Distrust, UnfitToken};
use crate::crypto::CryptoError;
use crate::id::TokenId;
use crate::policy::{Denied, RequestError, RulesError};
use crate::provider::ProviderError;
use crate::store::{LedgerError, StoreError};
use crate::token::Label;
use crate::word_error::WordError;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinError;

/// Why the vault did not do what was asked.
///
/// None of them carries a token, a passphrase or a body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule refused, before anything left the vault.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// BitGo could not be asked, or did not answer as wanted.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What was asked for a password or a one-time password brought none.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A token that BitGo's pages advise against: nothing was sent.
    #[error(transparent)]
    UnfitToken(#[from] UnfitToken),
    /// Something received or kept does not open.
    #[error("the {what} was not accepted")]
    Crypto {
        /// What it was.
        what: &'static str,
        /// Why.
        source: CryptoError,
    },
    /// The request cannot be made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The local rules cannot be kept.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Local rules that may allow more, without the passphrase.
    #[error(
        "the rules may allow {label} what was not allowed before: give the passphrase with them"
    )]
    LoosensRules {
        /// The label.
        label: Label,
    },
    /// A piece of text is not the word it should be.
    #[error(transparent)]
    Word(#[from] WordError),
    /// What a refresh token was exchanged for holds no token.
    #[error("bitgo answered without a token: its new refresh token is kept, so try again")]
    NoAccessToken,
    /// A refresh token is spent, or may be: it is not sent again.
    #[error(
        "the refresh token is spent, or may be: sign in anew at bitgo, and hand over the new one"
    )]
    SignInAnew,
    /// No token of that label.
    #[error("no token is kept as {label}: issue it, or list the labels")]
    NoSuchToken {
        /// The label.
        label: Label,
    },
    /// The label is in use.
    #[error("a token is kept as {label} already: remove it, or choose another label")]
    LabelTaken {
        /// The label.
        label: Label,
    },
    /// The very token is kept under another label.
    #[error("that token is kept as {label} already: use it there, or remove it there first")]
    KeptAlready {
        /// The label.
        label: Label,
    },
    /// The passphrase is empty.
    #[error("an empty passphrase protects nothing: choose one")]
    EmptyPassphrase,
    /// The server issued a token in clear.
    #[error(
        "the server issued the token in clear, which is not accepted: give the account an ecdh keychain, \
         or open the vault with dangerous_accept_tokens_in_clear"
    )]
    IssuedInClear,
    /// The account's ECDH key is not known.
    #[error("bitgo sent no ecdh key for the account: give it an ecdh keychain, then log in again")]
    NoEcdhKey,
    /// The server answered with a token that has ended already.
    #[error("the token that came had ended at {expired_at}: check the clock, then try again")]
    ArrivedExpired {
        /// When it ended.
        expired_at: DateTime<Utc>,
    },
    /// The machine's clock and BitGo's are so far apart that requests are refused, and further than the
    /// vault makes up for.
    #[error("{}: set it, then try again", told_apart(*ahead))]
    ClockSkew {
        /// How far this machine's is ahead; less than nothing where it is behind.
        ahead: TimeDelta,
    },
    /// The server's record is another token's.
    #[error("the server's record is another token's: nothing was kept")]
    WrongRecord,
    /// The token cannot sign requests, and the vault was not opened to let it travel.
    #[error(
        "the token cannot sign requests, only tokens that begin with v2x can: to let it travel in clear, \
         open the vault with dangerous_accept_tokens_in_clear"
    )]
    CannotSign,
    /// The token cannot sign requests, so a signed request would hold the token itself.
    #[error("the token cannot sign requests and travels in clear: use it by send, not by a lease")]
    SendOnly,
    /// The lease is no longer valid.
    #[error("the lease is void ({why}): take a new one")]
    LeaseVoid {
        /// Why.
        why: &'static str,
    },
    /// The answer to a signed request cannot be believed; if it moved money, the spend counts.
    #[error("the answer is not trusted: {0}; if the request moved money, it counts as spent")]
    Untrusted(Distrust),
    /// The vault is closed.
    #[error("the vault is closed")]
    Closed,
    /// No tokio runtime, or one without its timer or reactor.
    #[error(
        "no tokio runtime with time and io enabled: open the vault inside one, or with blocking()"
    )]
    NoRuntime,
    /// The system gives no thread, or no reactor, for a runtime of the vault's own.
    #[error(
        "the vault's own runtime could not be made: raise the limits on threads and open files"
    )]
    OwnRuntime(#[source] std::io::Error),
    /// A blocking call on a thread that turns the runtime which the vault lives on.
    #[error(
        "the vault lives on the runtime that this thread turns: await it here, or wait on another thread"
    )]
    WouldDeadlock,
    /// So many tokens may have been minted without being kept that no other is.
    #[error(
        "too many tokens may live at bitgo that are not kept: log in, so that the vault can revoke them, or revoke \
         those that the status names"
    )]
    TooManyOrphans,
    /// A token was minted and could be neither kept nor revoked.
    #[error("token {id} was minted but not kept, and it could not be revoked: revoke it at bitgo")]
    Orphaned {
        /// The token.
        id: TokenId,
        /// Why it was not kept.
        source: Box<Self>,
    },
    /// A token may have been minted, and neither is it kept nor could that be looked up or undone.
    #[error(
        "a token may have been minted as {label}, and could not be looked for or revoked: do so at bitgo"
    )]
    Unresolved {
        /// The label it would have at BitGo.
        label: Box<str>,
        /// Why it is not kept.
        source: Box<Self>,
    },
    /// Unlocking would remove the token's spending limits at BitGo.
    #[error(
        "to unlock {label} would remove its spending limits for good: issue a token with higher ones"
    )]
    HasLimits {
        /// The label.
        label: Label,
    },
    /// Whether the token has a limit for all ERC-20 coins cannot be looked up.
    #[error(
        "whether {label} has a limit for erc-20 coins stands in the list of tokens, which it cannot read: \
         log in to the same account, then unlock again"
    )]
    LimitsUnknown {
        /// The label.
        label: Label,
    },
    /// No seed of one-time passwords is kept for the token's account.
    #[error(
        "no totp seed is kept for the account of {label}: keep one, or bring the password otherwise"
    )]
    NoTotpSeed {
        /// The label.
        label: Label,
    },
    /// The token is not renewed by the vault.
    #[error("{label} is not renewed by the vault: issue it anew")]
    NotRenewable {
        /// The label.
        label: Label,
    },
    /// A login of one account was given for the token of another.
    #[error("the login is of another account than {label}: give that account's own")]
    OtherAccount {
        /// The label.
        label: Label,
    },
    /// Only a long-lived token can be minted anew.
    #[error("{label} is no long-lived token of an account: only such a token can be minted anew")]
    NotReissuable {
        /// The label.
        label: Label,
    },
    /// Leases, signed requests, logins or clones of the vault are still alive.
    #[error("leases, requests, logins or clones are still alive: the store closes with the last")]
    StillInUse,
    /// The runtime ended before the work did.
    #[error("the runtime ended before the work did")]
    Interrupted,
    /// A part of the vault panicked.
    #[error("a part of the vault panicked: close it and open it again")]
    Panicked,
}

impl Error {
    /// Why a task of the vault's own did not end as it should.
    pub(crate) fn of_task(error: JoinError) -> Self {
        match error.is_panic() {
            true => Self::Panicked,
            false => Self::Interrupted,
        }
    }

    /// A closure for `map_err` that names what did not open.
    pub(crate) fn crypto(what: &'static str) -> impl FnOnce(CryptoError) -> Self {
        move |source| Self::Crypto { what, source }
    }
}

/// How far the machine's clock is off.
fn told_apart(ahead: TimeDelta) -> String {
    let (seconds, side) =
        (ahead.num_seconds(), if ahead < TimeDelta::zero() { "behind" } else { "ahead of" });
    format!("this machine's clock is {} s {side} bitgo's", seconds.unsigned_abs())
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Denied(denied) => Self::Denied(denied),
            LedgerError::Store(error) => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_to_do() {
        let label = || Label::new("desk").unwrap();
        for (error, line) in [
            (
                Error::Crypto { what: "issued token", source: CryptoError::CouldNotOpen },
                "the issued token was not accepted",
            ),
            (
                Error::NoSuchToken { label: label() },
                "no token is kept as desk: issue it, or list the labels",
            ),
            (
                Error::LabelTaken { label: label() },
                "a token is kept as desk already: remove it, or choose another label",
            ),
            (
                Error::KeptAlready { label: label() },
                "that token is kept as desk already: use it there, or remove it there first",
            ),
            (Error::EmptyPassphrase, "an empty passphrase protects nothing: choose one"),
            (
                Error::IssuedInClear,
                "the server issued the token in clear, which is not accepted: give the account an ecdh keychain, or open the vault with dangerous_accept_tokens_in_clear",
            ),
            (
                Error::NoEcdhKey,
                "bitgo sent no ecdh key for the account: give it an ecdh keychain, then log in again",
            ),
            (
                Error::ArrivedExpired { expired_at: DateTime::UNIX_EPOCH },
                "the token that came had ended at 1970-01-01 00:00:00 UTC: check the clock, then try again",
            ),
            (
                Error::ClockSkew { ahead: TimeDelta::minutes(11) },
                "this machine's clock is 660 s ahead of bitgo's: set it, then try again",
            ),
            (
                Error::ClockSkew { ahead: -TimeDelta::minutes(11) },
                "this machine's clock is 660 s behind bitgo's: set it, then try again",
            ),
            (
                Error::Rules(RulesError::Period),
                "a window lasts whole seconds, from a minute to 366 days",
            ),
            (
                Error::LoosensRules { label: label() },
                "the rules may allow desk what was not allowed before: give the passphrase with them",
            ),
            (Error::WrongRecord, "the server's record is another token's: nothing was kept"),
            (
                Error::CannotSign,
                "the token cannot sign requests, only tokens that begin with v2x can: to let it travel in clear, open the vault with dangerous_accept_tokens_in_clear",
            ),
            (
                Error::SendOnly,
                "the token cannot sign requests and travels in clear: use it by send, not by a lease",
            ),
            (
                Error::LeaseVoid { why: "the token was renewed" },
                "the lease is void (the token was renewed): take a new one",
            ),
            (
                Error::Untrusted(Distrust::HmacWrong),
                "the answer is not trusted: its hmac is wrong; if the request moved money, it counts as spent",
            ),
            (Error::Closed, "the vault is closed"),
            (
                Error::NoRuntime,
                "no tokio runtime with time and io enabled: open the vault inside one, or with blocking()",
            ),
            (
                Error::OwnRuntime(std::io::ErrorKind::OutOfMemory.into()),
                "the vault's own runtime could not be made: raise the limits on threads and open files",
            ),
            (
                Error::TooManyOrphans,
                "too many tokens may live at bitgo that are not kept: log in, so that the vault can revoke them, or \
                 revoke those that the status names",
            ),
            (
                Error::WouldDeadlock,
                "the vault lives on the runtime that this thread turns: await it here, or wait on another thread",
            ),
            (
                Error::Orphaned {
                    id: TokenId::from_bytes([0xab; 16]),
                    source: Box::new(Error::Closed),
                },
                "token abababababababababababababababab was minted but not kept, and it could not be revoked: revoke it at bitgo",
            ),
            (
                Error::Unresolved { label: "desk#ab".into(), source: Box::new(Error::Closed) },
                "a token may have been minted as desk#ab, and could not be looked for or revoked: do so at bitgo",
            ),
            (
                Error::HasLimits { label: label() },
                "to unlock desk would remove its spending limits for good: issue a token with higher ones",
            ),
            (
                Error::LimitsUnknown { label: label() },
                "whether desk has a limit for erc-20 coins stands in the list of tokens, which it cannot read: log in to the same account, then unlock again",
            ),
            (
                Error::NoTotpSeed { label: label() },
                "no totp seed is kept for the account of desk: keep one, or bring the password otherwise",
            ),
            (
                Error::NotRenewable { label: label() },
                "desk is not renewed by the vault: issue it anew",
            ),
            (
                Error::OtherAccount { label: label() },
                "the login is of another account than desk: give that account's own",
            ),
            (
                Error::NotReissuable { label: label() },
                "desk is no long-lived token of an account: only such a token can be minted anew",
            ),
            (
                Error::StillInUse,
                "leases, requests, logins or clones are still alive: the store closes with the last",
            ),
            (Error::Interrupted, "the runtime ended before the work did"),
            (Error::Panicked, "a part of the vault panicked: close it and open it again"),
        ] {
            assert_eq!(error.to_string(), line);
        }
    }
}
