//! Who asks: the token a request proves to be of, alive or not.

use super::received::Received;
use super::refused::Refused;
use super::token::Token;
use crate::crypto::{AuthVersion, Subject, check_window};
use crate::id::TokenId;
use chrono::{DateTime, Utc};

/// The token that signed a request, or stood in it.
pub(super) struct Identity {
    pub(super) token: TokenId,
    /// What the answer's HMAC covers; `None` for a token that came in clear.
    signed: Option<(AuthVersion, Box<str>, Box<str>)>,
}

impl Identity {
    /// Version, method and target of a signed request.
    pub(super) fn subject(&self) -> Option<(AuthVersion, &str, &str)> {
        let (version, method, target) = self.signed.as_ref()?;
        Some((*version, method, target))
    }

    /// Finds whose request it is. `None` if it proves nothing: no bearer, an unknown one, a
    /// wrong HMAC, or a time outside the window.
    pub(super) fn of(received: &Received, tokens: &[Token], now: DateTime<Utc>) -> Option<Self> {
        let bearer = received.header("authorization")?.strip_prefix("Bearer ")?;
        let Some(hmac) = received.header("hmac") else {
            let token = tokens.iter().find(|token| token.secret.expose() == bearer)?;
            let travels = !token.secret.can_sign();
            return travels.then_some(Self { token: token.id, signed: None });
        };
        let version = match received.header("bitgo-auth-version")? {
            "2.0" => AuthVersion::V2,
            "3.0" => AuthVersion::V3,
            _ => return None,
        };
        let timestamp_ms = received.header("auth-timestamp")?.parse().ok()?;
        check_window(timestamp_ms, now.timestamp_millis()).ok()?;
        let token = tokens.iter().find(|token| token.key.bearer() == bearer)?;
        let method = received.method.as_str();
        let subject = Subject { version, timestamp_ms, method, target: &received.target };
        token.key.verify_request(&subject, &received.body, hmac).ok()?;
        Some(Self {
            token: token.id,
            signed: Some((version, method.into(), received.target.clone())),
        })
    }
}

/// The living token behind a request.
pub(super) fn living<'a>(
    identity: Option<&Identity>,
    tokens: &'a mut [Token],
    now: DateTime<Utc>,
) -> Result<&'a mut Token, Refused> {
    let id = identity.ok_or_else(Refused::dead)?.token;
    let token = tokens.iter_mut().find(|token| token.id == id).ok_or_else(Refused::dead)?;
    if token.is_alive(now) { Ok(token) } else { Err(Refused::dead()) }
}
