//! A request as it proves who sends it, and as its answer must fit (PROTOCOL section 3).

use super::error::{ApiError, Distrust};
use super::proof::{HMAC, Proof, X_REQUEST_TIMESTAMP, X_SIGNATURE};
use super::request_id::{REQUEST_ID, RequestId};
use crate::crypto::{AuthKey, AuthVersion, Subject, check_window, content_digest};
use crate::secret::AccessToken;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};

const TIMESTAMP: &str = "timestamp";

/// How a request proves who sends it.
#[derive(Clone, Copy, Debug)]
pub enum Auth<'a> {
    /// By HMAC; the token does not travel.
    Hmac(&'a AuthKey, AuthVersion),
    /// By the token in clear (version 1): only for tokens that cannot sign.
    Bearer(&'a AccessToken),
}

/// A request that is asked, and that its answer must belong to.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who vouches for the request, and by HMAC for its answer. For an answer `None` is as good as
    /// a bearer: only the connection vouches for it.
    pub auth: Option<Auth<'a>>,
    /// The method that is sent.
    pub method: &'a Method,
    /// The path and query that are sent.
    pub target: &'a str,
    /// What the request is called.
    pub request_id: RequestId,
}

impl Asked<'_> {
    /// The headers by which the request proves who sends it and says what it is called.
    ///
    /// # Errors
    /// [`ApiError::Unsendable`] for a token in clear that is no header.
    pub fn headers(&self, body: &[u8], now: DateTime<Utc>) -> Result<HeaderMap, ApiError> {
        Ok(self.prove(body, now.timestamp_millis())?.to_header_map())
    }

    /// The same as strings, which are all that signing makes.
    ///
    /// # Errors
    /// [`ApiError::Unsendable`] for a token in clear that is no header.
    pub(crate) fn prove(&self, body: &[u8], timestamp_ms: i64) -> Result<Proof, ApiError> {
        let mut digits = [0; 32];
        let id = self.request_id.hex(&mut digits);
        let (key, version) = match self.auth {
            Some(Auth::Hmac(key, version)) => (key, version),
            Some(Auth::Bearer(token)) => return Proof::in_clear(id, token.expose()),
            None => return Ok(Proof::named(id)),
        };
        let hmac = key.sign_request(&self.subject(version, timestamp_ms, id), body);
        let (bearer, mut digits) = (key.bearer(), itoa::Buffer::new());
        Ok(match version {
            AuthVersion::V2 | AuthVersion::V3 => {
                Proof::signed(id, bearer, version.as_str(), digits.format(timestamp_ms), &hmac)
            }
            AuthVersion::V4 => {
                let seconds = digits.format(timestamp_ms.div_euclid(1000));
                let digest = content_digest(body);
                Proof::signed_v4(id, bearer, version.as_str(), seconds, &hmac, &digest)
            }
        })
    }

    /// Checks that an answer of any status is this request's, then its HMAC, then its time. The
    /// answer is the server's time; `None` where no HMAC vouches for it.
    ///
    /// No HMAC covers the echo of the `Request-ID`, and a proxy may strip it: one that is absent
    /// says nothing, one that differs says enough.
    ///
    /// # Errors
    /// The [`Distrust`] that the answer earned. Its body must then not be used.
    pub fn verify(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Distrust> {
        let mut digits = [0; 32];
        let id = self.request_id.hex(&mut digits);
        if headers.get_all(REQUEST_ID).iter().any(|echo| echo.as_bytes() != id.as_bytes()) {
            return Err(Distrust::OtherRequest);
        }
        let Some(Auth::Hmac(key, version)) = self.auth else { return Ok(None) };
        let (hmac, timestamp, unit_ms) = match version {
            AuthVersion::V2 | AuthVersion::V3 => (HMAC, TIMESTAMP, 1),
            AuthVersion::V4 => (X_SIGNATURE, X_REQUEST_TIMESTAMP, 1000),
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(hmac), Some(timestamp)) = (header(hmac), header(timestamp)) else {
            return Err(Distrust::HmacMissing);
        };
        let timestamp: i64 = timestamp.parse().map_err(|_| Distrust::HmacWrong)?;
        let timestamp_ms = timestamp.checked_mul(unit_ms).ok_or(Distrust::HmacWrong)?;
        let answered_at =
            DateTime::from_timestamp_millis(timestamp_ms).ok_or(Distrust::HmacWrong)?;
        let subject = self.subject(version, timestamp_ms, id);
        key.verify_response(&subject, status, body, hmac).map_err(|_| Distrust::HmacWrong)?;
        check_window(timestamp_ms, now.timestamp_millis())
            .map_err(|_| Distrust::OutsideWindow { answered_at, judged_at: now })?;
        Ok(Some(answered_at))
    }

    fn subject<'s>(&'s self, version: AuthVersion, timestamp_ms: i64, id: &'s str) -> Subject<'s> {
        let (method, target) = (self.method.as_str(), self.target);
        Subject { version, timestamp_ms, method, target, auth_request_id: id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    #[test]
    fn each_version_has_its_headers() {
        let token = AccessToken::new(format!("v2x{}", "ab".repeat(32)));
        let key = AuthKey::new(&token);
        let (method, request_id) = (Method::GET, RequestId::from_bytes([0xab; 16]));
        for (auth, expect) in [
            (None, vec!["request-id"]),
            (Some(Auth::Bearer(&token)), vec!["request-id", "authorization"]),
            (
                Some(Auth::Hmac(&key, AuthVersion::V2)),
                vec!["request-id", "authorization", "bitgo-auth-version", "auth-timestamp", "hmac"],
            ),
            (
                Some(Auth::Hmac(&key, AuthVersion::V4)),
                vec![
                    "request-id",
                    "authorization",
                    "bitgo-auth-version",
                    "x-request-timestamp",
                    "x-signature",
                    "x-content-sha256",
                    "x-auth-request-id",
                ],
            ),
        ] {
            let asked = Asked { auth, method: &method, target: "/", request_id };
            let now = DateTime::from_timestamp_millis(1_739_845_481_999).unwrap();
            let headers = asked.headers(b"", now).unwrap();
            assert!(headers.keys().eq(&expect), "{headers:?}");
            for secret in [AUTHORIZATION.as_str(), HMAC, X_SIGNATURE] {
                assert!(headers.get(secret).is_none_or(HeaderValue::is_sensitive), "{secret}");
            }
            let printed = format!("{headers:?}");
            for secret in [key.bearer(), token.expose()] {
                assert!(!printed.contains(secret), "{printed}");
            }
            if let Some(seconds) = headers.get(X_REQUEST_TIMESTAMP) {
                assert_eq!(seconds, "1739845481");
            }
        }
        let bad = AccessToken::new("two\nlines");
        let asked =
            Asked { auth: Some(Auth::Bearer(&bad)), method: &method, target: "/", request_id };
        assert!(matches!(asked.headers(b"", DateTime::UNIX_EPOCH), Err(ApiError::Unsendable(_))));
    }
}
