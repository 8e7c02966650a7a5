//! An answer, as it came and as it is believed.

use super::asked::Asked;
use super::error::{ApiError, Distrust};
use super::request_id::RequestId;
use super::sorting::Refused;
use super::wire::Malformed;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
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

impl RawAnswer {
    /// Believes the answer, or says why not: a refusal is sorted, be it signed or only claimed; a
    /// success must be vouched for. What answers another request is neither.
    pub(crate) fn judge(self, asked: &Asked<'_>, now: DateTime<Utc>) -> Result<Success, ApiError> {
        let (status, request_id) = (self.status, self.request_id);
        let untrusted = |what| ApiError::Untrusted { what, status, request_id };
        let verdict = match asked.verify(status, &self.headers, &self.body, now) {
            Err(what @ Distrust::OtherRequest) => return Err(untrusted(what)),
            verdict => verdict,
        };
        if !(200..300).contains(&status) {
            let refused = Refused {
                status,
                headers: &self.headers,
                body: &self.body,
                request_id,
                server_time: verdict.as_ref().ok().copied().flatten(),
                authenticated: asked.auth.is_some(),
            };
            return Err(refused.sort(now));
        }
        let verdict = if self.is_html() { Err(Distrust::Html) } else { verdict };
        let server_time = verdict.map_err(untrusted)?;
        Ok(Success { status, body: self.body, request_id, server_time })
    }

    fn is_html(&self) -> bool {
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        said.is_some_and(|kind| kind.starts_with("text/html"))
            || self.body.trim_ascii_start().starts_with(b"<")
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::Auth;
    use super::*;
    use crate::crypto::{AuthKey, AuthVersion, Subject};
    use crate::secret::AccessToken;
    use http::{HeaderValue, Method};

    const NOW_MS: i64 = 1_767_323_045_000;
    const ID: RequestId = RequestId::from_bytes([0xab; 16]);
    const ASKED: Asked<'_> =
        Asked { auth: None, method: &Method::GET, target: "/api/v2/user/session", request_id: ID };

    fn key(digit: &str) -> Box<AuthKey> {
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
            request_id: ID,
        }
    }

    /// What becomes of an answer signed over `(status, body, time)` that arrives as another one.
    fn judged(sealed: (u16, &str, i64), came: (u16, &str, i64)) -> Result<Success, ApiError> {
        let key = key("a");
        let subject = Subject {
            version: AuthVersion::V3,
            timestamp_ms: sealed.2,
            method: "GET",
            target: ASKED.target,
            auth_request_id: "",
        };
        let hmac = key.sign_response(&subject, sealed.0, sealed.1.as_bytes());
        let asked = Asked { auth: Some(Auth::Hmac(&key, AuthVersion::V3)), ..ASKED };
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        raw(came.0, came.1, came.2, Some(&hmac)).judge(&asked, now)
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
        let key = key("a");
        let asked = Asked { auth: Some(Auth::Hmac(&key, AuthVersion::V2)), ..ASKED };
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        let answer = raw(200, "{}", NOW_MS, None).judge(&asked, now);
        assert_eq!(distrust(answer), Distrust::HmacMissing);
    }

    #[test]
    fn what_echoes_another_id_is_no_answer_whatever_it_says() {
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        let own = ID.to_string();
        for (status, body) in [(200, "{}"), (200, "<html>"), (401, "{}"), (404, "{}"), (503, "")] {
            for (echoes, other) in [
                (vec![], false),
                (vec![own.as_str()], false),
                (vec![&own, "other"], true),
                (vec!["other"], true),
                (vec![""], true),
                (vec!["\u{fc}"], true),
            ] {
                let mut answer = raw(status, body, NOW_MS, None);
                for echo in &echoes {
                    let echo = HeaderValue::from_bytes(echo.as_bytes()).unwrap();
                    answer.headers.append("request-id", echo);
                }
                let judged = answer.judge(&ASKED, now);
                let distrusted =
                    matches!(judged, Err(ApiError::Untrusted { what: Distrust::OtherRequest, .. }));
                assert_eq!(distrusted, other, "{status} {echoes:?}: {judged:?}");
            }
        }
    }
}
