//! Who asks: the token a request proves to be of, alive or not.

use super::received::Received;
use super::refused::Refused;
use super::token::Token;
use crate::crypto::{AuthVersion, Subject, check_window, content_digest};
use crate::id::TokenId;
use chrono::{DateTime, Utc};

/// The token that signed a request, or stood in it.
pub(super) struct Identity {
    pub(super) token: TokenId,
    /// What the answer's HMAC covers; `None` for a token that came in clear.
    pub(super) signed: Option<Signed>,
}

/// A request that was signed, as far as its answer's HMAC covers it.
pub(super) struct Signed {
    version: AuthVersion,
    method: Box<str>,
    target: Box<str>,
    auth_request_id: Box<str>,
}

impl Signed {
    /// What the answer's HMAC covers, and in version 4 with which id.
    pub(super) fn subject(&self, timestamp_ms: i64) -> Subject<'_> {
        Subject {
            version: self.version,
            timestamp_ms,
            method: &self.method,
            target: &self.target,
            auth_request_id: &self.auth_request_id,
        }
    }
}

impl Identity {
    /// Finds whose request it is. `None` if it proves nothing: no bearer, an unknown one, a
    /// wrong HMAC, a time outside the window, or a digest that is not its body's.
    ///
    /// A token in clear counts if it cannot sign, or if all of the account's `travel`.
    pub(super) fn of(
        received: &Received,
        tokens: &[Token],
        travel: bool,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let bearer = received.header("authorization")?.strip_prefix("Bearer ")?;
        let v4 = received.header("x-signature");
        let Some(hmac) = v4.or(received.header("hmac")) else {
            let token = tokens.iter().find(|token| token.secret.expose() == bearer)?;
            let travels = travel || !token.secret.can_sign();
            return travels.then_some(Self { token: token.id, signed: None });
        };
        let number = |name| received.header(name)?.parse::<i64>().ok();
        let (version, timestamp_ms, id) = match (v4, received.header("bitgo-auth-version")?) {
            (None, "2.0") => (AuthVersion::V2, number("auth-timestamp")?, ""),
            (None, "3.0") => (AuthVersion::V3, number("auth-timestamp")?, ""),
            (Some(_), "4.0") => {
                if received.header("x-content-sha256")? != content_digest(&received.body) {
                    return None;
                }
                let timestamp_ms = number("x-request-timestamp")?.checked_mul(1000)?;
                (AuthVersion::V4, timestamp_ms, received.header("x-auth-request-id")?)
            }
            _ => return None,
        };
        check_window(timestamp_ms, now.timestamp_millis()).ok()?;
        let signs = |token: &&Token| token.secret.can_sign() && token.key.bearer() == bearer;
        let token = tokens.iter().find(signs)?;
        let signed = Signed {
            version,
            method: received.method.as_str().into(),
            target: received.target.clone(),
            auth_request_id: id.into(),
        };
        token.key.verify_request(&signed.subject(timestamp_ms), &received.body, hmac).ok()?;
        Some(Self { token: token.id, signed: Some(signed) })
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
