//! Long-lived tokens: listed, revoked; and the internal one.

use crate::emulator::record::Record;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::{State, Visit};
use crate::emulator::token::Token;
use crate::token::TokenKind;
use serde::Serialize;

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 200;

/// The record of a token together with the token: sealed, or in clear without a keychain.
pub(super) fn issued(state: &State, index: usize) -> Result<Reply, Refused> {
    let token = &state.tokens[index];
    let mut record = Record::listed(token, &state.account.user);
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
    let mut tokens: Vec<&Token> = visit.state.tokens.iter().collect();
    match received.query("sort") {
        None | Some("ASC") => {}
        Some("DESC") => tokens.reverse(),
        Some(_) => return Err(Refused::invalid("sort must be ASC or DESC")),
    }
    if let Some(cursor) = received.query("prevId") {
        // The cursor holds even if its token was revoked between two pages.
        let before = tokens.iter().position(|token| token.id.to_string() == cursor);
        tokens.drain(..=before.ok_or_else(|| Refused::invalid("prevId is unknown"))?);
    }
    let now = visit.now;
    tokens.retain(|token| token.kind == TokenKind::LongLived && token.is_alive(now));
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let last = tokens.last().filter(|_| more).map(|token| token.id.to_string());
    let user = &visit.state.account.user;
    Ok(Reply::json(&Page {
        access_tokens: tokens.into_iter().map(|token| Record::listed(token, user)).collect(),
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
    Ok(Reply::json(&Record::listed(token, &state.account.user)))
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
