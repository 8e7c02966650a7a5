//! An answer, as it came and as it is believed.

use super::error::{ApiError, Distrust};
use super::request_id::RequestId;
use super::sorting::Refused;
use super::wire::Malformed;
use crate::crypto::{AuthKey, AuthVersion, Subject, check_window};
use chrono::{DateTime, Utc};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use std::fmt;
use zeroize::Zeroizing;

/// An answer as it came off the wire: nothing in it has been checked.
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Zeroizing<Vec<u8>>,
    /// The request it answers.
    pub request_id: RequestId,
}

/// A successful answer that may be used.
pub struct Success {
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// The body, whole.
    pub body: Zeroizing<Vec<u8>>,
    /// The request it answers.
    pub request_id: RequestId,
    /// The server's time, known only where it was signed.
    pub server_time: Option<DateTime<Utc>>,
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawAnswer(status {}, request {})", self.status, self.request_id)
    }
}

impl fmt::Debug for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Success(status {}, request {})", self.status, self.request_id)
    }
}

impl Success {
    /// Reads the body by `parse`.
    ///
    /// # Errors
    /// [`ApiError::Untrusted`] if it does not have its shape.
    pub fn read<T>(&self, parse: fn(&[u8]) -> Result<T, Malformed>) -> Result<T, ApiError> {
        parse(&self.body).map_err(|malformed| self.untrusted(malformed.into()))
    }

    pub(super) fn untrusted(&self, what: Distrust) -> ApiError {
        ApiError::Untrusted { what, status: self.status, request_id: self.request_id }
    }
}

/// The request an answer must belong to, and the key that signed it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The key.
    pub key: &'a AuthKey,
    /// The version of the scheme.
    pub version: AuthVersion,
    /// The method that was sent.
    pub method: &'a Method,
    /// The path and query that were sent.
    pub target: &'a str,
}

impl Asked<'_> {
    /// Checks the HMAC of an answer of any status, then its time; the answer is the server's time.
    ///
    /// # Errors
    /// The [`Distrust`] that the answer earned. Its body must then not be used.
    pub fn verify(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Distrust> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(hmac), Some(timestamp)) = (header("hmac"), header("timestamp")) else {
            return Err(Distrust::HmacMissing);
        };
        let timestamp_ms = timestamp.parse().map_err(|_| Distrust::HmacWrong)?;
        let answered_at =
            DateTime::from_timestamp_millis(timestamp_ms).ok_or(Distrust::HmacWrong)?;
        let subject = Subject {
            version: self.version,
            timestamp_ms,
            method: self.method.as_str(),
            target: self.target,
        };
        self.key.verify_response(&subject, status, body, hmac).map_err(|_| Distrust::HmacWrong)?;
        check_window(timestamp_ms, now.timestamp_millis())
            .map_err(|_| Distrust::OutsideWindow { answered_at })?;
        Ok(answered_at)
    }
}

/// Who vouches for an answer.
#[derive(Clone, Copy)]
pub(crate) enum Vouched<'a> {
    /// The token's HMAC.
    ByHmac(Asked<'a>),
    /// The connection alone; the request carried a token in clear.
    ByConnection,
    /// The connection alone; the request carried no token.
    Anonymous,
}

impl RawAnswer {
    /// Believes the answer, or says why not: a refusal is sorted, a success must be vouched for.
    pub(crate) fn judge(
        self,
        vouched: Vouched<'_>,
        now: DateTime<Utc>,
    ) -> Result<Success, ApiError> {
        let verdict = match vouched {
            Vouched::ByHmac(signed) => {
                signed.verify(self.status, &self.headers, &self.body, now).map(Some)
            }
            Vouched::ByConnection | Vouched::Anonymous => Ok(None),
        };
        if !(200..300).contains(&self.status) {
            let refused = Refused {
                status: self.status,
                headers: &self.headers,
                body: &self.body,
                request_id: self.request_id,
                verified: matches!(verdict, Ok(Some(_))),
                authenticated: !matches!(vouched, Vouched::Anonymous),
            };
            return Err(refused.sort(now));
        }
        let verdict = if self.is_html() { Err(Distrust::Html) } else { verdict };
        match verdict {
            Ok(server_time) => Ok(Success {
                status: self.status,
                body: self.body,
                request_id: self.request_id,
                server_time,
            }),
            Err(what) => {
                Err(ApiError::Untrusted { what, status: self.status, request_id: self.request_id })
            }
        }
    }

    fn is_html(&self) -> bool {
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        said.is_some_and(|kind| kind.starts_with("text/html"))
            || self.body.trim_ascii_start().starts_with(b"<")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::AccessToken;

    const NOW_MS: i64 = 1_767_323_045_000;
    const TARGET: &str = "/api/v2/user/session";

    fn key(digit: &str) -> AuthKey {
        AuthKey::new(&AccessToken::new(format!("v2x{}", digit.repeat(64))))
    }

    fn raw(status: u16, body: &str, answered_at_ms: i64, hmac: Option<&str>) -> RawAnswer {
        let mut headers = HeaderMap::new();
        headers.insert("timestamp", answered_at_ms.into());
        if let Some(hmac) = hmac {
            headers.insert("hmac", hmac.parse().unwrap());
        }
        RawAnswer {
            status,
            headers,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            request_id: RequestId::random().unwrap(),
        }
    }

    /// What becomes of an answer signed over `(status, body, time)` that arrives as another one.
    fn judged(sealed: (u16, &str, i64), came: (u16, &str, i64)) -> Result<Success, ApiError> {
        let (key, method) = (key("a"), Method::GET);
        let subject = Subject {
            version: AuthVersion::V3,
            timestamp_ms: sealed.2,
            method: "GET",
            target: TARGET,
        };
        let hmac = key.sign_response(&subject, sealed.0, sealed.1.as_bytes());
        let signed = Asked { key: &key, version: AuthVersion::V3, method: &method, target: TARGET };
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        raw(came.0, came.1, came.2, Some(&hmac)).judge(Vouched::ByHmac(signed), now)
    }

    fn distrust(result: Result<Success, ApiError>) -> Distrust {
        match result {
            Err(ApiError::Untrusted { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_signed_is_believed_and_nothing_else() {
        let sealed = (200, "{}", NOW_MS);
        let answer = judged(sealed, sealed).unwrap();
        assert_eq!(answer.server_time.map(|at| at.timestamp_millis()), Some(NOW_MS));
        for came in [(201, "{}", NOW_MS), (200, "{ }", NOW_MS), (200, "{}", NOW_MS + 1)] {
            assert_eq!(distrust(judged(sealed, came)), Distrust::HmacWrong, "{came:?}");
        }
        assert_eq!(distrust(judged(sealed, (200, "<html>", NOW_MS))), Distrust::Html);
    }

    #[test]
    fn answers_outside_the_window_are_refused() {
        for (offset_ms, fits) in
            [(-300_000, true), (-300_001, false), (60_000, true), (60_001, false)]
        {
            let at = (200, "{}", NOW_MS + offset_ms);
            assert_eq!(judged(at, at).is_ok(), fits, "{offset_ms}");
        }
    }

    #[test]
    fn an_unsigned_refusal_is_told_apart() {
        for (came, verified) in [((401, "{}", NOW_MS), true), ((401, "{ }", NOW_MS), false)] {
            let error = judged((401, "{}", NOW_MS), came).unwrap_err();
            assert_eq!(error.refusal().map(|refusal| refusal.is_verified()), Some(verified));
        }
    }

    #[test]
    fn a_success_without_hmac_is_untrusted() {
        let (key, method) = (key("a"), Method::GET);
        let signed = Asked { key: &key, version: AuthVersion::V2, method: &method, target: TARGET };
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        let answer = raw(200, "{}", NOW_MS, None).judge(Vouched::ByHmac(signed), now);
        assert_eq!(distrust(answer), Distrust::HmacMissing);
    }
}
