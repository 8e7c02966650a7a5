//! The calls of PROTOCOL section 2, one method each.

use super::answer::Success;
use super::asked::{Auth, sensitive};
use super::client::{Call, Client};
use super::create_token::CreateToken;
use super::error::{ApiError, Distrust};
use super::wire::{IssuedToken, LoginAnswer, ScopedSession, TokenPage, TokenRecord};
use crate::crypto::password_hmac;
use crate::id::TokenId;
use crate::secret::{LoginPassword, Otp, to_json};
use http::header::HeaderName;
use http::{HeaderMap, Method};
use serde::Serialize;
use zeroize::Zeroizing;

const ACCESS_TOKEN_PATH: &str = "/api/v2/user/accesstoken";
const SESSION_PATH: &str = "/api/v2/user/session";
const SCOPED_SESSION_PATH: &str = "/api/v2/internal/user/scopedsession";
const EXTEND_PATH: &str = "/api/v1/user/extendtoken";

/// The most records BitGo puts on one page.
const PAGE_MAX: u16 = 200;
/// The most pages a listing is followed: 20 000 tokens.
const PAGES_MAX: usize = 100;

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

/// Which page of a listing is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many records, at most 200.
    pub limit: u16,
    /// Where it starts: [`TokenPage::next`] of the page before.
    pub prev_id: Option<Box<str>>,
}

impl Default for Page {
    /// The first page, as large as BitGo makes it.
    fn default() -> Self {
        Self { limit: PAGE_MAX, prev_id: None }
    }
}

impl Client {
    /// Logs in: a short-lived session. The password is sent as its HMAC only.
    ///
    /// # Errors
    /// [`ApiError::OtpRequired`] where the second factor is missing, [`ApiError::Unauthorized`]
    /// where it or the password is wrong, and what any call may meet.
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
        let answer = self.post(&self.settings.login_path, body, None).await?;
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
        let answer = self.post(ACCESS_TOKEN_PATH, body, Some(auth)).await?;
        answer.read(IssuedToken::parse)
    }

    /// Fetches one page of the account's living long-lived tokens.
    ///
    /// # Errors
    /// [`ApiError::Unsendable`] if the cursor is no cursor, and what any call may meet.
    pub async fn list_tokens(&self, auth: Auth<'_>, page: &Page) -> Result<TokenPage, ApiError> {
        self.page(auth, page).await?.read(TokenPage::parse)
    }

    async fn post(
        &self,
        target: &str,
        body: Zeroizing<Vec<u8>>,
        auth: Option<Auth<'_>>,
    ) -> Result<Success, ApiError> {
        self.call(Call { method: Method::POST, target, headers: HeaderMap::new(), body, auth })
            .await
    }

    async fn page(&self, auth: Auth<'_>, page: &Page) -> Result<Success, ApiError> {
        let limit = page.limit.clamp(1, PAGE_MAX);
        let mut target = format!("{ACCESS_TOKEN_PATH}?limit={limit}");
        if let Some(cursor) = &page.prev_id {
            // It comes from the server: nothing but a word may enter the query.
            if !cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                return Err(ApiError::Unsendable("the cursor is no word"));
            }
            target.extend(["&prevId=", cursor]);
        }
        self.call(Call::get(&target, auth)).await
    }

    /// Fetches every page of the account's living long-lived tokens.
    ///
    /// # Errors
    /// [`Distrust::Endless`] after 100 pages or if the cursor stands still, and what any call may meet.
    pub async fn all_tokens(&self, auth: Auth<'_>) -> Result<Vec<TokenRecord>, ApiError> {
        let mut records = Vec::new();
        let mut page = Page::default();
        for number in 1.. {
            let answer = self.page(auth, &page).await?;
            let TokenPage { records: read, next } = answer.read(TokenPage::parse)?;
            records.extend(read);
            if next.is_some() && (next == page.prev_id || number == PAGES_MAX) {
                return Err(answer.untrusted(Distrust::Endless));
            }
            page.prev_id = next;
            if page.prev_id.is_none() {
                break;
            }
        }
        Ok(records)
    }

    /// Fetches the record behind the bearer, with the server's spending counters.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn session(&self, auth: Auth<'_>) -> Result<TokenRecord, ApiError> {
        self.call(Call::get(SESSION_PATH, auth)).await?.read(TokenRecord::parse_session)
    }

    /// Fetches the user's internal token. The same `id` and `expires` as before mean it has not
    /// been renewed: wait, do not ask in a loop.
    ///
    /// # Errors
    /// [`ApiError::EndpointGone`] if the endpoint has moved or answers with a web page, and what
    /// any call may meet.
    pub async fn internal_access_token(&self, auth: Auth<'_>) -> Result<IssuedToken, ApiError> {
        let answer = self.call(Call::get(&self.settings.internal_token_path, auth)).await;
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
        let target = format!("{SCOPED_SESSION_PATH}?skipOAuth={skip_oauth}");
        self.call(Call::get(&target, auth)).await?.read(ScopedSession::parse)
    }

    /// Revokes a token: its end is set to now. The bearer may be another one.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn delete_token(&self, auth: Auth<'_>, id: TokenId) -> Result<TokenRecord, ApiError> {
        let target = format!("{ACCESS_TOKEN_PATH}/{id}");
        let answer = self.execute(Method::DELETE, &target, Vec::new(), Some(auth)).await?;
        answer.read(TokenRecord::parse)
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
            target: EXTEND_PATH,
            headers,
            body: json(&Body { duration })?,
            auth: Some(auth),
        })
        .await?;
        Ok(())
    }
}

/// The bytes of a body, which may hold an OTP.
fn json(body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    to_json(body).map_err(|_| ApiError::Unsendable("the body is no json"))
}
