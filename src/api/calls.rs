//! The calls about tokens of PROTOCOL section 2, one method each.

use super::answer::Success;
use super::asked::Auth;
use super::client::{Call, Client};
use super::create_token::CreateToken;
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::wire::{IssuedToken, LoginAnswer, ScopedSession, TokenRecord};
use crate::crypto::password_hmac;
use crate::id::TokenId;
use crate::secret::{LoginPassword, Otp, to_json};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use serde::Serialize;
use zeroize::Zeroizing;

/// What a login asks for beyond a session.
#[derive(Clone, Debug, Default)]
pub struct LoginOptions {
    extension_address: Option<Box<str>>,
}

impl LoginOptions {
    /// Asks for a session that the holder of the key behind `address` (P2PKH) can extend.
    pub fn extensible(mut self, address: &str) -> Self {
        self.extension_address = Some(address.into());
        self
    }
}

impl Client {
    /// Logs in: a short-lived session. The password is sent as its HMAC only.
    ///
    /// # Errors
    /// [`ApiError::OtpRequired`] where the second factor is missing, [`ApiError::OtpRefused`] where it is
    /// wrong, [`ApiError::Unauthorized`] where the password is, and what any call may meet.
    pub async fn login(
        &self,
        email: &str,
        password: &LoginPassword,
        otp: &Otp,
        options: &LoginOptions,
    ) -> Result<LoginAnswer, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            email: &'a str,
            password: &'a str,
            otp: &'a str,
            extensible: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            extension_address: Option<&'a str>,
        }
        let email = email.to_lowercase();
        let body = json(&Body {
            email: &email,
            password: &password_hmac(&email, password),
            otp: otp.expose(),
            extensible: options.extension_address.is_some(),
            extension_address: options.extension_address.as_deref(),
        })?;
        let answer = self.post(Endpoint::Login, body, None).await?;
        answer.read(LoginAnswer::parse)
    }

    /// Mints a long-lived token. The bearer must be a short-lived session.
    ///
    /// # Errors
    /// What any call may meet. After [`ApiError::Lost`] the token may exist: list before minting again.
    pub async fn create_token(
        &self,
        auth: Auth<'_>,
        token: &CreateToken,
        otp: &Otp,
    ) -> Result<IssuedToken, ApiError> {
        let body = json(&token.body(otp))?;
        let answer = self.post(Endpoint::AccessToken, body, Some(auth)).await?;
        answer.read(IssuedToken::parse)
    }

    /// What is minted, unlocked or spent is asked for once.
    pub(super) async fn post(
        &self,
        endpoint: Endpoint,
        body: Zeroizing<Vec<u8>>,
        auth: Option<Auth<'_>>,
    ) -> Result<Success, ApiError> {
        let (target, headers) = (self.settings.paths.of(endpoint), HeaderMap::new());
        self.call(Call { method: Method::POST, target, headers, body, auth }).await
    }

    pub(super) async fn get(
        &self,
        endpoint: Endpoint,
        auth: Option<Auth<'_>>,
    ) -> Result<Success, ApiError> {
        self.repeatable(Method::GET, self.settings.paths.of(endpoint), auth).await
    }

    /// Fetches the record behind the bearer, with the server's spending counters.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn session(&self, auth: Auth<'_>) -> Result<TokenRecord, ApiError> {
        self.get(Endpoint::Session, Some(auth)).await?.read(TokenRecord::parse_session)
    }

    /// As [`Client::session`], with the time at which the server signed it; `None` for a bearer that
    /// cannot sign.
    pub(crate) async fn session_sample(
        &self,
        auth: Auth<'_>,
    ) -> Result<(TokenRecord, Option<DateTime<Utc>>), ApiError> {
        let answer = self.get(Endpoint::Session, Some(auth)).await?;
        let answered_at = answer.server_time;
        Ok((answer.read(TokenRecord::parse_session)?, answered_at))
    }

    /// Fetches the user's internal token. The same `id` and `expires` as before mean it has not
    /// been renewed: wait, do not ask in a loop.
    ///
    /// # Errors
    /// [`ApiError::EndpointGone`] if the endpoint has moved or answers with a web page, and what
    /// any call may meet.
    pub async fn internal_access_token(&self, auth: Auth<'_>) -> Result<IssuedToken, ApiError> {
        let answer = self.get(Endpoint::InternalToken, Some(auth)).await;
        answer.map_err(ApiError::or_gone)?.read(IssuedToken::parse)
    }

    /// Fetches the bearer's own record with on whose behalf it acts. With `skip_oauth` the
    /// server does not ask for a single sign-on.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn scoped_session(
        &self,
        auth: Auth<'_>,
        skip_oauth: bool,
    ) -> Result<ScopedSession, ApiError> {
        let path = self.settings.paths.of(Endpoint::ScopedSession);
        let target = format!("{path}?skipOAuth={skip_oauth}");
        self.repeatable(Method::GET, &target, Some(auth)).await?.read(ScopedSession::parse)
    }

    /// Revokes a token: its end is set to now. The bearer may be another one.
    ///
    /// # Errors
    /// What any call may meet. The call may have been made twice: that the token is not found
    /// ([`ApiError::Rejected`] with status 404) may then mean that the first had its effect.
    pub async fn delete_token(&self, auth: Auth<'_>, id: TokenId) -> Result<TokenRecord, ApiError> {
        let target = format!("{}/{id}", self.settings.paths.of(Endpoint::AccessToken));
        let answer = self.repeatable(Method::DELETE, &target, Some(auth)).await?;
        answer.read(TokenRecord::parse)
    }
}

/// The bytes of a body, which may hold an OTP.
pub(super) fn json(body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    to_json(body).map_err(|_| ApiError::Unsendable("the body is no json"))
}
