//! One entry: as it is kept, as it is answered, and the line of JSON that the chain is made of.
//!
//! ```text
//! {"number":12,"at":"2026-11-22T06:00:59.120Z","action":"signed","token":"<32 hex>","coin":"tbtc",
//!  "amount":"20000","count":2,"since":"2026-11-22T06:00:03.500Z","firstRequest":"<32 hex>",
//!  "lastRequest":"<32 hex>","previous":"<64 hex>"}
//! ```
//!
//! In this order, without spaces and on one line; what does not apply is left out, a `count` of 1 and
//! a `since` that equals `at` too. `previous` is the SHA-256 of the line before, without its end: whoever
//! has the lines checks them with nothing else.

use super::AuditAction;
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::store::record::EntryRow;
use crate::store::{StoreError, Tree};
use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// An entry of the audit log. What it counts is one event, or what was alike within a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// From 0 on, without a break.
    pub number: u64,
    /// When; of several events the last.
    pub at: DateTime<Utc>,
    /// What.
    pub action: AuditAction,
    /// Which token it befell; `None` where the vault as a whole is meant.
    pub token_id: Option<TokenId>,
    /// The name of the rule that refused ([`Rule::as_str`](crate::Rule::as_str)), where one did.
    pub rule: Option<String>,
    /// The coin, where money was to move.
    pub coin: Option<Coin>,
    /// How much of it in all, in base units.
    pub amount: Option<Amount>,
    /// How many events.
    pub count: u64,
    /// When the first of them was.
    pub since: DateTime<Utc>,
    /// The `Request-ID` of the first request, as it stands in its header.
    pub first_request: Option<String>,
    /// That of the last.
    pub last_request: Option<String>,
}

impl EntryRow {
    /// One event, of a token or of the vault as a whole.
    pub(super) fn of(action: AuditAction, token_id: Option<TokenId>, now: DateTime<Utc>) -> Self {
        let at_ms = now.timestamp_millis();
        Self {
            at_ms,
            action: action as u8,
            token_id: token_id.map_or([0; 16], |id| *id.as_bytes()),
            rule: String::new(),
            coin: String::new(),
            amount: 0,
            count: 1,
            since_ms: at_ms,
            first_request: [0; 16],
            last_request: [0; 16],
        }
    }

    pub(super) fn entry(&self, number: u64) -> Result<AuditEntry, StoreError> {
        let unreadable = || StoreError::unreadable(Tree::Audit, "an entry cannot be read");
        let time = |ms| DateTime::from_timestamp_millis(ms).ok_or_else(unreadable);
        let is_there = |id: &[u8; 16]| *id != [0; 16];
        let request = |id: &[u8; 16]| is_there(id).then(|| base16ct::lower::encode_string(id));
        let coin = match self.coin.as_str() {
            "" => None,
            name => Some(Coin::new(name).map_err(|_| unreadable())?),
        };
        Ok(AuditEntry {
            number,
            at: time(self.at_ms)?,
            action: *AuditAction::ALL.get(usize::from(self.action)).ok_or_else(unreadable)?,
            token_id: is_there(&self.token_id).then(|| TokenId::from_bytes(self.token_id)),
            rule: (!self.rule.is_empty()).then(|| self.rule.clone()),
            amount: coin.is_some().then(|| Amount::new(self.amount)),
            coin,
            count: self.count,
            since: time(self.since_ms)?,
            first_request: request(&self.first_request),
            last_request: request(&self.last_request),
        })
    }

    /// Its line, and the line's hash.
    pub(super) fn line(
        &self,
        number: u64,
        previous: &[u8; 32],
    ) -> Result<(String, [u8; 32]), StoreError> {
        let line = self.entry(number)?.line(previous);
        let hash = Sha256::digest(&line).into();
        Ok((line, hash))
    }
}

impl AuditEntry {
    fn line(&self, previous: &[u8; 32]) -> String {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut line = String::with_capacity(320);
        let (number, at, action) = (self.number, time(self.at), self.action);
        let mut put = |part: std::fmt::Arguments<'_>| {
            line.write_fmt(part).expect("a string takes what it is given");
        };
        put(format_args!(r#"{{"number":{number},"at":"{at}","action":"{action}""#));
        if let Some(id) = &self.token_id {
            put(format_args!(r#","token":"{id}""#));
        }
        if let Some(rule) = &self.rule {
            put(format_args!(r#","rule":"{rule}""#));
        }
        if let (Some(coin), Some(amount)) = (&self.coin, &self.amount) {
            put(format_args!(r#","coin":"{coin}","amount":"{amount}""#));
        }
        if self.count != 1 {
            put(format_args!(r#","count":{}"#, self.count));
        }
        if self.since != self.at {
            put(format_args!(r#","since":"{}""#, time(self.since)));
        }
        for (name, id) in [("first", &self.first_request), ("last", &self.last_request)] {
            if let Some(id) = id {
                put(format_args!(r#","{name}Request":"{id}""#));
            }
        }
        let previous = base16ct::lower::encode_string(previous);
        put(format_args!(r#","previous":"{previous}"}}"#));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_as_it_is_drawn() {
        let at = DateTime::UNIX_EPOCH;
        let (line, hash) = EntryRow::of(AuditAction::Rekeyed, None, at).line(0, &[0; 32]).unwrap();
        let zeros = "0".repeat(64);
        assert_eq!(
            line,
            format!(
                r#"{{"number":0,"at":"1970-01-01T00:00:00.000Z","action":"rekeyed","previous":"{zeros}"}}"#
            )
        );
        assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(line.as_bytes())));
        let row = EntryRow {
            at_ms: 59_120,
            coin: "tbtc".into(),
            amount: 20_000,
            count: 2,
            first_request: [0xaa; 16],
            last_request: [0xbb; 16],
            ..EntryRow::of(AuditAction::Signed, Some(TokenId::from_bytes([1; 16])), at)
        };
        let (a, b, one) = ("aa".repeat(16), "bb".repeat(16), "01".repeat(16));
        assert_eq!(
            row.line(7, &[0; 32]).unwrap().0,
            format!(
                r#"{{"number":7,"at":"1970-01-01T00:00:59.120Z","action":"signed","token":"{one}","coin":"tbtc","amount":"20000","count":2,"since":"1970-01-01T00:00:00.000Z","firstRequest":"{a}","lastRequest":"{b}","previous":"{zeros}"}}"#
            )
        );
        let denied = EntryRow {
            rule: "limit".into(),
            ..EntryRow::of(AuditAction::Denied, Some(TokenId::from_bytes([1; 16])), at)
        };
        let (line, _) = denied.line(8, &[0; 32]).unwrap();
        assert!(line.contains(r#""action":"denied","token":"01010101010101010101010101010101","rule":"limit","previous""#), "{line}");
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }
}
