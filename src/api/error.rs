//! Why a call brought no answer that can be used: sorted as PROTOCOL section 7 sorts it.
//!
//! Each error carries status, BitGo's name for it and the id of the request; never a body,
//! a token or an address of ours. Whether the refusal itself was authenticated stands in
//! [`Refusal::is_verified`]: an unsigned 401 is a claim anyone on the way could make.

use super::wire::{Malformed, Object};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The longest error name accepted, in bytes.
const NAME_MAX: usize = 64;
/// The most of a server's message that is kept, in characters.
const MESSAGE_MAX: usize = 300;

/// The random id under which one request is known here and at BitGo (`Request-ID`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A new id; `None` if the system gives no randomness.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// A refusal by the server, or by something that answers in its place.
#[derive(Clone)]
pub struct Refusal {
    status: u16,
    name: Option<Box<str>>,
    message: Option<Box<str>>,
    request_id: RequestId,
    verified: bool,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// BitGo's name for the error.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// BitGo's words for people, cut to 300 characters. They are the server's: not logged, not acted upon.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The id of the request that was refused.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Whether the refusal carried a valid HMAC within the window.
    pub fn is_verified(&self) -> bool {
        self.verified
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if !self.verified {
            f.write_str(", not signed")?;
        }
        write!(f, ", request {}", self.request_id)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}

/// What keeps an answer from being trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// No `hmac` or `timestamp` header.
    #[error("it carries no hmac")]
    HmacMissing,
    /// The HMAC does not fit what was asked and answered.
    #[error("its hmac is wrong")]
    HmacWrong,
    /// The HMAC fits, but the server's time and ours lie too far apart.
    #[error("it was answered at {answered_at}, outside the window")]
    OutsideWindow {
        /// The server's time, as it signed it.
        answered_at: DateTime<Utc>,
    },
    /// A web page where JSON was wanted.
    #[error("it is a web page")]
    Html,
    /// A redirect, which is never followed.
    #[error("it is a redirect")]
    Redirect,
    /// JSON that does not have the shape it should.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// More pages than a listing may have, or a cursor that stands still.
    #[error("its pages do not end")]
    Endless,
}

/// Why a call brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The client could not be set up.
    #[error("the http client could not be set up")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
    /// The request cannot be sent as it is; nothing left.
    #[error("the request cannot be sent: {0}")]
    Unsendable(&'static str),
    /// The server was not reached; nothing of the request left.
    #[error("the server was not reached, request {request_id}")]
    Unreachable {
        /// The request.
        request_id: RequestId,
        /// What went wrong below.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The request left, but no whole answer came: it may have had its effect.
    #[error("no whole answer came, request {request_id}")]
    Lost {
        /// The request.
        request_id: RequestId,
        /// What went wrong below.
        source: Box<dyn Error + Send + Sync>,
    },
    /// 408, 424 or 5xx: a valid token is kept, the call may be tried later.
    #[error("the server cannot answer now: {0}")]
    Transient(Refusal),
    /// 429.
    #[error("the server asks to slow down: {refusal}")]
    RateLimited {
        /// The answer.
        refusal: Refusal,
        /// How long to wait, where the server says so.
        retry_after: Option<Duration>,
    },
    /// 401: the token is expired or revoked, or so the answer says.
    #[error("the token is dead: {0}")]
    TokenDead(Refusal),
    /// 401: a second factor is wanted.
    #[error("a one-time password is wanted: {0}")]
    OtpRequired(Refusal),
    /// 401: the server's spending limit is used up, or none is set and the token is locked.
    #[error("the token has nothing left to spend or is locked: {0}")]
    NeedsUnlock(Refusal),
    /// 401: the enterprise wants a single sign-on.
    #[error("a single sign-on is wanted: {0}")]
    SsoRequired(Refusal),
    /// 401: the call came from an address outside the token's list.
    #[error("the source address is not on the token's list: {refusal}")]
    IpNotAllowed {
        /// The answer.
        refusal: Refusal,
        /// The address the server saw, where it tells.
        egress: Option<IpAddr>,
    },
    /// 401 for a reason that cannot be told: the token may be alive.
    #[error("not authorized: {0}")]
    Unauthorized(Refusal),
    /// 403: the scope does not reach this far.
    #[error("the token's scope does not reach this: {0}")]
    Forbidden(Refusal),
    /// Any other 4xx: the caller's fault.
    #[error("the server refused the request: {0}")]
    Rejected(Refusal),
    /// The endpoint has moved or never was here.
    #[error("the endpoint is gone: {0}")]
    EndpointGone(Refusal),
    /// An answer that must not be used.
    #[error("the answer with status {status} is not trusted: {what}, request {request_id}")]
    Untrusted {
        /// Why not.
        what: Distrust,
        /// Its status.
        status: u16,
        /// The request.
        request_id: RequestId,
    },
}

impl ApiError {
    /// Whether the same call may succeed later with the same token.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Lost { .. }
                | Self::Transient(_)
                | Self::RateLimited { .. }
        )
    }

    /// Takes 404, 410 and web pages for what they mean at an endpoint that is announced to move.
    pub(super) fn or_gone(self) -> Self {
        match self {
            Self::Rejected(refusal) if matches!(refusal.status, 404 | 410) => {
                Self::EndpointGone(refusal)
            }
            Self::Untrusted { what: Distrust::Html, status, request_id } => {
                let (name, message, verified) = (None, None, false);
                Self::EndpointGone(Refusal { status, name, message, request_id, verified })
            }
            other => other,
        }
    }

    /// The server's refusal, where there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Transient(refusal)
            | Self::RateLimited { refusal, .. }
            | Self::TokenDead(refusal)
            | Self::OtpRequired(refusal)
            | Self::NeedsUnlock(refusal)
            | Self::SsoRequired(refusal)
            | Self::IpNotAllowed { refusal, .. }
            | Self::Unauthorized(refusal)
            | Self::Forbidden(refusal)
            | Self::Rejected(refusal)
            | Self::EndpointGone(refusal) => Some(refusal),
            Self::Setup(_)
            | Self::Unsendable(_)
            | Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Untrusted { .. } => None,
        }
    }

    /// The id of the request, where one was made.
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Unreachable { request_id, .. }
            | Self::Lost { request_id, .. }
            | Self::Untrusted { request_id, .. } => Some(*request_id),
            other => other.refusal().map(Refusal::request_id),
        }
    }
}

/// An answer that is no success, as far as it matters for sorting it.
pub(super) struct Refused<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) request_id: RequestId,
    pub(super) verified: bool,
    /// Whether a token was sent: without one, no token can be dead.
    pub(super) authenticated: bool,
}

impl Refused<'_> {
    /// Sorts the refusal (PROTOCOL section 7). What the body says outright counts before
    /// `x-auth-required`: to take a living token for dead is the worse mistake.
    pub(super) fn sort(&self, now: DateTime<Utc>) -> ApiError {
        let said = Said::read(self.body);
        let refusal = Refusal {
            status: self.status,
            name: said.name.clone(),
            message: said.message.clone(),
            request_id: self.request_id,
            verified: self.verified,
        };
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
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
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

    const ID: RequestId = RequestId([0xab; 16]);

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
            verified: true,
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
    fn the_rest_of_the_lines() {
        let source = || Box::from("below");
        let untrusted = |what| ApiError::Untrusted { what, status: 200, request_id: ID };
        let answered_at = DateTime::UNIX_EPOCH;
        for (error, expect) in [
            (ApiError::Setup(source()), "the http client could not be set up".to_owned()),
            (
                ApiError::Unsendable("the target is not a path"),
                "the request cannot be sent: the target is not a path".to_owned(),
            ),
            (
                ApiError::Unreachable { request_id: ID, source: source() },
                format!("the server was not reached, request {ID}"),
            ),
            (
                ApiError::Lost { request_id: ID, source: source() },
                format!("no whole answer came, request {ID}"),
            ),
        ] {
            assert_eq!(error.to_string(), expect);
        }
        for (what, expect) in [
            (Distrust::HmacMissing, "it carries no hmac"),
            (Distrust::HmacWrong, "its hmac is wrong"),
            (
                Distrust::OutsideWindow { answered_at },
                "it was answered at 1970-01-01 00:00:00 UTC, outside the window",
            ),
            (Distrust::Html, "it is a web page"),
            (Distrust::Redirect, "it is a redirect"),
            (Distrust::Malformed(Malformed("unlock")), "malformed: unlock"),
            (Distrust::Endless, "its pages do not end"),
        ] {
            let line = format!("the answer with status 200 is not trusted: {expect}, request {ID}");
            assert_eq!(untrusted(what).to_string(), line);
        }
    }

    #[test]
    fn a_refusal_prints_no_message_and_says_if_unsigned() {
        let refusal = Refusal {
            status: 400,
            name: None,
            message: Some("secret".into()),
            request_id: ID,
            verified: false,
        };
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
