//! A refusal: which rule, and its numbers.

use crate::money::{Amount, Coin};
use chrono::{DateTime, Utc};
use std::fmt;

/// The rule that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The token's scopes do not hold the permission.
    Scope,
    /// The token is confined to other wallets.
    Wallet,
    /// The token has expired, or its expiry is not known.
    Expired,
    /// The amount exceeds what is left of the limit.
    Limit,
    /// The token has no limit for the coin, so nothing may be spent.
    NoLimit,
    /// The call is not one the vault can read.
    UnknownCall,
    /// The body does not say plainly what it moves.
    Body,
    /// Raw exposure has not been allowed for this token.
    RawExposure,
    /// What was spent so far is not known.
    Unreconciled,
    /// The vault is frozen.
    Frozen,
    /// The token is being revoked.
    Revoked,
}

impl Rule {
    /// The rule's name in messages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Wallet => "wallet",
            Self::Expired => "expired",
            Self::Limit => "limit",
            Self::NoLimit => "no-limit",
            Self::UnknownCall => "unknown-call",
            Self::Body => "body",
            Self::RawExposure => "raw-exposure",
            Self::Unreconciled => "unreconciled",
            Self::Frozen => "frozen",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that was refused before anything left the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Box<Refusal>);

/// Boxed, so that every `Result` that may be a refusal stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    rule: Rule,
    reason: String,
    coin: Option<Coin>,
    asked: Option<Amount>,
    limit: Option<Amount>,
    left: Option<Amount>,
    resets_at: Option<DateTime<Utc>>,
}

impl Denied {
    pub(crate) fn new(rule: Rule, reason: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            rule,
            reason: reason.into(),
            coin: None,
            asked: None,
            limit: None,
            left: None,
            resets_at: None,
        }))
    }

    /// A call whose body does not say plainly what it moves.
    pub(crate) fn body(reason: impl Into<String>) -> Self {
        Self::new(Rule::Body, reason)
    }

    /// A spend of `asked` where only `left` remains of `limit`.
    pub(crate) fn over_limit(coin: &Coin, asked: Amount, limit: Amount, left: Amount) -> Self {
        let mut denied = Self::new(
            Rule::Limit,
            format!("{asked} {coin} asked, {left} left of the token's limit of {limit}"),
        );
        denied.0.coin = Some(coin.clone());
        denied.0.asked = Some(asked);
        denied.0.limit = Some(limit);
        denied.0.left = Some(left);
        denied
    }

    /// The rule that refused.
    pub fn rule(&self) -> Rule {
        self.0.rule
    }

    /// Why, and what would help.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The coin in question, where there is one.
    pub fn coin(&self) -> Option<&Coin> {
        self.0.coin.as_ref()
    }

    /// What was asked for, in base units.
    pub fn asked(&self) -> Option<Amount> {
        self.0.asked
    }

    /// The limit, in base units.
    pub fn limit(&self) -> Option<Amount> {
        self.0.limit
    }

    /// What is left of it, in base units.
    pub fn left(&self) -> Option<Amount> {
        self.0.left
    }

    /// When the rule frees budget by itself; `None` where it never does.
    pub fn resets_at(&self) -> Option<DateTime<Utc>> {
        self.0.resets_at
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied by {}: {}", self.rule(), self.reason())
    }
}

impl std::error::Error for Denied {}
