//! Refusals, sorted by what is to be done about them (PROTOCOL section 7).

use super::error::{ApiError, Distrust};
use super::refusal::Refusal;
use super::request_id::RequestId;
use super::wire::Object;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use std::net::IpAddr;
use std::time::Duration;

/// The longest error name accepted, in bytes.
const NAME_MAX: usize = 64;
/// The most of a server's message that is read, in characters.
const MESSAGE_MAX: usize = 300;

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
        let said = Said::read(self.body);
        let refusal =
            Refusal::new(self.status, said.name.clone(), self.request_id, self.server_time);
        match self.status {
            401 if said.needs_otp => ApiError::OtpRequired(refusal),
            401 if said.needs_unlock => ApiError::NeedsUnlock(refusal),
            401 if said.oauth_required => ApiError::SsoRequired(refusal),
            401 if said.mentions(&["ip address", "iprestrict", "ip restrict"]) => {
                ApiError::IpNotAllowed { refusal, egress: said.egress }
            }
            401 if self.authenticated && (self.auth_required() || said.dead()) => {
                ApiError::TokenDead(refusal)
            }
            401 => ApiError::Unauthorized(refusal),
            403 => ApiError::Forbidden(refusal),
            408 | 424 | 500.. => ApiError::Transient(refusal),
            429 => ApiError::RateLimited { refusal, retry_after: retry_after(self.headers, now) },
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

/// What an error body says (`{error, name, context, requestId, needsOTP, needsUnlock}`, all optional).
#[derive(Default)]
struct Said {
    name: Option<Box<str>>,
    message: Option<Box<str>>,
    needs_otp: bool,
    needs_unlock: bool,
    oauth_required: bool,
    egress: Option<IpAddr>,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let Ok(object) = Object::parse(body) else { return Self::default() };
        let flag = |object: &Object<'_>, name| object.flag(name).ok().flatten().unwrap_or(false);
        let context = object.object("context").ok().flatten();
        let within = [Some(&object), context.as_ref()];
        let oauth = within.iter().flatten().find_map(|o| o.object("oauth").ok().flatten());
        let named = object.text("name").ok().flatten().filter(|name| {
            name.len() <= NAME_MAX
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-. ".contains(&b))
        });
        let message = object.text("error").ok().flatten();
        Self {
            name: named.map(Into::into),
            message: message.map(|text| {
                let readable = text.chars().filter(|c| !c.is_control());
                readable.take(MESSAGE_MAX).collect::<String>().into()
            }),
            needs_otp: flag(&object, "needsOTP"),
            needs_unlock: flag(&object, "needsUnlock"),
            oauth_required: oauth.is_some_and(|oauth| flag(&oauth, "oauthRequired")),
            egress: context.and_then(|context| context.word("ip").ok().flatten()),
        }
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        let texts = [&self.name, &self.message];
        texts.into_iter().flatten().any(|text| {
            let text = text.to_ascii_lowercase();
            phrases.iter().any(|phrase| text.contains(phrase))
        })
    }

    fn dead(&self) -> bool {
        self.mentions(&["session expired", "invalid token"])
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    Some(until.signed_duration_since(now).to_std().unwrap_or(Duration::ZERO))
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
                sort(401, None, r#"{"context":{"oauth":{"oauthRequired":true}}}"#),
                "a single sign-on is wanted: status 401",
            ),
            (
                sort(401, None, r#"{"error":"IP address 10.0.0.1 not allowed"}"#),
                "the source address is not on the token's list: status 401",
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
        let refusal = Refusal::new(400, None, ID, None);
        assert_eq!(
            format!("{refusal:?}"),
            format!("Refusal(status 400, not signed, request {ID})")
        );
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        for (value, secs) in [
            ("120", Some(120)),
            ("Thu, 01 Jan 1970 00:02:00 GMT", Some(120)),
            ("Wed, 31 Dec 1969 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let ApiError::RateLimited { retry_after, .. } =
                sort(429, Some(("retry-after", value)), "{}")
            else {
                panic!("429 is a rate limit");
            };
            assert_eq!(retry_after.map(|d| d.as_secs()), secs, "{value}");
        }
    }
}
