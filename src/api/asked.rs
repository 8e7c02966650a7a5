//! A request as it proves who sends it, and as its answer must fit (PROTOCOL section 3).

use super::error::{ApiError, Distrust};
use super::request_id::{REQUEST_ID, RequestId};
use crate::crypto::{AuthKey, AuthVersion, Subject, check_window, content_digest};
use crate::secret::AccessToken;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use zeroize::Zeroizing;

const AUTH_VERSION: HeaderName = HeaderName::from_static("bitgo-auth-version");
const AUTH_TIMESTAMP: HeaderName = HeaderName::from_static("auth-timestamp");
const HMAC: HeaderName = HeaderName::from_static("hmac");
const TIMESTAMP: HeaderName = HeaderName::from_static("timestamp");
// Version 4. What headers its answers bear is not published: the request's names are taken for
// both. Nor is it whether `BitGo-Auth-Version` is sent: it is, as with every version before.
const X_REQUEST_TIMESTAMP: HeaderName = HeaderName::from_static("x-request-timestamp");
const X_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
const X_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");
const X_AUTH_REQUEST_ID: HeaderName = HeaderName::from_static("x-auth-request-id");

/// How many headers are made here, and a content type: for so many a map of eight places is made.
const HEADERS: usize = 6;
/// The same in version 4.
const HEADERS_V4: usize = 8;

const BEARER: &str = "Bearer ";

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
        let mut digits = [0; 32];
        let id = self.request_id.hex(&mut digits);
        let is_v4 = matches!(self.auth, Some(Auth::Hmac(_, AuthVersion::V4)));
        let mut headers = HeaderMap::with_capacity(if is_v4 { HEADERS_V4 } else { HEADERS });
        headers.insert(REQUEST_ID, hex_header(id));
        let (key, version) = match self.auth {
            Some(Auth::Hmac(key, version)) => (key, version),
            Some(Auth::Bearer(token)) => {
                let bearer = bearer(token.expose());
                let bearer = bearer.ok_or(ApiError::Unsendable("the token is no header"))?;
                headers.insert(AUTHORIZATION, bearer);
                return Ok(headers);
            }
            None => return Ok(headers),
        };
        let timestamp_ms = now.timestamp_millis();
        let hmac = key.sign_request(&self.subject(version, timestamp_ms, id), body);
        let (bearer, hmac) = signed(key, &hmac).expect("hex digits make a header");
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(AUTH_VERSION, HeaderValue::from_static(version.as_str()));
        match version {
            AuthVersion::V2 | AuthVersion::V3 => {
                headers.extend([(AUTH_TIMESTAMP, number_header(timestamp_ms)), (HMAC, hmac)])
            }
            AuthVersion::V4 => headers.extend([
                (X_REQUEST_TIMESTAMP, number_header(timestamp_ms.div_euclid(1000))),
                (X_SIGNATURE, hmac),
                (X_CONTENT_SHA256, hex_header(&content_digest(body))),
                (X_AUTH_REQUEST_ID, hex_header(id)),
            ]),
        }
        Ok(headers)
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
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
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
            .map_err(|_| Distrust::OutsideWindow { answered_at })?;
        Ok(Some(answered_at))
    }

    fn subject<'s>(&'s self, version: AuthVersion, timestamp_ms: i64, id: &'s str) -> Subject<'s> {
        let (method, target) = (self.method.as_str(), self.target);
        Subject { version, timestamp_ms, method, target, auth_request_id: id }
    }
}

fn hex_header(hex: &str) -> HeaderValue {
    HeaderValue::from_str(hex).expect("hex digits make a header")
}

/// As `HeaderValue::from`, in one buffer instead of two.
fn number_header(number: i64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number)).expect("digits make a header")
}

fn bearer(secret: &str) -> Option<HeaderValue> {
    sensitive(&Zeroizing::new([BEARER, secret].concat()))
}

/// The bearer and the HMAC of a request, in one buffer.
fn signed(key: &AuthKey, hmac: &str) -> Option<(HeaderValue, HeaderValue)> {
    let text = Zeroizing::new([BEARER, key.bearer(), hmac].concat().into_bytes());
    let mut bearer = Bytes::from_owner(text);
    let hmac = bearer.split_off(BEARER.len() + key.bearer().len());
    Some((sensitive_shared(bearer)?, sensitive_shared(hmac)?))
}

/// A value that is neither printed nor kept in HTTP/2's tables of headers. A signature is no
/// secret, but opens the window in which its request may be repeated.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    sensitive_shared(Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec())))
}

/// Every clone of the value shares its buffer, which is wiped with the last of them.
fn sensitive_shared(bytes: Bytes) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            for secret in [AUTHORIZATION, HMAC, X_SIGNATURE] {
                assert!(headers.get(&secret).is_none_or(HeaderValue::is_sensitive), "{secret}");
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
