//! `POST /oauth/token`: a refresh token is exchanged, and dies of it.

use super::session::session_grant;
use crate::api::wire::Object;
use crate::emulator::received::Received;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::Visit;
use crate::token::TokenKind;
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct Refreshed<'a> {
    access_token: &'a str,
    refresh_token: String,
    token_type: &'static str,
    grant_type: &'static str,
    expires_in: u64,
    expires_at: i64,
    scope: Vec<String>,
}

pub(super) fn refresh(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    let fields = Fields::of(visit.received)?;
    if fields.text("grant_type")?.as_deref() != Some("refresh_token") {
        return Err(Refused::new(400, "UnsupportedGrantType", "unsupported_grant_type"));
    }
    let [id, secret, token] = [
        fields.text("client_id")?.unwrap_or_default(),
        fields.text("client_secret")?.unwrap_or_default(),
        fields.text("refresh_token")?.unwrap_or_default(),
    ];
    let oauth = &mut visit.state.oauth;
    if !oauth.is(&id, &secret) {
        return Err(Refused::new(401, "InvalidClient", "invalid_client"));
    }
    if !oauth.redeem(&token) {
        return Err(Refused::new(400, "InvalidGrant", "invalid_grant"));
    }
    let refresh_token = oauth.grant()?.refresh_token;
    let lifetime = visit.lifetime(visit.state.settings.session_lifetime);
    let grant = session_grant(None);
    let index = visit.state.mint(TokenKind::Session, grant, visit.now, lifetime)?;
    let token = &visit.state.tokens[index];
    Ok(Reply::json(&Refreshed {
        access_token: token.secret.expose(),
        refresh_token,
        token_type: "bearer",
        grant_type: "refresh_token",
        expires_in: lifetime.as_secs(),
        expires_at: token.expires.timestamp(),
        scope: token.grant.scopes.iter().map(ToString::to_string).collect(),
    }))
}

/// The fields of a body: JSON, as BitGo's SDK sends it, or a form (RFC 6749 section 6).
enum Fields<'a> {
    Json(Object<'a>),
    Form(&'a str),
}

impl<'a> Fields<'a> {
    fn of(received: &'a Received) -> Result<Self, Refused> {
        let kind = received.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return super::body(received).map(Self::Json);
        }
        let text = std::str::from_utf8(&received.body);
        text.map(Self::Form).map_err(|_| Refused::invalid("the form is no text"))
    }

    /// A field. In a form it stands as it is: none of ours needs an escape.
    fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Refused> {
        match self {
            Self::Json(object) => Ok(object.text(name)?),
            Self::Form(text) => {
                let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
                Ok(pairs.find(|(key, _)| *key == name).map(|(_, value)| Cow::Borrowed(value)))
            }
        }
    }
}
