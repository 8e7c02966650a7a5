//! Refusals, sorted by what is to be done about them (PROTOCOL section 7).

use super::error::{ApiError, Distrust};
use super::refusal::Refusal;
use super::request_id::RequestId;
use super::wire::PlatformError;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use std::time::Duration;

/// The longest wait that is granted to a server.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// By these words a 401 says that the token is expired or revoked.
const DEAD: [&str; 2] = ["session expired", "invalid token"];
/// By these, that it came from an address outside the token's list.
const OUTSIDE: [&str; 3] = ["ip address", "iprestrict", "ip restrict"];
/// By these, that the one-time password is wrong, or was used before.
const OTP_REFUSED: [&str; 3] = ["incorrect otp", "invalid otp", "invalidotp"];
/// By these, that the scope does not reach this far, whatever the status.
const OUT_OF_SCOPE: [&str; 1] = ["lacks required scope"];

/// What a refusal says of the token that it was got with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It is expired or revoked.
    Dead,
    /// Nobody knows why it was refused: it may be alive.
    Unclear,
}

impl Doubt {
    /// What an answer to a request with a token says of that; `None` if it says nothing against it.
    pub(crate) fn of(status: u16, headers: &HeaderMap, body: &[u8], id: RequestId) -> Option<Self> {
        if status != 401 {
            return None;
        }
        let (request_id, server_time, authenticated) = (id, None, true);
        let refused = Refused { status, headers, body, request_id, server_time, authenticated };
        // No wait is read from it.
        match refused.sort(DateTime::UNIX_EPOCH) {
            ApiError::TokenDead(_) => Some(Self::Dead),
            ApiError::Unauthorized(_) => Some(Self::Unclear),
            _ => None,
        }
    }
}

/// An answer that is no success, as far as it matters for sorting it.
pub(super) struct Refused<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) request_id: RequestId,
    pub(super) server_time: Option<DateTime<Utc>>,
    /// Whether a token was sent: without one, no token can be dead.
    pub(super) authenticated: bool,
}

impl Refused<'_> {
    /// Sorts the refusal (PROTOCOL section 7). What the body says outright counts before
    /// `x-auth-required`: to take a living token for dead is the worse mistake.
    pub(super) fn sort(&self, now: DateTime<Utc>) -> ApiError {
        let said = PlatformError::parse(self.body);
        let retry_after = retry_after(self.headers, now);
        let (name, id) = (said.name.clone(), self.request_id);
        let refusal = Refusal::new(self.status, name, id, self.server_time, retry_after);
        let refusal = refusal.saying(said_time(self.headers));
        match self.status {
            // BitGo says of it that a one-time password is needed, too: one that would unlock the token.
            401 if self.authenticated && said.needs_unlock => ApiError::NeedsUnlock(refusal),
            401 if said.mentions(&OTP_REFUSED) => ApiError::OtpRefused(refusal),
            401 if said.needs_otp => ApiError::OtpRequired(refusal),
            401 if said.needs_unlock => ApiError::NeedsUnlock(refusal),
            401 if said.oauth_required => ApiError::SsoRequired(refusal),
            401 if said.mentions(&OUTSIDE) => {
                ApiError::IpNotAllowed { refusal, egress: said.egress }
            }
            401 if said.mentions(&OUT_OF_SCOPE) => ApiError::Forbidden(refusal),
            401 if self.authenticated && (self.auth_required() || said.mentions(&DEAD)) => {
                ApiError::TokenDead(refusal)
            }
            401 => ApiError::Unauthorized(refusal),
            403 => ApiError::Forbidden(refusal),
            408 | 424 | 500.. => ApiError::Transient(refusal),
            429 => ApiError::RateLimited { refusal, retry_after },
            400..500 => ApiError::Rejected(refusal),
            status => ApiError::Untrusted {
                what: Distrust::Redirect,
                status,
                request_id: self.request_id,
            },
        }
    }

    fn auth_required(&self) -> bool {
        self.headers.get("x-auth-required").is_some_and(|value| value == "true")
    }
}

/// `Date` (RFC 9110 section 6.6.1).
fn said_time(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3); an hour is the most that counts.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            until.signed_duration_since(now).to_std().unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId::from_bytes([0xab; 16]);

    fn sort(status: u16, header: Option<(&'static str, &str)>, body: &str) -> ApiError {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let body = body.as_bytes();
        let refused = Refused {
            status,
            headers: &headers,
            body,
            request_id: ID,
            server_time: Some(DateTime::UNIX_EPOCH),
            authenticated: true,
        };
        refused.sort(DateTime::UNIX_EPOCH)
    }

    #[test]
    fn refusals_are_sorted_and_printed() {
        let dead = Some(("x-auth-required", "true"));
        for (error, expect) in [
            (sort(503, None, "<html>"), "the server cannot answer now: status 503"),
            (sort(408, None, ""), "the server cannot answer now: status 408"),
            (sort(424, None, "{}"), "the server cannot answer now: status 424"),
            (sort(429, None, "{}"), "the server asks to slow down: status 429"),
            (sort(401, dead, "{}"), "the token is dead: status 401"),
            (sort(401, None, r#"{"error":"Session expired"}"#), "the token is dead: status 401"),
            (sort(401, None, r#"{"error":"invalid token"}"#), "the token is dead: status 401"),
            (sort(401, dead, r#"{"needsOTP":true}"#), "a one-time password is wanted: status 401"),
            (
                sort(401, None, r#"{"needsUnlock":true,"name":"NeedsUnlock"}"#),
                "the token has nothing left to spend or is locked: status 401 NeedsUnlock",
            ),
            (
                sort(401, None, r#"{"error":"needs unlock","needsOTP":true,"needsUnlock":true}"#),
                "the token has nothing left to spend or is locked: status 401",
            ),
            (
                sort(401, None, r#"{"error":"incorrect otp","needsOTP":true}"#),
                "the one-time password was refused, use the next one: status 401",
            ),
            (
                sort(401, None, r#"{"error":"no","name":"InvalidOTP"}"#),
                "the one-time password was refused, use the next one: status 401 InvalidOTP",
            ),
            (
                sort(401, None, r#"{"context":{"oauth":{"oauthRequired":true}}}"#),
                "a single sign-on is wanted: status 401",
            ),
            (
                sort(401, None, r#"{"error":"IP address 10.0.0.1 not allowed"}"#),
                "the source address is not on the token's list: status 401",
            ),
            (
                sort(401, dead, r#"{"error":"token lacks required scope"}"#),
                "the token's scope does not reach this: status 401",
            ),
            (sort(401, None, "{}"), "not authorized: status 401"),
            (sort(401, None, "<html>"), "not authorized: status 401"),
            (sort(403, None, "{}"), "the token's scope does not reach this: status 403"),
            (sort(400, None, "{}"), "the server refused the request: status 400"),
            (
                sort(404, None, r#"{"name":"<script>v2x"}"#),
                "the server refused the request: status 404",
            ),
        ] {
            assert_eq!(error.to_string(), format!("{expect}, request {ID}"));
        }
        assert_eq!(
            sort(302, None, "").to_string(),
            format!("the answer with status 302 is not trusted: it is a redirect, request {ID}")
        );
    }

    #[test]
    fn a_refusal_says_if_it_is_unsigned() {
        let refusal = Refusal::new(400, None, ID, None, None);
        assert_eq!(
            format!("{refusal:?}"),
            format!("Refusal(status 400, not signed, request {ID})")
        );
    }

    #[test]
    fn the_date_of_a_refusal_is_read_and_proves_nothing() {
        let noon = DateTime::from_timestamp(43_200, 0);
        for (date, expect) in
            [("Thu, 01 Jan 1970 12:00:00 GMT", noon), ("1970-01-01T12:00:00Z", None), ("", None)]
        {
            let error = sort(401, Some(("date", date)), "{}");
            assert_eq!(error.said_time(), expect, "{date}");
            assert!(!error.may_be_of_clock(), "it is signed all the same");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        for (value, secs) in [
            ("120", Some(120)),
            ("Thu, 01 Jan 1970 00:02:00 GMT", Some(120)),
            ("Wed, 31 Dec 1969 00:00:00 GMT", Some(0)),
            ("3601", Some(3600)),
            ("Fri, 02 Jan 1970 00:00:00 GMT", Some(3600)),
            ("18446744073709551616", None),
            ("-1", None),
            ("soon", None),
        ] {
            let ApiError::RateLimited { retry_after, .. } =
                sort(429, Some(("retry-after", value)), "{}")
            else {
                panic!("429 is a rate limit");
            };
            assert_eq!(retry_after.map(|d| d.as_secs()), secs, "{value}");
            let busy = sort(503, Some(("retry-after", value)), "");
            assert_eq!(busy.retry_after().map(|d| d.as_secs()), secs, "{value}");
        }
    }
}
