//! Why a call brought no answer that can be used: sorted as PROTOCOL section 7 sorts it.
//!
//! Each error carries status, BitGo's name for it and the id of the request; never a body,
//! a token or a URL. Whether the refusal itself was authenticated stands in
//! [`Refusal::is_verified`]: an unsigned 401 is a claim anyone on the way could make.

use super::refusal::Refusal;
use super::request_id::RequestId;
use super::wire::Malformed;
use chrono::{DateTime, Utc};
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// What keeps an answer from being trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It echoes another request's id.
    #[error("it answers another request")]
    OtherRequest,
    /// No HMAC, or no time.
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
        /// The time by which that was judged.
        judged_at: DateTime<Utc>,
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

impl Distrust {
    /// Whether the answer was signed at a time that was still to come when it was judged.
    pub(crate) fn is_of_future(&self) -> bool {
        matches!(self, Self::OutsideWindow { answered_at, judged_at } if answered_at > judged_at)
    }
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
        /// How long to wait, where the server says so; at most an hour.
        retry_after: Option<Duration>,
    },
    /// 401: the token is expired or revoked, or so the answer says.
    #[error("the token is dead: {0}")]
    TokenDead(Refusal),
    /// 401: a second factor is wanted.
    #[error("a one-time password is wanted: {0}")]
    OtpRequired(Refusal),
    /// 401: the one-time password is wrong, or was used before.
    #[error("the one-time password was refused, use the next one: {0}")]
    OtpRefused(Refusal),
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
            Self::Rejected(refusal) if matches!(refusal.status(), 404 | 410) => {
                Self::EndpointGone(refusal)
            }
            Self::Untrusted { what: Distrust::Html, status, request_id } => {
                Self::EndpointGone(Refusal::new(status, None, request_id, None, None))
            }
            other => other,
        }
    }

    /// Whether it may be of this machine's clock alone: a refusal that nobody vouches for, or an answer
    /// that was signed at a time still to come. What was signed long ago was kept.
    pub(crate) fn may_be_of_clock(&self) -> bool {
        match self {
            Self::TokenDead(refusal) | Self::Unauthorized(refusal) => !refusal.is_verified(),
            Self::Untrusted { what, .. } => what.is_of_future(),
            _ => false,
        }
    }

    /// The server's time, as the answer has it; whether that is true nobody knows.
    pub(crate) fn said_time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Untrusted { what: Distrust::OutsideWindow { answered_at, .. }, .. } => {
                Some(*answered_at)
            }
            other => other.refusal().and_then(Refusal::said_time),
        }
    }

    /// How long the server asks to wait before the next call, where it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(Refusal::retry_after)
    }

    /// How long the server asks to be left alone: for no time that it tells, where it is asked too much and
    /// says no more.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let is_asked_for = matches!(self, Self::RateLimited { .. });
        self.retry_after().or(is_asked_for.then_some(Duration::ZERO))
    }

    /// The server's refusal, where there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Transient(refusal)
            | Self::RateLimited { refusal, .. }
            | Self::TokenDead(refusal)
            | Self::OtpRequired(refusal)
            | Self::OtpRefused(refusal)
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId::from_bytes([0xab; 16]);

    #[test]
    fn what_was_signed_long_ago_is_not_of_a_clock() {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        for (judged_ms, may_be) in [(999, true), (1000, false), (1001, false)] {
            let (answered_at, judged_at) = (at(1000), at(judged_ms));
            let what = Distrust::OutsideWindow { answered_at, judged_at };
            let outside = ApiError::Untrusted { what, status: 200, request_id: ID };
            assert_eq!(outside.may_be_of_clock(), may_be, "{judged_ms}");
        }
        let unsigned = || Refusal::new(401, None, ID, None, None).saying(Some(at(1000)));
        let dead = ApiError::TokenDead(unsigned());
        assert!(dead.may_be_of_clock() && dead.said_time() == Some(at(1000)));
        assert!(!ApiError::Forbidden(unsigned()).may_be_of_clock(), "it was heard out");
    }

    #[test]
    fn who_is_asked_too_much_asks_for_patience_though_it_does_not_say_how_long() {
        let of = |status, retry_after| Refusal::new(status, None, ID, None, retry_after);
        let limited = |retry_after| {
            let refusal = of(429, retry_after);
            ApiError::RateLimited { refusal, retry_after }.patience()
        };
        let (minute, unsaid) = (Some(Duration::from_secs(60)), Some(Duration::ZERO));
        assert_eq!([minute, None].map(limited), [minute, unsaid]);
        let busy = |retry_after| ApiError::Transient(of(503, retry_after)).patience();
        assert_eq!([minute, None].map(busy), [minute, None]);
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
            (Distrust::OtherRequest, "it answers another request"),
            (Distrust::HmacMissing, "it carries no hmac"),
            (Distrust::HmacWrong, "its hmac is wrong"),
            (
                Distrust::OutsideWindow { answered_at, judged_at: answered_at },
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
}
