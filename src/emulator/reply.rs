//! An answer in the making.

use super::auth::Identity;
use super::refused::Refused;
use crate::crypto::{AuthKey, Subject};
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

const X_AUTH_REQUIRED: HeaderName = HeaderName::from_static("x-auth-required");
const HMAC: HeaderName = HeaderName::from_static("hmac");
const TIMESTAMP: HeaderName = HeaderName::from_static("timestamp");

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

    pub(super) fn retry_after(secs: u32) -> Self {
        let mut reply: Self = Refused::new(429, "TooManyRequests", "slow down").into();
        reply.headers.insert(RETRY_AFTER, secs.into());
        reply
    }

    /// Adds the HMAC by which the bearer knows the answer (PROTOCOL section 3).
    pub(super) fn sign(&mut self, key: &AuthKey, identity: &Identity, now_ms: i64) {
        let Some((version, method, target)) = identity.subject() else { return };
        let subject = Subject { version, timestamp_ms: now_ms, method, target };
        let hmac = key.sign_response(&subject, self.status, &self.body);
        if let Ok(hmac) = HeaderValue::from_str(&hmac) {
            self.headers.insert(HMAC, hmac);
            self.headers.insert(TIMESTAMP, now_ms.into());
        }
    }

    pub(super) fn falsify_hmac(&mut self) {
        if self.headers.contains_key(HMAC) {
            let wrong = HeaderValue::from_static(
                "0000000000000000000000000000000000000000000000000000000000000000",
            );
            self.headers.insert(HMAC, wrong);
        }
    }

    pub(super) fn drop_hmac(&mut self) {
        self.headers.remove(HMAC);
        self.headers.remove(TIMESTAMP);
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
