//! A signed request, on its way until its answer settles it.

use super::core::Core;
use super::reservation::Reservation;
use crate::api::{self, Asked, RequestId};
use crate::crypto::AuthKey;
use crate::error::Error;
use crate::policy::{Method, Outcome, Request};
use crate::secret::AccessToken;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;

/// A signed request. Dropped without its answer, what it moves counts as spent.
#[must_use]
pub struct Signed<'r> {
    core: Arc<Core>,
    request: &'r Request,
    method: http::Method,
    headers: HeaderMap,
    request_id: RequestId,
    key: AuthKey,
    /// The latest time the server was known to have signed when this was signed.
    floor_ms: i64,
    reservation: Reservation,
}

impl std::fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("request", self.request).finish_non_exhaustive()
    }
}

impl<'r> Signed<'r> {
    /// Signs `request`; should that fail, the reservation is dropped as it came.
    pub(super) fn new(
        core: Arc<Core>,
        request: &'r Request,
        token: &AccessToken,
        mut reservation: Reservation,
    ) -> Result<Self, Error> {
        let request_id = RequestId::random().map_err(Error::crypto("request's new id"))?;
        let key = AuthKey::new(token);
        let method = http_method(request.method());
        let (target, body) = (request.target(), request.body());
        let now_ms = core.clock.now().timestamp_millis();
        let mut headers =
            api::signed_headers(&key, core.auth_version, now_ms, &method, target, body);
        headers.insert("request-id", request_id.to_header());
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        let floor_ms = core.refusals.newest_ms();
        reservation.commit();
        Ok(Self { core, request, method, headers, request_id, key, floor_ms, reservation })
    }

    /// The headers to send the request with: once, over TLS, body and target unchanged.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Verifies the answer and settles by it.
    ///
    /// # Errors
    /// [`Error::Untrusted`] for an answer whose HMAC or time does not fit: its body must not be
    /// used, and what the request moves counts as spent.
    ///
    /// # Security
    /// BitGo's answers do not say which body they answer. A refusal therefore gives the
    /// reservation back only once, and only if it is not older than what the server was known to
    /// have said when this request was signed, nor than the opening of the vault; else the outcome
    /// is [`Outcome::Uncertain`].
    pub fn finish(self, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, Error> {
        let refusals = &self.core.refusals;
        let asked = Asked {
            key: &self.key,
            version: self.core.auth_version,
            method: &self.method,
            target: self.request.target(),
        };
        let answered_at = match asked.verify(status, headers, body, self.core.clock.now()) {
            Ok(answered_at) => answered_at,
            Err(distrust) => {
                self.reservation.settle(Outcome::Uncertain);
                return Err(Error::Untrusted(distrust));
            }
        };
        let answered_at_ms = answered_at.timestamp_millis();
        refusals.note(answered_at_ms);
        let hmac = headers.get("hmac").and_then(|hmac| hmac.to_str().ok()).unwrap_or_default();
        let outcome = match Outcome::of(status) {
            Outcome::Rejected
                if self.reservation.is_made()
                    && !refusals.counts(self.floor_ms, answered_at_ms, hmac) =>
            {
                Outcome::Uncertain
            }
            outcome => outcome,
        };
        self.reservation.settle(outcome);
        Ok(outcome)
    }

    /// Nothing of the request left this machine: gives the reservation back. Only
    /// [`send`](super::send) can know.
    pub(super) fn never_left(self) {
        self.reservation.settle(Outcome::Rejected);
    }

    pub(super) fn method(&self) -> &http::Method {
        &self.method
    }

    pub(super) fn request_id(&self) -> RequestId {
        self.request_id
    }
}

fn http_method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    }
}
