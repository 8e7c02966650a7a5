//! Long-lived tokens: minted, listed, revoked; and the internal one.

use super::{body, check_otp, malformed};
use crate::api::wire::Object;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::{State, Visit};
use crate::emulator::token::{Grant, Record, Token};
use crate::money::Coin;
use crate::token::TokenKind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest life of a long-lived token: 10 years.
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long one lives that does not say.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(86_400);
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 200;

/// Mints a token: the bearer must be a session and bring its second factor.
pub(super) fn create(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    if visit.bearer()?.kind != TokenKind::Session {
        return Err(Refused::new(403, "Forbidden", "a short-lived session is required"));
    }
    let body = body(visit.received)?;
    check_otp(&body)?;
    let lifetime = body.count("duration").map_err(malformed)?;
    let lifetime = lifetime.map_or(LIFETIME_DEFAULT, Duration::from_secs);
    if lifetime > LIFETIME_MAX || lifetime.is_zero() {
        return Err(Refused::invalid("duration must lie between 1 second and 10 years"));
    }
    let grant = grant(&body)?;
    let lifetime = visit.lifetime(lifetime);
    let index = visit.state.mint(TokenKind::LongLived, grant, visit.now, lifetime)?;
    issued(visit.state, index)
}

fn grant(body: &Object<'_>) -> Result<Grant, Refused> {
    let label = body.text("label").map_err(malformed)?;
    let label = label.filter(|label| !label.is_empty());
    Ok(Grant {
        label: Some(label.ok_or(Refused::invalid("label is required"))?.into_owned()),
        scopes: body.words("scope").map_err(malformed)?.unwrap_or_default(),
        enterprise: body.word("enterprise").map_err(malformed)?,
        ip_restrict: body.words("ipRestrict").map_err(malformed)?.unwrap_or_default(),
        permitted_wallets: body.words("permittedWallets").map_err(malformed)?,
        limits: limits(body)?,
        extension_address: None,
    })
}

fn limits(body: &Object<'_>) -> Result<BTreeMap<Coin, Option<crate::money::Amount>>, Refused> {
    let list = body.objects("spendingLimits").map_err(malformed)?.unwrap_or_default();
    let mut limits = BTreeMap::new();
    for entry in list {
        let coin = entry.text("coin").map_err(malformed)?;
        let coin = coin.and_then(|name| Coin::new(&name).ok());
        let coin = coin.ok_or(Refused::invalid("spendingLimits[].coin is required"))?;
        let limit = match entry.flag("maxLimit").map_err(malformed)? {
            Some(true) => None,
            _ => Some(
                entry
                    .amount("txValueLimit")
                    .map_err(malformed)?
                    .ok_or(Refused::invalid("spendingLimits[].txValueLimit is required"))?,
            ),
        };
        limits.insert(coin, limit);
    }
    Ok(limits)
}

/// The record of a token together with the token: sealed, or in clear without a keychain.
fn issued(state: &State, index: usize) -> Result<Reply, Refused> {
    let token = &state.tokens[index];
    let mut record = token.record(&state.account.user);
    if state.settings.has_ecdh_keychain {
        let (sealed, path) = state.account.seal(&token.secret)?;
        record.encrypted_token = Some(sealed);
        record.derivation_path = Some(path);
    } else {
        record.token = Some(token.secret.expose());
    }
    Ok(Reply::json(&record))
}

/// Lists the living long-lived tokens, page by page.
pub(super) fn list(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        access_tokens: Vec<Record<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_batch_prev_id: Option<String>,
    }
    if !visit.bearer()?.has("user_manage") {
        return Err(Refused::scope());
    }
    let received = visit.received;
    let limit = match received.query("limit") {
        None => PAGE_DEFAULT,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=PAGE_MAX) => limit,
            _ => return Err(Refused::invalid("limit must lie between 1 and 200")),
        },
    };
    let now = visit.now;
    let shown = |token: &&Token| token.kind == TokenKind::LongLived && token.is_alive(now);
    let mut tokens: Vec<&Token> = visit.state.tokens.iter().filter(shown).collect();
    match received.query("sort") {
        None | Some("ASC") => {}
        Some("DESC") => tokens.reverse(),
        Some(_) => return Err(Refused::invalid("sort must be ASC or DESC")),
    }
    if let Some(cursor) = received.query("prevId") {
        let before = tokens.iter().position(|token| token.id.to_string() == cursor);
        tokens.drain(..=before.ok_or(Refused::invalid("prevId is unknown"))?);
    }
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let last = tokens.last().filter(|_| more).map(|token| token.id.to_string());
    let user = &visit.state.account.user;
    Ok(Reply::json(&Page {
        access_tokens: tokens.into_iter().map(|token| token.record(user)).collect(),
        next_batch_prev_id: last,
    }))
}

/// Revokes a token: it ends now. A session may revoke any, a token itself.
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Result<Reply, Refused> {
    let now = visit.now;
    let bearer = visit.bearer()?;
    let allowed = bearer.has("user_manage") || bearer.id.to_string() == id;
    let state = &mut *visit.state;
    let token = state.tokens.iter_mut().find(|token| token.id.to_string() == id);
    let token = token.filter(|token| token.is_alive(now)).ok_or_else(Refused::not_found)?;
    if !allowed {
        return Err(Refused::scope());
    }
    token.expires = now;
    Ok(Reply::json(&token.record(&state.account.user)))
}

/// Answers the internal token, renewed once it is past half of its life.
pub(super) fn internal(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    visit.bearer()?;
    let (now, lifetime) = (visit.now, visit.lifetime(visit.state.settings.internal_lifetime));
    let state = &mut *visit.state;
    let current = state.tokens.iter().position(|token| Some(token.id) == state.internal);
    let young = |token: &Token| now - token.created < (token.expires - token.created) / 2;
    let index = match current {
        Some(index) if young(&state.tokens[index]) => index,
        _ => state.mint(TokenKind::Internal, state.settings.internal.clone(), now, lifetime)?,
    };
    state.internal = Some(state.tokens[index].id);
    issued(state, index)
}
