//! A refusal: which rule, and its numbers.

use super::WindowRule;
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
    /// The token's local rules do not allow such a request.
    Action,
    /// The token's local rules do not allow money to be sent there.
    Destination,
    /// The amount exceeds what one request may send.
    PerTransaction,
    /// The amount exceeds what is left of the local limit over the token's life.
    Total,
    /// The amount, or one more request, exceeds what is left within a while.
    Window,
    /// What is left shrank, as BitGo has not confirmed for long what was spent.
    Decay,
    /// The amount exceeds what is left of the limit that ERC-20 coins share.
    Erc20Pool,
    /// The fee exceeds what the token's local rules allow, or they allow none to be named.
    Fee,
    /// The product may not be traded.
    Product,
    /// The amount exceeds what one order may be for.
    Order,
    /// The request does not say itself what it moves, and may not be declared.
    Declared,
    /// How the coin is counted is not known.
    UnknownCoin,
    /// The vault is frozen.
    Frozen,
    /// The token is being revoked, or is dead at BitGo.
    Revoked,
    /// Somebody refused the token without signing that, and BitGo is asked.
    Suspect,
    /// BitGo has not been asked yet what the token may do.
    Unverified,
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
            Self::Action => "action",
            Self::Destination => "destination",
            Self::PerTransaction => "per-transaction",
            Self::Total => "total",
            Self::Window => "window",
            Self::Decay => "decay",
            Self::Erc20Pool => "erc20-pool",
            Self::Fee => "fee",
            Self::Product => "product",
            Self::Order => "order",
            Self::Declared => "declared",
            Self::UnknownCoin => "unknown-coin",
            Self::Frozen => "frozen",
            Self::Revoked => "revoked",
            Self::Suspect => "suspect",
            Self::Unverified => "unverified",
        }
    }

    /// The rule's section in the runbook ([`guide::operations`](crate::guide::operations)), which stays.
    pub fn runbook(self) -> &'static str {
        match self {
            Self::Scope => "BV-0101",
            Self::Wallet => "BV-0102",
            Self::Expired => "BV-0103",
            Self::Limit => "BV-0104",
            Self::NoLimit => "BV-0105",
            Self::UnknownCall => "BV-0106",
            Self::Body => "BV-0107",
            Self::RawExposure => "BV-0108",
            Self::Unreconciled => "BV-0109",
            Self::Action => "BV-0110",
            Self::Destination => "BV-0111",
            Self::PerTransaction => "BV-0112",
            Self::Total => "BV-0113",
            Self::Window => "BV-0114",
            Self::Decay => "BV-0115",
            Self::Erc20Pool => "BV-0116",
            Self::Fee => "BV-0117",
            Self::Product => "BV-0118",
            Self::Order => "BV-0119",
            Self::Declared => "BV-0120",
            Self::UnknownCoin => "BV-0121",
            Self::Frozen => "BV-0122",
            Self::Revoked => "BV-0123",
            Self::Suspect => "BV-0124",
            Self::Unverified => "BV-0125",
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

    /// A spend of `asked` where a rule that counts leaves only `left` of `limit`.
    pub(crate) fn over(
        rule: Rule,
        coin: &Coin,
        asked: Amount,
        limit: Amount,
        left: Amount,
    ) -> Self {
        let of = match rule {
            Rule::Total => "the total that the token and its successors may spend,",
            Rule::Erc20Pool => "the limit that ERC-20 coins share,",
            Rule::Decay => "what may be spent until bitgo confirms anew, within",
            _ => "the token's limit of",
        };
        let reason = format!("{asked} {coin} asked, {left} left of {of} {limit}");
        Self::new(rule, reason).counted(coin, asked, limit, left)
    }

    /// A spend, or one more request, that does not fit into a window before `resets_at`.
    pub(crate) fn over_window(
        rule: &WindowRule,
        asked: Amount,
        left: Amount,
        requests_left: Option<u64>,
        resets_at: Option<DateTime<Utc>>,
    ) -> Self {
        let WindowRule { coin, period, sum, count, .. } = rule;
        let secs = period.as_secs();
        let reason = match (requests_left, count) {
            (Some(0), Some(count)) => {
                format!("{count} requests for {coin} within {secs} s, none left")
            }
            _ => {
                let most = sum.unwrap_or(Amount::MAX);
                format!("{asked} {coin} asked, {left} left of {most} within {secs} s")
            }
        };
        let most = sum.unwrap_or(Amount::MAX);
        let mut denied = Self::new(Rule::Window, reason).counted(coin, asked, most, left);
        denied.0.resets_at = resets_at;
        denied
    }

    /// The same refusal with the numbers of a rule that counts.
    pub(crate) fn counted(
        mut self,
        coin: &Coin,
        asked: Amount,
        limit: Amount,
        left: Amount,
    ) -> Self {
        self.0.coin = Some(coin.clone());
        self.0.asked = Some(asked);
        self.0.limit = Some(limit);
        self.0.left = Some(left);
        self
    }

    /// The same refusal by a rule that gives way by itself then.
    pub(crate) fn until(mut self, resets_at: DateTime<Utc>) -> Self {
        self.0.resets_at = Some(resets_at);
        self
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

    /// When the rule frees budget by itself, or BitGo may be asked what was spent ([`Rule::Unreconciled`]);
    /// `None` where waiting alone changes nothing.
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
