//! What a refresh token is exchanged for.

use super::answers::Issued;
use super::object::{Malformed, Object, required};
use super::record::scopes;
use crate::id::TokenId;
use crate::scope::Scope;
use crate::secret::RefreshToken;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// The answer to a refresh: the next token, and the refresh token for the one after it.
pub struct OauthTokens {
    /// `access_token`, or the same sealed; where it is neither, the refresh token is good all the same.
    pub issued: Option<Issued>,
    /// `refresh_token`: the only one that is good from now on.
    pub refresh_token: RefreshToken,
    /// `token_id`
    pub token_id: Option<TokenId>,
    /// `expires_at`: when the token ends, by the server's clock.
    pub expires_at: Option<DateTime<Utc>>,
    /// `expires_in`: how long the token lives, where the answer names no instant.
    pub expires_in: Option<TimeDelta>,
    /// `scope`
    pub scope: Vec<Scope>,
}

impl fmt::Debug for OauthTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthTokens")
            .field("issued", &self.issued)
            .field("token_id", &self.token_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl OauthTokens {
    /// Reads the answer to a refresh.
    ///
    /// # Errors
    /// [`Malformed`] if there is no refresh token. Nothing else that is odd may lose it: no other is good.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        let refresh_token = object.plain_text("refresh_token")?.filter(|text| !text.is_empty());
        let count = |name| i64::try_from(object.count(name).ok()??).ok();
        let scope = match object.text("scope") {
            // RFC 6749 section 3.3 writes one string, BitGo's other calls a list.
            Ok(Some(words)) => words.split(' ').map(Scope::of_server).collect(),
            _ => scopes(&object).unwrap_or_default(),
        };
        Ok(Self {
            refresh_token: RefreshToken::new(required(refresh_token, "refresh_token")?),
            issued: Issued::read(&object, "access_token").ok().flatten(),
            token_id: object.word("token_id").ok().flatten(),
            expires_at: count("expires_at").and_then(|secs| DateTime::from_timestamp(secs, 0)),
            expires_in: count("expires_in").and_then(TimeDelta::try_seconds),
            scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tokens_are_read_and_neither_is_printed() {
        let hex = "ab".repeat(32);
        let body = format!(
            r#"{{"access_token":"{hex}","refresh_token":"next-{hex}","expires_in":3600,"scope":"openid profile"}}"#
        );
        let read = OauthTokens::parse(body.as_bytes()).unwrap();
        assert_eq!(read.refresh_token.expose(), format!("next-{hex}"));
        assert_eq!((read.expires_in, read.scope.len()), (TimeDelta::try_hours(1), 2));
        assert!(!format!("{read:?}").contains(&hex));
        for (body, broken) in [
            (format!(r#"{{"access_token":"{hex}"}}"#), "refresh_token"),
            (format!(r#"{{"access_token":"{hex}","refresh_token":""}}"#), "refresh_token"),
        ] {
            assert_eq!(OauthTokens::parse(body.as_bytes()).unwrap_err(), Malformed(broken));
        }
        let odd = r#"{"refresh_token":"next","token_id":7,"expires_at":"soon","scope":{}}"#;
        let read = OauthTokens::parse(odd.as_bytes()).unwrap();
        assert_eq!(read.refresh_token.expose(), "next");
        assert!(read.issued.is_none() && read.token_id.is_none() && read.expires_at.is_none());
    }
}
