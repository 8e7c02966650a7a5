//! An answer in the making.

use super::auth::Identity;
use super::refused::Refused;
use crate::crypto::{AuthKey, AuthVersion};
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

const X_AUTH_REQUIRED: HeaderName = HeaderName::from_static("x-auth-required");
const HMAC: HeaderName = HeaderName::from_static("hmac");
const TIMESTAMP: HeaderName = HeaderName::from_static("timestamp");
const X_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
const X_REQUEST_TIMESTAMP: HeaderName = HeaderName::from_static("x-request-timestamp");

/// An answer: made by a route, signed at the door.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    pub(super) fn text(status: u16, json: String) -> Self {
        Self::new(status, "application/json; charset=utf-8", json)
    }

    pub(super) fn json(body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(json) => Self::text(200, json),
            Err(_) => Refused::new(500, "InternalError", "the answer is no json").into(),
        }
    }

    pub(super) fn html() -> Self {
        const PAGE: &str = "<!doctype html><title>BitGo</title><p>Please stand by.";
        Self::new(200, "text/html", PAGE)
    }

    /// 429, with `Retry-After` as it shall stand there.
    pub(super) fn retry_after(when: &str, request_id: &str) -> Self {
        let refused = Refused::new(429, "TooManyRequests", "slow down");
        Self::from(refused.answering(request_id)).with(RETRY_AFTER, when)
    }

    pub(super) fn redirect(location: &str) -> Self {
        Self::text(302, "{}".into()).with(LOCATION, location)
    }

    /// Adds a header, if it can be one.
    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds the HMAC by which the bearer knows the answer (PROTOCOL section 3).
    pub(super) fn sign(&mut self, key: &AuthKey, identity: &Identity, now_ms: i64) {
        let Some(signed) = &identity.signed else { return };
        let subject = signed.subject(now_ms);
        let hmac = key.sign_response(&subject, self.status, &self.body);
        let (hmac_name, time_name, time) = match subject.version {
            AuthVersion::V2 | AuthVersion::V3 => (HMAC, TIMESTAMP, now_ms),
            // Which headers bear them is not published: the request's names are taken.
            AuthVersion::V4 => (X_SIGNATURE, X_REQUEST_TIMESTAMP, now_ms.div_euclid(1000)),
        };
        if let Ok(hmac) = HeaderValue::from_str(&hmac) {
            self.headers.insert(hmac_name, hmac);
            self.headers.insert(time_name, time.into());
        }
    }

    pub(super) fn falsify_hmac(&mut self) {
        let wrong = HeaderValue::from_static(
            "0000000000000000000000000000000000000000000000000000000000000000",
        );
        for name in [HMAC, X_SIGNATURE] {
            if let Some(hmac) = self.headers.get_mut(name) {
                *hmac = wrong.clone();
            }
        }
    }

    pub(super) fn drop_hmac(&mut self) {
        for name in [HMAC, TIMESTAMP, X_SIGNATURE, X_REQUEST_TIMESTAMP] {
            self.headers.remove(name);
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        let mut reply = Self::json(&refused);
        reply.status = refused.status;
        if refused.auth_required {
            reply.headers.insert(X_AUTH_REQUIRED, HeaderValue::from_static("true"));
        }
        reply
    }
}
