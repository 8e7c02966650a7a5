//! A token as the command shows it: how it stands, and what BitGo says of it.

use crate::failure::Failure;
use crate::page::{Page, Tell, Tone, toned};
use crate::words::{both_units, when};
use bitgo_vault::{
    Clock, ControlToken, Label, Phase, Standing, SystemClock, TokenKind, TokenStatus, Vault,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A token in full. Never the token itself.
#[derive(Serialize)]
pub(crate) struct Token {
    #[serde(flatten)]
    stands: ControlToken,
    kind: &'static str,
    scopes: Vec<String>,
    enterprise: Option<String>,
    wallets: Option<Vec<String>>,
    ip_restrict: Vec<String>,
    is_extensible: bool,
    /// By coin: the server's limit, in base units; `null` where it has none.
    limits: BTreeMap<String, Option<String>>,
    #[serde(skip)]
    status: TokenStatus,
}

impl From<TokenStatus> for Token {
    fn from(status: TokenStatus) -> Self {
        let info = &status.info;
        let limits = info.spending_limits.iter();
        Self {
            stands: (&status).into(),
            kind: kind(info.kind),
            scopes: info.scopes.iter().map(ToString::to_string).collect(),
            enterprise: info.enterprise.map(|id| id.to_string()),
            wallets: info
                .permitted_wallets
                .as_ref()
                .map(|wallets| wallets.iter().map(ToString::to_string).collect()),
            ip_restrict: info.ip_restrict.clone(),
            is_extensible: info.is_extensible,
            limits: limits
                .map(|(coin, limit)| (coin.to_string(), limit.limit.map(|limit| limit.to_string())))
                .collect(),
            status,
        }
    }
}

impl Token {
    /// One row of a list.
    pub(crate) fn row(&self) -> [String; 5] {
        let status = &self.status;
        let now = SystemClock::new().now();
        let ends = status.info.expires_at.map_or("unknown".into(), |end| when(end, now));
        let left: Vec<_> = (status.counters.iter())
            .filter_map(|(coin, counter)| {
                Some(left(coin.decimals(), counter.left()?, coin.as_str()))
            })
            .collect();
        [status.label.to_string(), self.kind.into(), stands(status).into(), ends, left.join(", ")]
    }
}

fn left(decimals: Option<u8>, amount: bitgo_vault::Amount, coin: &str) -> String {
    match decimals {
        Some(decimals) => format!("{} {coin}", amount.in_whole_units(decimals)),
        None => format!("{amount} base units of {coin}"),
    }
}

/// How a token stands, in a word.
fn stands(status: &TokenStatus) -> &'static str {
    match (status.standing, status.phase) {
        _ if status.is_revoked => "being revoked",
        (Standing::Revoked, _) => "revoked",
        (Standing::Suspect, _) => "suspect",
        _ if status.is_unverified => "unverified",
        (_, Phase::Expired) => "expired",
        (_, Phase::Fresh) => "good",
        _ if status.need.is_some() => "needs you",
        (_, Phase::Advisory | Phase::Mandatory) => "renewing soon",
        _ => "good",
    }
}

fn kind(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Session => "session",
        TokenKind::LongLived => "long-lived",
        TokenKind::Internal => "internal",
        TokenKind::Oauth => "oauth",
        _ => "imported",
    }
}

impl Tell for Token {
    fn tell(&self, page: &mut Page) {
        let (status, now) = (&self.status, SystemClock::new().now());
        let info = &status.info;
        let word = stands(status);
        let tone = match word {
            "good" => Tone::Good,
            "unverified" | "renewing soon" | "needs you" | "suspect" => Tone::Doubtful,
            _ => Tone::Bad,
        };
        page.line(format_args!("{} ({}): {}", status.label, self.kind, toned(tone, word)));
        page.pair("id", info.id);
        page.pair("ends", info.expires_at.map_or("unknown".into(), |end| when(end, now)));
        if let Some(made) = info.created_at {
            page.pair("made", when(made, now));
        }
        match status.is_unverified {
            true => {
                page.pair("may", "only view, until bitgo is asked: bitgo-vault reconcile LABEL")
            }
            false => page.pair("may", self.scopes.join(", ")),
        }
        if let Some(wallets) = &self.wallets {
            page.pair("wallets", wallets.join(", "));
        }
        if let Some(enterprise) = &self.enterprise {
            page.pair("enterprise", enterprise);
        }
        if !self.ip_restrict.is_empty() {
            page.pair("from", self.ip_restrict.join(", "));
        }
        for (coin, limit) in info.spending_limits.iter() {
            let limit = limit.limit.map_or("no limit".into(), |limit| both_units(coin, limit));
            page.pair("limit", limit);
        }
        for (coin, counter) in status.counters.iter() {
            let left = counter.left().map_or("no bound".into(), |left| both_units(coin, left));
            page.pair("left", left);
        }
        match status.need {
            _ if status.is_unverified => {}
            Some(need) if status.phase != Phase::Fresh => page.pair("you must", need.advice()),
            Some(need) => page.pair("before it ends", need.advice()),
            None => page.pair("renewed", "by the vault, while somebody has it open"),
        }
        if let Some(error) = &status.last_error {
            page.pair("last error", error);
        }
    }
}

/// The label of the session that a verb acts by: the one that is named, else the only one that lives.
pub(crate) fn session(vault: &Vault, named: Option<&str>) -> Result<Label, Failure> {
    if let Some(named) = named {
        return Ok(Label::new(named)?);
    }
    let mut living = vault.list().into_iter().filter(|status| {
        status.info.kind == TokenKind::Session
            && status.phase != Phase::Expired
            && status.standing == Standing::Good
    });
    match (living.next(), living.next()) {
        (Some(one), None) => Ok(one.label),
        (None, _) => Err(Failure::usage("no session lives: run bitgo-vault login EMAIL first")),
        _ => Err(Failure::usage("several sessions live: name one with --session")),
    }
}
