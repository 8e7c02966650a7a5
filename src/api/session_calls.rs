//! The calls that change the session behind the bearer: unlock, lock, log out, extend.

use super::asked::Auth;
use super::calls::json;
use super::client::{Call, Client};
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::proof::sensitive;
use super::wire::{Object, TokenRecord};
use crate::secret::Otp;
use http::header::HeaderName;
use http::{HeaderMap, Method};
use serde::Serialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest a token is unlocked.
const UNLOCK_MAX: Duration = Duration::from_secs(3600);

impl Client {
    /// Unlocks the bearer for `duration`, in whole seconds from 1 to 3600, BitGo's default being 600;
    /// a longer one is cut, a shorter raised. Answers its record.
    ///
    /// # Errors
    /// [`ApiError::OtpRequired`] or [`ApiError::OtpRefused`] for a one-time password that is missing
    /// or wrong, and what any call may meet.
    ///
    /// # Security
    /// **It deletes every spending limit the bearer has**, per coin, for all ERC-20 coins and the
    /// older single one: from then on whoever holds the token can empty the wallets it reaches. A token
    /// has no limit only if [`Client::session`] and the list of tokens say so: ask both before.
    /// [`Vault::unlock_session`](crate::Vault::unlock_session) does.
    pub async fn dangerous_unlock_removing_limits(
        &self,
        auth: Auth<'_>,
        otp: &Otp,
        duration: Duration,
    ) -> Result<TokenRecord, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            otp: &'a str,
            duration: u64,
        }
        let duration = duration.clamp(Duration::from_secs(1), UNLOCK_MAX).as_secs();
        let body = json(&Body { otp: otp.expose(), duration })?;
        self.post(Endpoint::Unlock, body, Some(auth)).await?.read(TokenRecord::parse_session)
    }

    /// Locks the bearer: what an unlock allowed ends now.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn lock(&self, auth: Auth<'_>) -> Result<(), ApiError> {
        let answer = self.post(Endpoint::Lock, Zeroizing::default(), Some(auth)).await?;
        answer.read(|body| Object::parse(body).map(drop))
    }

    /// Ends the bearer. It is a `GET` that has an effect, so that it is not repeated.
    ///
    /// # Errors
    /// What any call may meet. After [`ApiError::Lost`] the bearer may be dead.
    pub async fn logout(&self, auth: Auth<'_>) -> Result<(), ApiError> {
        let target = self.settings.paths.of(Endpoint::Logout);
        let answer = self.execute(Method::GET, target, Vec::new(), Some(auth)).await?;
        answer.read(|body| Object::parse(body).map(drop))
    }

    /// Extends an extensible session by `duration` seconds. `signature` covers the time, the
    /// token and `duration` just as it stands here (PROTOCOL section 5).
    ///
    /// What BitGo answers is not published: ask [`Client::session`] for the new end.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn extend_token(
        &self,
        auth: Auth<'_>,
        timestamp_ms: i64,
        signature: &str,
        duration: &str,
    ) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            duration: &'a str,
        }
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("timestamp"), timestamp_ms.into());
        headers.insert(
            HeaderName::from_static("signature"),
            sensitive(signature).ok_or(ApiError::Unsendable("the signature is no header"))?,
        );
        self.call(Call {
            method: Method::POST,
            target: self.settings.paths.of(Endpoint::Extend),
            headers,
            body: json(&Body { duration })?,
            auth: Some(auth),
        })
        .await?;
        Ok(())
    }
}
