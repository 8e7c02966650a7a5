//! A refresh token for the next token (RFC 6749 section 6). The refresh token **rotates**: once
//! BitGo has answered, the old one is spent, and whoever loses the new one has lost the account.

use super::calls::json;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::wire::OauthTokens;
use crate::secret::{ClientSecret, RefreshToken};
use serde::Serialize;
use std::fmt;

/// An OAuth client as it is registered with BitGo.
#[derive(Debug)]
pub struct OauthClient {
    id: Box<str>,
    secret: ClientSecret,
}

impl OauthClient {
    /// The client of this id and secret.
    pub fn new(id: impl Into<Box<str>>, secret: ClientSecret) -> Self {
        Self { id: id.into(), secret }
    }
}

/// Tokens that came, still locked up: first the new refresh token is made durable.
#[must_use = "the old refresh token is spent: make the new one durable"]
pub struct Rotated(Box<OauthTokens>);

impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rotated({:?})", self.0)
    }
}

impl Rotated {
    /// Hands the new refresh token to `keep`, and everything else out once it is kept.
    ///
    /// # Errors
    /// What `keep` says; the access token is then dropped unused. The tokens come back with it: the
    /// new refresh token is the only one that is good, and keeping it may be tried again.
    pub fn kept_by<E>(
        self,
        keep: impl FnOnce(&RefreshToken) -> Result<(), E>,
    ) -> Result<OauthTokens, (E, Self)> {
        match keep(&self.0.refresh_token) {
            Ok(()) => Ok(*self.0),
            Err(error) => Err((error, self)),
        }
    }
}

impl Client {
    /// Exchanges a refresh token for the next token and the next refresh token. It is sent once.
    ///
    /// # Errors
    /// What any call may meet. After [`ApiError::Lost`] the refresh token may be spent: the same one
    /// may be tried once more ([`RotationState`]), then a human must sign in anew.
    /// [`ApiError::Unauthorized`] or [`ApiError::Rejected`] for one that is.
    pub async fn refresh_oauth(
        &self,
        client: &OauthClient,
        refresh_token: &RefreshToken,
    ) -> Result<Rotated, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            grant_type: &'static str,
            refresh_token: &'a str,
            client_id: &'a str,
            client_secret: &'a str,
        }
        let body = json(&Body {
            grant_type: "refresh_token",
            refresh_token: refresh_token.expose(),
            client_id: &client.id,
            client_secret: client.secret.expose(),
        })?;
        let answer = self.post(Endpoint::Oauth, body, None).await?;
        Ok(Rotated(Box::new(answer.read(OauthTokens::parse)?)))
    }
}

/// Where the rotation of one refresh token stands, as it must be durable before the call is made: an
/// answer that was lost may have spent the token, so that it is tried once more and no oftener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationState {
    /// The refresh token is good, as far as is known.
    #[default]
    Settled,
    /// It was sent, and nothing came of it that is known.
    Sent,
    /// It was sent again after that.
    SentAgain,
    /// A human must sign in: the refresh token is spent, or may be.
    NeedsHuman,
}

impl RotationState {
    /// The state to make durable before the refresh token is sent; `None` if it must not be.
    pub fn before_sending(self) -> Option<Self> {
        match self {
            Self::Settled => Some(Self::Sent),
            Self::Sent => Some(Self::SentAgain),
            Self::SentAgain | Self::NeedsHuman => None,
        }
    }

    /// The state after it was sent and failed. One that succeeded is [`RotationState::Settled`],
    /// together with the new refresh token.
    pub fn after(self, error: &ApiError) -> Self {
        match (error, self) {
            // Nothing left, or the server says itself that it did nothing: it is as good as before.
            (ApiError::Unreachable { .. } | ApiError::Unsendable(_) | ApiError::Setup(_), _)
            | (ApiError::RateLimited { .. }, _) => self.unsent(),
            // A refusal is the server's last word on this refresh token.
            (ApiError::Rejected(_) | ApiError::Unauthorized(_) | ApiError::Forbidden(_), _) => {
                Self::NeedsHuman
            }
            (_, Self::SentAgain | Self::NeedsHuman) => Self::NeedsHuman,
            (_, Self::Settled | Self::Sent) => Self::Sent,
        }
    }

    fn unsent(self) -> Self {
        match self {
            Self::Settled | Self::Sent => Self::Settled,
            Self::SentAgain => Self::Sent,
            Self::NeedsHuman => Self::NeedsHuman,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::Refusal;
    use super::super::request_id::RequestId;
    use super::*;

    const ID: RequestId = RequestId::from_bytes([0xab; 16]);

    #[test]
    fn after_an_unknown_outcome_the_old_one_is_tried_once() {
        use RotationState::{NeedsHuman, Sent, SentAgain, Settled};
        let refusal = |status| Refusal::new(status, None, ID, None, None);
        let lost = ApiError::Lost { request_id: ID, source: "below".into() };
        let unreachable = ApiError::Unreachable { request_id: ID, source: "below".into() };
        assert_eq!(Settled.before_sending(), Some(Sent));
        assert_eq!(Sent.before_sending(), Some(SentAgain));
        assert_eq!(SentAgain.before_sending(), None, "not a third time, killed or not");
        assert_eq!(NeedsHuman.before_sending(), None);
        for (before, error, after) in [
            (Sent, &lost, Sent),
            (SentAgain, &lost, NeedsHuman),
            (Sent, &unreachable, Settled),
            (SentAgain, &unreachable, Sent),
            (Sent, &ApiError::Transient(refusal(503)), Sent),
            (SentAgain, &ApiError::Transient(refusal(503)), NeedsHuman),
            (Sent, &ApiError::RateLimited { refusal: refusal(429), retry_after: None }, Settled),
            (Sent, &ApiError::Rejected(refusal(400)), NeedsHuman),
            (Sent, &ApiError::Unauthorized(refusal(401)), NeedsHuman),
        ] {
            assert_eq!(before.after(error), after, "{before:?} {error}");
        }
    }
}
